//! A directory with a `bobbin.toml`, and the program run in it.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use fake_kustomer::{Bounds, Config, Running};

/// The simulator's names of the streams, by table.
pub(crate) const TABLES: [(&str, &str); 9] = [
    ("users", "user"),
    ("teams", "team"),
    ("tags", "tag"),
    ("shortcuts", "shortcut"),
    ("customers", "customer"),
    ("conversations", "conversation"),
    ("messages", "message"),
    ("notes", "note"),
    ("kobjects", "kobject"),
];

/// A place to run bobbin in.
pub(crate) struct Desk {
    pub(crate) directory: tempfile::TempDir,
}

/// Settings of a source that ask for everything at full pace.
pub(crate) const FAST: &str =
    "start_date = \"2015-01-01\"\nsearch_per_minute = 0\norganization_per_minute = 0\n";

impl Desk {
    /// With a file that points at `sim`.
    pub(crate) fn new(sim: &Running) -> Self {
        Self::with(&format!("api_token = \"{}\"\napi_url = \"{}\"\n{FAST}", sim.token(), sim.url()))
    }

    /// With the given settings of the source.
    pub(crate) fn with(source: &str) -> Self {
        let desk = Self { directory: tempfile::tempdir().unwrap() };
        desk.write(source, "path = \"out.duckdb\"", "");
        desk
    }

    pub(crate) fn write(&self, source: &str, destination: &str, connection: &str) {
        self.write_with(source, &format!("type = \"duckdb\"\n{destination}"), connection);
    }

    /// The same with the destination's type among its settings.
    pub(crate) fn write_with(&self, source: &str, destination: &str, connection: &str) {
        let text = format!(
            "[sources.kustomer]\ntype = \"kustomer\"\n{source}\n\
             [destinations.warehouse]\n{destination}\n\
             [connections.kustomer]\nsource = \"kustomer\"\ndestination = \"warehouse\"\n{connection}\n"
        );
        fs::write(self.path("bobbin.toml"), text).unwrap();
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_bobbin"));
        command.current_dir(self.directory.path()).args(arguments);
        for name in [
            "KUSTOMER_API_TOKEN",
            "BOBBIN_CONFIG",
            "BOBBIN_HOME",
            "BOBBIN_CRASH_AT",
            "BOBBIN_TEST_CLOCK",
        ] {
            command.env_remove(name);
        }
        command
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Told {
        Told::of(self.command(arguments).output().unwrap())
    }

    /// Asserts that every table holds exactly what the oracle says, each record once.
    #[track_caller]
    pub(crate) fn assert_exact(&self, sim: &Running, until_ms: Option<i64>) {
        assert_exact(&self.path("out.duckdb"), sim, until_ms);
    }
}

#[track_caller]
pub(crate) fn assert_exact(database: &Path, sim: &Running, until_ms: Option<i64>) {
    assert_rows(sim, until_ms, |table| {
        let sql = format!("SELECT id, epoch_ms(updated_at) FROM kustomer.{table}");
        let answer = bobbin_duckdb::query::query(database, &sql, usize::MAX).ok()?;
        let row = |row: &Vec<Option<String>>| {
            (row[0].clone().unwrap(), row[1].as_ref().unwrap().parse().unwrap())
        };
        Some(answer.rows.iter().map(row).collect())
    });
}

/// The same for any destination: `rows` gives a table's ids and instants of change.
#[track_caller]
pub(crate) fn assert_rows(
    sim: &Running,
    until_ms: Option<i64>,
    mut rows: impl FnMut(&str) -> Option<Vec<(String, i64)>>,
) {
    for (table, stream) in TABLES {
        let bounds = until_ms.map_or(Bounds::all(), Bounds::until);
        let held = sim.oracle().held(stream, bounds).unwrap();
        let rows = match rows(table) {
            Some(rows) => rows,
            None if held.is_empty() => continue,
            None => panic!("{table} is not there"),
        };
        let mut found = HashMap::new();
        for (id, updated) in rows {
            assert!(found.insert(id.clone(), updated).is_none(), "{table}: {id} is there twice");
        }
        for record in &held {
            let updated = found
                .remove(&record.id)
                .unwrap_or_else(|| panic!("{table}: {} is lost", record.id));
            assert!(updated >= record.updated_ms, "{table}: {} is stale", record.id);
        }
        assert!(found.is_empty(), "{table}: {} rows nobody has", found.len());
    }
}

/// What the program said.
#[derive(Debug)]
pub(crate) struct Told {
    pub(crate) status: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Told {
    pub(crate) fn of(output: Output) -> Self {
        Self {
            status: output.status.code(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// Asserts the exit status and that both streams together say each of `words`.
    #[track_caller]
    pub(crate) fn assert(&self, status: i32, words: &[&str]) -> &Self {
        assert_eq!(self.status, Some(status), "{self:#?}");
        let all = format!("{}\n{}", self.stdout, self.stderr);
        for word in words {
            assert!(all.contains(word), "`{word}` is not in:\n{all}");
        }
        self
    }
}

/// A small organisation whose clock stands still.
pub(crate) fn tiny(seed: u64) -> Config {
    Config::tiny(seed)
}
