//! What waits: requests on disk between a client and a job of its connection.
//!
//! A directory one can read with `ls`, `cat` and, where requests are not sealed, `zstdcat`:
//!
//! ```text
//! inbox.json       the series of numbers, each with its random name (`history.rs`)
//! tables.json      the tables ever received, with their newest shape
//! released.json    up to which number requests were deleted
//! writer.lock      held by the service while it takes requests
//! release.lock     held while requests are deleted
//! requests/000000000042-20261128T093000.123456Z-500r-20480b.ndjson.zst     a request
//! requests/0f1e….partial                                                   one that is being written
//! damaged/         requests that could not be read again
//! ```
//!
//! One process writes ([`Inbox`] holds a lock), a job reads, in the same process or another. A file is
//! deleted when a destination said that it has what is in it.

mod content;
mod files;
mod history;
mod tables;

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use bobbin_core::id::StreamName;
use bobbin_core::state::State;
use bobbin_core::{Error, ErrorKind, Party, Result};
use bobbin_engine::vault::Vault;
use jiff::Timestamp;

use crate::batch::Batch;
pub(crate) use content::{Content, Fault, Section};
pub(crate) use files::{Named, Place};
pub(crate) use history::{History, Position};
pub(crate) use tables::{Tables, grown};

/// Bounds of an inbox.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes of files that may wait; beyond them requests are refused until a job has loaded some.
    pub most_waiting_bytes: u64,
    /// Disk that is left free: the smaller of this many bytes and a twentieth of the disk.
    pub reserve_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { most_waiting_bytes: 8 << 30, reserve_bytes: 1 << 30 }
    }
}

/// The inbox of one connection, for who takes requests. One serves all threads.
#[derive(Debug)]
pub struct Inbox {
    place: Place,
    limits: Limits,
    numbers: Mutex<Numbers>,
    tables: Mutex<Tables>,
    /// What seals requests; they are plain without it.
    vault: Option<Vault>,
    /// Bytes that wait, as far as is known without looking: what a job deleted is still in it.
    waiting_bytes: AtomicU64,
    _lock: File,
}

/// What gives requests their numbers.
#[derive(Debug)]
struct Numbers {
    next: u64,
    history: History,
    /// Whether the series of this writer has begun.
    begun: bool,
}

/// A request that is durable.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Accepted {
    /// Its number in the order of requests.
    pub number: u64,
    /// Records in it.
    pub rows: u64,
    /// Bytes of its file.
    pub bytes: u64,
    /// Its tables.
    pub tables: Vec<StreamName>,
}

/// What waits to be loaded.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Waiting {
    /// Requests.
    pub requests: u64,
    /// Records in them.
    pub rows: u64,
    /// Bytes of their files.
    pub bytes: u64,
    /// When the first of them came.
    pub oldest: Option<Timestamp>,
    /// Requests that could not be read again and were set aside.
    pub damaged: u64,
}

impl Inbox {
    /// Opens an inbox, which is made when missing, and deletes what a crash left half written. Where there is
    /// a vault, what comes from now on is sealed (F-103).
    ///
    /// # Errors
    /// Of kind `Conflict` when somebody else takes requests into it.
    pub fn open(directory: &Path, limits: Limits, vault: Option<Vault>) -> Result<Self> {
        let place = Place::new(directory);
        place.make()?;
        let lock = lock_of_writer(&place)?;
        place.sweep()?;
        let waiting = place.waiting()?;
        let last = waiting.last().map_or(0, |file| file.number);
        let damaged = place.set_aside()?.last().map_or(0, |file| file.number);
        let released = history::released(&place)?;
        let next = last.max(damaged).max(released) + 1;
        let history = History::read(&place)?;
        Ok(Self {
            tables: Mutex::new(Tables::read(&place)?),
            place,
            limits,
            vault,
            numbers: Mutex::new(Numbers { next, history, begun: false }),
            waiting_bytes: AtomicU64::new(waiting.iter().map(|file| file.bytes).sum()),
            _lock: lock,
        })
    }

    /// Where it is.
    pub fn directory(&self) -> &Path {
        self.place.root()
    }

    /// Takes a request, whole: once this returns it is durable, and a job loads it. On an error nothing
    /// of it is kept, and the client is to send it again.
    ///
    /// A reader that has seen a number must never see a smaller one appear: its state covers it already.
    /// So the data is synced first, by each thread for itself, and only then, under the lock, the request
    /// gets its number and becomes visible under it by one rename. Renames happen in the order of numbers,
    /// and a number is given only by a rename. That the rename itself is durable is waited for after the
    /// lock; should the power fail before, a reader may have seen a number that is given once more, but
    /// then by another series (`history.rs`).
    ///
    /// # Errors
    /// Of kind `Unavailable` when as much waits as may, `DiskFull` or `Io` when it cannot be written, `Config`
    /// when a table would be one too many.
    pub fn accept(&self, batches: &[Batch], now: Timestamp) -> Result<Accepted> {
        let rows = batches.iter().map(Batch::rows).sum();
        self.check_room()?;
        let partial = Partial(self.place.partial()?);
        let bytes =
            content::write((&partial.0, self.vault.as_ref()), batches, files::random()?, now)?;
        // Before it is visible: a job then knows each table it meets.
        locked(&self.tables).learn(&self.place, batches)?;
        let file = {
            let mut numbers = locked(&self.numbers);
            if !numbers.begun {
                let (first, released) = (numbers.next, history::released(&self.place)?);
                numbers.history.begin(&self.place, first, released)?;
                numbers.begun = true;
            }
            let file = Named::new(&self.place, numbers.next, now, (rows, bytes));
            fs::rename(&partial.0, &file.path).map_err(|error| self.failed(error))?;
            numbers.next += 1;
            file
        };
        if let Err(error) = files::sync_directory(&self.place.requests()) {
            // The client is told that it was not taken. Its number is not given again.
            let _ = fs::remove_file(&file.path);
            return Err(self.failed(error));
        }
        self.waiting_bytes.fetch_add(bytes, Ordering::Relaxed);
        let tables = batches.iter().map(|batch| batch.table().clone()).collect();
        Ok(Accepted { number: file.number, rows, bytes, tables })
    }

    /// What waits, beside what `state` covers, the connection's state as far as it is known.
    pub fn waiting(&self, state: &State) -> Result<Waiting> {
        waiting(&self.place, state)
    }

    /// Deletes the requests that `state` covers, which must be durable in the destination. Jobs do this at
    /// their beginning; called at the end of one it gives room at once. Gives how many went.
    pub fn release(&self, state: &State) -> Result<u64> {
        release(&self.place, state)
    }

    fn failed(&self, error: std::io::Error) -> Error {
        Error::io("cannot add a request to the inbox", error)
            .with("path", self.place.root().display())
    }

    /// Refuses before the disk is full, so that what runs beside us can still finish, and when as much
    /// waits as may.
    fn check_room(&self) -> Result<()> {
        let most = self.limits.most_waiting_bytes;
        if self.waiting_bytes.load(Ordering::Relaxed) >= most {
            let bytes = self.place.waiting()?.iter().map(|file| file.bytes).sum();
            self.waiting_bytes.store(bytes, Ordering::Relaxed);
            if bytes >= most {
                return Err(Error::new(
                    ErrorKind::Unavailable,
                    "the inbox holds as much as it may",
                )
                .of(Party::Operator)
                .with("path", self.place.root().display())
                .with("waiting_bytes", bytes)
                .with("most_waiting_bytes", most)
                .hint("there is room again when a job of the connection has loaded what waits"));
            }
        }
        let Ok(stat) = rustix::fs::statvfs(self.place.root()) else { return Ok(()) };
        let free = stat.f_bavail.saturating_mul(stat.f_frsize);
        let whole = stat.f_blocks.saturating_mul(stat.f_frsize);
        let reserve = self.limits.reserve_bytes.min(whole / 20);
        if free >= reserve {
            return Ok(());
        }
        Err(Error::new(ErrorKind::DiskFull, "the inbox's disk is nearly full")
            .with("path", self.place.root().display())
            .with("free_bytes", free)
            .with("kept_free_bytes", reserve)
            .hint("free some space; what waits is kept, and clients send again what was refused"))
    }
}

/// A file that is deleted unless it became a request.
struct Partial(PathBuf);

impl Drop for Partial {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

fn lock_of_writer(place: &Place) -> Result<File> {
    let path = place.file("writer.lock");
    let failed =
        |error| Error::io("cannot take the inbox's lock", error).with("path", path.display());
    let lock = File::options().create(true).truncate(false).write(true).open(&path);
    let lock = lock.map_err(failed)?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::Error(error)) => Err(failed(error)),
        Err(TryLockError::WouldBlock) => {
            Err(Error::new(ErrorKind::Conflict, "somebody else takes requests into this inbox")
                .with("path", path.display())
                .hint("one service serves a directory; stop the other one first"))
        }
    }
}

pub(crate) fn waiting(place: &Place, state: &State) -> Result<Waiting> {
    let files = place.waiting()?;
    let covered = History::read(place)?.covered(Position::of(state).as_ref()).unwrap_or(0);
    let damaged = place.set_aside()?.len() as u64;
    let mut all = Waiting { damaged, ..Waiting::default() };
    for file in files.iter().filter(|file| file.number > covered) {
        all.requests += 1;
        all.rows += file.rows;
        all.bytes += file.bytes;
        all.oldest = Some(all.oldest.map_or(file.received, |oldest| oldest.min(file.received)));
    }
    Ok(all)
}

/// Deletes what a state covers, after it is written down up to where: numbers go on from there, and an
/// older copy of the destination is told what it cannot have again.
pub(crate) fn release(place: &Place, state: &State) -> Result<u64> {
    let covered = |history: &History| history.covered(Position::of(state).as_ref()).unwrap_or(0);
    if covered(&History::read(place)?) == 0 {
        return Ok(0);
    }
    let path = place.file("release.lock");
    let failed = |error| Error::io("cannot release requests", error).with("path", path.display());
    let lock = File::options().create(true).truncate(false).write(true).open(&path);
    let lock = lock.map_err(failed)?;
    lock.lock().map_err(failed)?;
    let files = place.waiting()?;
    // Read after the list: each file's series is in it.
    let covered = covered(&History::read(place)?);
    let mut gone: Vec<Named> = files.into_iter().filter(|file| file.number <= covered).collect();
    let Some(last) = gone.pop() else { return Ok(0) };
    gone.push(last.clone());
    if last.number > history::released(place)? {
        history::release(place, last.number)?;
    }
    for file in &gone {
        match fs::remove_file(&file.path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(failed(error));
            }
            _ => {}
        }
    }
    Ok(gone.len() as u64)
}

/// The number up to which requests were deleted.
pub(crate) fn released(place: &Place) -> Result<u64> {
    history::released(place)
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
