//! A connection that does not wait for ever.
//!
//! PostgreSQL bounds its own statements (`statement_timeout`); what it cannot bound is a network
//! that swallows bytes while the connection stays open, or a length that was damaged on the way, so
//! that both sides wait for the other. [`Patient`] wraps the stream under the client: while a question
//! is without the message that ends its answer, no more than the given time may pass without a byte
//! in either direction. Then reading fails, the connection counts as lost, and
//! the round is repeated over a new one.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use postgres::tls::{ChannelBinding, MakeTlsConnect, TlsConnect, TlsStream};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep};

/// A stream that fails when an answer is overdue.
pub(crate) struct Patient<S> {
    inner: S,
    most: Duration,
    /// Runs while an answer is owed or the server takes no more bytes.
    overdue: Option<Pin<Box<Sleep>>>,
    asked: Messages,
    answered: Messages,
    /// Answers that are owed: questions without their ReadyForQuery.
    owed: u32,
    blocked: bool,
}

impl<S> Patient<S> {
    fn new(inner: S, most: Duration) -> Self {
        // The first message has no tag.
        let asked = Messages { untagged: true, ..Messages::default() };
        let answered = Messages::default();
        Self { inner, most, overdue: None, asked, answered, owed: 0, blocked: false }
    }

    /// Something moved: the time begins anew if anything is owed, and this task is woken at its end.
    fn moved(&mut self, cx: &mut Context<'_>) {
        if self.owed == 0 && !self.blocked {
            self.overdue = None;
            return;
        }
        let sleep = self.overdue.get_or_insert_with(|| Box::pin(sleep(self.most)));
        sleep.as_mut().reset(Instant::now() + self.most);
        let _ = sleep.as_mut().poll(cx);
    }

    /// Counts what these bytes ask.
    fn asks(&mut self, bytes: &[u8]) {
        let owed = &mut self.owed;
        // The start-up message, Query and Sync are each answered by one ReadyForQuery.
        self.asked.take(bytes, |tag| *owed += u32::from(matches!(tag, 0 | b'Q' | b'S')));
    }

    /// Counts what these bytes answer.
    fn answers(&mut self, bytes: &[u8]) {
        let owed = &mut self.owed;
        // ReadyForQuery; and a server that begins to take rows skips the Sync sent with the COPY.
        self.answered
            .take(bytes, |tag| *owed = owed.saturating_sub(u32::from(matches!(tag, b'Z' | b'G'))));
    }
}

/// Follows the messages of one direction: a tag, and a length that counts itself.
#[derive(Default, Debug)]
struct Messages {
    /// Whether the next message is without a tag.
    untagged: bool,
    header: [u8; 5],
    /// Bytes of the header that are there.
    have: usize,
    /// Bytes of the message's body that are still to come.
    rest: usize,
}

impl Messages {
    /// Takes bytes; tells the tag of each message that ends in them.
    fn take(&mut self, mut bytes: &[u8], mut ends: impl FnMut(u8)) {
        while !bytes.is_empty() {
            if self.have == 0 && self.untagged {
                self.have = 1;
                self.header[0] = 0;
                self.untagged = false;
            }
            if self.have < 5 {
                let n = bytes.len().min(5 - self.have);
                self.header[self.have..self.have + n].copy_from_slice(&bytes[..n]);
                self.have += n;
                bytes = &bytes[n..];
                if self.have < 5 {
                    return;
                }
                let [_, length @ ..] = self.header;
                self.rest = (u32::from_be_bytes(length) as usize).saturating_sub(4);
            }
            let n = bytes.len().min(self.rest);
            self.rest -= n;
            bytes = &bytes[n..];
            if self.rest == 0 {
                self.have = 0;
                ends(self.header[0]);
            }
        }
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
                self.answers(&buf.filled()[before..]);
                self.moved(cx);
                Poll::Ready(Ok(()))
            }
            Poll::Pending => match &mut self.overdue {
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
        if let Poll::Ready(Ok(n)) = &written {
            self.asks(&bytes[..*n]);
        }
        // Time goes on while the server takes nothing more.
        if written.is_ready() || !self.blocked {
            self.blocked = written.is_pending();
            self.moved(cx);
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
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[test]
    fn messages_end_where_they_end_however_they_are_sliced() {
        let mut answer = b"C\0\0\0\x0bCOMMIT\0".to_vec();
        // A row whose bytes look like the message that ends an answer.
        answer.extend_from_slice(b"D\0\0\0\x0aZ\0\0\0\x05I");
        answer.extend_from_slice(b"s\0\0\0\x04");
        answer.extend_from_slice(b"Z\0\0\0\x05I");
        for slice in 1..=answer.len() {
            let (mut messages, mut tags) = (Messages::default(), Vec::new());
            for part in answer.chunks(slice) {
                messages.take(part, |tag| tags.push(tag));
            }
            assert_eq!(tags, b"CDsZ", "{slice}");
        }
    }

    const START: &[u8] = b"\0\0\0\x08\0\x03\0\0";
    const QUERY: &[u8] = b"Q\0\0\0\x05\0";
    const SYNC: &[u8] = b"S\0\0\0\x04";
    const READY: &[u8] = b"Z\0\0\0\x05I";
    const COPY_IN: &[u8] = b"G\0\0\0\x07\x01\0\0";

    /// Writes what is asked, lets the server send `answer`, and tells whether patience then ends.
    fn ends(asked: &[&[u8]], answer: &[&[u8]]) -> bool {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
        runtime.unwrap().block_on(async {
            let (mine, mut theirs) = tokio::io::duplex(1 << 10);
            let mut stream = Patient::new(mine, Duration::from_millis(50));
            stream.write_all(&asked.concat()).await.unwrap();
            let answer = answer.concat();
            theirs.write_all(&answer).await.unwrap();
            stream.read_exact(&mut vec![0; answer.len()]).await.unwrap();
            let mut byte = [0];
            let read = stream.read(&mut byte);
            match tokio::time::timeout(Duration::from_millis(500), read).await {
                Err(_) => false,
                Ok(read) => {
                    assert_eq!(read.unwrap_err().kind(), io::ErrorKind::TimedOut);
                    true
                }
            }
        })
    }

    #[test]
    fn who_is_owed_an_answer_waits_so_long_and_no_longer() {
        assert!(ends(&[START], &[]));
        // Nothing is owed: a server may be silent for as long as it likes.
        assert!(!ends(&[START], &[READY]));
        assert!(ends(&[START, QUERY], &[READY]));
        assert!(!ends(&[START, QUERY], &[READY, READY]));
        // Half an answer is none.
        assert!(ends(&[START, QUERY], &[READY, &READY[..3]]));
        // Two questions want two answers, however the first was damaged.
        assert!(ends(&[START, SYNC, SYNC], &[READY, b"\xda\0\0\0\x05I", READY]));
        // A COPY's own Sync is skipped; the one after the rows is answered.
        assert!(!ends(&[START, SYNC], &[READY, COPY_IN]));
        assert!(ends(&[START, SYNC, b"c\0\0\0\x04", SYNC], &[READY, COPY_IN]));
        assert!(!ends(&[START, SYNC, b"c\0\0\0\x04", SYNC], &[READY, COPY_IN, READY]));
    }

    #[test]
    fn a_server_that_takes_nothing_more_is_given_up() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
        runtime.unwrap().block_on(async {
            let (mine, _theirs) = tokio::io::duplex(16);
            let mut stream = Patient::new(mine, Duration::from_millis(50));
            stream.asked.untagged = false;
            let (mut reads, mut writes) = tokio::io::split(stream);
            let mut byte = [0];
            let rows = [0; 64];
            tokio::select! {
                _ = writes.write_all(&rows) => unreachable!("16 bytes hold 64"),
                read = reads.read(&mut byte) => {
                    assert_eq!(read.unwrap_err().kind(), io::ErrorKind::TimedOut);
                }
            }
        });
    }
}
