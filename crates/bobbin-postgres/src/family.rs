//! A stream's tables together: its own, and one for each array in its records.

use bobbin_core::Result;
use bobbin_core::catalog::Stream;
use bobbin_load::filter::KeyFilter;
use bobbin_load::shape::batch::Batch;
use bobbin_load::shape::capabilities::Capabilities;
use bobbin_load::shape::convert::{Converter, MADE_KEY};
use bobbin_load::shape::layout::{KeyChange, Layout, Loading};
use bobbin_load::shape::name::{self, Names};
use bobbin_load::shape::sheet::Known;
use bobbin_load::shape::tree::{Column, Sub};
use bobbin_load::shape::types::ColumnType;
use postgres::Client;

use crate::error::Doing;
use crate::found;
use crate::ledger::{KnownTable, Ledger};
use crate::sql;
use crate::table::Table;

/// PostgreSQL's limits: names of 63 bytes, 1,600 columns. Wide rows end earlier, because every
/// value needs some bytes in a page of 8 kB; undeclared fields beyond this go to one column. An
/// index holds entries of some 2,700 bytes.
pub(crate) const CAPABILITIES: Capabilities = Capabilities {
    name_bytes: 63,
    stitch_column_bytes: 59,
    columns: 1_000,
    // PostgreSQL's own columns, which every table has.
    reserved: &["tableoid", "xmin", "cmin", "xmax", "cmax", "ctid"],
    case_sensitive: true,
    key_bytes: Some(2_600),
    keep_records: true,
};

/// The tables of one stream in the open session.
#[derive(Debug)]
pub(crate) struct Family {
    key: Vec<String>,
    /// The stream's own table first.
    pub(crate) tables: Vec<Table>,
    /// What opening it changed, for people.
    pub(crate) changes: Vec<String>,
    /// Why the table can have no name, under Stitch's naming: then every record is rejected.
    pub(crate) refused: Option<String>,
}

/// The session's knowledge of all tables.
#[derive(Debug)]
pub(crate) struct Registry {
    pub(crate) schema: String,
    pub(crate) layout: Layout,
    known: Vec<KnownTable>,
    names: Names,
    /// Tables opened so far, which numbers their temporary tables.
    opened: usize,
}

impl Registry {
    /// Reads which tables there are.
    pub(crate) fn read(
        db: &mut Client,
        ledger: &Ledger,
        schema: &str,
        layout: Layout,
    ) -> Result<Self> {
        let known = ledger.tables(db)?;
        let mut names = Names::of_tables(&CAPABILITIES, layout.naming);
        for table in &known {
            names.reserve(&table.name);
        }
        Ok(Self { schema: schema.to_owned(), layout, known, names, opened: 0 })
    }

    /// A stage's name that no other table of the session has.
    fn next_stage(&mut self) -> String {
        self.opened += 1;
        format!("pg_temp.{}", sql::name(&format!("bobbin_stage_{}", self.opened)))
    }

    /// Reads what is there for a stream, and the converter that fits it.
    pub(crate) fn open(
        &mut self,
        db: &mut Client,
        ledger: &Ledger,
        stream: &Stream,
    ) -> Result<(Family, Converter)> {
        let stored = ledger.columns(db, stream.name.as_str())?;
        let mut layout = self.layout;
        let mut changes = Vec::new();
        let own = self.known.iter().find(|k| k.stream == stream.name.as_str() && k.sub.is_own());
        let mut refused = None;
        let name = match own {
            Some(own) => own.name.clone(),
            None => self.names.give(&[stream.name.as_str()], None).unwrap_or_else(|reason| {
                refused = Some(reason.reason().to_owned());
                name::limited(stream.name.as_str(), CAPABILITIES.name_bytes)
            }),
        };
        let key_columns = key_columns(stream, &stored);
        let exists = !found::columns(db, &self.schema, &name)?.is_empty();
        let unique = stream.key.is_empty()
            || !exists
            || found::is_unique(db, &self.schema, &name, &key_columns)?;
        if layout.loading == Loading::Upsert && !unique {
            if layout.key_change == KeyChange::Stops {
                return Err(found::other_key(&self.schema, &name, stream, &key_columns));
            }
            layout.loading = Loading::Append;
        }
        let keyed = layout.loading == Loading::Upsert && !stream.key.is_empty();
        if exists
            && !keyed
            && let Some(constraint) = found::primary_key(db, &self.schema, &name)?
        {
            // Every version is to be a row; the key would refuse the second.
            let table = format!("{}.{}", sql::name(&self.schema), sql::name(&name));
            db.batch_execute(&format!(
                "ALTER TABLE {table} DROP CONSTRAINT {}",
                sql::name(&constraint)
            ))
            .doing("cannot drop the table's primary key")?;
            changes.push(format!("{name}: dropped its primary key, every version is a row now"));
        }
        let mut subs: Vec<Sub> = vec![Sub::default()];
        let known = self.known.iter().filter(|known| known.stream == stream.name.as_str());
        subs.extend(known.map(|known| known.sub.clone()).filter(|sub| !sub.is_own()));
        let leads = leads(stream, &stored);
        let mut tables = Vec::new();
        let mut sheets = Vec::new();
        for sub in subs {
            let columns: Vec<Column> = stored
                .iter()
                .filter(|(of, _)| *of == sub)
                .map(|(_, column)| column.clone())
                .collect();
            let lead = lead_of(&leads, &sub);
            let (table, sheet) = self.table(db, stream, sub, &name, columns, lead, keyed)?;
            tables.push(table);
            sheets.push(sheet);
        }
        let converter = Converter::arranged(stream, sheets, CAPABILITIES, layout);
        Ok((Family { key: stream.key.clone(), tables, changes, refused }, converter))
    }

    #[expect(clippy::too_many_arguments, reason = "all of it is the table's own")]
    fn table(
        &mut self,
        db: &mut Client,
        stream: &Stream,
        sub: Sub,
        own_name: &str,
        columns: Vec<Column>,
        lead: Vec<(String, ColumnType)>,
        keyed: bool,
    ) -> Result<(Table, Known)> {
        let known = self
            .known
            .iter()
            .find(|known| known.stream == stream.name.as_str() && known.sub == sub);
        let name = known.map_or(own_name, |known| known.name.as_str()).to_owned();
        let version = known.and_then(|known| known.version);
        let recorded = known.is_some();
        let found = found::columns(db, &self.schema, &name)?;
        found::check(&format!("{}.{name}", self.schema), &lead, &columns, &found)?;
        let others = found
            .iter()
            .filter(|(name, _)| !columns.iter().any(|column| column.name == *name))
            .map(|(name, _)| name.clone())
            .collect();
        let stage = self.next_stage();
        let won = format!("{}_won\"", stage.trim_end_matches('"'));
        db.batch_execute(&format!("DROP TABLE IF EXISTS {stage}, {won}"))
            .doing("cannot prepare a temporary table")?;
        let exists = !found.is_empty();
        let there = |column: &Column| found.iter().any(|(name, _)| *name == column.name);
        let known = columns.iter().map(|column| (column.clone(), there(column))).collect();
        let table = Table {
            schema: self.schema.clone(),
            name,
            stream: stream.name.clone(),
            description: stream.description.clone().filter(|_| sub.is_own()),
            known: columns.len(),
            columns: columns.into_iter().map(Some).collect(),
            lead,
            exists,
            recorded,
            keyed,
            filter: (sub.is_own() && keyed && !exists).then(KeyFilter::new),
            stage,
            staged: false,
            version,
            beside: false,
            sub: sub.clone(),
        };
        Ok((table, Known { sub, columns: known, others }))
    }
}

impl Family {
    /// The table of an array, opened when it comes for the first time; or the reason why it can
    /// have no name.
    pub(crate) fn child(
        &mut self,
        db: &mut Client,
        registry: &mut Registry,
        stream: &Stream,
        batch: &Batch,
    ) -> Result<std::result::Result<usize, String>> {
        if let Some(at) = self.tables.iter().position(|table| table.sub == batch.sub) {
            return Ok(Ok(at));
        }
        let mut parts = vec![stream.name.as_str()];
        parts.extend(batch.sub.parts());
        let name = match registry.names.give(&parts, None) {
            Ok(name) => name,
            Err(refused) => return Ok(Err(refused.reason().to_owned())),
        };
        let lead = batch.lead.iter().map(|lead| (lead.name.clone(), lead.ty)).collect();
        let keyed = self.tables.first().is_some_and(|own| own.keyed);
        let (mut table, _) =
            registry.table(db, stream, batch.sub.clone(), &name, Vec::new(), lead, keyed)?;
        // Like the table it belongs to, also where that is replaced as a whole.
        table.version = self.tables.first().and_then(|own| own.version);
        self.tables.push(table);
        Ok(Ok(self.tables.len() - 1))
    }

    /// Writes tables that are new into the map.
    pub(crate) fn record(&mut self, db: &mut Client, ledger: &Ledger) -> Result<()> {
        for table in self.tables.iter_mut().filter(|table| table.exists && !table.recorded) {
            table.record(db, ledger, &self.key)?;
        }
        Ok(())
    }

    /// The same for all tables, whatever is known of them.
    pub(crate) fn record_all(&mut self, db: &mut Client, ledger: &Ledger) -> Result<()> {
        for table in self.tables.iter_mut().filter(|table| table.exists) {
            table.record(db, ledger, &self.key)?;
        }
        Ok(())
    }
}

/// The columns of the stream's key in its own table.
fn key_columns(stream: &Stream, stored: &[(Sub, Column)]) -> Vec<String> {
    stream
        .key
        .iter()
        .map(|key| {
            let own = stored.iter().find(|(sub, column)| {
                sub.is_own() && column.primary && column.path == std::slice::from_ref(key)
            });
            own.map_or_else(|| name::plain(&[key]), |(_, column)| column.name.clone())
        })
        .collect()
}

/// The columns that hold a record's key in the tables of its arrays.
fn leads(stream: &Stream, stored: &[(Sub, Column)]) -> Vec<(String, ColumnType)> {
    if stream.key.is_empty() {
        return vec![(MADE_KEY.to_owned(), ColumnType::Text)];
    }
    let own = |key: &String| {
        stored.iter().find(|(sub, column)| {
            sub.is_own() && column.primary && column.path == std::slice::from_ref(key)
        })
    };
    let found = stream.key.iter().filter_map(own);
    found.map(|(_, column)| (column.name.clone(), column.ty)).collect()
}

fn lead_of(keys: &[(String, ColumnType)], sub: &Sub) -> Vec<(String, ColumnType)> {
    let made = |(name, _): &&(String, ColumnType)| name == MADE_KEY;
    if sub.is_own() {
        return keys.iter().filter(made).cloned().collect();
    }
    let limit = CAPABILITIES.name_bytes;
    let mut lead: Vec<(String, ColumnType)> =
        keys.iter().map(|(key, ty)| (name::source_key(key, limit), *ty)).collect();
    lead.extend(
        (0..sub.depth()).map(|level| (format!("_sdc_level_{level}_id"), ColumnType::BigInt)),
    );
    lead
}
