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
use jiff::Timestamp;
use postgres::Client;

use crate::copy;
use crate::error::Doing;
use crate::sql;

/// The form of these tables; a greater number is a newer bobbin's.
const FORMAT: i32 = 2;

/// Jobs whose segments are remembered. A spool holds segments of the last few jobs at most.
const JOBS_KEPT: u32 = 50;

/// The ledger of one connection, in the connection's schema.
#[derive(Clone, Debug)]
pub(crate) struct Ledger {
    schema: String,
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
    pub(crate) fn new(connection: &SchemaName) -> Self {
        Self { schema: sql::name(connection.as_str()), connection: connection.clone() }
    }

    /// Makes schema and tables where they are missing and takes the next fencing token.
    pub(crate) fn take_over(&self, db: &mut Client, job: &JobId) -> Result<i64> {
        let what = "cannot prepare bobbin's tables in the destination";
        let s = &self.schema;
        // With IF NOT EXISTS alone the right to make schemas would be needed in every run.
        let there = db
            .query_opt("SELECT FROM pg_namespace WHERE nspname = $1", &[&self.connection.as_str()])
            .doing(what)?;
        if there.is_none() {
            db.batch_execute(&format!("CREATE SCHEMA IF NOT EXISTS {s}")).doing(what)?;
        }
        let there = db
            .query_opt(
                "SELECT FROM pg_tables WHERE schemaname = $1 AND tablename = '_bobbin_tables'",
                &[&self.connection.as_str()],
            )
            .doing(what)?;
        if there.is_none() {
            db.batch_execute(&format!(
                "CREATE TABLE IF NOT EXISTS {s}._bobbin_state (
                     connection text PRIMARY KEY, format integer NOT NULL, token bigint NOT NULL,
                     state json, job text, sequence bigint, updated_at timestamptz);
                 CREATE TABLE IF NOT EXISTS {s}._bobbin_segments (
                     job text, number bigint, stream text, records bigint, loaded bigint,
                     superseded bigint, rejected bigint, bytes bigint, loaded_at timestamptz,
                     PRIMARY KEY (job, number));
                 CREATE TABLE IF NOT EXISTS {s}._bobbin_columns (
                     position bigserial PRIMARY KEY, stream text NOT NULL, path json NOT NULL,
                     type text NOT NULL, is_primary boolean NOT NULL, name text NOT NULL);
                 ALTER TABLE {s}._bobbin_columns
                     ADD COLUMN IF NOT EXISTS sub text NOT NULL DEFAULT '[]';
                 CREATE TABLE IF NOT EXISTS {s}._bobbin_tables (
                     stream text, sub text, name text NOT NULL, key text, version bigint,
                     PRIMARY KEY (stream, sub));
                 CREATE TABLE IF NOT EXISTS {s}._sdc_rejected (
                     _sdc_rejected_at timestamptz, table_name text, reason text, record text);"
            ))
            .doing(what)?;
        }
        let row = db
            .query_one(
                &format!(
                    "INSERT INTO {s}._bobbin_state AS mine (connection, format, token, job)
                     VALUES ($1, $2, 1, $3)
                     ON CONFLICT (connection) DO UPDATE
                         SET token = mine.token + 1, format = greatest(mine.format, excluded.format)
                     RETURNING format, token"
                ),
                &[&self.connection.as_str(), &FORMAT, &job.as_str()],
            )
            .doing(what)?;
        let (format, token): (i32, i64) = (row.get(0), row.get(1));
        self.check_format(format)?;
        Ok(token)
    }

    fn check_format(&self, format: i32) -> Result<()> {
        if format > FORMAT {
            return Err(Error::config("the tables were written by a newer bobbin")
                .with("schema", self.connection.as_str())
                .hint("use that version of bobbin or a later one"));
        }
        Ok(())
    }

    /// Whether there are tables of a bobbin that can be read; changes nothing.
    pub(crate) fn is_there(&self, db: &mut Client) -> Result<bool> {
        let what = "cannot see whether there are tables of bobbin";
        let row = db
            .query_one(
                "SELECT count(*) FILTER (WHERE tablename = '_bobbin_state') > 0,
                        count(*) FILTER (WHERE tablename = '_bobbin_tables') > 0
                 FROM pg_tables WHERE schemaname = $1",
                &[&self.connection.as_str()],
            )
            .doing(what)?;
        let (state, tables): (bool, bool) = (row.get(0), row.get(1));
        if !state {
            return Ok(false);
        }
        let format = db
            .query_opt(
                &format!("SELECT format FROM {}._bobbin_state WHERE connection = $1", self.schema),
                &[&self.connection.as_str()],
            )
            .doing(what)?;
        if let Some(row) = format {
            self.check_format(row.get(0))?;
        }
        if !tables {
            return Err(Error::config("the tables were written by an older bobbin")
                .with("schema", self.connection.as_str())
                .hint("run the connection once; that brings bobbin's own tables up to date"));
        }
        Ok(true)
    }

    /// The state and the greatest sequence.
    pub(crate) fn state(&self, db: &mut Client) -> Result<(Option<State>, Option<i64>)> {
        let found = db
            .query_opt(
                &format!(
                    "SELECT state::text, sequence FROM {}._bobbin_state WHERE connection = $1",
                    self.schema
                ),
                &[&self.connection.as_str()],
            )
            .doing("cannot read the state from the destination")?;
        let Some(row) = found else { return Ok((None, None)) };
        let (state, sequence): (Option<String>, Option<i64>) = (row.get(0), row.get(1));
        let state = state.map(|text| serde_json::from_str(&text)).transpose().map_err(|error| {
            Error::new(ErrorKind::InvalidData, "the state in the destination cannot be read")
                .with("table", format!("{}._bobbin_state", self.connection))
                .hint("restore the row from a backup; or delete it, and everything is read again")
                .caused_by(error)
        })?;
        Ok((state, sequence))
    }

    /// The segments that are durable.
    pub(crate) fn segments(&self, db: &mut Client) -> Result<Vec<SegmentId>> {
        let rows = db
            .query(&format!("SELECT job, number FROM {}._bobbin_segments", self.schema), &[])
            .doing("cannot read which segments the destination holds")?;
        Ok(rows
            .iter()
            .map(|row| SegmentId {
                job: row.get::<_, String>(0).into(),
                number: row.get::<_, i64>(1) as u64,
            })
            .collect())
    }

    /// Writes what becomes durable with the rows. Fails when somebody else took over.
    pub(crate) fn commit(&self, db: &mut Client, entry: &Entry<'_>) -> Result<()> {
        let what = "cannot record the round in the destination";
        let s = &self.schema;
        let now = entry.now.as_microsecond();
        for loaded in entry.segments {
            let segment = &loaded.segment;
            db.execute(
                &format!(
                    "INSERT INTO {s}._bobbin_segments VALUES ($1, $2, $3, $4, $5, $6, $7, $8,
                         to_timestamp(0) + $9::bigint * interval '1 microsecond')"
                ),
                &[
                    &segment.id.job.as_str(),
                    &(segment.id.number as i64),
                    &segment.stream.as_str(),
                    &(segment.records as i64),
                    &(loaded.loaded as i64),
                    &(loaded.superseded as i64),
                    &(loaded.rejected as i64),
                    &(segment.bytes as i64),
                    &now,
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
                     SET state = coalesce($1::text::json, state), job = $2,
                         updated_at = to_timestamp(0) + $3::bigint * interval '1 microsecond',
                         sequence = greatest(sequence, $4)
                     WHERE connection = $5 AND token = $6"
                ),
                &[
                    &state,
                    &entry.job.as_str(),
                    &now,
                    &entry.sequence,
                    &self.connection.as_str(),
                    &entry.token,
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

    /// Whether a segment is durable: after a commit whose answer was lost.
    pub(crate) fn holds(&self, db: &mut Client, segment: &SegmentId) -> Result<bool> {
        let found = db
            .query_opt(
                &format!(
                    "SELECT FROM {}._bobbin_segments WHERE job = $1 AND number = $2",
                    self.schema
                ),
                &[&segment.job.as_str(), &(segment.number as i64)],
            )
            .doing("cannot see whether the round was saved")?;
        Ok(found.is_some())
    }

    /// Forgets segments of old jobs.
    pub(crate) fn trim(&self, db: &mut Client) -> Result<()> {
        let s = &self.schema;
        db.batch_execute(&format!(
            "DELETE FROM {s}._bobbin_segments WHERE job < (
                 SELECT min(job) FROM (
                     SELECT DISTINCT job FROM {s}._bobbin_segments
                     ORDER BY job DESC LIMIT {JOBS_KEPT}) AS latest)"
        ))
        .doing("cannot trim the list of segments")
    }

    /// Adds records set aside.
    pub(crate) fn reject(
        &self,
        db: &mut Client,
        table: &str,
        rows: &[RejectedRow],
        at: Timestamp,
    ) -> Result<()> {
        if rows.is_empty() {
            return Ok(());
        }
        let clean = |text: &str| copy::text(text).0.into_owned();
        let reasons: Vec<String> = rows.iter().map(|row| clean(&row.reason)).collect();
        let records: Vec<String> = rows.iter().map(|row| clean(&row.record)).collect();
        db.execute(
            &format!(
                "INSERT INTO {}._sdc_rejected
                 SELECT to_timestamp(0) + $1::bigint * interval '1 microsecond', $2, reason, record
                 FROM unnest($3::text[], $4::text[]) AS rows (reason, record)",
                self.schema
            ),
            &[&at.as_microsecond(), &table, &reasons, &records],
        )
        .doing("cannot write rejected records")?;
        Ok(())
    }

    /// The tables of the connection.
    pub(crate) fn tables(&self, db: &mut Client) -> Result<Vec<KnownTable>> {
        let rows = db
            .query(
                &format!(
                    "SELECT stream, sub, name, key, version FROM {}._bobbin_tables",
                    self.schema
                ),
                &[],
            )
            .doing("cannot read the table map")?;
        rows.iter()
            .map(|row| {
                let (sub, key): (String, Option<String>) = (row.get(1), row.get(3));
                let name: String = row.get(2);
                Ok(KnownTable {
                    sub: read(&sub, &name)?,
                    key: key.map(|key| read(&key, &name)).transpose()?,
                    stream: row.get(0),
                    version: row.get(4),
                    name,
                })
            })
            .collect()
    }

    /// Remembers a table, or its new key or version.
    pub(crate) fn put_table(&self, db: &mut Client, table: &KnownTable) -> Result<()> {
        let key = table.key.as_ref().map(write).transpose()?;
        db.execute(
            &format!(
                "INSERT INTO {}._bobbin_tables (stream, sub, name, key, version)
                 VALUES ($1, $2, $3, $4, $5)
                 ON CONFLICT (stream, sub) DO UPDATE
                     SET name = excluded.name, key = excluded.key, version = excluded.version",
                self.schema
            ),
            &[&table.stream, &write(&table.sub)?, &table.name, &key, &table.version],
        )
        .doing("cannot write the table map")?;
        Ok(())
    }

    /// The columns a stream's tables were given.
    pub(crate) fn columns(&self, db: &mut Client, stream: &str) -> Result<Vec<(Sub, Column)>> {
        let rows = db
            .query(
                &format!(
                    "SELECT path::text, type, is_primary, name, sub FROM {}._bobbin_columns
                     WHERE stream = $1 ORDER BY position",
                    self.schema
                ),
                &[&stream],
            )
            .doing("cannot read the column map")?;
        let mut columns = Vec::with_capacity(rows.len());
        for row in rows {
            let (path, ty): (String, String) = (row.get(0), row.get(1));
            let (primary, name): (bool, String) = (row.get(2), row.get(3));
            let sub: String = row.get(4);
            let Some(ty) = ColumnType::from_suffix(&ty) else {
                return Err(newer(&name));
            };
            let (sub, path) = (read(&sub, &name)?, read(&path, &name)?);
            columns.push((sub, Column { path, ty, name, primary, description: None }));
        }
        Ok(columns)
    }

    /// Remembers columns.
    pub(crate) fn add_columns(
        &self,
        db: &mut Client,
        stream: &str,
        sub: &Sub,
        new: &[&Column],
    ) -> Result<()> {
        if new.is_empty() {
            return Ok(());
        }
        let paths: Vec<String> =
            new.iter().map(|column| write(&column.path)).collect::<Result<_>>()?;
        let types: Vec<&str> = new.iter().map(|column| column.ty.suffix()).collect();
        let primary: Vec<bool> = new.iter().map(|column| column.primary).collect();
        let names: Vec<&str> = new.iter().map(|column| column.name.as_str()).collect();
        db.execute(
            &format!(
                "INSERT INTO {}._bobbin_columns (stream, sub, path, type, is_primary, name)
                 SELECT $1, $6, path::json, type, is_primary, name
                 FROM unnest($2::text[], $3::text[], $4::boolean[], $5::text[])
                     WITH ORDINALITY AS columns (path, type, is_primary, name, n)
                 ORDER BY n",
                self.schema
            ),
            &[&stream, &paths, &types, &primary, &names, &write(sub)?],
        )
        .doing("cannot write the column map")?;
        Ok(())
    }

    /// Remembers the new name of a column.
    pub(crate) fn rename_column(
        &self,
        db: &mut Client,
        stream: &str,
        sub: &Sub,
        (from, to): (&str, &str),
    ) -> Result<()> {
        db.execute(
            &format!(
                "UPDATE {}._bobbin_columns SET name = $4
                 WHERE stream = $1 AND sub = $2 AND name = $3",
                self.schema
            ),
            &[&stream, &write(sub)?, &from, &to],
        )
        .doing("cannot write the column map")?;
        Ok(())
    }
}
