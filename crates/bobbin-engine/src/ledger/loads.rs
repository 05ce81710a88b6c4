//! Loading reports: what became durable, per table and load (`stitch-behaviour.md` 6.4).

use std::collections::BTreeMap;

use bobbin_core::id::{ConnectionId, JobId, SegmentId, StreamName};
use bobbin_core::receipt::{Change, Fill, Mark, Span};
use bobbin_core::state::State;
use bobbin_core::{Error, Result};
use jiff::{SignedDuration, Timestamp};
use rusqlite::{OptionalExtension, Row, params, params_from_iter};
use serde::Serialize;

use super::slots::{instant, text};
use super::{Lease, SqliteLedger, States, fills};

/// The days of a period, in which Stitch counts rows.
pub const PERIOD_DAYS: i64 = 30;

/// Rows that are deleted in one transaction.
const FORGOTTEN_AT_ONCE: usize = 10_000;

const WRITING: &str = "cannot write down a load";

/// A load: one round of a job, which holds one stream, or the attempt at it.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Load {
    /// The job that loaded it.
    pub job: JobId,
    /// The stream, also its table's.
    pub stream: StreamName,
    /// The table's name in the destination.
    pub table: String,
    /// The table version of its rows, where the stream has versions.
    pub version: Option<i64>,
    /// Whether that version took the place of all others with it.
    pub replaced: bool,
    /// When its first segment was taken up.
    pub started: Timestamp,
    /// When it was durable, or given up.
    pub ended: Timestamp,
    /// Rows written.
    pub rows: u64,
    /// Records that were there already in the same or a newer version.
    pub unchanged: u64,
    /// Records set aside, by tap and destination.
    pub rejected: u64,
    /// Rows removed, or marked, because the source has them no more.
    pub removed: u64,
    /// Bytes of record text.
    pub bytes: u64,
    /// The field that orders changes, for a stream that has one.
    pub replication_key: Option<String>,
    /// Its least and its greatest value among the rows.
    pub bookmark: Option<Span>,
    /// When the source gave the latest of the rows.
    pub extracted_at: Option<Timestamp>,
    /// Rows of the tables of arrays, by their names in the destination.
    pub subtables: BTreeMap<String, u64>,
    /// Changes made to tables.
    pub changes: Vec<Change>,
    /// How many of its records have a value in which field. Only sums of it are kept ([`Fills`](super::Fills)).
    #[serde(skip)]
    pub fill: Fill,
    /// Why it failed, when it did; its rows are loaded again by the next job.
    pub error: Option<String>,
}

/// A table as its loads so far tell.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct LoadedTable {
    /// The stream, also its table's.
    pub stream: StreamName,
    /// The field that orders changes, for a stream that has one.
    pub replication_key: Option<String>,
    /// Its greatest value loaded so far; none where that cannot be told (F-61).
    pub bookmark: Option<Mark>,
    /// When the source gave the latest rows loaded.
    pub extracted_at: Option<Timestamp>,
    /// When rows were loaded last.
    pub loaded_at: Option<Timestamp>,
    /// Why the latest attempt failed, when it did.
    pub error: Option<String>,
    /// Rows loaded.
    pub rows: Rows,
    /// Rows loaded into the tables of its arrays.
    pub subtables: BTreeMap<String, Rows>,
}

/// Rows loaded in the ranges that a report offers.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Rows {
    /// In the last 24 hours.
    pub day: u64,
    /// Today and in the 29 days before (UTC).
    pub period: u64,
    /// In the 30 days before those.
    pub period_before: u64,
}

/// What became durable.
pub trait Loads {
    /// Writes down a load and, with it, a copy of the state that the destination has committed.
    fn loaded(&self, lease: &Lease, load: &Load, state: Option<&State>) -> Result<()>;

    /// The same, of these segments: until they are released, a crash must not have them counted again.
    /// Those of the connection's load before are released by now.
    fn loaded_of(
        &self,
        lease: &Lease,
        load: &Load,
        segments: &[SegmentId],
        state: Option<&State>,
    ) -> Result<()>;

    /// Segments of the connection that may still be in its spool although their load is written down.
    fn loaded_segments(&self, connection: &ConnectionId) -> Result<Vec<SegmentId>>;

    /// The name in the destination of a stream's table, as its loads tell.
    fn table_of(&self, connection: &ConnectionId, stream: &StreamName) -> Result<Option<String>>;

    /// The latest loads of a connection, or of one of its tables, newest first; those before the
    /// load `before` in that order, when given. Each has its number.
    fn loads(
        &self,
        connection: &ConnectionId,
        stream: Option<&StreamName>,
        before: Option<i64>,
        most: u32,
    ) -> Result<Vec<(i64, Load)>>;

    /// The tables of a connection into which rows were ever loaded, by name.
    fn loaded_tables(&self, connection: &ConnectionId, now: Timestamp) -> Result<Vec<LoadedTable>>;

    /// Whether records were set aside by any load that is kept, whatever became of them since.
    fn has_set_aside(&self, connection: &ConnectionId) -> Result<bool>;

    /// Rows loaded per table and day (UTC), sub-tables counted with their table, newest day first
    /// (F-97).
    fn rows_by_day(
        &self,
        connection: &ConnectionId,
        now: Timestamp,
        days: i64,
    ) -> Result<Vec<(String, StreamName, u64)>>;

    /// Rows loaded per day (UTC), tables of arrays counted, oldest day first; days without any are left out.
    fn rows_of_days(
        &self,
        connection: &ConnectionId,
        now: Timestamp,
        days: i64,
    ) -> Result<Vec<(String, u64)>>;

    /// Forgets loads, jobs, slots and who did what from before `before`; how many rows were loaded on which day
    /// stays for another period, the latest job of each connection and its latest complete one always.
    /// Whoever else wants to write gets their turn in between.
    fn forget(&self, before: Timestamp) -> Result<()>;
}

impl Loads for SqliteLedger {
    fn loaded(&self, lease: &Lease, load: &Load, state: Option<&State>) -> Result<()> {
        self.loaded_of(lease, load, &[], state)
    }

    fn loaded_of(
        &self,
        lease: &Lease,
        load: &Load,
        segments: &[SegmentId],
        state: Option<&State>,
    ) -> Result<()> {
        let failed = |error| self.error(WRITING, error);
        let connection = &lease.connection;
        self.atomically(WRITING, || {
            self.fenced(lease)?;
            let what = load.rows + load.unchanged + load.rejected + load.removed;
            if what > 0 || load.error.is_some() || !load.changes.is_empty() {
                put(&self.sqlite, connection, load).map_err(failed)?;
            }
            if !segments.is_empty() {
                self.sqlite
                    .execute(
                        "DELETE FROM loaded_segments WHERE connection = ?1",
                        params![connection.as_str()],
                    )
                    .map_err(failed)?;
            }
            for segment in segments {
                self.sqlite
                    .execute(
                        "INSERT OR IGNORE INTO loaded_segments (connection, job, number)
                         VALUES (?1, ?2, ?3)",
                        params![connection.as_str(), segment.job.as_str(), segment.number],
                    )
                    .map_err(failed)?;
            }
            state.map_or(Ok(()), |state| self.save_state(lease, state, load.ended))
        })
    }

    fn loaded_segments(&self, connection: &ConnectionId) -> Result<Vec<SegmentId>> {
        let failed = |error| self.error("cannot read the loads", error);
        let mut statement = self
            .sqlite
            .prepare("SELECT job, number FROM loaded_segments WHERE connection = ?1")
            .map_err(failed)?;
        let rows = statement
            .query_map(params![connection.as_str()], |row| {
                let job: String = row.get(0)?;
                Ok(SegmentId { job: job.into(), number: row.get(1)? })
            })
            .map_err(failed)?;
        rows.collect::<rusqlite::Result<_>>().map_err(failed)
    }

    fn table_of(&self, connection: &ConnectionId, stream: &StreamName) -> Result<Option<String>> {
        self.sqlite
            .query_row(
                "SELECT table_name FROM loads
                 WHERE connection = ?1 AND stream = ?2 AND error IS NULL AND table_name IS NOT NULL
                 ORDER BY id DESC LIMIT 1",
                params![connection.as_str(), stream.as_str()],
                |row| row.get(0),
            )
            .optional()
            .map_err(|error| self.error("cannot read the loads", error))
    }

    fn loads(
        &self,
        connection: &ConnectionId,
        stream: Option<&StreamName>,
        before: Option<i64>,
        most: u32,
    ) -> Result<Vec<(i64, Load)>> {
        let failed = |error| self.error("cannot read the loads", error);
        let (of, before) = (connection.as_str(), before.unwrap_or(i64::MAX));
        let columns = Stored::COLUMNS;
        let read = |row: &Row<'_>| Ok((row.get(0)?, Stored::of(row)?));
        let rows: rusqlite::Result<Vec<(i64, Stored)>> = match stream {
            Some(stream) => self
                .sqlite
                .prepare(&format!(
                    "SELECT {columns} FROM loads WHERE connection = ?1 AND stream = ?2 AND id < ?3
                     ORDER BY id DESC LIMIT ?4"
                ))
                .map_err(failed)?
                .query_map(params![of, stream.as_str(), before, most], read)
                .map_err(failed)?
                .collect(),
            None => self
                .sqlite
                .prepare(&format!(
                    "SELECT {columns} FROM loads WHERE connection = ?1 AND id < ?2
                     ORDER BY id DESC LIMIT ?3"
                ))
                .map_err(failed)?
                .query_map(params![of, before, most], read)
                .map_err(failed)?
                .collect(),
        };
        rows.map_err(failed)?.into_iter().map(|(id, stored)| Ok((id, stored.load()?))).collect()
    }

    fn loaded_tables(&self, connection: &ConnectionId, now: Timestamp) -> Result<Vec<LoadedTable>> {
        let failed = |error| self.error("cannot read the loaded tables", error);
        let mut statement = self
            .sqlite
            .prepare(
                "SELECT stream, bookmark, extracted, loaded, error, replication_key FROM loaded_tables
                 WHERE connection = ?1 ORDER BY stream",
            )
            .map_err(failed)?;
        let mut rows = statement.query(params![connection.as_str()]).map_err(failed)?;
        let mut tables = Vec::new();
        while let Some(row) = rows.next().map_err(failed)? {
            let stream: String = row.get(0).map_err(failed)?;
            let at = |column: usize| -> Result<Option<Timestamp>> {
                let at: Option<String> = row.get(column).map_err(failed)?;
                at.as_deref().map(instant).transpose()
            };
            tables.push(LoadedTable {
                stream: stream.into(),
                replication_key: row.get(5).map_err(failed)?,
                bookmark: unpacked(row.get(1).map_err(failed)?)?,
                extracted_at: at(2)?,
                loaded_at: at(3)?,
                error: row.get(4).map_err(failed)?,
                rows: Rows::default(),
                subtables: BTreeMap::new(),
            });
        }
        self.count(connection, now, &mut tables)?;
        Ok(tables)
    }

    fn has_set_aside(&self, connection: &ConnectionId) -> Result<bool> {
        let exists = "SELECT EXISTS (SELECT 1 FROM loads WHERE connection = ?1 AND rejected > 0)";
        let read = |row: &Row<'_>| row.get(0);
        self.sqlite
            .query_row(exists, params![connection.as_str()], read)
            .map_err(|error| self.error("cannot read the loads", error))
    }

    fn rows_by_day(
        &self,
        connection: &ConnectionId,
        now: Timestamp,
        days: i64,
    ) -> Result<Vec<(String, StreamName, u64)>> {
        let failed = |error| self.error("cannot count the rows loaded", error);
        let mut statement = self
            .sqlite
            .prepare(
                "SELECT day, stream, sum(rows) FROM loaded_rows
                 WHERE connection = ?1 AND day >= ?2 GROUP BY day, stream ORDER BY day DESC, stream",
            )
            .map_err(failed)?;
        let of = params![connection.as_str(), day(now, days - 1)];
        let rows = statement
            .query_map(of, |row| Ok((row.get(0)?, row.get::<_, String>(1)?.into(), row.get(2)?)))
            .map_err(failed)?;
        rows.collect::<rusqlite::Result<_>>().map_err(failed)
    }

    fn rows_of_days(
        &self,
        connection: &ConnectionId,
        now: Timestamp,
        days: i64,
    ) -> Result<Vec<(String, u64)>> {
        let failed = |error| self.error("cannot count the rows loaded", error);
        let mut statement = self
            .sqlite
            .prepare_cached(
                "SELECT day, rows FROM loaded_days WHERE connection = ?1 AND day >= ?2 ORDER BY day",
            )
            .map_err(failed)?;
        let of = params![connection.as_str(), day(now, days - 1)];
        let rows = statement.query_map(of, |row| Ok((row.get(0)?, row.get(1)?))).map_err(failed)?;
        rows.collect::<rusqlite::Result<_>>().map_err(failed)
    }

    fn forget(&self, before: Timestamp) -> Result<()> {
        let failed = |error| self.error("cannot forget old jobs", error);
        let (old, old_day) = (text(before), day(before, PERIOD_DAYS));
        for (table, which, before) in [
            ("loads", "ended < ?1", Some(&old)),
            ("slots", "last < ?1", Some(&old)),
            ("notices", "recovered < ?1", Some(&old)),
            ("audit", "at < ?1", Some(&old)),
            ("tellings", "notice NOT IN (SELECT id FROM notices)", None),
            (
                "jobs",
                "ended < ?1 AND (connection, id) NOT IN (
                     SELECT connection, max(id) FROM jobs GROUP BY connection
                     UNION ALL
                     SELECT connection, max(id) FROM jobs
                     WHERE outcome = 'complete' AND trigger <> 'backfill'
                     GROUP BY connection)",
                Some(&old),
            ),
            ("loaded_rows", "day < ?1", Some(&old_day)),
            ("loaded_days", "day < ?1", Some(&old_day)),
        ] {
            let statement = format!(
                "DELETE FROM {table} WHERE rowid IN
                     (SELECT rowid FROM {table} WHERE {which} LIMIT {FORGOTTEN_AT_ONCE})"
            );
            let batch = || self.sqlite.execute(&statement, params_from_iter(before));
            while batch().map_err(failed)? == FORGOTTEN_AT_ONCE {}
        }
        Ok(())
    }
}

impl SqliteLedger {
    fn count(
        &self,
        connection: &ConnectionId,
        now: Timestamp,
        tables: &mut [LoadedTable],
    ) -> Result<()> {
        let failed = |error| self.error("cannot count the rows loaded", error);
        let period = day(now, PERIOD_DAYS - 1);
        let mut statement = self
            .sqlite
            .prepare(
                "SELECT stream, subtable,
                        sum(rows) FILTER (WHERE day >= ?2), sum(rows) FILTER (WHERE day < ?2)
                 FROM loaded_rows WHERE connection = ?1 AND day >= ?3 GROUP BY stream, subtable",
            )
            .map_err(failed)?;
        let of = params![connection.as_str(), period, day(now, 2 * PERIOD_DAYS - 1)];
        let mut rows = statement.query(of).map_err(failed)?;
        while let Some(row) = rows.next().map_err(failed)? {
            let (stream, subtable): (String, String) =
                (row.get(0).map_err(failed)?, row.get(1).map_err(failed)?);
            let sum = |column: usize| -> Result<u64> {
                Ok(row.get::<_, Option<u64>>(column).map_err(failed)?.unwrap_or(0))
            };
            if let Some(rows) = place(tables, &stream, &subtable) {
                (rows.period, rows.period_before) = (sum(2)?, sum(3)?);
            }
        }
        let mut statement = self
            .sqlite
            .prepare(
                "SELECT stream, rows, subtables FROM loads WHERE connection = ?1 AND ended > ?2",
            )
            .map_err(failed)?;
        let since = now.checked_sub(SignedDuration::from_hours(24)).unwrap_or(Timestamp::MIN);
        let mut rows =
            statement.query(params![connection.as_str(), text(since)]).map_err(failed)?;
        while let Some(row) = rows.next().map_err(failed)? {
            let stream: String = row.get(0).map_err(failed)?;
            if let Some(rows) = place(tables, &stream, "") {
                rows.day += row.get::<_, u64>(1).map_err(failed)?;
            }
            let subtables: Option<String> = row.get(2).map_err(failed)?;
            for (subtable, count) in
                unpacked::<BTreeMap<String, u64>>(subtables)?.into_iter().flatten()
            {
                if let Some(rows) = place(tables, &stream, &subtable) {
                    rows.day += count;
                }
            }
        }
        Ok(())
    }
}

/// Where a table's rows are counted; sub-tables get their place when they come.
fn place<'a>(tables: &'a mut [LoadedTable], stream: &str, subtable: &str) -> Option<&'a mut Rows> {
    let at = tables.binary_search_by(|table| table.stream.as_str().cmp(stream)).ok()?;
    let table = &mut tables[at];
    Some(if subtable.is_empty() {
        &mut table.rows
    } else {
        table.subtables.entry(subtable.to_owned()).or_default()
    })
}

fn put(
    transaction: &rusqlite::Connection,
    connection: &ConnectionId,
    load: &Load,
) -> rusqlite::Result<()> {
    let (of, stream) = (connection.as_str(), load.stream.as_str());
    transaction.execute(
        "INSERT INTO loads (connection, job, stream, started, ended, rows, unchanged, rejected,
                            removed, bytes, bookmark, extracted, subtables, changes, error,
                            replication_key, table_name, version, replaced)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18,
                 ?19)",
        params![
            of,
            load.job.as_str(),
            stream,
            text(load.started),
            text(load.ended),
            load.rows,
            load.unchanged,
            load.rejected,
            load.removed,
            load.bytes,
            load.bookmark.as_ref().and_then(packed),
            load.extracted_at.map(text),
            (!load.subtables.is_empty()).then(|| packed(&load.subtables)).flatten(),
            (!load.changes.is_empty()).then(|| packed(&load.changes)).flatten(),
            load.error,
            load.replication_key,
            load.table,
            load.version,
            load.replaced,
        ],
    )?;
    let known: Option<Option<String>> = transaction
        .query_row(
            "SELECT bookmark FROM loaded_tables WHERE connection = ?1 AND stream = ?2",
            params![of, stream],
            |row| row.get(0),
        )
        .optional()?;
    let known: Option<Mark> = known.flatten().and_then(|text| serde_json::from_str(&text).ok());
    let greatest = greater(known, load.bookmark.as_ref().map(|span| span.max.clone()));
    transaction.execute(
        "INSERT INTO loaded_tables (connection, stream, bookmark, extracted, loaded, error,
                                    replication_key)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
         ON CONFLICT (connection, stream) DO UPDATE SET
             bookmark = excluded.bookmark,
             extracted = max(coalesce(extracted, excluded.extracted),
                             coalesce(excluded.extracted, extracted)),
             loaded = coalesce(excluded.loaded, loaded),
             error = excluded.error,
             replication_key = coalesce(excluded.replication_key, replication_key)",
        params![
            of,
            stream,
            greatest.as_ref().and_then(packed),
            load.extracted_at.map(text),
            load.error.is_none().then(|| text(load.ended)),
            load.error,
            load.replication_key,
        ],
    )?;
    let rows = std::iter::once(("", load.rows))
        .chain(load.subtables.iter().map(|(name, rows)| (name.as_str(), *rows)));
    for (subtable, rows) in rows.filter(|(_, rows)| *rows > 0) {
        transaction.execute(
            "INSERT INTO loaded_rows (connection, day, stream, subtable, rows)
             VALUES (?1, ?2, ?3, ?4, ?5)
             ON CONFLICT (connection, day, stream, subtable) DO UPDATE SET
                 rows = rows + excluded.rows",
            params![of, day(load.ended, 0), stream, subtable, rows],
        )?;
    }
    fills::add(transaction, of, load)?;
    let all = load.rows + load.subtables.values().sum::<u64>();
    if all > 0 {
        transaction.execute(
            "INSERT INTO loaded_days (connection, day, rows) VALUES (?1, ?2, ?3)
             ON CONFLICT (connection, day) DO UPDATE SET rows = rows + excluded.rows",
            params![of, day(load.ended, 0), all],
        )?;
    }
    Ok(())
}

/// The greater of two; of two types the newer.
fn greater(known: Option<Mark>, new: Option<Mark>) -> Option<Mark> {
    match (known, new) {
        (Some(known), Some(new))
            if std::mem::discriminant(&known) == std::mem::discriminant(&new) =>
        {
            Some(known.max(new))
        }
        (known, new) => new.or(known),
    }
}

/// The day (UTC) so many days before an instant.
fn day(at: Timestamp, days_before: i64) -> String {
    let at = at.checked_sub(SignedDuration::from_hours(24 * days_before)).unwrap_or(Timestamp::MIN);
    at.strftime("%Y-%m-%d").to_string()
}

pub(super) fn packed<T: Serialize>(value: &T) -> Option<String> {
    // Texts and numbers can always be written.
    serde_json::to_string(value).ok()
}

fn unpacked<T: serde::de::DeserializeOwned>(text: Option<String>) -> Result<Option<T>> {
    let damaged = |error| {
        Error::new(bobbin_core::ErrorKind::InvalidData, "the ledger's loads are damaged")
            .caused_by(error)
    };
    text.map(|text| serde_json::from_str(&text).map_err(damaged)).transpose()
}

/// A load as it is stored.
pub(super) struct Stored {
    texts: [String; 4],
    numbers: [u64; 5],
    options: [Option<String>; 7],
    version: Option<i64>,
    replaced: bool,
}

impl Stored {
    /// What is to be selected.
    pub(super) const COLUMNS: &str = "id, job, stream, started, ended, rows, unchanged, rejected, \
                                      removed, bytes, bookmark, extracted, subtables, changes, \
                                      error, replication_key, table_name, version, replaced";

    /// How many columns that is.
    pub(super) const COUNT: usize = 19;

    pub(super) fn of(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            texts: [row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?],
            numbers: [row.get(5)?, row.get(6)?, row.get(7)?, row.get(8)?, row.get(9)?],
            options: [
                row.get(10)?,
                row.get(11)?,
                row.get(12)?,
                row.get(13)?,
                row.get(14)?,
                row.get(15)?,
                row.get(16)?,
            ],
            version: row.get(17)?,
            replaced: row.get(18)?,
        })
    }

    pub(super) fn load(self) -> Result<Load> {
        let [job, stream, started, ended] = self.texts;
        let [rows, unchanged, rejected, removed, bytes] = self.numbers;
        let [bookmark, extracted, subtables, changes, error, replication_key, table] = self.options;
        let table = table.unwrap_or_else(|| stream.clone());
        Ok(Load {
            job: job.into(),
            stream: stream.into(),
            table,
            version: self.version,
            replaced: self.replaced,
            started: instant(&started)?,
            ended: instant(&ended)?,
            rows,
            unchanged,
            rejected,
            removed,
            bytes,
            replication_key,
            bookmark: unpacked(bookmark)?,
            extracted_at: extracted.as_deref().map(instant).transpose()?,
            subtables: unpacked(subtables)?.unwrap_or_default(),
            changes: unpacked(changes)?.unwrap_or_default(),
            fill: Fill::default(),
            error,
        })
    }
}
