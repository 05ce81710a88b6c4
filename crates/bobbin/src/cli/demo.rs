//! `bobbin demo`: everything once, against a simulated organisation, and the proof.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};

use bobbin_core::clock::SystemClock;
use bobbin_core::id::{ConnectionId, SchemaName};
use bobbin_core::selection::Selection;
use bobbin_core::tap::Context;
use bobbin_core::{Error, ErrorKind, Result};
use bobbin_duckdb::DuckDb;
use bobbin_engine::ledger::Trigger;
use bobbin_engine::{Engine, Outcome, RunReport, RunRequest};
use clap::Args;
use fake_kustomer::{Mutation, Pick, Running, Simulator};
use serde_json::json;
use tap_kustomer::tap::KustomerTap;

use super::query::print_rows;
use super::{Session, Stop};
use crate::cli::Format;
use crate::out::{print, println};
use crate::progress::Progress;
use crate::verify::{self, Verdict};
use crate::{exit, print};

/// Replicate a simulated Kustomer into a DuckDB file and prove the copy
#[derive(Args)]
#[command(after_help = "Example: bobbin demo --records 100000")]
pub(super) struct Demo {
    /// Where the demo keeps its files; emptied first if an earlier demo left it
    #[arg(long, default_value = "bobbin-demo", value_name = "DIR")]
    directory: PathBuf,

    /// Customers in the simulated organisation; other tables follow
    #[arg(long, default_value_t = 2000, value_name = "N")]
    records: u64,

    /// Decides the organisation's data
    #[arg(long, default_value_t = 1, value_name = "SEED")]
    seed: u64,
}

/// Marks a directory as a demo's, so that the next demo may empty it.
const MARK: &str = "made-by-bobbin-demo";
const SCHEMA: &str = "kustomer";
const DAY_MS: i64 = 86_400_000;

impl Demo {
    pub(super) fn run(&self, session: &Session) -> Result<u8> {
        let terminal = std::io::stdout().is_terminal();
        let say = |text: &str| println!("\n{}", print::paint(text, print::BOLD, terminal));
        let database = self.prepare()?;
        let organisation = self.organisation()?;
        say("1. A simulated Kustomer organisation");
        println!(
            "   {} with {} customers, {} conversations, {} messages and the rest",
            organisation.url(),
            print::number(self.records),
            print::number(self.records * 2),
            print::number(self.records * 4),
        );
        let stop = Stop::on_signals();

        say("2. The first run: a year of history into DuckDB");
        let first = self.replicate(session, &organisation, &database, &stop)?;
        print!("{}", print::summary(&first, terminal));
        if first.outcome != Outcome::Complete {
            return Ok(exit::of_run(&first, stop.was_terminated()));
        }

        say("3. A day of work in the organisation");
        for line in self.work(&organisation)? {
            println!("   {line}");
        }

        say("4. The second run: only what changed");
        let second = self.replicate(session, &organisation, &database, &stop)?;
        print!("{}", print::summary(&second, terminal));
        if second.outcome != Outcome::Complete {
            return Ok(exit::of_run(&second, stop.was_terminated()));
        }

        say("5. The proof: every record against the simulator's oracle");
        let verdicts = prove(&organisation, &database, &second)?;
        let exact = verdicts.iter().all(Verdict::is_exact);
        let rows = verdicts
            .iter()
            .map(|verdict| {
                vec![
                    verdict.table.clone(),
                    print::number(verdict.expected),
                    print::number(verdict.rows),
                    print::number(verdict.lost),
                    print::number(verdict.doubled),
                    print::number(verdict.stale),
                    if verdict.is_exact() { "exact" } else { "WRONG" }.to_owned(),
                ]
            })
            .collect();
        println!(
            "{}",
            print::table(
                &["table", "oracle", "rows", "lost", "doubled", "stale", "copy"],
                &[1, 2, 3, 4, 5],
                rows
            )
        );
        if !exact {
            println!(
                "{} the copy differs; this is a fault in bobbin",
                print::paint("error:", print::RED, terminal)
            );
            return Ok(exit::BUG);
        }

        say("6. What the tables look like");
        for sql in SHOWN {
            println!("   {}", print::paint(sql, print::DIM, terminal));
            let answer = bobbin_duckdb::query::query(&database, sql, 100)?;
            print_rows(&answer.columns, answer.rows);
        }

        say("Where to go next");
        println!("   bobbin query --database {} 'show all tables'", database.display());
        println!("   bobbin init      writes a bobbin.toml for your own organisation");
        println!("   bobbin simulate  starts an organisation to break things on");
        if session.format == Format::Json {
            println!("{}", json!({ "event": "demo", "exact": exact }));
        }
        Ok(exit::OK)
    }

    /// Makes or empties the demo's directory; gives the database's path.
    fn prepare(&self) -> Result<PathBuf> {
        let mark = self.directory.join(MARK);
        if self.directory.exists() {
            if !mark.exists() {
                return Err(Error::config("the demo's directory exists and is not from a demo")
                    .with("path", self.directory.display())
                    .hint("it is left as it is; name another one with --directory"));
            }
            std::fs::remove_dir_all(&self.directory).map_err(|error| {
                Error::io("cannot empty the demo's directory", error)
                    .with("path", self.directory.display())
            })?;
        }
        let made =
            std::fs::create_dir_all(&self.directory).and_then(|()| std::fs::write(&mark, ""));
        made.map_err(|error| {
            Error::io("cannot make the demo's directory", error)
                .with("path", self.directory.display())
                .hint("choose a directory that can be written with --directory")
        })?;
        Ok(self.directory.join("warehouse.duckdb"))
    }

    /// A small organisation, with the request budgets of a real one at sixty times the pace.
    fn organisation(&self) -> Result<Running> {
        let mut config = fake_kustomer::Config { seed: self.seed, ..Default::default() };
        config.clock.frozen = true;
        config.rate.factor = 60.0;
        let n = self.records;
        for (stream, count) in [
            ("customer", n),
            ("conversation", n * 2),
            ("message", n * 4),
            ("note", n / 2),
            ("kobject", n),
        ] {
            config.counts.insert(stream.to_owned(), count);
        }
        Simulator::start(config).map_err(|error| {
            Error::new(ErrorKind::Io, "the simulator cannot start").caused_by(error)
        })
    }

    /// What happens in the organisation between the two runs, told in lines.
    fn work(&self, organisation: &Running) -> Result<Vec<String>> {
        let control = organisation.control();
        control.advance(DAY_MS / 2);
        let n = self.records;
        let bulk = (n / 2).max(1);
        let changes = [
            (
                Mutation::update("conversation", Pick::Random(bulk)),
                format!(
                    "a bulk edit stamps {} conversations with one millisecond",
                    print::number(bulk)
                ),
            ),
            (
                Mutation::add("message", n / 10 + 1),
                format!("{} new messages", print::number(n / 10 + 1)),
            ),
            (
                Mutation::add_attribute("customer", "warrantyUntilAt"),
                "customers get a new custom attribute, warrantyUntilAt".to_owned(),
            ),
            (
                Mutation::update("customer", Pick::Random(n / 20 + 1)),
                format!("{} customers change", print::number(n / 20 + 1)),
            ),
            (
                Mutation::soft_delete("note", Pick::Random(n / 100 + 1)),
                format!("{} notes are deleted", print::number(n / 100 + 1)),
            ),
        ];
        let mut lines = Vec::new();
        for (mutation, line) in changes {
            control
                .mutate(&mutation)
                .map_err(|error| Error::bug("the simulator refused a change").caused_by(error))?;
            control.advance(60_000);
            lines.push(line);
        }
        control.advance(DAY_MS / 2);
        Ok(lines)
    }

    fn replicate(
        &self,
        session: &Session,
        organisation: &Running,
        database: &Path,
        stop: &Stop,
    ) -> Result<RunReport> {
        let config = tap_kustomer::config::Config::from_json(&json!({
            "api_token": organisation.token(),
            "api_url": organisation.url(),
            "rate_factor": 60,
            // The whole history of the simulated organisation.
            "start_date": "2015-01-01",
        }))?;
        let mut tap = KustomerTap::new(config);
        let destination = DuckDb::new(bobbin_duckdb::Config::new(database.to_owned()));
        let progress = Progress::new(session.format, false);
        let cx = Context { clock: &SystemClock, cancel: &stop.cancel, log: &progress };
        let report = Engine::new(self.directory.join("home")).run(
            cx,
            RunRequest {
                connection: &ConnectionId::from(SCHEMA),
                schema: &SchemaName::from(SCHEMA),
                tap: &mut tap,
                destination: &destination,
                selection: &Selection::all(),
                trigger: Trigger::Manual,
                part: None,
            },
        );
        progress.finish();
        report
    }
}

/// Compares every table; the bound is what the run says it is complete until.
fn prove(organisation: &Running, database: &Path, report: &RunReport) -> Result<Vec<Verdict>> {
    let oracle = organisation.oracle();
    report
        .tables
        .iter()
        .map(|table| {
            let until = table.reached.map(|reached| reached.as_millisecond());
            verify::compare(database, SCHEMA, &table.stream, &oracle, until)
        })
        .collect()
}

const SHOWN: &[&str] = &[
    "SELECT id, name, custom__loyalty_tier_str, custom__lifetime_value_num, updated_at FROM kustomer.customers ORDER BY updated_at DESC LIMIT 3",
    "SELECT status, count(*) AS conversations, round(avg(message_count), 1) AS messages, max(updated_at) AS latest FROM kustomer.conversations GROUP BY status ORDER BY 2 DESC",
    "SELECT m.channel, m.direction, c.name AS customer, left(m.preview, 40) AS preview FROM kustomer.messages m JOIN kustomer.customers c ON c.id = m.customer_id ORDER BY m.sent_at DESC LIMIT 3",
];
