//! One table: what it looks like, and making it grow.

use bobbin_core::id::StreamName;
use bobbin_core::receipt::{Change, Changed};
use bobbin_core::{Error, Result};
use bobbin_load::filter::KeyFilter;
use bobbin_load::shape::batch::{Batch, Lead};
use bobbin_load::shape::map::KnownTable;
use bobbin_load::shape::name;
use bobbin_load::shape::tree::{Column, Sub};
use bobbin_load::shape::types::ColumnType;
use postgres::Client;

use crate::error::Doing;
use crate::family::CAPABILITIES;
use crate::found;
use crate::ledger::Ledger;
use crate::sql;

/// The most columns an index of PostgreSQL has.
const INDEX_COLUMNS: usize = 32;

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
    pub(crate) schema: String,
    /// Its name.
    pub(crate) name: String,
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
    /// Whether it is in the stored table map.
    pub(crate) recorded: bool,
    /// Whether rows are replaced by newer ones of the same key; others only grow.
    pub(crate) keyed: bool,
    /// Keys the table may hold; only for tables that this session made.
    pub(crate) filter: Option<KeyFilter>,
    /// The temporary table that rows wait in which may replace others.
    pub(crate) stage: String,
    pub(crate) staged: bool,
    /// The version its rows belong to, when it is replaced as a whole.
    pub(crate) version: Option<i64>,
    /// The version whose rows gather beside the table now.
    pub(crate) beside: Option<i64>,
}

impl Table {
    /// The full name, quoted.
    pub(crate) fn sql(&self) -> String {
        format!("{}.{}", sql::name(&self.schema), sql::name(&self.name))
    }

    /// Where rows of the next version gather until they replace the others, quoted.
    pub(crate) fn next(&self) -> String {
        format!("{}.{}", sql::name(&self.schema), sql::name(&self.next_name()))
    }

    /// The same without its schema.
    pub(crate) fn next_name(&self) -> String {
        name::limited(&format!("_bobbin_next_{}", self.name), CAPABILITIES.name_bytes)
    }

    /// The temporary table's name, quoted.
    pub(crate) fn stage(&self) -> &str {
        &self.stage
    }

    /// Removes a temporary table that an earlier opening of this session left.
    pub(crate) fn drop_stage(&self, db: &mut Client) -> Result<()> {
        db.batch_execute(&format!("DROP TABLE IF EXISTS {}, {}", self.stage, self.won()))
            .doing("cannot prepare a temporary table")
    }

    /// The temporary table of the keys that one merge moved, quoted.
    pub(crate) fn won(&self) -> String {
        format!("{}_won\"", self.stage.trim_end_matches('"'))
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

    /// The column at a position; one that a batch names is always there.
    pub(crate) fn column(&self, position: usize) -> Result<&Column> {
        self.columns
            .get(position)
            .and_then(Option::as_ref)
            .ok_or_else(|| Error::bug("a batch names a column the table does not have"))
    }

    /// Every column there is that we write, quoted: lead, own, system.
    pub(crate) fn all_columns(&self) -> Vec<String> {
        let lead = self.lead.iter().map(|(name, _)| sql::name(name));
        let own = self.columns.iter().flatten().map(|column| sql::name(&column.name));
        let system = SYSTEM.iter().map(|(name, _)| (*name).to_owned());
        lead.chain(own).chain(system).collect()
    }

    /// The column of instants for when a record was deleted in the source, quoted, if there is one.
    pub(crate) fn deleted_at(&self) -> Option<String> {
        let column = self.columns.iter().flatten().find(|column| column.is_deleted_at());
        column.map(|column| sql::name(&column.name))
    }

    /// Makes the table or the columns a batch needs; gives what was changed, for people.
    pub(crate) fn grow(
        &mut self,
        db: &mut Client,
        ledger: &Ledger,
        batch: &Batch,
    ) -> Result<Vec<Change>> {
        if batch.new.is_empty() && batch.renamed.is_empty() && (self.exists || batch.rows == 0) {
            return Ok(Vec::new());
        }
        let target = self.sql();
        let mut changes = Vec::new();
        let mut ddl = self.rename(db, ledger, batch, &mut changes)?;
        if self.exists {
            self.add(batch, &mut ddl, &mut changes);
        } else {
            self.create(batch, &mut ddl)?;
            let columns = batch.new.len() as u64;
            changes.push(Change::of(&self.name, Changed::Created { columns }));
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
        // Columns that were known and are made anew are in the map already.
        let new: Vec<&Column> = batch
            .new
            .iter()
            .filter(|(position, _)| *position >= self.known)
            .map(|(_, column)| column)
            .collect();
        ledger.add_columns(db, self.stream.as_str(), &self.sub, &new)?;
        for (position, column) in &batch.new {
            if self.columns.len() <= *position {
                self.columns.resize(position + 1, None);
            }
            self.columns[*position] = Some(column.clone());
        }
        self.exists = true;
        Ok(changes)
    }

    /// Writes the table into the map.
    pub(crate) fn record(
        &mut self,
        db: &mut Client,
        ledger: &Ledger,
        key: &[String],
    ) -> Result<()> {
        ledger.put_table(
            db,
            &KnownTable {
                stream: self.stream.to_string(),
                sub: self.sub.clone(),
                name: self.name.clone(),
                key: self.keyed.then(|| key.to_vec()),
                version: self.version,
            },
        )?;
        self.recorded = true;
        Ok(())
    }

    /// Gives columns their new names (C6).
    fn rename(
        &mut self,
        db: &mut Client,
        ledger: &Ledger,
        batch: &Batch,
        changes: &mut Vec<Change>,
    ) -> Result<String> {
        let mut ddl = String::new();
        if batch.renamed.is_empty() {
            return Ok(ddl);
        }
        let mut forms = vec![self.sql()];
        forms.extend(self.staged.then(|| self.stage.clone()));
        // Also where an earlier job left rows of a version that may go on.
        let next = found::columns(db, &self.schema, &self.next_name())?;
        forms.extend((!next.is_empty()).then(|| self.next()));
        for (position, to) in &batch.renamed {
            let Some(Some(column)) = self.columns.get_mut(*position) else { continue };
            let from = std::mem::replace(&mut column.name, to.clone());
            let what = Changed::Renamed { from: from.clone(), to: to.clone() };
            changes.push(Change::of(&self.name, what));
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
        if batch.new.is_empty() {
            return;
        }
        for (_, column) in &batch.new {
            let what = Changed::Added { column: column.name.clone() };
            changes.push(Change::of(&self.name, what));
        }
        let mut alter = |table: &str, add: &str| {
            let columns: Vec<String> = batch
                .new
                .iter()
                .map(|(_, column)| format!("{add} {}", definition(column)))
                .collect();
            *ddl += &format!("ALTER TABLE {table} {};\n", columns.join(", "));
        };
        alter(&self.sql(), "ADD COLUMN");
        if self.staged {
            alter(&self.stage, "ADD COLUMN");
        }
        if self.beside.is_some() {
            // It still has what was dropped from the table.
            alter(&self.next(), "ADD COLUMN IF NOT EXISTS");
        }
    }

    fn create(&mut self, batch: &Batch, ddl: &mut String) -> Result<()> {
        let target = self.sql();
        self.lead = batch.lead.iter().map(|Lead { name, ty, .. }| (name.clone(), *ty)).collect();
        let lead = self.lead.iter();
        let mut parts: Vec<String> = lead
            .map(|(name, ty)| format!("{} {} NOT NULL", sql::name(name), sql::column_type(*ty)))
            .collect();
        parts.extend(batch.new.iter().map(|(_, column)| definition(column)));
        parts.extend(SYSTEM.iter().map(|(name, ty)| format!("{name} {}", sql::column_type(*ty))));
        let (mut key, mut index) = (Vec::new(), String::new());
        if self.keyed && self.sub.is_own() {
            for &position in &batch.keys {
                let column = batch.new.iter().find(|(at, _)| *at == position);
                let (_, column) =
                    column.ok_or_else(|| Error::bug("a new table is without its key"))?;
                key.push(sql::name(&column.name));
            }
        } else if self.keyed {
            key.extend(self.lead.iter().map(|(name, _)| sql::name(name)));
        }
        if key.len() > INDEX_COLUMNS && !self.sub.is_own() {
            // Arrays this deep: an index for finding a record's items is all there can be.
            key.truncate(INDEX_COLUMNS);
            index = format!("CREATE INDEX ON {target} ({});\n", key.join(", "));
        } else if !key.is_empty() {
            parts.push(format!("PRIMARY KEY ({})", key.join(", ")));
        }
        *ddl += &format!("CREATE TABLE {target} ({});\n{index}", parts.join(", "));
        if let Some(text) = &self.description {
            *ddl += &format!("COMMENT ON TABLE {target} IS {};\n", sql::text(text));
        }
        Ok(())
    }
}

fn definition(column: &Column) -> String {
    format!("{} {}", sql::name(&column.name), sql::column_type(column.ty))
}
