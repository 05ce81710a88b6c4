//! Connections to the server: so many at once, and none that says nothing for long.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::{Instant, Sleep};

/// Connections at once, but for those of viewers ([`crate::live`]); others wait to be accepted.
const MOST: usize = 64;

/// How long a connection may go without a byte either way.
const IDLE: Duration = Duration::from_mins(1);

/// How long it may take until the head of a request is there, the time before its first byte included.
const HEAD: Duration = Duration::from_secs(15);

/// Bytes of a request's head; hyper may take up to as many again.
const MOST_HEAD_BYTES: usize = 32 << 10;

/// Where a request comes from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Peer(pub(crate) SocketAddr);

/// The place of a connection among the [`MOST`].
#[derive(Clone, Debug)]
pub(crate) struct Seat(Arc<Mutex<Option<OwnedSemaphorePermit>>>);

impl Seat {
    /// Gives it back though the connection goes on, for somebody who has a seat elsewhere. The answer must
    /// say `Connection: close`, or the connection would be used again without one.
    pub(crate) fn leave(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
    }
}

/// Answers whoever comes, until `stop` is told; gives back when the last of them has their answer.
pub(crate) async fn serve(listener: TcpListener, router: Router, mut stop: watch::Receiver<()>) {
    let seats = Arc::new(Semaphore::new(MOST));
    let guests = GracefulShutdown::new();
    loop {
        let next = async {
            // Nobody closes the semaphore.
            let seat = Arc::clone(&seats).acquire_owned().await.ok();
            (listener.accept().await, seat)
        };
        let (accepted, seat) = tokio::select! {
            next = next => next,
            _ = stop.changed() => break,
        };
        let (stream, address) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // Whoever left before is no trouble; anything else is over by and by.
                if !is_of_a_guest(&error) {
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
                continue;
            }
        };
        let idle = Box::pin(tokio::time::sleep(IDLE));
        let seat = Seat(Arc::new(Mutex::new(seat)));
        let guest = Guest { stream, idle, _seat: seat.clone() };
        let service = TowerToHyperService::new(router.clone());
        let service = service_fn(move |mut request: Request<Incoming>| {
            request.extensions_mut().insert(Peer(address));
            request.extensions_mut().insert(seat.clone());
            service.call(request)
        });
        let served = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD)
            .max_buf_size(MOST_HEAD_BYTES)
            .serve_connection(TokioIo::new(guest), service);
        let served = guests.watch(served);
        tokio::spawn(async move {
            // A guest that left, or was too slow, is nobody's trouble.
            let _ = served.await;
        });
    }
    drop(listener);
    guests.shutdown().await;
}

fn is_of_a_guest(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

/// A connection with its seat.
struct Guest {
    stream: TcpStream,
    idle: Pin<Box<Sleep>>,
    _seat: Seat,
}

impl Guest {
    /// What came of waiting for the stream: patience is new with each byte, and ends.
    fn or_late<T>(
        &mut self,
        cx: &mut Context<'_>,
        poll: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if poll.is_ready() {
            self.idle.as_mut().reset(Instant::now() + IDLE);
            return poll;
        }
        match self.idle.as_mut().poll(cx) {
            Poll::Ready(()) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl AsyncRead for Guest {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let poll = Pin::new(&mut self.stream).poll_read(cx, buffer);
        self.or_late(cx, poll)
    }
}

impl AsyncWrite for Guest {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let poll = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.or_late(cx, poll)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
