//! A connection to a file of its own, segments from records, and the replica as text.

use std::collections::BTreeMap;
use std::io::Cursor;
use std::path::PathBuf;

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
use bobbin_core::tap::Context;
use bobbin_duckdb::query::{Answer, query};
use bobbin_duckdb::{Config, DuckDb};
use bobbin_load::shape::layout::{Arrays, Layout};

pub struct Place {
    pub directory: tempfile::TempDir,
    pub path: PathBuf,
    /// How tables look.
    pub layout: Layout,
}

impl Place {
    pub fn new() -> Self {
        Self::named("warehouse.duckdb")
    }

    pub fn named(name: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(name);
        Self { directory, path, layout: Layout::default() }
    }

    /// A file with arrays as tables of their own.
    pub fn of_tables() -> Self {
        Self { layout: Layout { arrays: Arrays::Tables, ..Layout::default() }, ..Self::new() }
    }

    /// From now on in another file of the same directory.
    pub fn renew(&mut self, name: &str) {
        self.path = self.directory.path().join(format!("{name}.duckdb"));
    }

    pub fn open(&self, job: &str) -> Box<dyn Loader> {
        self.open_with(job, |_| ())
    }

    pub fn open_with(&self, job: &str, set: impl FnOnce(&mut Config)) -> Box<dyn Loader> {
        let mut config = Config::new(&self.path);
        config.layout = self.layout;
        set(&mut config);
        let cancel = Cancel::new();
        let cx = Context { clock: &SystemClock, cancel: &cancel, log: &NoLog };
        DuckDb::new(config).open(&cx, &"crm".into(), &job.into()).unwrap()
    }

    pub fn query(&self, sql: &str) -> Vec<Vec<Option<String>>> {
        self.answer(sql).rows
    }

    pub fn answer(&self, sql: &str) -> Answer {
        query(&self.path, sql, 10_000).unwrap()
    }

    /// The values of all rows, one text per row.
    pub fn texts(&self, sql: &str) -> Vec<String> {
        let text = |cell: Option<String>| cell.unwrap_or_else(|| "null".to_owned());
        let line = |row: Vec<_>| row.into_iter().map(text).collect::<Vec<_>>().join(" | ");
        self.query(sql).into_iter().map(line).collect()
    }

    /// One value as text.
    pub fn one(&self, sql: &str) -> String {
        self.query(sql)[0][0].clone().unwrap_or_else(|| "null".to_owned())
    }

    /// Runs statements as another program would, while bobbin is not running.
    pub fn by_hand(&self, sql: &str) {
        duckdb::Connection::open(&self.path).unwrap().execute_batch(sql).unwrap();
    }

    /// Everything in a table but the columns that tell the time of loading: per row its values
    /// that are not null.
    pub fn dump(&self, table: &str) -> Vec<BTreeMap<String, String>> {
        let answer = self.answer(&format!("SELECT * FROM crm.{table} ORDER BY ALL"));
        answer
            .rows
            .iter()
            .map(|row| {
                answer
                    .columns
                    .iter()
                    .zip(row)
                    .filter(|(name, _)| !name.starts_with("_sdc_") || *name == "_sdc_extra")
                    .filter_map(|(name, value)| Some((name.clone(), value.clone()?)))
                    .collect()
            })
            .collect()
    }
}

pub fn text() -> Schema {
    Schema::of(Kind::Text)
}

pub fn stream() -> Stream {
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

pub fn segment(stream: &Stream, job: &str, number: u64, records: u64) -> Segment {
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
pub fn lines(records: &[(i64, String)]) -> String {
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

pub fn numbered(from: i64, records: &[&str]) -> String {
    let records: Vec<(i64, String)> =
        (from..).zip(records).map(|(n, record)| (n, (*record).to_owned())).collect();
    lines(&records)
}

pub fn load(
    loader: &mut Box<dyn Loader>,
    stream: &Stream,
    job: &str,
    number: u64,
    text: &str,
) -> Result<Receipt> {
    let segment = segment(stream, job, number, text.lines().count() as u64);
    loader.load(stream, &segment, &mut Cursor::new(text.as_bytes()))
}

pub fn state(mark: &str) -> State {
    State {
        bookmarks: [("things".into(), serde_json::json!({ "at": mark }))].into(),
        currently_syncing: None,
        notes: serde_json::Map::new(),
    }
}

/// One job of one segment from start to end.
pub fn job(place: &Place, stream: &Stream, job: &str, from: i64, records: &[&str]) -> Receipt {
    let mut loader = place.open(job);
    let receipt = load(&mut loader, stream, job, 1, &numbered(from, records)).unwrap();
    loader.commit(Some(&state(job))).unwrap();
    loader.finish().unwrap();
    receipt
}
