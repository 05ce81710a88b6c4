//! DuckDB, read back through its own client as Arrow arrays.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use bobbin_core::cancel::Cancel;
use bobbin_core::clock::SystemClock;
use bobbin_core::destination::{Destination, Loader};
use bobbin_core::report::NoLog;
use bobbin_core::tap::Context;
use bobbin_duckdb::{Config, DuckDb};
use bobbin_proof::cells::cell;
use bobbin_proof::check::{Found, Rules};
use duckdb::Connection;
use duckdb::arrow::array::AsArray;
use duckdb::arrow::datatypes::Int64Type;

use crate::replica::{Mode, Replica, SYSTEM, Table};

pub(crate) struct File {
    directory: tempfile::TempDir,
    mode: Mode,
    /// Open between two sessions: opening a file of hundreds of tables takes its time.
    reader: RefCell<Option<Connection>>,
}

impl File {
    pub(crate) fn new(mode: Mode) -> Self {
        Self { directory: tempfile::tempdir().unwrap(), mode, reader: RefCell::default() }
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
        let mut table = Table::default();
        let mut rejected = db
            .prepare("SELECT reason, record FROM crm._sdc_rejected WHERE table_name = ?")
            .unwrap();
        let rows = rejected.query_map([stream], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
        table.rejected = rows.map(Result::unwrap).collect();
        let mut columns = db
            .prepare("SELECT name, path::VARCHAR FROM crm._bobbin_columns WHERE stream = ?")
            .unwrap();
        let rows = columns
            .query_map([stream], |row| {
                let (name, path): (String, String) = (row.get(0)?, row.get(1)?);
                Ok((name, serde_json::from_str(&path).unwrap()))
            })
            .unwrap();
        let paths: BTreeMap<String, Vec<String>> = rows.map(Result::unwrap).collect();
        let there: i64 = db
            .query_row(
                "SELECT count(*) FROM duckdb_tables() WHERE schema_name = 'crm' AND table_name = ?",
                [stream],
                |row| row.get(0),
            )
            .unwrap();
        if there == 0 {
            return table;
        }
        let mut json = db
            .prepare(
                "SELECT column_name FROM duckdb_columns()
                 WHERE schema_name = 'crm' AND table_name = ? AND data_type = 'JSON'",
            )
            .unwrap();
        // Arrow does not tell DuckDB's JSON from text.
        let json: BTreeSet<String> =
            json.query_map([stream], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
        let mut all = db.prepare(&format!("SELECT * FROM crm.\"{stream}\"")).unwrap();
        for batch in all.query_arrow([]).unwrap() {
            let schema = batch.schema();
            let named = |name: &str| batch.column_by_name(name).unwrap();
            let sequences = named("_sdc_sequence").as_primitive::<Int64Type>();
            for row in 0..batch.num_rows() {
                let found = schema
                    .fields()
                    .iter()
                    .zip(batch.columns())
                    .filter(|(field, _)| !SYSTEM.contains(&field.name().as_str()))
                    .filter_map(|(field, column)| {
                        let path = paths
                            .get(field.name())
                            .cloned()
                            .unwrap_or_else(|| panic!("{} is not in the column map", field.name()));
                        let cell = cell(column, row, json.contains(field.name()))?;
                        Some(Found { path, column: field.name().clone(), cell })
                    })
                    .collect();
                if table.rows.insert(sequences.value(row), found).is_some() {
                    table.twice.push(sequences.value(row));
                }
            }
        }
        table
    }
}
