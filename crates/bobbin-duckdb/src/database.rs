//! The database file: opened once per process, shared by all who need it.
//!
//! The operating system's lock keeps other programs out but not a second opening in the same
//! process, which would corrupt the file. So all openings go through one list.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};

use bobbin_core::{Error, ErrorKind, Result};
use duckdb::Connection;

use crate::config::Config;
use crate::error::{self, Doing};
use crate::sql;
use crate::table::Table;

/// Rows in a row group. With the default (122,880) DuckDB keeps one whole uncompressed group of
/// rows in memory, some 300 MB for wide tables, before it writes anything.
pub(crate) const ROW_GROUP: u32 = 16_384;

/// Bytes in a block of a new file. A column that is not yet written takes a whole block in memory;
/// with the default of 256 KiB a few small tables of a hundred columns each fill any limit. Much
/// smaller blocks cut a row group into so many pieces that keeping track of them takes 60 MB per
/// million rows, and the file grows by a quarter.
const BLOCK_BYTES: u32 = 65_536;

/// Mebibytes more than the limit for reading in the write-ahead log that a crash left.
const REPLAY_MB: u32 = 64;

/// The name of a file whose own name would be mistaken for that of a schema in it.
const OTHER_NAME: &str = "bobbin_file";

/// The open files of this process. A file is here until it is closed for good.
static OPEN: Mutex<BTreeMap<PathBuf, Weak<Shared>>> = Mutex::new(BTreeMap::new());
/// Those that are only read, with how many read them. Looked at and changed with [`OPEN`] locked.
static READ: Mutex<BTreeMap<PathBuf, u32>> = Mutex::new(BTreeMap::new());
static CLOSED: Condvar = Condvar::new();

/// An open database file. The last one dropped closes it; drop connections first.
#[derive(Clone, Debug)]
pub(crate) struct Database {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    root: Mutex<Connection>,
    catalog: String,
    memory_limit_mb: u32,
    block_kib: u64,
    /// Kibibytes beyond the limit for what DuckDB cannot put aside.
    room: Mutex<Room>,
    /// Open rounds whose rows stay in DuckDB's hands until they are committed.
    holding: Mutex<u32>,
    /// Last, because the list may only forget the file once it is closed.
    entry: Entry,
}

#[derive(Debug)]
struct Entry(PathBuf);

impl Drop for Entry {
    fn drop(&mut self) {
        open_files().remove(&self.0);
        CLOSED.notify_all();
    }
}

fn open_files() -> MutexGuard<'static, BTreeMap<PathBuf, Weak<Shared>>> {
    OPEN.lock().unwrap_or_else(PoisonError::into_inner)
}

fn read_files() -> MutexGuard<'static, BTreeMap<PathBuf, u32>> {
    READ.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A file of this process while it is only read: nobody here opens it for writing meanwhile. Two openings
/// of a process know nothing of each other, and closing one gives the other's lock back.
#[derive(Debug)]
pub(crate) struct Reading(PathBuf);

impl Drop for Reading {
    fn drop(&mut self) {
        let _open = open_files();
        let mut read = read_files();
        if let Some(count) = read.get_mut(&self.0) {
            *count -= 1;
            if *count == 0 {
                read.remove(&self.0);
            }
        }
        CLOSED.notify_all();
    }
}

/// How a file is read.
pub(crate) enum Read {
    /// With those of this process who write it.
    Joined(Database),
    /// By an opening of its own, to be closed before this is dropped.
    Alone { _until: Reading },
}

impl Database {
    /// Opens the file for writing, or joins those in this process who have it open. `schema` is
    /// one that will be made in it.
    pub(crate) fn open(config: &Config, schema: &str) -> Result<Self> {
        let path = canonical(&config.path)?;
        let mut open = open_files();
        loop {
            match open.get(&path).map(Weak::upgrade) {
                Some(Some(shared)) => return Ok(Self { shared }),
                None if !read_files().contains_key(&path) => break,
                // Its last user is closing it, or somebody looks into it for a moment.
                Some(None) | None => {
                    open = CLOSED.wait(open).unwrap_or_else(PoisonError::into_inner);
                }
            }
        }
        let memory_limit_mb = config.memory_limit_mb.max(64);
        let root = start(config, &path)?;
        // A write-ahead log left by a crash is read in here.
        set_memory(&root, memory_limit_mb + REPLAY_MB)?;
        let catalog = attach(&root, &path, &writing(&path), Some(schema))?;
        set_memory(&root, memory_limit_mb)?;
        let block_bytes: u64 = root
            .query_row(
                "SELECT block_size::BIGINT FROM pragma_database_size() WHERE database_name = ?",
                [&catalog],
                |row| row.get::<_, i64>(0).map(|bytes| bytes as u64),
            )
            .doing("cannot read the size of the file's blocks")?;
        let shared = Arc::new(Shared {
            root: Mutex::new(root),
            catalog,
            memory_limit_mb,
            block_kib: block_bytes / 1024,
            room: Mutex::new(Room { kib: 0, limit_mib: memory_limit_mb }),
            holding: Mutex::new(0),
            entry: Entry(path.clone()),
        });
        open.insert(path, Arc::downgrade(&shared));
        Ok(Self { shared })
    }

    /// A way to read the file at `path`, which exists.
    pub(crate) fn read(path: &Path) -> Result<Read> {
        let path = canonical(path)?;
        let mut open = open_files();
        loop {
            match open.get(&path).map(Weak::upgrade) {
                Some(Some(shared)) => return Ok(Read::Joined(Self { shared })),
                None => {
                    *read_files().entry(path.clone()).or_default() += 1;
                    return Ok(Read::Alone { _until: Reading(path) });
                }
                // Its last user is closing it.
                Some(None) => open = CLOSED.wait(open).unwrap_or_else(PoisonError::into_inner),
            }
        }
    }

    /// The name the file is attached under.
    pub(crate) fn catalog(&self) -> &str {
        &self.shared.catalog
    }

    /// A connection of its own, with its own transactions.
    pub(crate) fn connect(&self) -> Result<Connection> {
        let what = "cannot connect to the database";
        let root = self.shared.root.lock().unwrap_or_else(PoisonError::into_inner);
        let connection = root.try_clone().doing(what)?;
        connection
            .execute_batch(&format!("USE {}; SET TimeZone = 'UTC'", sql::name(self.catalog())))
            .doing(what)?;
        Ok(connection)
    }

    /// Kibibytes DuckDB needs for a table in an open transaction that it cannot put aside: two
    /// small segments a column from the first row on, and at the commit of a few rows two blocks
    /// for each, where the limit itself has room for some.
    pub(crate) fn room_for(&self, columns: usize) -> u64 {
        columns as u64 * 64 + self.blocks_for(columns)
    }

    fn blocks_for(&self, columns: usize) -> u64 {
        (columns as u64 * 2 * self.shared.block_kib).saturating_sub(16 * 1024)
    }

    /// Changes by how much the limit of memory is exceeded, for what a round holds that DuckDB
    /// cannot put aside.
    ///
    /// False when DuckDB holds more than it should by now: a checkpoint helps.
    pub(crate) fn change_room(
        &self,
        db: &Connection,
        less_kib: u64,
        more_kib: u64,
    ) -> Result<bool> {
        if less_kib == more_kib {
            return Ok(true);
        }
        let mut room = self.shared.room.lock().unwrap_or_else(PoisonError::into_inner);
        room.kib = room.kib.saturating_sub(less_kib) + more_kib;
        let mib = self.shared.memory_limit_mb + (room.kib / 1024) as u32;
        if mib > room.limit_mib {
            room.set(db, mib)?;
        } else if more_kib == 0 {
            return room.lower(db, mib);
        }
        // Not lower: a limit that cannot be met at once would end the transaction that is open now.
        Ok(true)
    }

    /// From now on rows of open transactions are not written to the file before they are committed;
    /// what does not fit in memory goes to the temporary directory.
    ///
    /// `DuckDB` 1.5.6 writes each row group that a transaction has filled, and counts the memory that
    /// frees. Adding a column to the table makes it lose count, and it ends the transaction and
    /// invalidates the file at one of the next row groups (duckdb pull request 25724). So a round
    /// calls this before it adds a column to a table in which it has filled one.
    fn hold_rows(&self, db: &Connection) -> Result<()> {
        let mut holding = self.shared.holding.lock().unwrap_or_else(PoisonError::into_inner);
        if *holding == 0 {
            write_early(db, false)?;
        }
        *holding += 1;
        Ok(())
    }

    /// The same, once a round, where `table` is about to get a column and needs it.
    pub(crate) fn hold_rows_of(
        &self,
        db: &Connection,
        table: &Table,
        holds: &mut bool,
    ) -> Result<()> {
        if table.open.written >= u64::from(ROW_GROUP) && !*holds {
            self.hold_rows(db)?;
            *holds = true;
        }
        Ok(())
    }

    /// Takes [`hold_rows`](Self::hold_rows) back.
    pub(crate) fn release_rows(&self, db: &Connection) -> Result<()> {
        let mut holding = self.shared.holding.lock().unwrap_or_else(PoisonError::into_inner);
        *holding = holding.saturating_sub(1);
        if *holding == 0 { write_early(db, true) } else { Ok(()) }
    }

    /// Closes and opens the file, unless others in this process use it. DuckDB keeps track in
    /// memory of all it wrote since it opened a file, some 25 MB per million rows.
    pub(crate) fn reopen(&self, db: &Connection, widest: usize) -> Result<()> {
        let open = open_files();
        if Arc::strong_count(&self.shared) > 1 {
            return Ok(());
        }
        self.checkpoint(db, widest)?;
        let what = "cannot close the database file for a moment";
        let catalog = sql::name(self.catalog());
        let root = self.shared.root.lock().unwrap_or_else(PoisonError::into_inner);
        db.execute_batch("USE memory").doing(what)?;
        root.execute_batch(&format!("DETACH {catalog}")).doing(what)?;
        let path = &self.shared.entry.0;
        attach_as(&root, path, self.catalog(), &writing(path))?;
        drop(open);
        db.execute_batch(&format!("USE {catalog}")).doing(what)
    }

    /// Writes what is in the write-ahead log to the file; the widest table written to has `widest`
    /// columns. It does nothing while others in this process have changes open: theirs will
    /// follow.
    ///
    /// A checkpoint brings to memory what DuckDB knows about all row groups, 85 MB for three
    /// million rows, which no limit covers; so the limit is made as low meanwhile as a checkpoint
    /// can stand. One that fails for want of memory makes the file unusable until it is opened
    /// anew.
    pub(crate) fn checkpoint(&self, db: &Connection, widest: usize) -> Result<()> {
        let mut room = self.shared.room.lock().unwrap_or_else(PoisonError::into_inner);
        let blocks = self.shared.block_kib / 2 + self.blocks_for(widest) / 1024;
        let least = 32 + (blocks + room.kib / 1024) as u32;
        room.lower(db, least)?;
        let done = db
            .execute_batch(&format!("CHECKPOINT {}", sql::name(self.catalog())))
            .or_else(|error| {
                let busy = error.to_string().contains("other write transactions");
                if busy { Ok(()) } else { Err(error) }
            })
            .doing("cannot write a checkpoint");
        let mib = self.shared.memory_limit_mb + (room.kib / 1024) as u32;
        if mib > room.limit_mib {
            room.set(db, mib)?;
        } else {
            room.lower(db, mib)?;
        }
        done
    }

    /// Bytes that wait in the write-ahead log.
    pub(crate) fn wal_bytes(&self) -> u64 {
        beside(&self.shared.entry.0, ".wal").metadata().map_or(0, |file| file.len())
    }
}

fn write_early(db: &Connection, early: bool) -> Result<()> {
    db.execute_batch(&format!("SET enable_optimistic_write = {early}"))
        .doing("cannot tell DuckDB when to write rows")
}

fn set_memory(db: &Connection, mib: u32) -> Result<()> {
    db.execute_batch(&format!("SET memory_limit = '{mib}MiB'"))
        .doing("cannot set DuckDB's limit of memory")
}

/// How much memory DuckDB may use.
#[derive(Debug)]
struct Room {
    /// What open rounds need above the limit of the configuration.
    kib: u64,
    /// The limit as DuckDB has it now.
    limit_mib: u32,
}

impl Room {
    fn set(&mut self, db: &Connection, mib: u32) -> Result<()> {
        set_memory(db, mib)?;
        self.limit_mib = mib;
        Ok(())
    }

    /// Sets a limit that may be less than what DuckDB holds now, for example after a record of
    /// 10 MB. It refuses one that it cannot meet at once; then the present one stays for a while.
    /// Not for an open transaction, which a refusal would end. False when it was refused.
    fn lower(&mut self, db: &Connection, mib: u32) -> Result<bool> {
        // The second is a count of temporary files that DuckDB 1.5.6 loses now and then (its issue 20561).
        const NOT_NOW: [&str; 2] =
            ["could not free up enough memory", "failed to offload data block"];
        match db.execute_batch(&format!("SET memory_limit = '{mib}MiB'")) {
            Err(error) if NOT_NOW.iter().any(|word| error.to_string().contains(word)) => Ok(false),
            Err(error) => Err(error).doing("cannot set DuckDB's limit of memory"),
            Ok(()) => {
                self.limit_mib = mib;
                Ok(true)
            }
        }
    }
}

fn start(config: &Config, path: &Path) -> Result<Connection> {
    let what = "cannot start DuckDB";
    let connection = Connection::open_in_memory().doing(what)?;
    // What does not fit in memory goes beside the file, where room is expected. One row group at a
    // time is held back for writing, not five. Checkpoints are ours to begin. Trying dictionaries
    // on every text column costs a sixth of all time; FSST alone makes the file 4 % larger.
    connection
        .execute_batch(&format!(
            "SET threads = {}; SET temp_directory = {}; SET preserve_insertion_order = false;
             SET autoinstall_known_extensions = false; SET autoload_known_extensions = false;
             SET write_buffer_row_group_count = 1; SET wal_autocheckpoint = '1TB';
             SET disabled_compression_methods = 'dictionary';",
            config.threads.max(1),
            sql::text(&beside(path, ".tmp").to_string_lossy()),
        ))
        .doing(what)?;
    Ok(connection)
}

/// How a file is attached for writing. The size of blocks is chosen when the file is made.
fn writing(path: &Path) -> String {
    let block = if path.exists() { String::new() } else { format!(", BLOCK_SIZE {BLOCK_BYTES}") };
    format!("ROW_GROUP_SIZE {ROW_GROUP}{block}")
}

/// Attaches a file and gives the name it has then: its own without the ending, as DuckDB itself
/// would call it, so that views that name their catalogue work. A file called like a schema in it
/// gets another name, because `schema.table` would be ambiguous.
pub(crate) fn attach(
    db: &Connection,
    path: &Path,
    options: &str,
    schema: Option<&str>,
) -> Result<String> {
    let stem = path.file_stem().map_or_else(String::new, |stem| stem.to_string_lossy().into());
    let taken = ["", "memory", "system", "temp"].into_iter().chain(schema);
    if taken.into_iter().any(|name| name.eq_ignore_ascii_case(&stem)) {
        attach_as(db, path, OTHER_NAME, options)?;
        return Ok(OTHER_NAME.to_owned());
    }
    attach_as(db, path, &stem, options)?;
    let what = "cannot read the schemas of the database file";
    let ambiguous: bool = db
        .query_row(
            "SELECT count(*) > 0 FROM duckdb_schemas()
             WHERE database_name = ?1 AND lower(schema_name) = lower(?1)",
            [&stem],
            |row| row.get(0),
        )
        .doing(what)?;
    if !ambiguous {
        return Ok(stem);
    }
    db.execute_batch(&format!("DETACH {}", sql::name(&stem))).doing(what)?;
    attach_as(db, path, OTHER_NAME, options)?;
    Ok(OTHER_NAME.to_owned())
}

fn attach_as(db: &Connection, path: &Path, catalog: &str, options: &str) -> Result<()> {
    db.execute_batch(&format!(
        "ATTACH {} AS {} ({options})",
        sql::text(&path.to_string_lossy()),
        sql::name(catalog)
    ))
    .map_err(|error| error::open(path, error))
}

/// The path with something added to the file's name.
fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

/// One form per file, also for a file that is still to be made.
fn canonical(path: &Path) -> Result<PathBuf> {
    let Some(file) = path.file_name() else {
        return Err(Error::config("`path` names no file")
            .with("path", path.display())
            .hint("give the path of a database file, for example data/warehouse.duckdb"));
    };
    let parent = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let parent = parent.canonicalize().map_err(|error| {
        Error::new(ErrorKind::Config, "the directory of the database file cannot be used")
            .with("path", parent.display())
            .hint("make the directory, and give the user that runs bobbin the right to write there")
            .caused_by(error)
    })?;
    let path = parent.join(file);
    if path.is_dir() {
        return Err(Error::config("`path` is a directory")
            .with("path", path.display())
            .hint("give the path of a database file, for example data/warehouse.duckdb"));
    }
    // A symbolic link to a database is that database.
    Ok(path.canonicalize().unwrap_or(path))
}
