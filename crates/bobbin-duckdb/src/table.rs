//! One table: what it looks like, and making it grow.

use std::collections::BTreeMap;

use bobbin_core::id::StreamName;
use bobbin_core::receipt::{Change, Changed};
use bobbin_core::{Error, Result};
use bobbin_load::filter::KeyFilter;
use bobbin_load::shape::batch::Batch;
use bobbin_load::shape::map::KnownTable;
use bobbin_load::shape::name;
use bobbin_load::shape::tree::{Column, Sub};
use bobbin_load::shape::types::ColumnType;
use duckdb::Connection;
use jiff::Timestamp;
use rustc_hash::FxHashSet;

use crate::error::Doing;
use crate::found;
use crate::ledger::Ledger;
use crate::sql;

/// The system columns every table has, with Stitch's names and meaning
/// (`stitch-behaviour.md` 7.2).
pub(crate) const SYSTEM: [(&str, ColumnType); 5] = [
    ("_sdc_extracted_at", ColumnType::DateTime),
    ("_sdc_received_at", ColumnType::DateTime),
    ("_sdc_batched_at", ColumnType::DateTime),
    ("_sdc_sequence", ColumnType::BigInt),
    ("_sdc_table_version", ColumnType::BigInt),
];

/// Where a table is.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) catalog: String,
    pub(crate) schema: String,
    pub(crate) table: String,
}

impl Place {
    /// The full name, quoted.
    pub(crate) fn sql(&self) -> String {
        format!(
            "{}.{}.{}",
            sql::name(&self.catalog),
            sql::name(&self.schema),
            sql::name(&self.table)
        )
    }
}

/// A table of the open session.
#[derive(Debug)]
pub(crate) struct Table {
    pub(crate) place: Place,
    pub(crate) stream: StreamName,
    pub(crate) sub: Sub,
    pub(crate) description: Option<String>,
    /// Our columns by position; a gap is a column that never got a value.
    pub(crate) columns: Vec<Option<Column>>,
    /// Columns that every row has: keys and positions of an array's items, a made key.
    pub(crate) lead: Vec<(String, ColumnType)>,
    /// Positions below this are in the stored column map.
    pub(crate) known: usize,
    pub(crate) exists: bool,
    /// Whether it is in the stored table map as it is now.
    pub(crate) recorded: bool,
    /// Whether rows are replaced by newer ones of the same key; others only grow.
    pub(crate) keyed: bool,
    /// Keys the table may hold; `None` until it is worth reading them all.
    pub(crate) filter: Option<KeyFilter>,
    /// Segments whose keys were looked up for want of a filter.
    pub(crate) look_ups: u32,
    /// The version its rows belong to, when it is replaced as a whole.
    pub(crate) version: Option<i64>,
    /// Whether rows of the next version gather beside the table.
    pub(crate) beside: bool,
    /// What the open transaction does to it.
    pub(crate) open: Open,
}

/// What the open transaction does to a table.
#[derive(Debug, Default)]
pub(crate) struct Open {
    /// Rows it appended so far, which numbers them.
    pub(crate) appended: i64,
    /// The same, also where they gather beside the table.
    pub(crate) written: u64,
    /// Rows it had appended when the segment at hand began.
    pub(crate) mark: i64,
    /// Row ids of earlier transactions' rows that it replaces.
    pub(crate) doomed: FxHashSet<i64>,
    /// By version the ids of rows that belong to it, too, because they are newer than what came
    /// with it.
    pub(crate) confirmed: BTreeMap<i64, FxHashSet<i64>>,
    /// The rows that are no more once it is over, because a version took the place of all others.
    pub(crate) sweep: Option<Sweep>,
    /// The rows that get a mark once it is over, for the same reason.
    pub(crate) fade: Option<Fade>,
}

/// Rows that a version no longer has and that stay, marked as deleted.
#[derive(Clone, Debug)]
pub(crate) struct Fade {
    /// These rows, where they have no mark yet.
    pub(crate) rows: Sweep,
    /// Positions of the columns of marks.
    pub(crate) deleted_at: Vec<usize>,
    pub(crate) at: Timestamp,
}

/// Rows that are no more once the transaction is over, by their ids and versions.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Sweep {
    /// All rows with smaller ids go.
    pub(crate) all_before: i64,
    /// The version that stays, in a table with keys; of the others rows with ids smaller than
    /// `before` go.
    pub(crate) version: Option<i64>,
    pub(crate) before: i64,
}

impl Sweep {
    /// All rows with ids smaller than `before`.
    pub(crate) fn all(before: i64) -> Self {
        Self { all_before: before, version: None, before }
    }

    /// Those that are not of `version`.
    pub(crate) fn others(version: i64, before: i64) -> Self {
        Self { all_before: i64::MIN, version: Some(version), before }
    }

    /// The same beside an earlier one of the transaction, which took all of some rows.
    pub(crate) fn beside(mut self, earlier: Option<Self>) -> Self {
        if let Some(earlier) = earlier {
            self.all_before = self.all_before.max(earlier.all_before);
        }
        self
    }

    /// The condition for these rows.
    pub(crate) fn sql(self) -> String {
        let others = self.version.map_or(String::new(), |version| {
            let before = self.before;
            format!(" OR rowid < {before} AND _sdc_table_version IS DISTINCT FROM {version}")
        });
        format!("(rowid < {}{others})", self.all_before)
    }
}

impl Table {
    /// Where rows of the next version gather until they replace the others.
    pub(crate) fn next(&self) -> Place {
        let table = name::limited(&format!("_bobbin_next_{}", self.place.table), 255);
        Place { table, ..self.place.clone() }
    }

    /// Where rows go now.
    pub(crate) fn target(&self) -> Place {
        if self.beside { self.next() } else { self.place.clone() }
    }

    /// Makes the table beside, or goes on with what is there. Where there are rows of another version
    /// than `version`, which then never became whole, nothing is kept.
    pub(crate) fn prepare_next(&self, db: &Connection, version: Option<i64>) -> Result<()> {
        let what = "cannot make the table beside";
        let (next, target) = (self.next(), self.place.sql());
        let beside = next.sql();
        let mut there = found::columns(db, &next)?;
        if !there.is_empty() {
            let other = version.map_or(String::from("false"), |version| {
                format!("_sdc_table_version <> {version}")
            });
            let stale: bool = db
                .query_row(
                    &format!("SELECT count(*) > 0 FROM (FROM {beside} WHERE {other} LIMIT 1)"),
                    [],
                    |row| row.get(0),
                )
                .doing(what)?;
            if stale {
                db.execute_batch(&format!("DROP TABLE {beside}")).doing(what)?;
                there.clear();
            }
        }
        if there.is_empty() {
            let ddl = format!("CREATE TABLE {beside} AS FROM {target} WITH NO DATA");
            return db.execute_batch(&ddl).doing(what);
        }
        for (column, ty) in found::columns(db, &self.place)? {
            if !there.iter().any(|(name, _)| found::same(name, &column)) {
                let ddl = format!("ALTER TABLE {beside} ADD COLUMN {} {ty}", sql::name(&column));
                db.execute_batch(&ddl).doing(what)?;
            }
        }
        Ok(())
    }

    /// Whether a column is one that we write.
    pub(crate) fn is_ours(&self, column: &str) -> bool {
        let lead = self.lead.iter().map(|(name, _)| name.as_str());
        let own = self.columns.iter().flatten().map(|column| column.name.as_str());
        let system = SYSTEM.iter().map(|(name, _)| *name);
        lead.chain(own).chain(system).any(|name| found::same(name, column))
    }

    /// The column at a position; one that a batch names is always there.
    pub(crate) fn column(&self, position: usize) -> Result<&Column> {
        self.columns
            .get(position)
            .and_then(Option::as_ref)
            .ok_or_else(|| Error::bug("a batch names a column the table does not have"))
    }

    /// The column of instants for when a record was deleted in the source, quoted, if there is one.
    pub(crate) fn deleted_at(&self) -> Option<String> {
        let column = self.columns.iter().flatten().find(|column| column.is_deleted_at());
        column.map(|column| sql::name(&column.name))
    }

    /// Makes the table or the columns a batch needs; gives what was changed, for people.
    pub(crate) fn grow(
        &mut self,
        db: &Connection,
        ledger: &Ledger,
        batch: &Batch,
    ) -> Result<Vec<Change>> {
        if batch.new.is_empty() && batch.renamed.is_empty() && (self.exists || batch.rows == 0) {
            return Ok(Vec::new());
        }
        let target = self.place.sql();
        let mut changes = Vec::new();
        let mut ddl = self.rename(db, ledger, batch, &mut changes)?;
        if self.exists {
            self.add(batch, &mut ddl, &mut changes);
        } else {
            self.create(batch, &mut ddl);
            let columns = batch.new.len() as u64;
            changes.push(Change::of(&self.place.table, Changed::Created { columns }));
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
        db.execute_batch(&ddl).map_err(|error| self.error("cannot change the table", error))?;
        // Columns that were known and are made anew are in the map already.
        let new = batch.new.iter().filter(|(position, _)| *position >= self.known);
        let new: Vec<&Column> = new.map(|(_, column)| column).collect();
        ledger.add_columns(db, self.stream.as_str(), &self.sub, &new)?;
        for (position, column) in &batch.new {
            if self.columns.len() <= *position {
                self.columns.resize(position + 1, None);
            }
            self.columns[*position] = Some(column.clone());
        }
        if !self.exists && self.beside {
            self.prepare_next(db, None)?;
        }
        self.exists = true;
        Ok(changes)
    }

    /// Gives columns their new names (C6).
    fn rename(
        &mut self,
        db: &Connection,
        ledger: &Ledger,
        batch: &Batch,
        changes: &mut Vec<Change>,
    ) -> Result<String> {
        let mut ddl = String::new();
        if batch.renamed.is_empty() || !self.exists {
            return Ok(ddl);
        }
        let mut forms = vec![self.place.sql()];
        // Also what an earlier job left there, which the next may go on with.
        let next = self.next();
        if !found::columns(db, &next)?.is_empty() {
            forms.push(next.sql());
        }
        for (position, to) in &batch.renamed {
            let Some(Some(column)) = self.columns.get_mut(*position) else { continue };
            let from = std::mem::replace(&mut column.name, to.clone());
            let what = Changed::Renamed { from: from.clone(), to: to.clone() };
            changes.push(Change::of(&self.place.table, what));
            for table in &forms {
                ddl += &format!(
                    "ALTER TABLE {table} RENAME COLUMN {} TO {};\n",
                    sql::name(&from),
                    sql::name(to)
                );
            }
            ledger.rename_column(db, self.stream.as_str(), &self.sub, (&from, to))?;
        }
        Ok(ddl)
    }

    fn add(&self, batch: &Batch, ddl: &mut String, changes: &mut Vec<Change>) {
        for (_, column) in &batch.new {
            *ddl += &format!(
                "ALTER TABLE {} ADD COLUMN {};\n",
                self.place.sql(),
                definition(&column.name, column.ty)
            );
            if self.beside {
                *ddl += &format!(
                    "ALTER TABLE {} ADD COLUMN IF NOT EXISTS {};\n",
                    self.next().sql(),
                    definition(&column.name, column.ty)
                );
            }
            let what = Changed::Added { column: column.name.clone() };
            changes.push(Change::of(&self.place.table, what));
        }
    }

    fn create(&mut self, batch: &Batch, ddl: &mut String) {
        self.lead = batch.lead.iter().map(|lead| (lead.name.clone(), lead.ty)).collect();
        let lead = self.lead.iter().map(|(name, ty)| (name.as_str(), *ty));
        let own = batch.new.iter().map(|(_, column)| (column.name.as_str(), column.ty));
        let columns: Vec<String> =
            lead.chain(own).chain(SYSTEM).map(|(name, ty)| definition(name, ty)).collect();
        let target = self.place.sql();
        *ddl += &format!("CREATE TABLE {target} ({});\n", columns.join(", "));
        if let Some(text) = &self.description {
            *ddl += &format!("COMMENT ON TABLE {target} IS {};\n", sql::text(text));
        }
    }

    /// Writes the table into the map.
    pub(crate) fn record(
        &mut self,
        db: &Connection,
        ledger: &Ledger,
        key: &[String],
    ) -> Result<()> {
        ledger.put_table(
            db,
            &KnownTable {
                stream: self.stream.to_string(),
                sub: self.sub.clone(),
                name: self.place.table.clone(),
                key: self.keyed.then(|| key.to_vec()),
                version: self.version,
            },
        )?;
        self.recorded = true;
        Ok(())
    }

    /// The error of a statement on this table.
    pub(crate) fn error(&self, what: &str, error: duckdb::Error) -> Error {
        let text = error.to_string();
        let out = crate::error::duckdb(what, error).with("table", &self.place.table);
        if text.contains("NOT NULL constraint") {
            return out.hint(
                "a column that was added to this table by hand does not allow null; bobbin has no \
                 value for it: drop the constraint or the column",
            );
        }
        out
    }
}

fn definition(name: &str, ty: ColumnType) -> String {
    format!("{} {}", sql::name(name), sql::column_type(ty))
}
