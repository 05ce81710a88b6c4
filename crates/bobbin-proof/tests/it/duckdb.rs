//! DuckDB, read back through its own client as Arrow arrays.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::path::PathBuf;

use bobbin_core::cancel::Cancel;
use bobbin_core::clock::SystemClock;
use bobbin_core::destination::{Destination, Loader};
use bobbin_core::report::NoLog;
use bobbin_core::tap::Context;
use bobbin_duckdb::{Config, DuckDb};
use bobbin_proof::cells::cell;
use bobbin_proof::check::Rules;
use bobbin_proof::whole::{Map, Row};
use duckdb::Connection;

use crate::replica::{Mode, Replica, Table};

pub(crate) struct File {
    directory: tempfile::TempDir,
    mode: Mode,
    /// Open between two sessions: opening a file of hundreds of tables takes its time.
    reader: RefCell<Option<Connection>>,
}

impl File {
    pub(crate) fn new(mode: Mode) -> Self {
        let directory = tempfile::tempdir().unwrap();
        Self { directory, mode, reader: RefCell::default() }
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("warehouse.duckdb")
    }
}

impl Replica for File {
    fn name(&self) -> &'static str {
        "duckdb"
    }

    fn rules(&self) -> Rules {
        (self.mode.rules)(Rules::default())
    }

    fn renew(&mut self) {
        self.reader.take();
        self.directory = tempfile::tempdir().unwrap();
    }

    fn choose(&mut self, mode: Mode) {
        self.mode = mode;
    }

    fn execute(&self, sql: &str) {
        let mut reader = self.reader.borrow_mut();
        let db = reader.get_or_insert_with(|| Connection::open(self.path()).unwrap());
        db.execute_batch(sql).unwrap();
    }

    fn query(&self, sql: &str) -> Vec<String> {
        let mut reader = self.reader.borrow_mut();
        let db = reader.get_or_insert_with(|| Connection::open(self.path()).unwrap());
        let mut statement = db.prepare(sql).unwrap();
        let rows = statement.query_map([], |row| row.get(0)).unwrap();
        rows.map(Result::unwrap).collect()
    }

    fn open(&self, job: &str) -> Box<dyn Loader> {
        self.reader.take();
        let mut config = Config::new(self.path());
        (self.mode.duckdb)(&mut config);
        let cancel = Cancel::new();
        let cx = Context { clock: &SystemClock, cancel: &cancel, log: &NoLog };
        DuckDb::new(config).open(&cx, &"crm".into(), &job.into()).unwrap()
    }

    fn read(&self, stream: &str) -> Table {
        let mut reader = self.reader.borrow_mut();
        let db = reader.get_or_insert_with(|| Connection::open(self.path()).unwrap());
        let mut rejected = db
            .prepare("SELECT reason, record FROM crm._sdc_rejected WHERE table_name = ?")
            .unwrap();
        let rows = rejected.query_map([stream], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
        let rejected = rows.map(Result::unwrap).collect();
        let mut tables =
            db.prepare("SELECT sub, name, key FROM crm._bobbin_tables WHERE stream = ?").unwrap();
        let tables =
            tables.query_map([stream], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))).unwrap();
        let mut columns = db
            .prepare(
                "SELECT sub, name, path::VARCHAR, is_primary FROM crm._bobbin_columns
                 WHERE stream = ?",
            )
            .unwrap();
        let columns = columns
            .query_map([stream], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)))
            .unwrap();
        let map =
            Map::new(tables.map(Result::unwrap).collect(), columns.map(Result::unwrap).collect());
        let tables = map.tables().enumerate();
        let tables = tables.map(|(at, name)| rows_of(db, &map, at, name)).collect();
        Table::new(map.join(tables), rejected)
    }
}

fn rows_of(db: &Connection, map: &Map, table: usize, name: &str) -> Vec<Row> {
    let mut json = db
        .prepare(
            "SELECT column_name FROM duckdb_columns()
             WHERE schema_name = 'crm' AND table_name = ? AND data_type = 'JSON'",
        )
        .unwrap();
    // Arrow does not tell DuckDB's JSON from text.
    let json: BTreeSet<String> =
        json.query_map([name], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
    let quoted = name.replace('"', "\"\"");
    let mut all = db.prepare(&format!("SELECT * FROM crm.\"{quoted}\"")).unwrap();
    let mut rows = Vec::new();
    for batch in all.query_arrow([]).unwrap() {
        let schema = batch.schema();
        for row in 0..batch.num_rows() {
            let columns = schema.fields().iter().zip(batch.columns());
            rows.push(map.row(
                table,
                columns.map(|(field, column)| {
                    let name = field.name();
                    (name.as_str(), cell(column, row, json.contains(name)))
                }),
            ));
        }
    }
    rows
}
