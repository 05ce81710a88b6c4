//! PostgreSQL, read back through an ordinary client in the binary forms of its types.

use std::cell::RefCell;
use std::error::Error;

use bobbin_core::cancel::Cancel;
use bobbin_core::clock::SystemClock;
use bobbin_core::destination::{Destination, Loader};
use bobbin_core::report::NoLog;
use bobbin_core::tap::Context;
use bobbin_postgres::{Config, Postgres};
use bobbin_proof::check::{Cell, Rules};
use bobbin_proof::whole::{self, Map};
use postgres::types::{FromSql, Type};
use postgres::{Client, NoTls, Row};

use crate::replica::{Mode, Replica, Table};
use crate::server::Server;

pub(crate) struct Base {
    server: Server,
    database: String,
    made: usize,
    mode: Mode,
    /// Open between two sessions.
    reader: RefCell<Option<Client>>,
}

impl Base {
    pub(crate) fn new(mode: Mode) -> Self {
        let database = "postgres".to_owned();
        Self { server: Server::start(), database, made: 0, mode, reader: RefCell::default() }
    }

    fn client(&self) -> Client {
        let host = self.server.host();
        let mut config = Client::configure();
        config.host(host).user("boss").dbname(&self.database).connect(NoTls).unwrap()
    }
}

/// Microseconds since 1970.
struct Micros(i64);

impl<'a> FromSql<'a> for Micros {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn Error + Sync + Send>> {
        Ok(Self(i64::from_be_bytes(raw.try_into()?) + 946_684_800_000_000))
    }

    fn accepts(ty: &Type) -> bool {
        *ty == Type::TIMESTAMPTZ
    }
}

impl Replica for Base {
    fn name(&self) -> &'static str {
        "postgres"
    }

    fn rules(&self) -> Rules {
        (self.mode.rules)(Rules { nul: true, long_numbers: true, ..Rules::default() })
    }

    fn renew(&mut self) {
        self.reader.take();
        self.made += 1;
        let old = std::mem::replace(&mut self.database, "postgres".to_owned());
        let mut client = self.client();
        if old != "postgres" {
            client.batch_execute(&format!("DROP DATABASE {old}")).unwrap();
        }
        let new = format!("proof{}", self.made);
        client.batch_execute(&format!("CREATE DATABASE {new}")).unwrap();
        self.database = new;
    }

    fn choose(&mut self, mode: Mode) {
        self.mode = mode;
    }

    fn execute(&self, sql: &str) {
        self.reader.borrow_mut().get_or_insert_with(|| self.client()).batch_execute(sql).unwrap();
    }

    fn query(&self, sql: &str) -> Vec<String> {
        let mut reader = self.reader.borrow_mut();
        let rows = reader.get_or_insert_with(|| self.client()).query(sql, &[]).unwrap();
        rows.iter().map(|row| row.get(0)).collect()
    }

    fn open(&self, job: &str) -> Box<dyn Loader> {
        let mut config = Config::new(self.server.host(), &self.database, "boss");
        (self.mode.postgres)(&mut config);
        let cancel = Cancel::new();
        let cx = Context { clock: &SystemClock, cancel: &cancel, log: &NoLog };
        Postgres::new(config).open(&cx, &"crm".into(), &job.into()).unwrap()
    }

    fn read(&self, stream: &str) -> Table {
        let mut reader = self.reader.borrow_mut();
        let client = reader.get_or_insert_with(|| self.client());
        let rows = client
            .query("SELECT reason, record FROM crm._sdc_rejected WHERE table_name = $1", &[&stream])
            .unwrap();
        let rejected = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
        let tables = client
            .query("SELECT sub, name, key FROM crm._bobbin_tables WHERE stream = $1", &[&stream])
            .unwrap();
        let columns = client
            .query(
                "SELECT sub, name, path::text, is_primary FROM crm._bobbin_columns
                 WHERE stream = $1",
                &[&stream],
            )
            .unwrap();
        let map = Map::new(
            tables.iter().map(|row| (row.get(0), row.get(1), row.get(2))).collect(),
            columns.iter().map(|row| (row.get(0), row.get(1), row.get(2), row.get(3))).collect(),
        );
        let tables = map.tables().enumerate();
        let tables = tables.map(|(at, name)| rows_of(client, &map, at, name)).collect();
        Table::new(map.join(tables), rejected)
    }
}

fn rows_of(client: &mut Client, map: &Map, table: usize, name: &str) -> Vec<whole::Row> {
    let columns = client
        .query(
            "SELECT attname::text, atttypid::regtype::text FROM pg_attribute
             WHERE attrelid = to_regclass('crm.' || quote_ident($1)) AND attnum > 0
               AND NOT attisdropped ORDER BY attnum",
            &[&name],
        )
        .unwrap();
    assert!(!columns.is_empty(), "{name} is in the table map and not there");
    let columns: Vec<(String, String)> =
        columns.iter().map(|row| (row.get(0), row.get(1))).collect();
    let quoted = |name: &str| format!("\"{}\"", name.replace('"', "\"\""));
    let select: Vec<String> = columns
        .iter()
        .map(|(name, ty)| {
            // These have no form of their own in the client.
            let text = matches!(ty.as_str(), "numeric" | "jsonb");
            quoted(name) + if text { "::text" } else { "" }
        })
        .collect();
    let statement = format!("SELECT {} FROM crm.{}", select.join(", "), quoted(name));
    let rows = client.query(&statement, &[]).unwrap();
    rows.iter()
        .map(|row| {
            let columns = columns.iter().enumerate();
            map.row(table, columns.map(|(at, (name, ty))| (name.as_str(), cell(row, at, ty))))
        })
        .collect()
}

fn cell(row: &Row, at: usize, ty: &str) -> Option<Cell> {
    fn list<'a, T: FromSql<'a>>(row: &'a Row, at: usize, cell: fn(T) -> Cell) -> Option<Cell> {
        let items: Option<Vec<Option<T>>> = row.get(at);
        Some(Cell::List(items?.into_iter().map(|item| item.map(cell)).collect()))
    }
    match ty {
        "boolean" => row.get::<_, Option<bool>>(at).map(Cell::Bool),
        "bigint" => row.get::<_, Option<i64>>(at).map(Cell::Int),
        "double precision" => row.get::<_, Option<f64>>(at).map(Cell::Double),
        "numeric" => row.get::<_, Option<String>>(at).map(Cell::Decimal),
        "jsonb" => row.get::<_, Option<String>>(at).map(Cell::Json),
        "text" => row.get::<_, Option<String>>(at).map(Cell::Text),
        "timestamp with time zone" => {
            row.get::<_, Option<Micros>>(at).map(|Micros(at)| Cell::Instant(at))
        }
        "boolean[]" => list(row, at, Cell::Bool),
        "bigint[]" => list(row, at, Cell::Int),
        "double precision[]" => list(row, at, Cell::Double),
        "text[]" => list(row, at, Cell::Text),
        "timestamp with time zone[]" => list(row, at, |Micros(at)| Cell::Instant(at)),
        other => panic!("a column of type {other}"),
    }
}
