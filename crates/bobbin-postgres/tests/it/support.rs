//! A database of its own, segments from records, and the replica as text.

use std::collections::BTreeMap;
use std::io::Cursor;

use bobbin_core::Result;
use bobbin_core::cancel::Cancel;
use bobbin_core::catalog::Stream;
use bobbin_core::clock::SystemClock;
use bobbin_core::destination::{Destination, Loader};
use bobbin_core::id::SegmentId;
use bobbin_core::receipt::Receipt;
use bobbin_core::report::NoLog;
use bobbin_core::schema::{Kind, Object, Schema};
use bobbin_core::segment::Segment;
use bobbin_core::state::State;
use bobbin_core::tap::{Check, Context};
use bobbin_load::shape::layout::Arrays;
use bobbin_postgres::{Config, Postgres};
use postgres::{Client, NoTls, SimpleQueryMessage};

use crate::server::Server;

pub(crate) struct Place {
    pub(crate) server: Server,
    database: String,
    /// Where arrays go.
    pub(crate) arrays: Arrays,
}

impl Place {
    pub(crate) fn new() -> Self {
        let arrays = Arrays::Columns;
        Self { server: Server::start(), database: "postgres".to_owned(), arrays }
    }

    /// The same with arrays as tables of their own.
    pub(crate) fn of_tables() -> Self {
        Self { arrays: Arrays::Tables, ..Self::new() }
    }

    /// From now on in another database of the same server.
    pub(crate) fn renew(&mut self, name: &str) {
        self.by_hand(&format!("CREATE DATABASE {name}"));
        name.clone_into(&mut self.database);
    }

    pub(crate) fn config(&self) -> Config {
        let mut config = Config::new(self.server.host(), &self.database, "boss");
        config.layout.arrays = self.arrays;
        config
    }

    pub(crate) fn open(&self, job: &str) -> Box<dyn Loader> {
        Self::try_open(&self.config(), job).unwrap()
    }

    pub(crate) fn try_open(config: &Config, job: &str) -> Result<Box<dyn Loader>> {
        let cancel = Cancel::new();
        let cx = Context { clock: &SystemClock, cancel: &cancel, log: &NoLog };
        Postgres::new(config.clone()).open(&cx, &"crm".into(), &job.into())
    }

    pub(crate) fn check(config: &Config) -> Result<Check> {
        let cancel = Cancel::new();
        let cx = Context { clock: &SystemClock, cancel: &cancel, log: &NoLog };
        Postgres::new(config.clone()).check(&cx, &"crm".into())
    }

    pub(crate) fn client(&self) -> Client {
        Client::configure()
            .host(self.server.host())
            .user("boss")
            .dbname(&self.database)
            .connect(NoTls)
            .unwrap()
    }

    /// Runs statements as another program would.
    pub(crate) fn by_hand(&self, sql: &str) {
        self.client().batch_execute(sql).unwrap();
    }

    /// Rows as text: names and values.
    pub(crate) fn rows(&self, sql: &str) -> Vec<Vec<(String, Option<String>)>> {
        let mut client = self.client();
        client.batch_execute("SET TIME ZONE 'UTC'; SET extra_float_digits = 3").unwrap();
        let messages = client.simple_query(sql).unwrap();
        messages
            .iter()
            .filter_map(|message| match message {
                SimpleQueryMessage::Row(row) => Some(
                    row.columns()
                        .iter()
                        .enumerate()
                        .map(|(n, column)| {
                            (column.name().to_owned(), row.get(n).map(str::to_owned))
                        })
                        .collect(),
                ),
                _ => None,
            })
            .collect()
    }

    /// The values of all rows, one text per row.
    pub(crate) fn query(&self, sql: &str) -> Vec<String> {
        self.rows(sql)
            .into_iter()
            .map(|row| {
                let cells: Vec<String> =
                    row.into_iter().map(|(_, value)| value.unwrap_or("null".to_owned())).collect();
                cells.join(" | ")
            })
            .collect()
    }

    /// One value as text.
    pub(crate) fn one(&self, sql: &str) -> String {
        self.query(sql).remove(0)
    }

    /// Everything in a table but the columns that tell the time of loading: per row its values
    /// that are not null.
    pub(crate) fn dump(&self, table: &str) -> Vec<BTreeMap<String, String>> {
        let rows = self.rows(&format!("SELECT * FROM crm.{table} ORDER BY id"));
        rows.into_iter()
            .map(|row| {
                row.into_iter()
                    .filter(|(name, _)| !name.starts_with("_sdc_") || *name == "_sdc_extra")
                    .filter_map(|(name, value)| Some((name, value?)))
                    .collect()
            })
            .collect()
    }
}

pub(crate) fn text() -> Schema {
    Schema::of(Kind::Text)
}

pub(crate) fn stream() -> Stream {
    let fields = [
        ("id", text().required()),
        ("rev", Schema::of(Kind::Integer)),
        ("updated_at", Schema::of(Kind::DateTime)),
        ("name", text().describe("what it's called")),
        ("age", Schema::of(Kind::Integer)),
        ("tags", Schema::array(text())),
        ("items", Schema::array(Schema::map())),
    ];
    Stream {
        name: "things".into(),
        fields: Object {
            properties: fields
                .into_iter()
                .map(|(name, schema)| (name.to_owned(), schema))
                .collect(),
            open: true,
        },
        key: vec!["id".to_owned()],
        replication_key: Some("updated_at".to_owned()),
        version_fields: vec!["rev".to_owned(), "updated_at".to_owned()],
        description: Some("things that are".to_owned()),
    }
}

pub(crate) fn segment(stream: &Stream, job: &str, number: u64, records: u64) -> Segment {
    Segment {
        id: SegmentId { job: job.into(), number },
        stream: stream.name.clone(),
        records,
        rejected: 0,
        bytes: 0,
        weight: 0,
        version: None,
        activates: false,
        state: None,
    }
}

/// Lines of a segment from records with their sequences.
pub(crate) fn lines(records: &[(i64, String)]) -> String {
    let mut text = String::new();
    for (sequence, record) in records {
        let rest = record.strip_prefix('{').unwrap();
        let comma = if rest.starts_with('}') { "" } else { "," };
        text += &format!(
            "{{\"_sdc_extracted_at\":\"2026-01-01T00:00:00.5Z\",\"_sdc_sequence\":{sequence}{comma}{rest}\n"
        );
    }
    text
}

pub(crate) fn numbered(from: i64, records: &[&str]) -> String {
    let records: Vec<(i64, String)> =
        (from..).zip(records).map(|(n, record)| (n, (*record).to_owned())).collect();
    lines(&records)
}

pub(crate) fn load(
    loader: &mut Box<dyn Loader>,
    stream: &Stream,
    job: &str,
    number: u64,
    text: &str,
) -> Result<Receipt> {
    let segment = segment(stream, job, number, text.lines().count() as u64);
    loader.load(stream, &segment, &mut Cursor::new(text.as_bytes()))
}

pub(crate) fn state(mark: &str) -> State {
    State {
        bookmarks: [("things".into(), serde_json::json!({ "at": mark }))].into(),
        ..State::default()
    }
}

/// One job of one segment from start to end.
pub(crate) fn job(
    place: &Place,
    stream: &Stream,
    job: &str,
    from: i64,
    records: &[&str],
) -> Receipt {
    let mut loader = place.open(job);
    let receipt = load(&mut loader, stream, job, 1, &numbered(from, records)).unwrap();
    loader.commit(Some(&state(job))).unwrap();
    loader.finish().unwrap();
    receipt
}
