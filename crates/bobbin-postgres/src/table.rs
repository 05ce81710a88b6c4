//! One table: what it looks like, and making it grow.

use bobbin_core::catalog::Stream;
use bobbin_core::id::StreamName;
use bobbin_core::{Error, ErrorKind, Result};
use bobbin_load::filter::KeyFilter;
use bobbin_load::shape::batch::Batch;
use bobbin_load::shape::capabilities::Capabilities;
use bobbin_load::shape::convert::Converter;
use bobbin_load::shape::name;
use bobbin_load::shape::tree::Column;
use bobbin_load::shape::types::ColumnType;
use postgres::Client;

use crate::error::Doing;
use crate::ledger::Ledger;
use crate::sql;

/// PostgreSQL's limits: names of 63 bytes, 1,600 columns. Wide rows end earlier, because every
/// value needs some bytes in a page of 8 kB; undeclared fields beyond this go to one column.
pub(crate) const CAPABILITIES: Capabilities = Capabilities {
    name_bytes: 63,
    columns: 1_000,
    // PostgreSQL's own columns, which every table has.
    reserved: &["tableoid", "xmin", "cmin", "xmax", "cmax", "ctid"],
    keep_records: true,
};

/// The system columns every table has, with Stitch's names and meaning
/// (`stitch-behaviour.md` 7.2).
pub(crate) const SYSTEM: [(&str, ColumnType); 5] = [
    ("_sdc_extracted_at", ColumnType::DateTime),
    ("_sdc_received_at", ColumnType::DateTime),
    ("_sdc_batched_at", ColumnType::DateTime),
    ("_sdc_sequence", ColumnType::BigInt),
    ("_sdc_table_version", ColumnType::BigInt),
];

/// A table of the open session.
#[derive(Debug)]
pub(crate) struct Table {
    schema: String,
    /// Its name.
    pub(crate) name: String,
    pub(crate) stream: StreamName,
    description: Option<String>,
    /// Our columns by position; a gap is a column that never got a value.
    pub(crate) columns: Vec<Option<Column>>,
    /// Positions below this are in the stored column map.
    known: usize,
    exists: bool,
    /// Keys the table may hold; only for tables that this session made.
    pub(crate) filter: Option<KeyFilter>,
    /// The temporary table that rows wait in which may replace others.
    stage: String,
    staged: bool,
}

impl Table {
    /// Reads what is there for a stream, and the converter that fits it. `number` is its own among
    /// the session's tables.
    pub(crate) fn open(
        db: &mut Client,
        ledger: &Ledger,
        schema: &str,
        stream: &Stream,
        number: usize,
    ) -> Result<(Self, Converter)> {
        let name = name::table(stream.name.as_str(), CAPABILITIES.name_bytes);
        let stored = ledger.columns(db, stream.name.as_str())?;
        let found = found_columns(db, schema, &name)?;
        let place = format!("{schema}.{name}");
        check(&place, &stored, &found)?;
        let exists = !found.is_empty();
        if exists {
            check_key(db, schema, &name, stream)?;
        }
        let others: Vec<String> = found
            .iter()
            .filter(|(name, _)| !stored.iter().any(|column| column.name == *name))
            .map(|(name, _)| name.clone())
            .collect();
        let stage = format!("pg_temp.{}", sql::name(&format!("bobbin_stage_{number}")));
        db.batch_execute(&format!("DROP TABLE IF EXISTS {stage}"))
            .doing("cannot prepare a temporary table")?;
        let table = Self {
            schema: schema.to_owned(),
            name,
            stream: stream.name.clone(),
            description: stream.description.clone(),
            columns: stored.iter().cloned().map(Some).collect(),
            known: stored.len(),
            exists,
            filter: (!exists).then(KeyFilter::new),
            stage,
            staged: false,
        };
        let stored = stored
            .into_iter()
            .map(|column| {
                let there = found.iter().any(|(name, _)| *name == column.name);
                (column, there)
            })
            .collect();
        Ok((table, Converter::new(stream, stored, &others).within(CAPABILITIES)))
    }

    /// The full name, quoted.
    pub(crate) fn sql(&self) -> String {
        format!("{}.{}", sql::name(&self.schema), sql::name(&self.name))
    }

    /// The temporary table's name, quoted.
    pub(crate) fn stage(&self) -> &str {
        &self.stage
    }

    /// Makes the temporary table if it is not there.
    pub(crate) fn prepare_stage(&mut self, db: &mut Client) -> Result<()> {
        if !self.staged {
            db.batch_execute(&format!(
                "CREATE TEMP TABLE {} (LIKE {}) ON COMMIT DELETE ROWS",
                self.stage.trim_start_matches("pg_temp."),
                self.sql()
            ))
            .doing("cannot make a temporary table")?;
            self.staged = true;
        }
        Ok(())
    }

    pub(crate) fn exists(&self) -> bool {
        self.exists
    }

    /// The column at a position; one that a batch names is always there.
    pub(crate) fn column(&self, position: usize) -> Result<&Column> {
        self.columns
            .get(position)
            .and_then(Option::as_ref)
            .ok_or_else(|| Error::bug("a batch names a column the table does not have"))
    }

    /// Makes the columns a batch needs; gives what was changed, for people.
    pub(crate) fn grow(
        &mut self,
        db: &mut Client,
        ledger: &Ledger,
        batch: &Batch,
    ) -> Result<Vec<String>> {
        if self.exists && batch.new.is_empty() || batch.rows == 0 {
            return Ok(Vec::new());
        }
        let target = self.sql();
        let mut changes = Vec::new();
        let mut ddl = String::new();
        if self.exists {
            let columns: Vec<String> = batch
                .new
                .iter()
                .map(|(_, column)| {
                    changes.push(format!("{}: added column {}", self.name, column.name));
                    format!("ADD COLUMN {}", definition(column))
                })
                .collect();
            let columns = columns.join(", ");
            ddl += &format!("ALTER TABLE {target} {columns};\n");
            if self.staged {
                ddl += &format!("ALTER TABLE {} {columns};\n", self.stage);
            }
        } else {
            let mut parts: Vec<String> =
                batch.new.iter().map(|(_, column)| definition(column)).collect();
            parts.extend(
                SYSTEM.iter().map(|(name, ty)| format!("{name} {}", sql::column_type(*ty))),
            );
            let mut key = Vec::new();
            for &position in &batch.keys {
                let column = batch.new.iter().find(|(at, _)| *at == position);
                let (_, column) =
                    column.ok_or_else(|| Error::bug("a new table is without its key"))?;
                key.push(sql::name(&column.name));
            }
            if !key.is_empty() {
                parts.push(format!("PRIMARY KEY ({})", key.join(", ")));
            }
            ddl += &format!("CREATE TABLE {target} ({});\n", parts.join(", "));
            if let Some(text) = &self.description {
                ddl += &format!("COMMENT ON TABLE {target} IS {};\n", sql::text(text));
            }
            changes.push(format!("{}: created table with {} columns", self.name, batch.new.len()));
        }
        for (_, column) in &batch.new {
            if let Some(text) = &column.description {
                ddl += &format!(
                    "COMMENT ON COLUMN {target}.{} IS {};\n",
                    sql::name(&column.name),
                    sql::text(text)
                );
            }
        }
        db.batch_execute(&ddl)
            .doing("cannot change the table")
            .map_err(|error| error.with("table", format!("{}.{}", self.schema, self.name)))?;
        ledger.add_columns(db, self.stream.as_str(), &batch.new, self.known)?;
        for (position, column) in &batch.new {
            if self.columns.len() <= *position {
                self.columns.resize(position + 1, None);
            }
            self.columns[*position] = Some(column.clone());
        }
        self.exists = true;
        Ok(changes)
    }
}

fn definition(column: &Column) -> String {
    format!("{} {}", sql::name(&column.name), sql::column_type(column.ty))
}

/// The columns of a table with the catalogue's type names; none when it is missing.
fn found_columns(db: &mut Client, schema: &str, table: &str) -> Result<Vec<(String, String)>> {
    let rows = db
        .query(
            "SELECT a.attname, format_type(a.atttypid, a.atttypmod)
             FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
                  JOIN pg_namespace n ON n.oid = c.relnamespace
             WHERE n.nspname = $1 AND c.relname = $2 AND c.relkind IN ('r', 'p')
                   AND a.attnum > 0 AND NOT a.attisdropped
             ORDER BY a.attnum",
            &[&schema, &table],
        )
        .doing("cannot read the table's columns")?;
    Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
}

/// Stops a table whose rows cannot be told apart by the stream's key (C23).
fn check_key(db: &mut Client, schema: &str, table: &str, stream: &Stream) -> Result<()> {
    if stream.key.is_empty() {
        return Ok(());
    }
    let rows = db
        .query(
            "SELECT array_agg(a.attname::text ORDER BY a.attname)
             FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid
                  JOIN pg_namespace n ON n.oid = c.relnamespace
                  JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = ANY (i.indkey)
             WHERE n.nspname = $1 AND c.relname = $2 AND i.indisunique AND i.indisvalid
                   AND i.indpred IS NULL AND i.indexprs IS NULL
             GROUP BY i.indexrelid",
            &[&schema, &table],
        )
        .doing("cannot read the table's key")?;
    let mut wanted: Vec<String> = stream.key.iter().map(|key| name::plain(&[key])).collect();
    wanted.sort();
    if rows.iter().any(|row| row.get::<_, Vec<String>>(0) == wanted) {
        return Ok(());
    }
    let key: Vec<String> = stream.key.iter().map(|key| sql::name(&name::plain(&[key]))).collect();
    Err(Error::new(ErrorKind::SchemaConflict, "the table has no unique key that is the stream's")
        .with("table", format!("{schema}.{table}"))
        .with("key", stream.key.join(", "))
        .hint(format!(
            "ALTER TABLE {}.{} ADD PRIMARY KEY ({}); or rename the table and let bobbin make it \
             anew",
            sql::name(schema),
            sql::name(table),
            key.join(", ")
        )))
}

/// Stops a table that was changed in a way that would lose data.
fn check(place: &str, stored: &[Column], found: &[(String, String)]) -> Result<()> {
    if found.is_empty() {
        return Ok(());
    }
    let ours = SYSTEM
        .iter()
        .map(|(name, ty)| (*name, *ty, true))
        .chain(stored.iter().map(|column| (column.name.as_str(), column.ty, false)));
    for (column, ty, system) in ours {
        let expected = sql::column_type(ty);
        match found.iter().find(|(name, _)| name == column) {
            Some((_, found)) if found == expected => {}
            // A column that was dropped is made again with its next value.
            None if !system => {}
            None => {
                return Err(Error::new(
                    ErrorKind::SchemaConflict,
                    "a system column is missing from the table",
                )
                .with("table", place)
                .with("column", column)
                .with("expected", expected)
                .hint(format!(
                    "if the table is bobbin's, ALTER TABLE {place} ADD COLUMN {column} {expected}; \
                     if it is not, rename it: this is where bobbin writes"
                )));
            }
            Some((_, found)) => {
                return Err(Error::new(ErrorKind::SchemaConflict, "a column has another type")
                    .with("table", place)
                    .with("column", column)
                    .with("found", found)
                    .with("expected", expected)
                    .hint(format!(
                        "ALTER TABLE {place} ALTER {} TYPE {expected}; or drop the column, and \
                         bobbin makes it again for new values",
                        sql::name(column)
                    )));
            }
        }
    }
    Ok(())
}
