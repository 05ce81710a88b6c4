//! Between bobbin and a PostgreSQL server: a proxy on real sockets that does to the bytes what bad
//! networks do. Faults are data; the proxy remembers what struck.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, Instant};

/// Which way bytes go.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Way {
    /// From bobbin to the server.
    There,
    /// From the server to bobbin.
    Back,
}

/// A moment around a COMMIT.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Moment {
    /// The server never gets the COMMIT: the round is not durable.
    BeforeQuestion,
    /// The server did it, and nothing of its answer arrives: durable, and bobbin cannot know.
    BeforeAnswer,
    /// A part of the answer arrives.
    InAnswer,
    /// The answer arrives, but not that the server is ready again.
    AfterAnswer,
}

/// A part of a message's frame. A frame damaged like this is never taken for another one: PostgreSQL
/// and the client both check tags and lengths.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Frame {
    /// The byte that says what kind of message it is.
    Tag,
    /// The sign bit of the length.
    Length,
}

/// What the proxy does. All but the first two happen once in the proxy's life.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Fault {
    /// Every chunk waits, both ways.
    Delay(Duration),
    /// Chunks have at most so many bytes, both ways.
    Slices(usize),
    /// The connection is cut after so many bytes that way.
    CutAfter(Way, u64),
    /// The connection is cut around the `nth` COMMIT (from 1), and for a while no other is taken.
    CutAtCommit(Moment, u32, Duration),
    /// After so many bytes that way nothing is passed on for a while.
    Hold(Way, u64, Duration),
    /// After so many bytes that way nothing is ever passed on in that connection, which stays open.
    Swallow(Way, u64),
    /// A bit of the byte with this number is flipped.
    Corrupt(Way, u64),
    /// The frame of the message with this number is damaged.
    CorruptFrame(Way, Frame, u64),
}

/// A running proxy; it ends, with all its connections, when this is dropped.
pub(crate) struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    server: SocketAddr,
    fault: Fault,
    state: Mutex<State>,
    ended: AtomicBool,
}

#[derive(Default)]
struct State {
    /// Bytes passed on, there and back.
    bytes: [u64; 2],
    /// Messages seen whole, there and back.
    messages: [u64; 2],
    commits: u32,
    struck: u32,
    connections: u32,
    /// No connection is taken before this.
    closed_until: Option<Instant>,
    sockets: Vec<TcpStream>,
}

impl Proxy {
    /// Starts one in front of the server.
    pub(crate) fn start(server: SocketAddr, fault: Fault) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            server,
            fault,
            state: Mutex::new(State::default()),
            ended: AtomicBool::new(false),
        });
        let ours = Arc::clone(&shared);
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                if ours.ended.load(Ordering::SeqCst) {
                    break;
                }
                ours.serve(client);
            }
        });
        Self { address, shared }
    }

    pub(crate) fn port(&self) -> u16 {
        self.address.port()
    }

    /// How often the fault struck.
    pub(crate) fn struck(&self) -> u32 {
        self.shared.state().struck
    }

    /// How many connections came.
    pub(crate) fn connections(&self) -> u32 {
        self.shared.state().connections
    }

    /// How many COMMITs were seen.
    pub(crate) fn commits(&self) -> u32 {
        self.shared.state().commits
    }

    /// Bytes passed on that way.
    pub(crate) fn bytes(&self, way: Way) -> u64 {
        self.shared.state().bytes[way as usize]
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.address);
        for socket in self.shared.state().sockets.drain(..) {
            let _ = socket.shutdown(Shutdown::Both);
        }
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// Two threads for one connection; without a server the client meets a closed door.
    fn serve(self: &Arc<Self>, client: TcpStream) {
        {
            let mut state = self.state();
            state.connections += 1;
            if state.closed_until.is_some_and(|until| Instant::now() < until) {
                return;
            }
        }
        let Ok(server) = TcpStream::connect(self.server) else { return };
        for socket in [&client, &server] {
            let _ = socket.set_nodelay(true);
            self.state().sockets.push(socket.try_clone().unwrap());
        }
        let commit = Arc::new(AtomicBool::new(false));
        let pairs = [
            (Way::There, client.try_clone().unwrap(), server.try_clone().unwrap()),
            (Way::Back, server, client),
        ];
        for (way, from, to) in pairs {
            let pump = Pump {
                shared: Arc::clone(self),
                way,
                frames: Frames { untagged: way == Way::There, ..Frames::default() },
                commit_asked: Arc::clone(&commit),
                swallowed: false,
                to,
            };
            thread::spawn(move || pump.run(from));
        }
    }

    /// Whether a fault that comes once comes now.
    fn strikes(state: &mut State) -> bool {
        let first = state.struck == 0;
        state.struck += u32::from(first);
        first
    }
}

/// One direction of one connection.
struct Pump {
    shared: Arc<Shared>,
    way: Way,
    frames: Frames,
    /// Set while the answer to the COMMIT that is to be cut is awaited.
    commit_asked: Arc<AtomicBool>,
    swallowed: bool,
    to: TcpStream,
}

/// The connection is over.
struct Over;

impl Pump {
    fn run(mut self, mut from: TcpStream) {
        let mut chunk = vec![0; 1 << 14];
        while let Ok(n @ 1..) = from.read(&mut chunk) {
            if self.pass(&mut chunk[..n]).is_err() {
                break;
            }
        }
        let _ = from.shutdown(Shutdown::Both);
        let _ = self.to.shutdown(Shutdown::Both);
    }

    fn pass(&mut self, chunk: &mut [u8]) -> Result<(), Over> {
        match self.shared.fault {
            Fault::CutAtCommit(..) | Fault::CorruptFrame(..) => {
                for piece in self.frames.take(chunk) {
                    self.pass_piece(piece)?;
                }
                Ok(())
            }
            Fault::Delay(wait) => {
                self.shared.state().struck += 1;
                thread::sleep(wait);
                self.send(chunk)
            }
            Fault::Slices(most) => {
                self.shared.state().struck += 1;
                chunk.chunks(most).try_for_each(|slice| self.send(slice))
            }
            fault => self.pass_counted(chunk, fault),
        }
    }

    /// The faults that come after a number of bytes.
    fn pass_counted(&mut self, chunk: &mut [u8], fault: Fault) -> Result<(), Over> {
        if self.swallowed {
            return Ok(());
        }
        let (Fault::CutAfter(way, at)
        | Fault::Hold(way, at, _)
        | Fault::Swallow(way, at)
        | Fault::Corrupt(way, at)) = fault
        else {
            return self.send(chunk);
        };
        let mut state = self.shared.state();
        let reached = state.bytes[self.way as usize];
        let here = way == self.way && at < reached + chunk.len() as u64;
        if !(here && Shared::strikes(&mut state)) {
            drop(state);
            return self.send(chunk);
        }
        drop(state);
        let middle = at.saturating_sub(reached) as usize;
        if let Fault::Corrupt(..) = fault {
            chunk[middle] ^= 1 << (at % 8);
            return self.send(chunk);
        }
        let (front, rest) = chunk.split_at(middle);
        self.send(front)?;
        match fault {
            Fault::Hold(_, _, wait) => {
                thread::sleep(wait);
                self.send(rest)
            }
            Fault::Swallow(..) => {
                self.swallowed = true;
                Ok(())
            }
            _ => Err(Over),
        }
    }

    /// The faults that know messages.
    fn pass_piece(&mut self, piece: Piece) -> Result<(), Over> {
        let Piece { mut bytes, starts } = piece;
        if starts {
            let number = {
                let mut state = self.shared.state();
                let number = &mut state.messages[self.way as usize];
                *number += 1;
                *number
            };
            match self.shared.fault {
                Fault::CorruptFrame(way, part, at)
                    if way == self.way
                        && number >= at
                        && Shared::strikes(&mut self.shared.state()) =>
                {
                    bytes[match part {
                        Frame::Tag => 0,
                        Frame::Length => 1,
                    }] ^= 0x80;
                }
                Fault::CutAtCommit(moment, nth, away) => {
                    return self.at_commit(&bytes, moment, nth, away);
                }
                _ => {}
            }
        }
        self.send(&bytes)
    }

    /// Cuts around a COMMIT. The question and its answer are short: each is one whole piece.
    fn at_commit(
        &mut self,
        message: &[u8],
        moment: Moment,
        nth: u32,
        away: Duration,
    ) -> Result<(), Over> {
        if self.way == Way::There && message[0] == b'Q' && message.ends_with(b"COMMIT\0") {
            let mut state = self.shared.state();
            state.commits += 1;
            if state.commits >= nth && state.struck == 0 {
                if moment == Moment::BeforeQuestion {
                    state.struck += 1;
                    state.closed_until = Some(Instant::now() + away);
                    return Err(Over);
                }
                self.commit_asked.store(true, Ordering::SeqCst);
            }
        }
        let answer = self.way == Way::Back
            && message[0] == b'C'
            && message.ends_with(b"COMMIT\0")
            && self.commit_asked.load(Ordering::SeqCst);
        if answer && Shared::strikes(&mut self.shared.state()) {
            let arrives = match moment {
                Moment::BeforeQuestion | Moment::BeforeAnswer => 0,
                Moment::InAnswer => message.len() / 2,
                Moment::AfterAnswer => message.len(),
            };
            self.shared.state().closed_until = Some(Instant::now() + away);
            self.send(&message[..arrives])?;
            return Err(Over);
        }
        self.send(message)
    }

    fn send(&mut self, bytes: &[u8]) -> Result<(), Over> {
        self.to.write_all(bytes).map_err(|_| Over)?;
        self.shared.state().bytes[self.way as usize] += bytes.len() as u64;
        Ok(())
    }
}

/// Bytes to pass on. A message that is short comes whole, in one piece.
struct Piece {
    bytes: Vec<u8>,
    /// Whether a message with a tag starts here.
    starts: bool,
}

/// Messages at most this long come whole; of others the beginning alone.
const WHOLE: usize = 64;

/// Cuts a direction's bytes at the frames of PostgreSQL's protocol (version 3, without TLS): a tag,
/// then a length that counts itself. Only the client's first message has no tag.
#[derive(Default)]
struct Frames {
    untagged: bool,
    /// The beginning of a message that is not there yet.
    held: Vec<u8>,
    /// Bytes of a long message still to come.
    rest: usize,
}

impl Frames {
    fn take(&mut self, mut bytes: &[u8]) -> Vec<Piece> {
        let mut pieces = Vec::new();
        while !bytes.is_empty() {
            if self.rest > 0 {
                let n = self.rest.min(bytes.len());
                pieces.push(Piece { bytes: bytes[..n].to_vec(), starts: false });
                self.rest -= n;
                bytes = &bytes[n..];
                continue;
            }
            let head = if self.untagged { 4 } else { 5 };
            let wanted =
                if self.held.len() < head { head } else { self.length().min(WHOLE.max(head)) };
            let n = wanted.saturating_sub(self.held.len()).min(bytes.len());
            self.held.extend_from_slice(&bytes[..n]);
            bytes = &bytes[n..];
            if self.held.len() >= head && self.held.len() >= self.length().min(WHOLE.max(head)) {
                self.rest = self.length().saturating_sub(self.held.len());
                let starts = !std::mem::take(&mut self.untagged);
                pieces.push(Piece { bytes: std::mem::take(&mut self.held), starts });
            }
        }
        pieces
    }

    /// The length of the message whose head is held, with its tag.
    fn length(&self) -> usize {
        let at = usize::from(!self.untagged);
        let length: [u8; 4] = self.held[at..at + 4].try_into().unwrap();
        u32::from_be_bytes(length) as usize + at
    }
}

#[test]
fn frames_are_found_however_the_bytes_are_sliced() {
    let mut bytes = vec![0, 0, 0, 8, 0, 3, 0, 0];
    bytes.extend_from_slice(b"Q\0\0\0\x0bCOMMIT\0");
    bytes.extend_from_slice(b"d\0\0\x01\0");
    bytes.extend_from_slice(&[b'Q'; 252]);
    bytes.extend_from_slice(b"c\0\0\0\x04");
    for slice in 1..bytes.len() {
        let mut frames = Frames { untagged: true, ..Frames::default() };
        let pieces: Vec<Piece> = bytes.chunks(slice).flat_map(|part| frames.take(part)).collect();
        let tags: Vec<u8> =
            pieces.iter().filter(|piece| piece.starts).map(|piece| piece.bytes[0]).collect();
        assert_eq!(tags, b"Qdc", "{slice}");
        let whole: Vec<u8> = pieces.into_iter().flat_map(|piece| piece.bytes).collect();
        assert_eq!(whole, bytes, "{slice}");
    }
}
