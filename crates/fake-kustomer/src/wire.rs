//! Connections that can be cut, stalled and slowed at a chosen byte of an answer.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::extract::connect_info::Connected;
use axum::serve::{IncomingStream, Listener};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Sleep;

/// What happens to the bytes of the next answer on a connection.
#[derive(Clone, Copy, Debug)]
pub(crate) enum WireFault {
    /// It ends after so many bytes of the head.
    CutHead(u64),
    /// It ends after so many bytes of the body.
    CutBody(u64),
    /// It pauses after so many bytes of the body, then goes on.
    Stall(u64, Duration),
    /// It pauses after every so many bytes of the body.
    Drip(u64, Duration),
}

/// Where a handler leaves a fault for its connection.
#[derive(Clone, Debug, Default)]
pub(crate) struct Wire(Arc<Mutex<Option<WireFault>>>);

impl Wire {
    pub(crate) fn arm(&self, fault: WireFault) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(fault);
    }

    fn take(&self) -> Option<WireFault> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl Connected<IncomingStream<'_, FaultListener>> for Wire {
    fn connect_info(stream: IncomingStream<'_, FaultListener>) -> Self {
        stream.io().wire.clone()
    }
}

/// A listener whose connections obey [`Wire`].
pub(crate) struct FaultListener(pub(crate) TcpListener);

impl Listener for FaultListener {
    type Io = FaultIo;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (FaultIo, SocketAddr) {
        loop {
            match self.0.accept().await {
                Ok((stream, address)) => {
                    // Without this, small answers wait for acknowledgements.
                    let _ = stream.set_nodelay(true);
                    let wire = Wire::default();
                    return (FaultIo { stream, wire, active: None, pause: None }, address);
                }
                Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }
}

struct Active {
    fault: WireFault,
    /// Bytes before the body; known once they have been seen.
    head: Option<u64>,
    sent: u64,
    /// The next byte at which something happens.
    mark: u64,
}

/// A connection.
pub(crate) struct FaultIo {
    stream: TcpStream,
    wire: Wire,
    active: Option<Active>,
    pause: Option<Pin<Box<Sleep>>>,
}

impl FaultIo {
    /// Writes one buffer under an active fault.
    fn write_faulty(&mut self, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        if let Some(pause) = &mut self.pause {
            ready!(pause.as_mut().poll(cx));
            self.pause = None;
        }
        let Some(active) = &mut self.active else {
            return Pin::new(&mut self.stream).poll_write(cx, buf);
        };
        if active.head.is_none() {
            let end = buf.windows(4).position(|window| window == b"\r\n\r\n");
            let head = end.map_or(buf.len(), |at| at + 4) as u64;
            active.head = Some(head);
            active.mark = match active.fault {
                WireFault::CutHead(at) => at.min(head - 1),
                WireFault::CutBody(at) | WireFault::Stall(at, _) => head + at,
                WireFault::Drip(bytes, _) => head + bytes.max(1),
            };
        }
        if active.sent >= active.mark {
            match active.fault {
                WireFault::CutHead(_) | WireFault::CutBody(_) => {
                    return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
                }
                WireFault::Stall(_, pause) => {
                    self.active = None;
                    self.pause = Some(Box::pin(tokio::time::sleep(pause)));
                }
                WireFault::Drip(bytes, pause) => {
                    active.mark += bytes.max(1);
                    self.pause = Some(Box::pin(tokio::time::sleep(pause)));
                }
            }
            return self.write_faulty(cx, buf);
        }
        let allowed = ((active.mark - active.sent) as usize).min(buf.len());
        let written = ready!(Pin::new(&mut self.stream).poll_write(cx, &buf[..allowed]))?;
        active.sent += written as u64;
        Poll::Ready(Ok(written))
    }

    fn is_faulty(&mut self) -> bool {
        if let Some(fault) = self.wire.take() {
            self.active = Some(Active { fault, head: None, sent: 0, mark: 0 });
        }
        self.active.is_some() || self.pause.is_some()
    }
}

impl AsyncRead for FaultIo {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for FaultIo {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.is_faulty() {
            return self.write_faulty(cx, buf);
        }
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.is_faulty() {
            let first = bufs.iter().find(|buf| !buf.is_empty());
            return match first {
                Some(buf) => self.write_faulty(cx, buf),
                None => Poll::Ready(Ok(0)),
            };
        }
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
