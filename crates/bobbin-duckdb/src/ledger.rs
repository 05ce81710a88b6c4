//! bobbin's own tables beside the data: state and fence, segments, tables, columns, rejected
//! records.

use bobbin_core::id::{JobId, SchemaName, SegmentId};
use bobbin_core::segment::Segment;
use bobbin_core::state::State;
use bobbin_core::{Error, ErrorKind, Result};
use bobbin_load::shape::batch::RejectedRow;
use bobbin_load::shape::map::{KnownTable, newer, read, write};
use bobbin_load::shape::tree::{Column, Sub};
use bobbin_load::shape::types::ColumnType;
use duckdb::types::{TimeUnit, Value};
use duckdb::{Connection, OptionalExt, params};
use jiff::Timestamp;

use crate::error::Doing;
use crate::sql;

/// The form of these tables; a greater number is a newer bobbin's.
const FORMAT: i32 = 2;

/// Jobs whose segments are remembered. A spool holds segments of the last few jobs at most.
const JOBS_KEPT: u32 = 50;

/// The ledger of one connection, in the connection's schema.
#[derive(Clone, Debug)]
pub(crate) struct Ledger {
    /// `"catalog"."schema"`
    schema: String,
    catalog: String,
    connection: SchemaName,
}

/// What [`Ledger::commit`] writes.
#[derive(Debug)]
pub(crate) struct Entry<'a> {
    pub(crate) job: &'a JobId,
    pub(crate) token: i64,
    pub(crate) state: Option<&'a State>,
    pub(crate) sequence: Option<i64>,
    pub(crate) segments: &'a [LoadedSegment],
    pub(crate) now: Timestamp,
}

/// A segment of the open round.
#[derive(Clone, Debug)]
pub(crate) struct LoadedSegment {
    pub(crate) segment: Segment,
    pub(crate) loaded: u64,
    pub(crate) superseded: u64,
    pub(crate) rejected: u64,
}

impl Ledger {
    pub(crate) fn new(catalog: &str, connection: &SchemaName) -> Self {
        let schema = format!("{}.{}", sql::name(catalog), sql::name(connection.as_str()));
        Self { schema, catalog: catalog.to_owned(), connection: connection.clone() }
    }

    /// Makes schema and tables where they are missing and takes the next fencing token.
    pub(crate) fn take_over(&self, db: &Connection, job: &JobId, now: Timestamp) -> Result<i64> {
        let what = "cannot prepare bobbin's tables in the destination";
        let s = &self.schema;
        db.execute_batch(&format!(
            "CREATE SCHEMA IF NOT EXISTS {s};
             CREATE TABLE IF NOT EXISTS {s}._bobbin_state (
                 connection VARCHAR, format INTEGER, token BIGINT, state JSON, job VARCHAR,
                 sequence BIGINT, updated_at TIMESTAMPTZ);
             CREATE TABLE IF NOT EXISTS {s}._bobbin_segments (
                 job VARCHAR, number BIGINT, stream VARCHAR, records BIGINT, loaded BIGINT,
                 superseded BIGINT, rejected BIGINT, bytes BIGINT, loaded_at TIMESTAMPTZ);
             CREATE TABLE IF NOT EXISTS {s}._bobbin_columns (
                 stream VARCHAR, path JSON, type VARCHAR, is_primary BOOLEAN, name VARCHAR,
                 sub VARCHAR DEFAULT '[]');
             CREATE TABLE IF NOT EXISTS {s}._bobbin_tables (
                 stream VARCHAR, sub VARCHAR, name VARCHAR, key VARCHAR, version BIGINT);
             CREATE TABLE IF NOT EXISTS {s}._sdc_rejected (
                 _sdc_rejected_at TIMESTAMPTZ, table_name VARCHAR, reason VARCHAR,
                 record VARCHAR);"
        ))
        .doing(what)?;
        let found: Option<(i32, i64)> = db
            .query_row(
                &format!("SELECT format, token FROM {s}._bobbin_state WHERE connection = ?"),
                [self.connection.as_str()],
                |row| Ok((row.get(0)?, row.get(1)?)),
            )
            .optional()
            .doing(what)?;
        let token = match found {
            Some((format, _)) if format > FORMAT => {
                return Err(Error::config("the tables were written by a newer bobbin")
                    .with("schema", self.connection.as_str())
                    .hint("use that version of bobbin or a later one"));
            }
            Some((format, token)) => {
                if format < 2 {
                    // Arrays had no tables of their own then.
                    db.execute_batch(&format!(
                        "ALTER TABLE {s}._bobbin_columns
                             ADD COLUMN IF NOT EXISTS sub VARCHAR DEFAULT '[]'"
                    ))
                    .doing(what)?;
                }
                db.execute(
                    &format!(
                        "UPDATE {s}._bobbin_state SET token = token + 1, format = ?
                         WHERE connection = ?"
                    ),
                    params![FORMAT, self.connection.as_str()],
                )
                .doing(what)?;
                token + 1
            }
            None => {
                db.execute(
                    &format!("INSERT INTO {s}._bobbin_state VALUES (?, ?, 1, NULL, ?, NULL, make_timestamptz(?))"),
                    params![self.connection.as_str(), FORMAT, job.as_str(), now.as_microsecond()],
                )
                .doing(what)?;
                1
            }
        };
        Ok(token)
    }

    /// Whether these tables were written by a newer bobbin.
    pub(crate) fn is_newer(&self, db: &Connection) -> Result<bool> {
        let format: Option<i32> = db
            .query_row(
                &format!("SELECT format FROM {}._bobbin_state WHERE connection = ?", self.schema),
                [self.connection.as_str()],
                |row| row.get(0),
            )
            .optional()
            .doing("cannot read bobbin's tables in the destination")?;
        Ok(format.is_some_and(|format| format > FORMAT))
    }

    /// The state and the greatest sequence.
    pub(crate) fn state(&self, db: &Connection) -> Result<(Option<State>, Option<i64>)> {
        let what = "cannot read the state from the destination";
        let found: Option<(Option<String>, Option<i64>)> = db
            .query_row(
                &format!(
                    "SELECT state::VARCHAR, sequence FROM {}._bobbin_state WHERE connection = ?",
                    self.schema
                ),
                [self.connection.as_str()],
                |row| Ok((row.get(0)?, row.get(1)?)),
            )
            .optional()
            .doing(what)?;
        let (state, sequence) = found.unwrap_or_default();
        let state = state.map(|text| serde_json::from_str(&text)).transpose().map_err(|error| {
            Error::new(ErrorKind::InvalidData, "the state in the destination cannot be read")
                .with("table", format!("{}._bobbin_state", self.connection))
                .hint("restore the row from a backup; or delete it, and everything is read again")
                .caused_by(error)
        })?;
        Ok((state, sequence))
    }

    /// The segments that are durable.
    pub(crate) fn segments(&self, db: &Connection) -> Result<Vec<SegmentId>> {
        let what = "cannot read which segments the destination holds";
        let mut statement = db
            .prepare(&format!(
                "SELECT job, number FROM {}._bobbin_segments ORDER BY job, number",
                self.schema
            ))
            .doing(what)?;
        let rows = statement
            .query_map([], |row| Ok((row.get::<_, String>(0)?, row.get::<_, i64>(1)?)))
            .doing(what)?;
        let mut segments = Vec::new();
        for row in rows {
            let (job, number) = row.doing(what)?;
            segments.push(SegmentId { job: job.into(), number: number as u64 });
        }
        Ok(segments)
    }

    /// Writes what becomes durable with the rows. Fails when somebody else took over.
    pub(crate) fn commit(&self, db: &Connection, entry: &Entry<'_>) -> Result<()> {
        let what = "cannot record the round in the destination";
        let s = &self.schema;
        let now = entry.now.as_microsecond();
        for loaded in entry.segments {
            let segment = &loaded.segment;
            db.execute(
                &format!("INSERT INTO {s}._bobbin_segments VALUES (?, ?, ?, ?, ?, ?, ?, ?, make_timestamptz(?))"),
                params![
                    segment.id.job.as_str(),
                    segment.id.number as i64,
                    segment.stream.as_str(),
                    segment.records as i64,
                    loaded.loaded as i64,
                    loaded.superseded as i64,
                    loaded.rejected as i64,
                    segment.bytes as i64,
                    now
                ],
            )
            .doing(what)?;
        }
        let state = entry
            .state
            .map(serde_json::to_string)
            .transpose()
            .map_err(|error| Error::bug("the state cannot be written").caused_by(error))?;
        let changed = db
            .execute(
                &format!(
                    "UPDATE {s}._bobbin_state
                     SET state = coalesce(?, state), job = ?, updated_at = make_timestamptz(?),
                         sequence = greatest(sequence, ?)
                     WHERE connection = ? AND token = ?"
                ),
                params![
                    state,
                    entry.job.as_str(),
                    now,
                    entry.sequence,
                    self.connection.as_str(),
                    entry.token
                ],
            )
            .doing(what)?;
        if changed != 1 {
            return Err(Error::new(
                ErrorKind::Conflict,
                "another bobbin took over this connection; nothing of this round was saved",
            )
            .with("connection", &self.connection)
            .hint("run one bobbin per connection; the next run continues where the other ended"));
        }
        Ok(())
    }

    /// Forgets segments of old jobs.
    pub(crate) fn trim(&self, db: &Connection) -> Result<()> {
        let s = &self.schema;
        db.execute(
            &format!(
                "DELETE FROM {s}._bobbin_segments WHERE job < (
                     SELECT min(job) FROM (
                         SELECT DISTINCT job FROM {s}._bobbin_segments
                         ORDER BY job DESC LIMIT {JOBS_KEPT}))"
            ),
            [],
        )
        .doing("cannot trim the list of segments")?;
        Ok(())
    }

    /// Adds records set aside.
    pub(crate) fn reject(
        &self,
        db: &Connection,
        table: &str,
        rows: &[RejectedRow],
        at: Timestamp,
    ) -> Result<()> {
        if rows.is_empty() {
            return Ok(());
        }
        let what = "cannot write rejected records";
        let at = Value::Timestamp(TimeUnit::Microsecond, at.as_microsecond());
        let schema = self.connection.as_str();
        let mut appender =
            db.appender_to_catalog_and_db("_sdc_rejected", &self.catalog, schema).doing(what)?;
        for row in rows {
            appender.append_row(params![at, table, row.reason, row.record]).doing(what)?;
        }
        appender.flush().doing(what)
    }

    /// The tables of the connection.
    pub(crate) fn tables(&self, db: &Connection) -> Result<Vec<KnownTable>> {
        let what = "cannot read the table map";
        let mut statement = db
            .prepare(&format!(
                "SELECT stream, sub, name, key, version FROM {}._bobbin_tables ORDER BY rowid",
                self.schema
            ))
            .doing(what)?;
        let rows = statement
            .query_map([], |row| {
                Ok((
                    row.get::<_, String>(0)?,
                    row.get::<_, String>(1)?,
                    row.get::<_, String>(2)?,
                    row.get::<_, Option<String>>(3)?,
                    row.get::<_, Option<i64>>(4)?,
                ))
            })
            .doing(what)?;
        let mut tables = Vec::new();
        for row in rows {
            let (stream, sub, name, key, version) = row.doing(what)?;
            let key = key.map(|key| read(&key, &name)).transpose()?;
            tables.push(KnownTable { stream, sub: read(&sub, &name)?, name, key, version });
        }
        Ok(tables)
    }

    /// Streams that have columns and no entry among the tables: what a bobbin before format 2 left.
    pub(crate) fn streams_without_table(&self, db: &Connection) -> Result<Vec<String>> {
        let what = "cannot read the column map";
        let s = &self.schema;
        let mut statement = db
            .prepare(&format!(
                "SELECT DISTINCT stream FROM {s}._bobbin_columns
                 WHERE stream NOT IN (SELECT stream FROM {s}._bobbin_tables WHERE sub = '[]')
                 ORDER BY stream"
            ))
            .doing(what)?;
        let rows = statement.query_map([], |row| row.get(0)).doing(what)?;
        rows.map(|row| row.doing(what)).collect()
    }

    /// Remembers a table, or its new key or version.
    pub(crate) fn put_table(&self, db: &Connection, table: &KnownTable) -> Result<()> {
        let what = "cannot write the table map";
        let s = &self.schema;
        let sub = write(&table.sub)?;
        let key = table.key.as_ref().map(write).transpose()?;
        let changed = db
            .execute(
                &format!(
                    "UPDATE {s}._bobbin_tables SET name = ?, key = ?, version = ?
                     WHERE stream = ? AND sub = ?"
                ),
                params![table.name, key, table.version, table.stream, sub],
            )
            .doing(what)?;
        if changed == 0 {
            db.execute(
                &format!("INSERT INTO {s}._bobbin_tables VALUES (?, ?, ?, ?, ?)"),
                params![table.stream, sub, table.name, key, table.version],
            )
            .doing(what)?;
        }
        Ok(())
    }

    /// The columns a stream's tables were given.
    pub(crate) fn columns(&self, db: &Connection, stream: &str) -> Result<Vec<(Sub, Column)>> {
        let what = "cannot read the column map";
        let mut statement = db
            .prepare(&format!(
                "SELECT path::VARCHAR, type, is_primary, name, sub FROM {}._bobbin_columns
                 WHERE stream = ? ORDER BY rowid",
                self.schema
            ))
            .doing(what)?;
        let rows = statement
            .query_map([stream], |row| {
                Ok((
                    row.get::<_, String>(0)?,
                    row.get::<_, String>(1)?,
                    row.get::<_, bool>(2)?,
                    row.get::<_, String>(3)?,
                    row.get::<_, String>(4)?,
                ))
            })
            .doing(what)?;
        let mut columns = Vec::new();
        for row in rows {
            let (path, ty, primary, name, sub) = row.doing(what)?;
            let Some(ty) = ColumnType::from_suffix(&ty) else { return Err(newer(&name)) };
            let (sub, path) = (read(&sub, &name)?, read(&path, &name)?);
            columns.push((sub, Column { path, ty, name, primary, description: None }));
        }
        Ok(columns)
    }

    /// Remembers columns.
    pub(crate) fn add_columns(
        &self,
        db: &Connection,
        stream: &str,
        sub: &Sub,
        new: &[&Column],
    ) -> Result<()> {
        let what = "cannot write the column map";
        let sub = write(sub)?;
        let mut insert = db
            .prepare(&format!(
                "INSERT INTO {}._bobbin_columns (stream, path, type, is_primary, name, sub)
                 VALUES (?, ?, ?, ?, ?, ?)",
                self.schema
            ))
            .doing(what)?;
        for column in new {
            let path = write(&column.path)?;
            let ty = column.ty.suffix();
            insert
                .execute(params![stream, path, ty, column.primary, column.name, sub])
                .doing(what)?;
        }
        Ok(())
    }

    /// Remembers the new name of a column.
    pub(crate) fn rename_column(
        &self,
        db: &Connection,
        stream: &str,
        sub: &Sub,
        (from, to): (&str, &str),
    ) -> Result<()> {
        db.execute(
            &format!(
                "UPDATE {}._bobbin_columns SET name = ? WHERE stream = ? AND sub = ? AND name = ?",
                self.schema
            ),
            params![to, stream, write(sub)?, from],
        )
        .doing("cannot write the column map")?;
        Ok(())
    }
}
