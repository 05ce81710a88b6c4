//! A stream's tables together: its own, and one for each array in its records.

use bobbin_core::Result;
use bobbin_core::catalog::Stream;
use bobbin_core::receipt::Change;
use bobbin_load::filter::KeyFilter;
use bobbin_load::shape::batch::Batch;
use bobbin_load::shape::capabilities::Capabilities;
use bobbin_load::shape::convert::Converter;
use bobbin_load::shape::course::Standing;
use bobbin_load::shape::layout::{KeyChange, Layout, Loading};
use bobbin_load::shape::map::{self, KnownTable};
use bobbin_load::shape::name::{self, Names};
use bobbin_load::shape::sheet::Known;
use bobbin_load::shape::tree::{Column, Sub};
use bobbin_load::shape::types::ColumnType;
use postgres::Client;

use crate::error::Doing;
use crate::found;
use crate::ledger::Ledger;
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
    nul_in_keys: false,
    keep_records: true,
};

/// The tables of one stream in the open session.
#[derive(Debug)]
pub(crate) struct Family {
    key: Vec<String>,
    /// The stream's own table first.
    pub(crate) tables: Vec<Table>,
    /// What opening it changed, for people.
    pub(crate) changes: Vec<Change>,
    /// Why the table can have no name, under Stitch's naming: then every record is rejected.
    pub(crate) refused: Option<String>,
}

/// Why a stream's own table has no name under Stitch's naming.
#[derive(Clone, Debug)]
pub(crate) struct Refusal {
    /// What its records are set aside under.
    pub(crate) stands_for_it: String,
    /// The reason.
    pub(crate) reason: String,
}

/// A table's columns as they were found, with the catalogue's type names.
pub(crate) type Found = Vec<(String, String)>;

/// What is there for a stream.
#[derive(Debug)]
pub(crate) struct Survey {
    pub(crate) family: Family,
    pub(crate) converter: Converter,
    /// The columns of each of the family's tables.
    pub(crate) found: Vec<Found>,
    /// The primary key that has to go before anything is loaded.
    pub(crate) without_key: Option<String>,
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
        Ok(Self::of(ledger.tables(db)?, schema, layout))
    }

    /// The same from tables that were read.
    pub(crate) fn of(known: Vec<KnownTable>, schema: &str, layout: Layout) -> Self {
        let mut names = Names::of_tables(&CAPABILITIES, layout.naming);
        for table in &known {
            names.reserve(&table.name);
        }
        Self { schema: schema.to_owned(), layout, known, names, opened: 0 }
    }

    /// A stage's name that no other table of the session has.
    fn next_stage(&mut self) -> String {
        self.opened += 1;
        format!("pg_temp.{}", sql::name(&format!("bobbin_stage_{}", self.opened)))
    }

    /// Reads what is there for a stream, and the converter that fits it; makes the tables fit for
    /// the session.
    pub(crate) fn open(
        &mut self,
        db: &mut Client,
        ledger: &Ledger,
        stream: &Stream,
    ) -> Result<(Family, Converter)> {
        let stored = ledger.columns(db, stream.name.as_str())?;
        let name = self.own_name(stream);
        let Survey { family, converter, without_key, .. } =
            self.survey(db, stored, stream, name)?;
        if without_key.is_some() {
            // Every version is to be a row; the key would refuse the second, and so would its items'.
            for table in family.tables.iter().filter(|table| table.exists) {
                let Some(constraint) = found::primary_key(db, &self.schema, &table.name)? else {
                    continue;
                };
                let constraint = sql::name(&constraint);
                db.batch_execute(&format!(
                    "ALTER TABLE {} DROP CONSTRAINT {constraint}",
                    table.sql()
                ))
                .doing("cannot drop the table's primary key")
                .map_err(|error| error.with("table", &table.name))?;
            }
        }
        for table in &family.tables {
            table.drop_stage(db)?;
        }
        Ok((family, converter))
    }

    /// The name of the stream's own table; or, under Stitch's naming, what stands for it and why it
    /// has none. A name that is given is taken from then on.
    pub(crate) fn own_name(&mut self, stream: &Stream) -> std::result::Result<String, Refusal> {
        let own = self.known.iter().find(|k| k.stream == stream.name.as_str() && k.sub.is_own());
        match own {
            Some(own) => Ok(own.name.clone()),
            None => self.names.give(&[stream.name.as_str()], None).map_err(|reason| Refusal {
                stands_for_it: name::limited(stream.name.as_str(), CAPABILITIES.name_bytes),
                reason: reason.reason().to_owned(),
            }),
        }
    }

    /// The name of the table of an array.
    pub(crate) fn child_name(
        &mut self,
        stream: &Stream,
        sub: &Sub,
    ) -> std::result::Result<String, String> {
        let mut parts = vec![stream.name.as_str()];
        parts.extend(sub.parts());
        self.names.give(&parts, None).map_err(|refused| refused.reason().to_owned())
    }

    /// What is there for a stream, and the converter that fits it. Changes nothing. `stored` are
    /// the columns its tables were given.
    pub(crate) fn survey(
        &mut self,
        db: &mut Client,
        stored: Vec<(Sub, Column)>,
        stream: &Stream,
        name: std::result::Result<String, Refusal>,
    ) -> Result<Survey> {
        let mut layout = self.layout;
        let mut changes = Vec::new();
        let (name, refused) = match name {
            Ok(name) => (name, None),
            Err(refusal) => (refusal.stands_for_it, Some(refusal.reason)),
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
        let mut without_key = None;
        if exists && !keyed {
            without_key = found::primary_key(db, &self.schema, &name)?;
        }
        let recorded =
            self.known.iter().any(|k| k.stream == stream.name.as_str() && k.sub.is_own());
        if recorded && !exists {
            changes.push(Change::told(&name, "was dropped, and is made again with what comes now"));
        }
        if without_key.is_some() {
            changes
                .push(Change::told(&name, "dropped its primary key, every version is a row now"));
        }
        let mut subs: Vec<Sub> = vec![Sub::default()];
        let known = self.known.iter().filter(|known| known.stream == stream.name.as_str());
        subs.extend(known.map(|known| known.sub.clone()).filter(|sub| !sub.is_own()));
        let mut tables = Vec::new();
        let mut sheets = Vec::new();
        let mut all_found = Vec::new();
        for sub in subs {
            let columns: Vec<Column> = stored
                .iter()
                .filter(|(of, _)| *of == sub)
                .map(|(_, column)| column.clone())
                .collect();
            let lead = map::lead(stream, &stored, &sub, CAPABILITIES.name_bytes);
            let (table, sheet, found) = self.table(db, stream, sub, &name, columns, lead, keyed)?;
            tables.push(table);
            sheets.push(sheet);
            all_found.push(found);
        }
        let converter = Converter::arranged(stream, sheets, CAPABILITIES, layout);
        let family = Family { key: stream.key.clone(), tables, changes, refused };
        Ok(Survey { family, converter, found: all_found, without_key })
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
    ) -> Result<(Table, Known, Found)> {
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
        let exists = !found.is_empty();
        let there = |column: &Column| found.iter().any(|(name, _)| *name == column.name);
        let known = columns.iter().map(|column| (column.clone(), there(column))).collect();
        let table = Table {
            schema: self.schema.clone(),
            name,
            stream: stream.name.clone(),
            description: stream.description.clone().filter(|_| sub.is_own()),
            known: columns.len(),
            // A gap is a column that was dropped, or never got a value.
            columns: columns.into_iter().map(|column| there(&column).then_some(column)).collect(),
            lead,
            exists,
            recorded,
            keyed,
            filter: (sub.is_own() && keyed && !exists).then(KeyFilter::new),
            stage,
            staged: false,
            version,
            beside: None,
            sub: sub.clone(),
        };
        Ok((table, Known { sub, columns: known, others }, found))
    }
}

impl Family {
    /// How the stream's own table stands.
    pub(crate) fn standing(&self) -> Standing {
        let own = self.tables.first();
        Standing {
            active: own.and_then(|own| own.version),
            exists: own.is_some_and(|own| own.exists),
            keyed: own.is_some_and(|own| own.keyed),
        }
    }

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
        let name = match registry.child_name(stream, &batch.sub) {
            Ok(name) => name,
            Err(reason) => return Ok(Err(reason)),
        };
        let lead = batch.lead.iter().map(|lead| (lead.name.clone(), lead.ty)).collect();
        let keyed = self.tables.first().is_some_and(|own| own.keyed);
        let (mut table, ..) =
            registry.table(db, stream, batch.sub.clone(), &name, Vec::new(), lead, keyed)?;
        table.drop_stage(db)?;
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
