//! A day of the service in simulated time: twenty connections, restarts, kills, dead destinations.
//! Afterwards every slot is accounted for, every replica equals its oracle, and no job is orphaned.
//!
//! The program is the real one, with `BOBBIN_TEST_CLOCK`; the simulated organisations keep the same
//! time. What is due when is worked out here by counting minutes, and not by bobbin's own rules.
//! `cargo xtask day` runs [`twenty_four_hours`]; [`some_hours`] is a part of it.

mod account;
mod lines;

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use bobbin_core::clock::{Clock, FastClock};
use fake_kustomer::{Fault, FaultRule, Matcher, Mutation, Pick, Running, Simulator};
use jiff::{SignedDuration, Timestamp};
use postgres::{Client, NoTls};
use serde_json::Value;

use self::account::{OVERRUN, account, instant};
use self::lines::{Act, Due, Into, LINES, Line};
use crate::fire::{Dice, Verdict, compare};
use crate::server::{Server, Setup};
use crate::serving::{ask, source, terminate};
use crate::support::{Desk, tiny};

/// In its night the clocks of Berlin go forward: at 01:00Z, minute 780, 02:00 becomes 03:00.
const START: &str = "2026-03-28T12:00:00Z";

/// What may have been due before the service first saw a connection.
const DAWN: i64 = 15;

/// A day, or a part of one.
struct Plan {
    minutes: i64,
    speed: u32,
    lines: &'static [Line],
    acts: Vec<(i64, Act)>,
}

impl Plan {
    fn new(minutes: i64, speed: u32, lines: usize, acts: &[(i64, Act)]) -> Self {
        let mut all = acts.to_vec();
        all.extend((1..).map(|n| (n * 17, Act::Restart)).take_while(|(at, _)| *at < minutes));
        all.extend((1..).map(|n| (n * 4, Act::Mutate)).take_while(|(at, _)| *at < minutes - 5));
        all.sort();
        Self { minutes, speed, lines: &LINES[..lines], acts: all }
    }
}

/// What the day was like.
#[derive(Default, Debug)]
struct Tally {
    slots: BTreeMap<String, u64>,
    jobs: BTreeMap<String, u64>,
    restarts: u64,
    slowest_stop: Duration,
    kills: Vec<(Timestamp, u64)>,
    pauses: u64,
    mutations: u64,
    /// Jobs that failed of DuckDB's own fault.
    miscounted: u64,
    rows: u64,
    verdict: Verdict,
    /// What should not be.
    wrong: Vec<String>,
}

/// A running service, and what it printed.
struct Service {
    child: Child,
    told: Arc<Mutex<Vec<Value>>>,
    reader: JoinHandle<()>,
}

impl Service {
    fn events(&self) -> Vec<Value> {
        self.told.lock().unwrap().clone()
    }

    /// The address of its API, as soon as it is told.
    fn address(&self) -> String {
        let since = Instant::now();
        loop {
            let told = self.told.lock().unwrap().iter().find_map(|event| {
                (event["event"] == "serving").then(|| event["api"].as_str().unwrap().to_owned())
            });
            match told {
                Some(address) => return address,
                None => assert!(since.elapsed() < Duration::from_mins(1), "no service"),
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// The connections whose slots started and whose jobs have not ended.
    fn busy(&self) -> BTreeSet<String> {
        let mut busy = BTreeSet::new();
        for event in self.told.lock().unwrap().iter() {
            let connection = event["connection"].as_str().unwrap_or_default().to_owned();
            let (what, slot) = (event["event"].as_str().unwrap(), &event["slot"]);
            let overrun = slot["reason"].as_str().is_some_and(|why| why.starts_with(OVERRUN));
            if what == "slot" && slot["outcome"] == "started" {
                busy.insert(connection);
            } else if matches!(what, "job" | "refused") || (what == "slot" && !overrun) {
                busy.remove(&connection);
            }
        }
        busy
    }
}

/// The place of a day.
struct Day {
    plan: Plan,
    desk: Desk,
    sims: Vec<Running>,
    server: Server,
    other_server: Server,
    /// Shows the simulated time.
    clock: FastClock,
    /// The same for processes.
    order: String,
    start: Timestamp,
    service: Option<Service>,
    paused: BTreeMap<&'static str, Vec<Pause>>,
    tally: Tally,
    /// What every process printed, in one.
    told: Vec<Value>,
}

/// When a pause was asked for and answered, and when its end was.
#[derive(Clone, Copy)]
struct Pause {
    from: (Timestamp, Timestamp),
    to: Option<(Timestamp, Timestamp)>,
}

impl Day {
    fn new(plan: Plan) -> Self {
        let start: Timestamp = START.parse().unwrap();
        let sims: Vec<Running> = plan
            .lines
            .iter()
            .zip(100..)
            .map(|(line, seed)| {
                let mut config = tiny(seed);
                for (stream, count) in [
                    ("customer", 40),
                    ("conversation", 60),
                    ("message", 120),
                    ("note", 30),
                    ("kobject", 30),
                ] {
                    config.counts.insert(stream.to_owned(), count);
                }
                config.threads = 1;
                config.clock.start = fake_kustomer::When::at(start.as_millisecond());
                let sim = Simulator::start(config).unwrap();
                if line.late_ms > 0 {
                    let late = Fault::Slow { ms: line.late_ms };
                    sim.control().add_fault(FaultRule::always(Matcher::default(), late));
                }
                sim
            })
            .collect();
        let desk = Desk { directory: directory() };
        let (server, other_server) = (Server::start(), Server::with(&Setup::default()));
        let mut text = String::new();
        for (line, sim) in plan.lines.iter().zip(&sims) {
            let (name, schedule) = (line.name, line.schedule);
            let place = match line.into {
                Into::DuckDb | Into::DuckDbAway => {
                    fs::create_dir(desk.path(name)).unwrap();
                    format!("type = \"duckdb\"\npath = \"{name}/out.duckdb\"\nrows_per_commit = 50")
                }
                Into::Postgres => postgres(&server),
                Into::PostgresAway => postgres(&other_server),
            };
            text += &format!(
                "[sources.{name}]\ntype = \"kustomer\"\n{}\n[destinations.{name}]\n{place}\n\
                 [connections.{name}]\nsource = \"{name}\"\ndestination = \"{name}\"\n\
                 schedule = {{ {schedule} }}\n\n",
                source(sim)
            );
        }
        fs::write(desk.path("bobbin.toml"), text).unwrap();
        let (at, clock) = (Timestamp::now(), FastClock::new(start, plan.speed));
        for sim in &sims {
            sim.control().set_clock(clock.now().as_millisecond());
            sim.control().freeze(false);
            sim.control().set_factor(f64::from(plan.speed));
        }
        let order = format!("{start} {at} {}", plan.speed);
        Self {
            plan,
            desk,
            sims,
            server,
            other_server,
            clock,
            order,
            start,
            service: None,
            paused: BTreeMap::new(),
            tally: Tally::default(),
            told: Vec::new(),
        }
    }

    fn minute(&self, at: Timestamp) -> i64 {
        at.duration_since(self.start).as_mins()
    }

    fn wrong(&mut self, what: String) {
        println!("WRONG: {what}");
        self.tally.wrong.push(what);
    }

    fn serve(&mut self) {
        let mut command = self.desk.command(&[
            "serve",
            "--format",
            "json",
            "--listen",
            "127.0.0.1:0",
            "--jobs",
            "8",
            "--grace",
            "60",
        ]);
        let errors = File::options().create(true).append(true).open(self.desk.path("stderr"));
        command.env("BOBBIN_TEST_CLOCK", &self.order).stderr(errors.unwrap());
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let told = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&told);
        let reader = std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                // A process that is killed may leave half a line.
                if let Ok(event) = serde_json::from_str(&line) {
                    kept.lock().unwrap().push(event);
                }
            }
        });
        self.service = Some(Service { child, told, reader });
    }

    /// Takes up what a process that is gone has printed.
    fn read_out(&mut self, service: Service) -> Vec<Value> {
        service.reader.join().unwrap();
        let events = std::mem::take(&mut *service.told.lock().unwrap());
        self.told.extend(events.iter().cloned());
        events
    }

    /// SIGTERM; its end has to come by itself, and in order.
    fn stop(&mut self) {
        let Some(mut service) = self.service.take() else { return };
        let since = Instant::now();
        service.address();
        terminate(&mut service.child);
        let status = loop {
            if let Some(status) = service.child.try_wait().unwrap() {
                break status.code();
            }
            if since.elapsed() > Duration::from_secs(90) {
                service.child.kill().unwrap();
                service.child.wait().unwrap();
                break None;
            }
            std::thread::sleep(Duration::from_millis(5));
        };
        self.tally.slowest_stop = self.tally.slowest_stop.max(since.elapsed());
        let last = self.read_out(service).last().cloned().unwrap_or_default();
        if status != Some(0) || last["event"] != "stopped" {
            let minute = self.minute(self.clock.now());
            self.wrong(format!("minute {minute}: the service ended with {status:?}: {last}"));
        }
    }

    /// SIGKILL at a bad moment, which `now` recognises.
    fn kill(&mut self, now: impl Fn(&Self, &Service) -> bool) {
        let Some(mut service) = self.service.take() else { return };
        let since = Instant::now();
        while !now(self, &service) {
            if since.elapsed() > Duration::from_secs(20) {
                self.wrong("no moment to kill came".to_owned());
                break;
            }
            std::thread::sleep(Duration::from_micros(200));
        }
        service.child.kill().unwrap();
        service.child.wait().unwrap();
        let running = service.busy().len() as u64;
        self.tally.kills.push((self.clock.now(), running));
        self.read_out(service);
        if running == 0 {
            self.wrong("nothing ran when it was killed".to_owned());
        }
    }

    fn ask(&self, method: &str, path: &str, body: &str) -> (u16, String) {
        let address = self.service.as_ref().unwrap().address();
        let token = fs::read_to_string(self.desk.path(".bobbin/api-token")).unwrap();
        let bearer = format!("Bearer {}", token.trim());
        let headers = [("Authorization", bearer.as_str()), ("Content-Type", "application/json")];
        ask(method, &format!("http://{address}/api/v1/connections/{path}"), &headers, body)
    }

    fn pause(&mut self, name: &'static str, paused: bool) {
        let sent = self.clock.now();
        let (status, body) = self.ask("PATCH", name, &format!("{{\"paused\":{paused}}}"));
        assert_eq!(status, 200, "{body}");
        let span = (sent, self.clock.now());
        let pauses = self.paused.entry(name).or_default();
        if paused {
            pauses.push(Pause { from: span, to: None });
            self.tally.pauses += 1;
        } else {
            pauses.last_mut().unwrap().to = Some(span);
        }
    }

    fn mutate(&mut self, dice: &mut Dice) {
        for _ in 0..self.sims.len().div_ceil(3) {
            let sim = &self.sims[dice.below(self.sims.len() as u64) as usize];
            for stream in ["customer", "conversation", "message", "note", "kobject", "tag"] {
                let pick = Pick::Random(1 + dice.below(4));
                sim.control().mutate(&Mutation::update(stream, pick)).unwrap();
            }
            sim.control().mutate(&Mutation::add("conversation", dice.below(2))).unwrap();
            sim.control().mutate(&Mutation::add("message", dice.below(3))).unwrap();
            self.tally.mutations += 1;
        }
    }

    /// Moves the directories of some DuckDB files away, with a file in their place, or back.
    fn duckdb_away(&self, away: bool) {
        for line in self.plan.lines.iter().filter(|line| line.into == Into::DuckDbAway) {
            let (here, there) =
                (self.desk.path(line.name), self.desk.path(&format!("{}.away", line.name)));
            if away {
                fs::rename(&here, &there).unwrap();
                fs::write(&here, "").unwrap();
            } else {
                fs::remove_file(&here).unwrap();
                fs::rename(&there, &here).unwrap();
            }
        }
    }

    /// Lets the hours pass.
    fn pass(&mut self) {
        let mut dice = Dice::new(24);
        self.serve();
        for (minute, act) in self.plan.acts.clone() {
            let at = self.start + SignedDuration::from_mins(minute);
            let left = at.duration_since(self.clock.now());
            if left.is_positive() {
                std::thread::sleep(self.clock.real(left));
            }
            match act {
                Act::Mutate => self.mutate(&mut dice),
                Act::Pause(name) => self.pause(name, true),
                Act::GoOn(name) => self.pause(name, false),
                Act::DuckDbAway(away) => self.duckdb_away(away),
                Act::PostgresAway(true) => self.other_server.crash(),
                Act::PostgresAway(false) => self.other_server.go_on(),
                Act::Restart => {
                    self.stop();
                    self.serve();
                    self.tally.restarts += 1;
                }
                Act::KillWhileSealed => {
                    self.kill(|day, _| day.sealed().iter().any(|name| day.lives(name)));
                    self.serve();
                }
                Act::KillAtSlot => {
                    let before = self.service.as_ref().unwrap().events().len();
                    self.kill(|_, service| {
                        let events = service.events();
                        let started = |event: &Value| {
                            event["event"] == "slot" && event["slot"]["outcome"] == "started"
                        };
                        events.last().is_some_and(started)
                            && events.len() > before
                            && service.busy().len() > 1
                    });
                    self.serve();
                }
            }
        }
        let end = self.start + SignedDuration::from_mins(self.plan.minutes);
        let left = end.duration_since(self.clock.now());
        std::thread::sleep(self.clock.real(left.max(SignedDuration::ZERO)));
    }

    /// The connections with a segment in the spool that is whole.
    fn sealed(&self) -> Vec<String> {
        let spool = |line: &Line| self.desk.path(&format!(".bobbin/spool/{}", line.name));
        let names = self.plan.lines.iter();
        names
            .filter(|line| files(&spool(line)).iter().any(|name| is_manifest(name)))
            .map(|line| line.name.to_owned())
            .collect()
    }

    /// Whether the destination of a connection is never away.
    fn lives(&self, name: &str) -> bool {
        let line = self.plan.lines.iter().find(|line| line.name == name).unwrap();
        matches!(line.into, Into::DuckDb | Into::Postgres)
    }

    /// Lets every connection run until a job that began now is complete.
    fn complete(&mut self) {
        let since = self.clock.now();
        let mut left: BTreeSet<&str> = self.plan.lines.iter().map(|line| line.name).collect();
        let began = Instant::now();
        while !left.is_empty() {
            if began.elapsed() > Duration::from_mins(2) {
                self.wrong(format!("not complete: {left:?}"));
                break;
            }
            for event in self.service.as_ref().unwrap().events() {
                let report = &event["report"];
                let started = report["started"].as_str().and_then(|at| at.parse().ok());
                if report["outcome"] == "complete"
                    && started.is_some_and(|started: Timestamp| started > since)
                {
                    left.remove(event["connection"].as_str().unwrap());
                }
            }
            for name in &left {
                let (status, body) = self.ask("POST", &format!("{name}/jobs"), "");
                assert!(status == 202 || status == 409, "{body}");
            }
            std::thread::sleep(Duration::from_millis(300));
        }
    }

    /// What a verb prints, object by object.
    fn told(&self, arguments: &[&str]) -> Vec<Value> {
        let told = self.desk.run(arguments);
        told.assert(0, &[]);
        told.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// The slots of a connection up to the end, and beyond it those that may be there, too.
    fn due(&self, line: &Line, rows: &[Value]) -> BTreeMap<Timestamp, bool> {
        let end = self.start + SignedDuration::from_mins(self.plan.minutes);
        let horizon = self.minute(self.clock.now()) + 60;
        let mut due = BTreeMap::new();
        if let Due::FromFirst(step) = line.due {
            let base = instant(&rows.last().unwrap()["slot"]["slot"]);
            for n in 0..=horizon / step {
                let slot = base + SignedDuration::from_mins(n * step);
                due.insert(slot, slot <= end);
            }
        } else {
            for minute in (0..=horizon).filter(|minute| line.due.at(*minute)) {
                let slot = self.start + SignedDuration::from_mins(minute);
                due.insert(slot, minute > DAWN && slot <= end);
            }
        }
        for pause in self.paused.get(line.name).into_iter().flatten() {
            let (none, always) = (Timestamp::MAX, (Timestamp::MAX, Timestamp::MAX));
            let to = pause.to.unwrap_or(always);
            due.retain(|slot, _| !(pause.from.1 < *slot && *slot < to.0 && *slot < none));
            for (slot, must) in &mut due {
                let edge = |(from, to): (Timestamp, Timestamp)| (from..=to).contains(slot);
                *must &= !edge(pause.from) && !edge(to);
            }
        }
        due
    }

    /// Every slot once, each with what became of it; every job ended.
    fn account(&mut self) {
        for line in self.plan.lines {
            let name = line.name;
            let history = ["schedule", "history", name, "--slots", "100000", "--format", "json"];
            let rows = self.told(&history);
            let jobs = self.told(&["jobs", name, "--last", "1000", "--format", "json"]);
            assert!(jobs.len() < 1000, "more than are listed");
            let (mut problems, mut counts) = (Vec::new(), BTreeMap::new());
            account(&self.due(line, &rows), &rows, &jobs, &mut problems, &mut counts);
            // A kill leaves open at most one slot that waits and one whose job was to follow.
            let ended = counts.iter().filter(|(what, _)| what.contains("bobbin ended"));
            let ended: u64 = ended.map(|(_, count)| count).sum();
            if ended > 2 * self.tally.kills.len() as u64 {
                problems.push(format!("{ended} slots were left open by kills"));
            }
            for (what, count) in counts {
                *self.tally.slots.entry(what).or_default() += count;
            }
            for job in &jobs {
                let status = job["status"].as_str().unwrap();
                *self.tally.jobs.entry(status.to_owned()).or_default() += 1;
                let started = instant(&job["started"]);
                // The last one that began before somebody killed bobbin.
                let killed = || {
                    self.tally.kills.iter().any(|(kill, _)| {
                        let mut before = jobs.iter().map(|job| instant(&job["started"]));
                        before.find(|at| at < kill) == Some(started)
                    })
                };
                // DuckDB 1.5.6 now and then loses count of its temporary files (duckdb issue 20561).
                let report = job["report"].to_string();
                let miscounted = report.contains("failed to offload") && report.contains(" PiB/");
                self.tally.miscounted += u64::from(miscounted);
                let fine = match status {
                    "complete" | "interrupted" => true,
                    "abrupt" => killed(),
                    "failed" => miscounted || !self.lives(name),
                    _ => false,
                };
                if !fine {
                    problems.push(format!("a job of {started} is {status}: {report}"));
                }
            }
            for problem in problems {
                self.wrong(format!("{name}: {problem}"));
            }
        }
    }

    /// Nothing is in the spool, nobody is there.
    fn clean(&mut self) {
        for line in self.plan.lines {
            let left = files(&self.desk.path(&format!(".bobbin/spool/{}", line.name)));
            let left: Vec<_> = left.into_iter().filter(|name| name != "lock").collect();
            if !left.is_empty() {
                self.wrong(format!("{}: in the spool there is still {left:?}", line.name));
            }
        }
        let here = self.desk.directory.path().canonicalize().unwrap();
        for entry in fs::read_dir("/proc").unwrap().flatten() {
            if fs::read_link(entry.path().join("cwd")).is_ok_and(|cwd| cwd == here) {
                self.wrong(format!("a process is left: {}", entry.path().display()));
            }
        }
        for server in [&self.server, &self.other_server] {
            let sql = "SELECT count(*) FROM pg_stat_activity
                       WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()";
            let left: i64 = client(server).query_one(sql, &[]).unwrap().get(0);
            assert_eq!(left, 0, "sessions are left");
        }
    }

    /// Every replica against its oracle.
    fn compare(&mut self) {
        for n in 0..self.plan.lines.len() {
            let (line, sim) = (&self.plan.lines[n], &self.sims[n]);
            let rows = Cell::new(0);
            let count = |found: Vec<(String, i64)>| {
                rows.set(rows.get() + found.len() as u64);
                found
            };
            let verdict = match line.into {
                Into::DuckDb | Into::DuckDbAway => {
                    let path = self.desk.path(line.name).join("out.duckdb");
                    compare(sim, |table| duckdb_rows(&path, line.name, table).map(count))
                }
                Into::Postgres | Into::PostgresAway => {
                    let server =
                        if line.into == Into::Postgres { &self.server } else { &self.other_server };
                    let mut client = client(server);
                    compare(sim, |table| postgres_rows(&mut client, line.name, table).map(count))
                }
            };
            self.tally.rows += rows.get();
            self.tally.verdict.add(verdict);
            if verdict != Verdict::default() {
                self.wrong(format!("{}: {verdict:?}", line.name));
            }
        }
    }

    /// All of it.
    fn live(mut self) -> Tally {
        self.pass();
        self.stop();
        self.serve();
        self.complete();
        self.stop();
        self.account();
        self.clean();
        self.compare();
        let refused = |event: &&Value| event["event"] == "refused" || event["event"] == "warning";
        let refused: Vec<String> = self.told.iter().filter(refused).map(Value::to_string).collect();
        println!(
            "refused and warned, {}: {:#?}",
            refused.len(),
            refused.iter().take(20).collect::<Vec<_>>()
        );
        if !self.tally.wrong.is_empty() {
            let kept = std::mem::replace(&mut self.desk.directory, tempfile::tempdir().unwrap());
            let events: Vec<String> = self.told.iter().map(Value::to_string).collect();
            fs::write(kept.path().join("events.jsonl"), events.join("\n")).unwrap();
            println!("kept: {}", kept.keep().display());
        }
        self.tally
    }
}

/// In memory, where there is such a place: a disk's second would be minutes here.
fn directory() -> tempfile::TempDir {
    let memory = tempfile::Builder::new().prefix("bobbin-day-").tempdir_in("/dev/shm");
    memory.unwrap_or_else(|_| tempfile::tempdir().unwrap())
}

fn postgres(server: &Server) -> String {
    format!(
        "type = \"postgres\"\nhost = \"{}\"\nuser = \"boss\"\ndatabase = \"postgres\"\n\
         rows_per_commit = 50",
        server.host()
    )
}

fn client(server: &Server) -> Client {
    let mut config = Client::configure();
    config.host(server.host()).user("boss").dbname("postgres").connect(NoTls).unwrap()
}

fn duckdb_rows(path: &Path, schema: &str, table: &str) -> Option<Vec<(String, i64)>> {
    let sql = format!("SELECT id, epoch_ms(updated_at) FROM {schema}.{table}");
    let answer = bobbin_duckdb::query::query(path, &sql, usize::MAX).ok()?;
    let row = |row: &Vec<Option<String>>| {
        (row[0].clone().unwrap(), row[1].as_ref().unwrap().parse().unwrap())
    };
    Some(answer.rows.iter().map(row).collect())
}

fn postgres_rows(client: &mut Client, schema: &str, table: &str) -> Option<Vec<(String, i64)>> {
    let sql =
        format!("SELECT id, (extract(epoch FROM updated_at) * 1000)::bigint FROM {schema}.{table}");
    let rows = client.query(&sql, &[]).ok()?;
    Some(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
}

/// The names of the files in a directory and below it, if there is one.
fn files(directory: &Path) -> Vec<String> {
    let mut names = Vec::new();
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => names.extend(files(&entry.path())),
            _ => names.push(entry.file_name().into_string().unwrap()),
        }
    }
    names
}

/// Whether a file of the spool says that a segment is whole.
fn is_manifest(name: &str) -> bool {
    Path::new(name).extension().is_some_and(|extension| extension == "json")
}

fn table(plan: &Plan, tally: &Tally) -> String {
    let Tally { slots, jobs, restarts, slowest_stop, kills, pauses, mutations, rows, .. } = tally;
    let Verdict { lost, doubled, stale, invented, .. } = tally.verdict;
    let mut text = String::from("| | |\n|---|---:|\n");
    let mut row = |what: &str, count: String| text.push_str(&format!("| {what} | {count} |\n"));
    row("simulated hours", format!("{:.1}", plan.minutes as f64 / 60.0));
    row("connections", plan.lines.len().to_string());
    row("times as fast as life", plan.speed.to_string());
    row("restarts (SIGTERM)", restarts.to_string());
    row("the slowest stop, s", format!("{:.1}", slowest_stop.as_secs_f64()));
    row("kills (SIGKILL)", kills.len().to_string());
    let running: Vec<String> = kills.iter().map(|(_, running)| running.to_string()).collect();
    row("jobs that ran or waited when it was killed", running.join(", "));
    row("pauses", pauses.to_string());
    row("rounds of changes in a source", mutations.to_string());
    for (what, count) in slots {
        row(&format!("slots {what}"), count.to_string());
    }
    for (what, count) in jobs {
        row(&format!("jobs {what}"), count.to_string());
    }
    row("of those that failed, because DuckDB lost count", tally.miscounted.to_string());
    row("rows compared", rows.to_string());
    row("rows lost, doubled, stale, invented", format!("{lost}, {doubled}, {stale}, {invented}"));
    row("wrong", tally.wrong.len().to_string());
    text
}

#[test]
fn some_hours() {
    let acts = [
        (25, Act::DuckDbAway(true)),
        (30, Act::PostgresAway(true)),
        (42, Act::Pause("paused")),
        (58, Act::KillWhileSealed),
        (75, Act::DuckDbAway(false)),
        (80, Act::PostgresAway(false)),
        (96, Act::GoOn("paused")),
        (110, Act::KillAtSlot),
    ];
    let plan = Plan::new(140, 240, 8, &acts);
    let day = Day::new(plan);
    let tally = day.live();
    println!("{tally:#?}");
    assert!(tally.wrong.is_empty(), "{:#?}", tally.wrong);
    assert_eq!((tally.verdict, tally.kills.len()), (Verdict::default(), 2));
}

/// The whole day. Writes a Markdown table to the file named by `BOBBIN_DAY_OUT`.
#[test]
#[ignore = "long; cargo xtask day runs it"]
fn twenty_four_hours() {
    let acts = [
        (150, Act::Pause("paused")),
        (240, Act::DuckDbAway(true)),
        (271, Act::GoOn("paused")),
        (330, Act::Pause("paused_cron")),
        (403, Act::KillWhileSealed),
        (530, Act::DuckDbAway(false)),
        (600, Act::PostgresAway(true)),
        (635, Act::GoOn("paused_cron")),
        (700, Act::Pause("paused")),
        (860, Act::PostgresAway(false)),
        (931, Act::GoOn("paused")),
        (1001, Act::KillAtSlot),
        (1101, Act::Pause("paused_cron")),
        (1250, Act::GoOn("paused_cron")),
    ];
    let number = |name: &str, otherwise: u32| {
        std::env::var(name).ok().map_or(otherwise, |text| text.parse().unwrap())
    };
    let (minutes, speed) =
        (i64::from(number("BOBBIN_DAY_MINUTES", 1440)), number("BOBBIN_DAY_SPEED", 240));
    let acts: Vec<_> = acts.into_iter().filter(|(at, _)| *at < minutes).collect();
    let day = Day::new(Plan::new(minutes, speed, LINES.len(), &acts));
    let plan = Plan::new(minutes, speed, LINES.len(), &acts);
    let tally = day.live();
    let table = table(&plan, &tally);
    println!("{table}");
    if let Ok(path) = std::env::var("BOBBIN_DAY_OUT") {
        fs::write(path, &table).unwrap();
    }
    assert!(tally.wrong.is_empty(), "{:#?}", tally.wrong);
}
