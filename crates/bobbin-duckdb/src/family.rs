//! A stream's tables together: its own, and one for each array in its records.

use bobbin_core::Result;
use bobbin_core::catalog::Stream;
use bobbin_core::receipt::{Change, Changed};
use bobbin_load::filter::KeyFilter;
use bobbin_load::shape::batch::Batch;
use bobbin_load::shape::capabilities::Capabilities;
use bobbin_load::shape::convert::{Converter, MADE_KEY};
use bobbin_load::shape::course::Standing;
use bobbin_load::shape::layout::{KeyChange, Layout, Loading, Naming};
use bobbin_load::shape::map::{self, KnownTable};
use bobbin_load::shape::name::{self, Names};
use bobbin_load::shape::sheet::Known;
use bobbin_load::shape::tree::{Column, Sub};
use bobbin_load::shape::types::ColumnType;
use duckdb::Connection;

use crate::error::Doing;
use crate::found;
use crate::ledger::Ledger;
use crate::sql;
use crate::table::{Place, Table};

/// Most columns of a table unless a person says otherwise. `DuckDB` takes many more, but an open round
/// holds 200 KiB of memory for each, and adding a column copies what is known of all others until the
/// round's end: 1,500 new ones take a gigabyte.
const MOST_COLUMNS: usize = 250;

/// `DuckDB` has hardly any limits. A record's text is kept where a table may have no name.
pub(crate) fn capabilities(layout: Layout) -> Capabilities {
    Capabilities {
        // DuckDB's own column; one of ours by that name would hide it from the merge.
        reserved: &["rowid"],
        columns: MOST_COLUMNS,
        keep_records: layout.naming == Naming::Stitch,
        ..Capabilities::default()
    }
}

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

/// A table's columns as they were found, with the catalogue's type names.
pub(crate) type Found = Vec<(String, String)>;

/// What is there for a stream.
#[derive(Debug)]
pub(crate) struct Survey {
    pub(crate) family: Family,
    pub(crate) converter: Converter,
    /// The columns of each of the family's tables.
    pub(crate) found: Vec<Found>,
}

/// The session's knowledge of all tables.
#[derive(Debug)]
pub(crate) struct Registry {
    catalog: String,
    schema: String,
    pub(crate) layout: Layout,
    known: Vec<KnownTable>,
    /// Names of streams' tables that are not in the table map: given in this session, or made by a
    /// bobbin that kept no such map.
    given: Vec<(String, String)>,
    names: Names,
}

impl Registry {
    /// Reads which tables there are.
    pub(crate) fn read(
        db: &Connection,
        ledger: &Ledger,
        (catalog, schema): (&str, &str),
        layout: Layout,
    ) -> Result<Self> {
        let mut registry = Self::of(ledger.tables(db)?, (catalog, schema), layout);
        for stream in ledger.streams_without_table(db)? {
            let name = name::plain(&[&stream]);
            registry.names.reserve(&name);
            registry.given.push((stream, name));
        }
        Ok(registry)
    }

    /// The same from tables that were read.
    pub(crate) fn of(
        known: Vec<KnownTable>,
        (catalog, schema): (&str, &str),
        layout: Layout,
    ) -> Self {
        let mut names = Names::of_tables(&capabilities(layout), layout.naming);
        for table in &known {
            names.reserve(&table.name);
        }
        let (catalog, schema) = (catalog.to_owned(), schema.to_owned());
        Self { catalog, schema, layout, known, given: Vec::new(), names }
    }

    /// The name of a stream's own table, or the reason why it has none beside one to speak of it by.
    pub(crate) fn own_name(&mut self, stream: &str) -> (String, Option<String>) {
        let known = self.known.iter().find(|known| known.stream == stream && known.sub.is_own());
        let given = self.given.iter().find(|(of, _)| of == stream).map(|(_, name)| name);
        if let Some(name) = known.map(|known| &known.name).or(given) {
            return (name.clone(), None);
        }
        match self.names.give(&[stream], None) {
            Ok(name) => {
                self.given.push((stream.to_owned(), name.clone()));
                (name, None)
            }
            Err(reason) => {
                let limit = capabilities(self.layout).name_bytes;
                (name::limited(stream, limit), Some(reason.reason().to_owned()))
            }
        }
    }

    /// The name of the table of an array, or the reason why it has none.
    pub(crate) fn child_name(
        &mut self,
        stream: &Stream,
        sub: &Sub,
    ) -> std::result::Result<String, String> {
        let mut parts = vec![stream.name.as_str()];
        parts.extend(sub.parts());
        self.names.give(&parts, None).map_err(|refused| refused.reason().to_owned())
    }

    /// Reads what is there for a stream, and the converter that fits it; makes the tables fit for
    /// the session.
    pub(crate) fn open(
        &mut self,
        db: &Connection,
        ledger: &Ledger,
        stream: &Stream,
    ) -> Result<(Family, Converter)> {
        let stored = ledger.columns(db, stream.name.as_str())?;
        let name = self.own_name(stream.name.as_str()).0;
        let mut made = None;
        if stream.key.is_empty()
            && self.recorded(stream).is_none()
            && !found::columns(db, &self.place(&name))?.is_empty()
        {
            made = self.add_made_key(db, &name)?;
        }
        let Survey { mut family, converter, .. } = self.survey(db, &stored, stream)?;
        family.changes.extend(made);
        Ok((family, converter))
    }

    fn recorded(&self, stream: &Stream) -> Option<&KnownTable> {
        let own = |known: &&KnownTable| known.stream == stream.name.as_str() && known.sub.is_own();
        self.known.iter().find(own)
    }

    /// What is there for a stream, and the converter that fits it. Changes nothing. `stored` are
    /// the columns its tables were given.
    pub(crate) fn survey(
        &mut self,
        db: &Connection,
        stored: &[(Sub, Column)],
        stream: &Stream,
    ) -> Result<Survey> {
        let mut layout = self.layout;
        let (name, refused) = self.own_name(stream.name.as_str());
        let exists = !found::columns(db, &self.place(&name))?.is_empty();
        if layout.loading == Loading::Upsert
            && exists
            && let Some(recorded) = self.recorded(stream)
            && !is_same(recorded.key.as_deref().unwrap_or_default(), &stream.key)
        {
            if layout.key_change == KeyChange::Stops {
                return Err(found::other_key(&self.place(&name), recorded, stream));
            }
            layout.loading = Loading::Append;
        }
        let keyed = layout.loading == Loading::Upsert && !stream.key.is_empty();
        if keyed && exists {
            found::check_key(db, &self.place(&name), stream, stored)?;
        }
        let mut subs: Vec<Sub> = vec![Sub::default()];
        let known = self.known.iter().filter(|known| known.stream == stream.name.as_str());
        subs.extend(known.map(|known| known.sub.clone()).filter(|sub| !sub.is_own()));
        let mut survey = Survey {
            family: Family {
                key: stream.key.clone(),
                tables: Vec::new(),
                changes: Vec::new(),
                refused,
            },
            converter: Converter::arranged(stream, Vec::new(), capabilities(layout), layout),
            found: Vec::new(),
        };
        if !exists && self.recorded(stream).is_some() {
            let what = Change::told(&name, "was dropped, and is made again with what comes now");
            survey.family.changes.push(what);
        }
        let mut sheets = Vec::new();
        for sub in subs {
            let columns: Vec<Column> = stored
                .iter()
                .filter(|(of, _)| *of == sub)
                .map(|(_, column)| column.clone())
                .collect();
            let lead = map::lead(stream, stored, &sub, capabilities(layout).name_bytes);
            let (table, sheet, found) = self.table(db, stream, sub, &name, columns, lead, keyed)?;
            survey.family.tables.push(table);
            sheets.push(sheet);
            survey.found.push(found);
        }
        survey.converter = Converter::arranged(stream, sheets, capabilities(layout), layout);
        Ok(survey)
    }

    pub(crate) fn place(&self, table: &str) -> Place {
        Place {
            catalog: self.catalog.clone(),
            schema: self.schema.clone(),
            table: table.to_owned(),
        }
    }

    /// Gives a table that was made without it the column of made keys; its rows so far have none.
    fn add_made_key(&self, db: &Connection, name: &str) -> Result<Option<Change>> {
        let place = self.place(name);
        if found::columns(db, &place)?.iter().any(|(column, _)| column == MADE_KEY) {
            return Ok(None);
        }
        db.execute_batch(&format!("ALTER TABLE {} ADD COLUMN {MADE_KEY} VARCHAR", place.sql()))
            .doing("cannot change the table")?;
        Ok(Some(Change::of(name, Changed::Added { column: MADE_KEY.to_owned() })))
    }

    #[expect(clippy::too_many_arguments, reason = "all of it is the table's own")]
    fn table(
        &mut self,
        db: &Connection,
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
        let key = keyed.then_some(&stream.key);
        let recorded = known.is_some_and(|known| known.key.as_ref() == key);
        let place = self.place(&name);
        let found = found::columns(db, &place)?;
        found::check(&place, &lead, &columns, &found)?;
        let others = found
            .iter()
            .filter(|(name, _)| !columns.iter().any(|column| found::same(&column.name, name)))
            .map(|(name, _)| name.clone())
            .collect();
        let exists = !found.is_empty();
        let there = |column: &Column| found.iter().any(|(name, _)| found::same(name, &column.name));
        let known = columns.iter().map(|column| (column.clone(), there(column))).collect();
        let table = Table {
            place,
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
            look_ups: 0,
            version,
            beside: false,
            sub: sub.clone(),
            open: crate::table::Open::default(),
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
        db: &Connection,
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
        let own = self.tables.first();
        let (keyed, beside) = own.map_or((false, false), |own| (own.keyed, own.beside));
        let (mut table, ..) =
            registry.table(db, stream, batch.sub.clone(), &name, Vec::new(), lead, keyed)?;
        // Like the table it belongs to, also where that is replaced as a whole.
        table.version = own.and_then(|own| own.version);
        table.beside = beside;
        if beside && table.exists {
            table.prepare_next(db, None)?;
        }
        self.tables.push(table);
        Ok(Ok(self.tables.len() - 1))
    }

    /// Writes tables that are new, or have another key now, into the map.
    pub(crate) fn record(&mut self, db: &Connection, ledger: &Ledger) -> Result<()> {
        for table in self.tables.iter_mut().filter(|table| table.exists && !table.recorded) {
            table.record(db, ledger, &self.key)?;
        }
        Ok(())
    }

    /// The same for all tables, whatever is known of them.
    pub(crate) fn record_all(&mut self, db: &Connection, ledger: &Ledger) -> Result<()> {
        for table in self.tables.iter_mut().filter(|table| table.exists) {
            table.record(db, ledger, &self.key)?;
        }
        Ok(())
    }

    /// Begins a segment: what is appended from now on is its own.
    pub(crate) fn mark(&mut self) {
        for table in &mut self.tables {
            table.open.mark = table.open.appended;
        }
    }
}

/// Whether two keys are of the same fields.
fn is_same(a: &[String], b: &[String]) -> bool {
    a.len() == b.len() && a.iter().all(|field| b.contains(field))
}

/// A name to be read in a statement that people are shown.
pub(crate) fn shown(place: &Place) -> String {
    format!("{}.{}", sql::name(&place.schema), sql::name(&place.table))
}
