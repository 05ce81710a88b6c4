//! Records that are deleted in the source, by random ones in both destinations: marked by the tap, or
//! not in the version that is whole (`singer.md` 4 and 10). What must stand is told by a model of a
//! few lines.

use std::collections::{BTreeMap, BTreeSet};

use bobbin_core::catalog::Stream;
use bobbin_core::schema::{Kind, Object, Schema};
use bobbin_load::shape::layout::{Arrays, Deletes, Layout};
use bobbin_proof::check::{self, Rules};
use bobbin_proof::corpus::line;
use bobbin_proof::exact::parse;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::TestRunner;

use crate::replica::{Mode, Replica, load_version};

const MARK: &str = "_sdc_deleted_at";

fn stream(declared: bool) -> Stream {
    let mut properties = vec![
        ("id".to_owned(), Schema::of(Kind::Text).required()),
        ("rev".to_owned(), Schema::of(Kind::Integer)),
        ("tags".to_owned(), Schema::array(Schema::of(Kind::Text))),
    ];
    if declared {
        properties.push((MARK.to_owned(), Schema::of(Kind::DateTime)));
    }
    Stream {
        name: "things".into(),
        fields: Object { properties, open: true },
        key: vec!["id".to_owned()],
        replication_key: None,
        version_fields: vec!["rev".to_owned()],
        description: None,
    }
}

/// A segment: whether it is of the version at hand or of a new one, whether that is whole then, its
/// records (key, revision, whether it is marked), and whether the round ends after it.
#[derive(Clone, Debug)]
struct Step {
    version: Option<bool>,
    activates: bool,
    records: Vec<(u8, i64, bool)>,
    commits: bool,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let record = (0..5u8, 0..3i64, prop::bool::weighted(0.3));
    let step = (prop::option::of(any::<bool>()), any::<bool>(), vec(record, 0..5), any::<bool>());
    let step = step.prop_map(|(version, activates, records, commits)| Step {
        activates: activates && version.is_some(),
        version,
        records,
        commits,
    });
    vec(step, 1..9)
}

/// What lost rows, or miscounted them, once.
fn once_wrong() -> Vec<Vec<Step>> {
    let step = |version, activates, records: &[(u8, i64, bool)]| Step {
        version,
        activates,
        records: records.to_vec(),
        commits: false,
    };
    let (next, same) = (Some(true), Some(false));
    vec![
        // A version took the place of others, and the next confirmed a row of it, in one transaction.
        vec![step(same, true, &[(3, 1, false)]), step(next, false, &[(3, 0, false)])],
        // A version without records was the table's, before there was a table.
        vec![
            step(same, false, &[]),
            step(next, false, &[(0, 0, false)]),
            step(None, false, &[(0, 0, false)]),
            step(same, true, &[]),
        ],
        // A version confirmed a row, and a record of none came before it was whole.
        vec![
            step(None, false, &[(2, 1, false)]),
            step(next, false, &[(2, 0, false)]),
            step(None, false, &[(0, 0, false)]),
            step(same, true, &[]),
        ],
        // A version took the place of rows of none, and took it again, in one transaction.
        vec![step(None, false, &[(0, 0, false)]), step(same, true, &[]), step(same, true, &[])],
    ]
}

/// A row as it must be.
#[derive(Clone, Debug)]
struct Row {
    rev: i64,
    sequence: i64,
    version: i64,
    record: String,
    marked_by_tap: bool,
    marked_by_load: bool,
}

/// What must stand.
#[derive(Default)]
struct Model {
    rows: BTreeMap<u8, Row>,
    active: Option<i64>,
    /// Whether a row was ever there.
    exists: bool,
}

impl Model {
    /// Gives how many rows are no more.
    fn step(
        &mut self,
        deletes: Deletes,
        version: Option<i64>,
        activates: bool,
        rows: Vec<(u8, Row)>,
    ) -> u64 {
        if !self.exists {
            self.active = version.or(self.active);
        }
        self.exists |= !rows.is_empty();
        // What is of no version belongs to the newest that was met.
        let met = self.rows.values().map(|row| row.version).chain(self.active).max().unwrap_or(1);
        let mut removed = 0;
        let touched: BTreeSet<u8> = rows.iter().map(|(id, _)| *id).collect();
        let first = rows.first().map(|(_, row)| row.sequence);
        for (id, mut row) in rows {
            row.version = version.unwrap_or(met);
            match self.rows.get_mut(&id) {
                Some(held) if (held.rev, held.sequence) > (row.rev, row.sequence) => {
                    // It came, if in an older form.
                    held.marked_by_load &= version.is_none();
                }
                _ => {
                    self.rows.insert(id, row);
                }
            }
        }
        for id in touched {
            let row = self.rows.get_mut(&id).unwrap();
            if let Some(version) = version {
                row.version = version;
            }
            if deletes == Deletes::Remove && row.marked_by_tap && Some(row.sequence) >= first {
                self.rows.remove(&id);
                removed += 1;
            }
        }
        let Some(version) = version.filter(|_| activates) else { return removed };
        if deletes == Deletes::Mark {
            for row in self.rows.values_mut().filter(|row| row.version != version) {
                row.marked_by_load |= !row.marked_by_tap;
            }
        } else {
            let before = self.rows.len();
            self.rows.retain(|_, row| row.version == version);
            removed += (before - self.rows.len()) as u64;
        }
        if self.exists {
            self.active = Some(version);
        }
        removed
    }
}

fn run(
    replica: &mut dyn Replica,
    deletes: Deletes,
    declared: bool,
    steps: &[Step],
) -> Result<(), TestCaseError> {
    replica.renew();
    let stream = stream(declared);
    let mut model = Model::default();
    let mut loader = replica.open("1");
    let (mut current, mut sequence) = (1, 0);
    for (number, step) in (1..).zip(steps) {
        current += i64::from(step.version == Some(true));
        let version = step.version.map(|_| current);
        let (mut rows, mut lines) = (Vec::new(), Vec::new());
        for &(id, rev, marked) in &step.records {
            sequence += 1;
            let mark = if marked {
                format!(",\"{MARK}\":\"2026-01-02T03:04:05Z\"")
            } else {
                String::new()
            };
            let record =
                format!("{{\"id\":\"{id}\",\"rev\":{rev},\"tags\":[\"{sequence}\"]{mark}}}");
            lines.push(line(sequence, record.as_bytes()));
            rows.push((
                id,
                Row {
                    rev,
                    sequence,
                    version: 0,
                    record,
                    marked_by_tap: marked,
                    marked_by_load: false,
                },
            ));
        }
        let removed = model.step(deletes, version, step.activates, rows);
        let whole = (version, step.activates);
        let receipt = load_version(&mut loader, &stream, ("1", number), whole, &lines).unwrap();
        prop_assert_eq!(receipt.loaded + receipt.superseded, lines.len() as u64);
        prop_assert_eq!(receipt.removed, removed, "step {}", number);
        if step.commits {
            loader.commit(None).unwrap();
        }
        if step.commits && number % 4 == 0 {
            loader.finish().unwrap();
            loader = replica.open("1");
            model.active = model.active.filter(|_| model.exists);
        }
    }
    loader.commit(None).unwrap();
    loader.finish().unwrap();
    stands(replica, &stream, &model)
}

fn stands(replica: &dyn Replica, stream: &Stream, model: &Model) -> Result<(), TestCaseError> {
    if !model.exists {
        return Ok(());
    }
    let table = replica.read("things");
    prop_assert!(
        table.strays.is_empty() && table.twice.is_empty() && table.rejected.is_empty(),
        "{:?}",
        table
    );
    let expected: BTreeSet<i64> = model.rows.values().map(|row| row.sequence).collect();
    let found: BTreeSet<i64> = table.rows.keys().copied().collect();
    prop_assert_eq!(found, expected);
    for row in model.rows.values() {
        let mut found = table.rows[&row.sequence].clone();
        let marked = found.iter().any(|found| found.path == [MARK]);
        prop_assert_eq!(marked, row.marked_by_tap || row.marked_by_load, "{:?}", row);
        if row.marked_by_load {
            found.retain(|found| found.path != [MARK]);
        }
        let record = parse(&row.record).unwrap().value;
        check::row(&record, &stream.fields, &found, replica.rules())
            .map_err(TestCaseError::fail)?;
    }
    Ok(())
}

/// What must stand where there are no keys: every record is a row, by its sequence.
#[derive(Default)]
struct Flat {
    rows: BTreeMap<i64, String>,
    gathered: BTreeMap<i64, String>,
    /// The version that gathers.
    gathers: Option<i64>,
    active: Option<i64>,
    exists: bool,
}

impl Flat {
    /// Gives how many rows are no more.
    fn step(&mut self, version: Option<i64>, activates: bool, rows: Vec<(i64, String)>) -> u64 {
        if self.active.is_none() && !self.exists {
            self.active = version;
        }
        self.exists |= !rows.is_empty();
        let Some(version) = version.filter(|version| self.active != Some(*version)) else {
            self.rows.extend(rows);
            return 0;
        };
        if self.gathers != Some(version) {
            self.gathers = Some(version);
            self.gathered.clear();
        }
        self.gathered.extend(rows);
        if !activates || !self.exists {
            return 0;
        }
        self.active = Some(version);
        self.gathers = None;
        let gone = std::mem::replace(&mut self.rows, std::mem::take(&mut self.gathered));
        gone.len() as u64
    }
}

fn run_without_keys(replica: &mut dyn Replica, steps: &[Step]) -> Result<(), TestCaseError> {
    replica.renew();
    let stream = Stream { key: Vec::new(), ..stream(false) };
    let mut model = Flat::default();
    let mut loader = replica.open("1");
    let (mut current, mut sequence) = (1, 0);
    for (number, step) in (1..).zip(steps) {
        current += i64::from(step.version == Some(true));
        let version = step.version.map(|_| current);
        let (mut rows, mut lines) = (Vec::new(), Vec::new());
        for &(id, rev, _) in &step.records {
            sequence += 1;
            let more = if rev == 2 { ",\"more\":true" } else { "" };
            let record =
                format!("{{\"id\":\"{id}\",\"rev\":{rev},\"tags\":[\"{sequence}\"]{more}}}");
            lines.push(line(sequence, record.as_bytes()));
            rows.push((sequence, record));
        }
        let removed = model.step(version, step.activates, rows);
        let whole = (version, step.activates);
        let receipt = load_version(&mut loader, &stream, ("1", number), whole, &lines).unwrap();
        prop_assert_eq!(receipt.loaded, lines.len() as u64);
        prop_assert_eq!(receipt.removed, removed, "step {}", number);
        if step.commits {
            loader.commit(None).unwrap();
        }
        if step.commits && number % 3 == 0 {
            loader.finish().unwrap();
            loader = replica.open("1");
            model.active = model.active.filter(|_| model.exists);
        }
    }
    loader.commit(None).unwrap();
    loader.finish().unwrap();
    if !model.exists {
        return Ok(());
    }
    let table = replica.read("things");
    prop_assert!(table.strays.is_empty() && table.twice.is_empty(), "{:?}", table);
    let found: Vec<i64> = table.rows.keys().copied().collect();
    prop_assert_eq!(found, model.rows.keys().copied().collect::<Vec<_>>());
    for (sequence, record) in &model.rows {
        let record = parse(record).unwrap().value;
        check::row(&record, &stream.fields, &table.rows[sequence], replica.rules())
            .map_err(TestCaseError::fail)?;
    }
    Ok(())
}

/// F-86 without keys: rows of a version gather beside the table until it is whole.
#[test]
fn f86_without_keys_a_version_shows_when_it_is_whole() {
    let mode = Mode {
        name: "versions",
        duckdb: |to| set(&mut to.layout, Deletes::AsTold),
        postgres: |to| set(&mut to.layout, Deletes::AsTold),
        rules: |rules| Rules { items_are_rows: true, ..rules },
    };
    let mut replicas: [Box<dyn Replica>; 2] =
        [Box::new(crate::duckdb::File::new(mode)), Box::new(crate::postgres::Base::new(mode))];
    for replica in &mut replicas {
        let place = replica.name();
        for steps in once_wrong() {
            run_without_keys(replica.as_mut(), &steps)
                .unwrap_or_else(|error| panic!("{place}: {error}"));
        }
        let replica = std::cell::RefCell::new(replica);
        TestRunner::new(config())
            .run(&steps(), |steps| run_without_keys(replica.borrow_mut().as_mut(), &steps))
            .unwrap_or_else(|error| panic!("{place}: {error}"));
    }
}

/// As many cases as asked for; few otherwise, since each opens databases.
fn config() -> ProptestConfig {
    let wanted = std::env::var("PROPTEST_CASES").ok().and_then(|n| n.parse().ok());
    ProptestConfig {
        cases: wanted.unwrap_or(12),
        failure_persistence: None,
        max_shrink_iters: 200,
        ..Default::default()
    }
}

fn set(layout: &mut Layout, deletes: Deletes) {
    layout.arrays = Arrays::Tables;
    layout.deletes = deletes;
}

/// F-86, and `hard_delete` in each of its three forms.
#[test]
fn f86_what_the_source_deleted_goes_or_is_marked_as_chosen() {
    let mode = |duckdb: fn(&mut bobbin_duckdb::Config),
                postgres: fn(&mut bobbin_postgres::Config)| Mode {
        name: "deletes",
        duckdb,
        postgres,
        rules: |rules| Rules { items_are_rows: true, ..rules },
    };
    let modes = [
        (
            Deletes::AsTold,
            mode(
                |to| set(&mut to.layout, Deletes::AsTold),
                |to| set(&mut to.layout, Deletes::AsTold),
            ),
        ),
        (
            Deletes::Remove,
            mode(
                |to| set(&mut to.layout, Deletes::Remove),
                |to| set(&mut to.layout, Deletes::Remove),
            ),
        ),
        (
            Deletes::Mark,
            mode(|to| set(&mut to.layout, Deletes::Mark), |to| set(&mut to.layout, Deletes::Mark)),
        ),
    ];
    for (deletes, mode) in modes {
        let mut replicas: [Box<dyn Replica>; 2] =
            [Box::new(crate::duckdb::File::new(mode)), Box::new(crate::postgres::Base::new(mode))];
        for replica in &mut replicas {
            let place = format!("{} ({deletes:?})", replica.name());
            for steps in once_wrong() {
                run(replica.as_mut(), deletes, false, &steps)
                    .unwrap_or_else(|error| panic!("{place}: {error}"));
            }
            let replica = std::cell::RefCell::new(replica);
            TestRunner::new(config())
                .run(&(steps(), any::<bool>()), |(steps, declared)| {
                    run(replica.borrow_mut().as_mut(), deletes, declared, &steps)
                })
                .unwrap_or_else(|error| panic!("{place}: {error}"));
        }
    }
}
