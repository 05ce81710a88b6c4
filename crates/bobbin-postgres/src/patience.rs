//! A connection that does not wait for ever.
//!
//! PostgreSQL bounds its own statements (`statement_timeout`); what it cannot bound is a network
//! that swallows bytes while the connection stays open, or a length that was damaged on the way, so
//! that both sides wait for the other. [`Patient`] wraps the stream under the client: from the first
//! byte of a question until the server says that it is ready again, no more than the given time may
//! pass without a byte in either direction. Then reading fails, the connection counts as lost, and
//! the round is repeated over a new one.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use postgres::tls::{ChannelBinding, MakeTlsConnect, TlsConnect, TlsStream};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep};

/// The tag of ReadyForQuery, the last message of every answer.
const READY: u8 = b'Z';

/// A stream that fails when an answer is overdue.
pub(crate) struct Patient<S> {
    inner: S,
    most: Duration,
    /// Set while an answer is owed.
    owed: Option<Pin<Box<Sleep>>>,
    messages: Messages,
}

impl<S> Patient<S> {
    fn new(inner: S, most: Duration) -> Self {
        Self { inner, most, owed: None, messages: Messages::default() }
    }

    /// An answer is owed from now on, and this task is woken when it is overdue.
    fn owe(&mut self, cx: &mut Context<'_>) {
        let sleep = self.owed.get_or_insert_with(|| Box::pin(sleep(self.most)));
        sleep.as_mut().reset(Instant::now() + self.most);
        let _ = sleep.as_mut().poll(cx);
    }
}

/// Follows the server's messages as far as needed to see where an answer ends.
#[derive(Default, Debug)]
struct Messages {
    header: [u8; 5],
    /// Bytes of the header that are there.
    have: usize,
    /// Bytes of the message's body that are still to come.
    rest: usize,
}

impl Messages {
    /// Takes bytes; gives whether they end with a whole ReadyForQuery.
    fn take(&mut self, mut bytes: &[u8]) -> bool {
        let mut ready = false;
        while !bytes.is_empty() {
            if self.have < 5 {
                let n = bytes.len().min(5 - self.have);
                self.header[self.have..self.have + n].copy_from_slice(&bytes[..n]);
                self.have += n;
                bytes = &bytes[n..];
                if self.have < 5 {
                    return false;
                }
                let [_, length @ ..] = self.header;
                self.rest = (u32::from_be_bytes(length) as usize).saturating_sub(4);
            }
            let n = bytes.len().min(self.rest);
            self.rest -= n;
            bytes = &bytes[n..];
            ready = self.rest == 0 && self.header[0] == READY;
            if self.rest == 0 {
                self.have = 0;
            }
        }
        ready
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Patient<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        match Pin::new(&mut self.inner).poll_read(cx, buf) {
            Poll::Ready(Ok(())) => {
                if self.messages.take(&buf.filled()[before..]) {
                    self.owed = None;
                } else if self.owed.is_some() {
                    self.owe(cx);
                }
                Poll::Ready(Ok(()))
            }
            Poll::Pending => match &mut self.owed {
                Some(sleep) => sleep.as_mut().poll(cx).map(|()| {
                    Err(io::Error::new(io::ErrorKind::TimedOut, "the server did not answer"))
                }),
                None => Poll::Pending,
            },
            failed @ Poll::Ready(Err(_)) => failed,
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Patient<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.inner).poll_write(cx, bytes);
        // A server that takes nothing more is overdue as well.
        if written.is_ready() || self.owed.is_none() {
            self.owe(cx);
        }
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

impl<S: TlsStream + Unpin> TlsStream for Patient<S> {
    fn channel_binding(&self) -> ChannelBinding {
        self.inner.channel_binding()
    }
}

/// Wraps the streams of another way of connecting.
#[derive(Clone)]
pub(crate) struct Patiently<C> {
    pub(crate) inner: C,
    pub(crate) most: Duration,
}

type Connecting<S, E> = Pin<Box<dyn Future<Output = Result<Patient<S>, E>> + Send>>;

impl<S, C> MakeTlsConnect<S> for Patiently<C>
where
    C: MakeTlsConnect<S>,
    <C::TlsConnect as TlsConnect<S>>::Future: Send + 'static,
{
    type Stream = Patient<C::Stream>;
    type TlsConnect = Patiently<C::TlsConnect>;
    type Error = C::Error;

    fn make_tls_connect(&mut self, host: &str) -> Result<Self::TlsConnect, Self::Error> {
        Ok(Patiently { inner: self.inner.make_tls_connect(host)?, most: self.most })
    }
}

impl<S, C> TlsConnect<S> for Patiently<C>
where
    C: TlsConnect<S>,
    C::Future: Send + 'static,
{
    type Stream = Patient<C::Stream>;
    type Error = C::Error;
    type Future = Connecting<C::Stream, C::Error>;

    fn connect(self, stream: S) -> Self::Future {
        let (connecting, most) = (self.inner.connect(stream), self.most);
        Box::pin(async move { connecting.await.map(|stream| Patient::new(stream, most)) })
    }
}

/// "Encryption" that is none, so that a connection without TLS can be wrapped, too.
#[derive(Clone, Copy)]
pub(crate) struct Plain;

/// The bare stream.
pub(crate) struct PlainStream<S>(S);

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> MakeTlsConnect<S> for Plain {
    type Stream = PlainStream<S>;
    type TlsConnect = Self;
    type Error = std::convert::Infallible;

    fn make_tls_connect(&mut self, _host: &str) -> Result<Self, Self::Error> {
        Ok(Self)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> TlsConnect<S> for Plain {
    type Stream = PlainStream<S>;
    type Error = io::Error;
    type Future = std::future::Ready<Result<PlainStream<S>, io::Error>>;

    fn connect(self, stream: S) -> Self::Future {
        std::future::ready(Ok(PlainStream(stream)))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> TlsStream for PlainStream<S> {
    fn channel_binding(&self) -> ChannelBinding {
        ChannelBinding::none()
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for PlainStream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for PlainStream<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may")]
mod tests {
    use super::*;

    /// However the bytes are sliced, an answer ends with its ReadyForQuery and nowhere else.
    #[test]
    fn an_answer_ends_with_ready_for_query() {
        let mut answer = b"C\0\0\0\x0bCOMMIT\0".to_vec();
        // A row whose bytes look like the message that ends an answer.
        answer.extend_from_slice(b"D\0\0\0\x0aZ\0\0\0\x05I");
        answer.extend_from_slice(b"Z\0\0\0\x05I");
        for slice in 1..=answer.len() {
            let mut messages = Messages::default();
            let mut taken = 0;
            for part in answer.chunks(slice) {
                taken += part.len();
                assert_eq!(messages.take(part), taken == answer.len(), "{slice}: at {taken}");
            }
        }
    }

    #[test]
    fn who_is_owed_an_answer_waits_so_long_and_no_longer() {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_time().build();
        runtime.unwrap().block_on(async {
            use tokio::io::{AsyncReadExt, AsyncWriteExt};
            let (mine, mut theirs) = tokio::io::duplex(64);
            let mut stream = Patient::new(mine, Duration::from_millis(50));
            let mut byte = [0];
            // Nothing was asked: a server may be silent for as long as it likes.
            let silent = tokio::time::timeout(Duration::from_millis(200), stream.read(&mut byte));
            assert!(silent.await.is_err(), "a silent connection was given up");
            stream.write_all(b"Q").await.unwrap();
            assert_eq!(stream.read(&mut byte).await.unwrap_err().kind(), io::ErrorKind::TimedOut);
            // An answer clears it.
            let mut answer = [0; 6];
            theirs.write_all(b"Z\0\0\0\x05I").await.unwrap();
            stream.read_exact(&mut answer).await.unwrap();
            let silent = tokio::time::timeout(Duration::from_millis(200), stream.read(&mut byte));
            assert!(silent.await.is_err(), "a silent connection was given up after an answer");
            // Half an answer does not.
            stream.write_all(b"Q").await.unwrap();
            theirs.write_all(b"Z\0\0").await.unwrap();
            stream.read_exact(&mut answer[..3]).await.unwrap();
            assert_eq!(stream.read(&mut byte).await.unwrap_err().kind(), io::ErrorKind::TimedOut);
        });
    }
}
