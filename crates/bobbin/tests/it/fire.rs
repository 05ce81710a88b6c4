//! Under fire: whatever befalls bobbin, the server or the network between them, after the next runs
//! the replica equals the oracle, and no value was altered on the way.
//!
//! `cargo xtask fire` runs [`the_whole_matrix`] with many seeds; the other tests are a part of it.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::process::Child;
use std::time::{Duration, Instant};

use bobbin_core::crash;
use fake_kustomer::{Bounds, Mutation, Pick, Running, Simulator};
use postgres::{Client, NoTls};

use crate::proxy::{Fault, Frame, Moment, Proxy, Way};
use crate::server::{Server, Setup};
use crate::support::{Desk, FAST, TABLES, tiny};
use crate::tls::Authority;

/// Whose replica.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    DuckDb,
    Postgres,
}

/// What befalls a run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Blow {
    /// bobbin ends at a named point, passed for the nth time.
    Point(&'static str, u32),
    /// bobbin is killed at any moment.
    Kill,
    /// The server crashes at any moment, and comes back.
    ServerCrash,
    /// The network.
    Network(Fault),
    /// The network, under TLS.
    Encrypted(Fault),
}

/// What comparing a replica with the oracle found.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Verdict {
    pub(crate) lost: u64,
    pub(crate) doubled: u64,
    pub(crate) stale: u64,
    pub(crate) invented: u64,
    /// Rows whose values differ from those of a replica that was left in peace.
    pub(crate) altered: u64,
}

impl Verdict {
    pub(crate) fn add(&mut self, other: Self) {
        self.lost += other.lost;
        self.doubled += other.doubled;
        self.stale += other.stale;
        self.invented += other.invented;
        self.altered += other.altered;
    }
}

/// Numbers that a seed decides.
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    pub(crate) fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % n.max(1)
    }
}

/// The servers that trials share, and what replicas left in peace hold.
struct Range {
    server: Server,
    authority: Authority,
    /// By seed: the values, and how much one run sends.
    peaceful: HashMap<u64, Peace>,
}

/// A replica that was left in peace.
struct Peace {
    content: Content,
    /// Bytes there and back of the first run.
    bytes: [u64; 2],
    /// COMMITs of the first run.
    commits: u32,
    /// How long the first run took.
    took: Duration,
}

/// Per table and id the values, as text.
type Content = BTreeMap<(String, String), String>;

/// How a trial went.
#[derive(Default)]
struct Trial {
    /// Runs that the blow ended.
    ended: u32,
    verdict: Verdict,
}

impl Range {
    fn new() -> Self {
        let authority = Authority::new("authority");
        let (certificate, key) = authority.certificate(&["localhost"], false);
        let server = Server::with(&Setup {
            tcp: true,
            certificate: Some((&certificate, &key)),
            ..Setup::default()
        });
        Self { server, authority, peaceful: HashMap::new() }
    }

    fn client(&self) -> Client {
        let mut config = Client::configure();
        config.host(self.server.host()).user("boss").dbname("postgres").connect(NoTls).unwrap()
    }

    /// A desk whose destination is this server, through a proxy if there is one.
    fn desk(&self, sim: &Running, proxy: Option<&Proxy>, encrypted: bool) -> Desk {
        let desk = Desk::new(sim);
        let address = self.server.address();
        let (host, port) = match proxy {
            Some(proxy) => ("localhost".to_owned(), proxy.port()),
            None => (address.ip().to_string(), address.port()),
        };
        let mut destination = format!(
            "type = \"postgres\"\nhost = \"{host}\"\nport = {port}\nuser = \"boss\"\n\
             database = \"postgres\"\nrows_per_commit = 100\nstatement_timeout_seconds = 5\n"
        );
        if encrypted {
            std::fs::write(desk.path("ca.pem"), self.authority.pem()).unwrap();
            destination += "ca_file = \"ca.pem\"\n";
        }
        desk.write_with(&source(sim), &destination, "");
        self.client().batch_execute("DROP SCHEMA IF EXISTS kustomer CASCADE").unwrap();
        desk
    }

    /// The values of everything in the schema but the times of loading.
    fn content(&self) -> Content {
        let mut client = self.client();
        let mut content = Content::new();
        for (table, _) in TABLES {
            let sql = format!(
                "SELECT id, jsonb_strip_nulls(to_jsonb(t) - '{{_sdc_extracted_at,_sdc_received_at,\
                 _sdc_batched_at,_sdc_sequence,_sdc_table_version}}'::text[])::text
                 FROM kustomer.{table} AS t"
            );
            for row in client.query(&sql, &[]).unwrap_or_default() {
                content.insert((table.to_owned(), row.get(0)), row.get(1));
            }
        }
        content
    }

    /// What a replica of this seed's organisation holds when nothing happens.
    fn peace(&mut self, seed: u64) -> &Peace {
        if !self.peaceful.contains_key(&seed) {
            let sim = Simulator::start(tiny(seed)).unwrap();
            // It never comes to so many; the proxy counts.
            let never = Fault::CutAtCommit(Moment::BeforeQuestion, u32::MAX, Duration::ZERO);
            let proxy = Proxy::start(self.server.address(), never);
            let desk = self.desk(&sim, Some(&proxy), false);
            let started = Instant::now();
            desk.run(&["run"]).assert(0, &["complete"]);
            let took = started.elapsed();
            let (bytes, commits) =
                ([Way::There, Way::Back].map(|way| proxy.bytes(way)), proxy.commits());
            change(&sim);
            desk.run(&["run"]).assert(0, &["complete"]);
            let verdict = self.verdict(&sim);
            assert_eq!(verdict, Verdict::default(), "without any fault");
            let peace = Peace { content: self.content(), bytes, commits, took };
            self.peaceful.insert(seed, peace);
        }
        &self.peaceful[&seed]
    }

    fn verdict(&self, sim: &Running) -> Verdict {
        let mut client = self.client();
        compare(sim, |table| {
            let sql = format!(
                "SELECT id, (extract(epoch FROM updated_at) * 1000)::bigint FROM kustomer.{table}"
            );
            let rows = client.query(&sql, &[]).ok()?;
            Some(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
        })
    }

    /// Two runs and a change in between, with a blow; then what is there.
    fn trial(&mut self, kind: Kind, blow: Blow, seed: u64) -> Trial {
        println!("seed {seed}, {kind:?}, {blow:?}");
        let sim = Simulator::start(tiny(seed)).unwrap();
        let mut dice = Dice::new(seed);
        let proxy = match blow {
            Blow::Network(fault) | Blow::Encrypted(fault) => {
                Some(Proxy::start(self.server.address(), fault))
            }
            _ => None,
        };
        let took = self.peace(seed).took;
        let desk = match kind {
            Kind::Postgres => self.desk(&sim, proxy.as_ref(), matches!(blow, Blow::Encrypted(_))),
            Kind::DuckDb => {
                let desk = Desk::new(&sim);
                desk.write(&source(&sim), "path = \"out.duckdb\"\nrows_per_commit = 100", "");
                desk
            }
        };
        let mut trial = Trial::default();
        match blow {
            Blow::Point(point, nth) => {
                let mut command = desk.command(&["run"]);
                let order = format!("{point}:{nth}");
                let output = command.env("BOBBIN_CRASH_AT", &order).output().unwrap();
                assert_eq!(output.status.code(), None, "{order} was never passed: {output:?}");
                trial.ended += 1;
            }
            Blow::Kill | Blow::ServerCrash => {
                for _ in 0..3 {
                    let run = Job::start(&desk);
                    if !run.ends_within(Duration::from_micros(dice.below(took.as_micros() as u64)))
                    {
                        trial.ended += 1;
                        if blow == Blow::Kill {
                            run.kill();
                        } else {
                            self.server.crash();
                            self.server.go_on();
                            run.end();
                        }
                    }
                }
            }
            Blow::Network(_) | Blow::Encrypted(_) => trial.ended += until_complete(&desk),
        }
        change(&sim);
        trial.ended += until_complete(&desk);
        if let Some(proxy) = &proxy {
            assert!(proxy.struck() > 0, "{blow:?} never struck");
        }
        if kind == Kind::DuckDb {
            trial.verdict = compare(&sim, |table| duckdb_rows(&desk, table));
            return trial;
        }
        trial.verdict = self.verdict(&sim);
        let (found, peace) = (self.content(), &self.peaceful[&seed].content);
        let differs = |(at, values): &(&(String, String), &String)| found.get(*at) != Some(values);
        trial.verdict.altered = peace.iter().filter(differs).count() as u64;
        trial
    }
}

/// A running `bobbin run`.
struct Job {
    child: Child,
    told: std::path::PathBuf,
}

impl Job {
    fn start(desk: &Desk) -> Self {
        let told = desk.path("told");
        let file = File::create(&told).unwrap();
        let mut command = desk.command(&["run"]);
        command.stdout(file.try_clone().unwrap()).stderr(file);
        Self { child: command.spawn().unwrap(), told }
    }

    fn ends_within(&self, wait: Duration) -> bool {
        let started = Instant::now();
        let ended = || {
            let status = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id()));
            // A process that ended and was not asked for its status is a zombie.
            status.is_ok_and(|text| text.rsplit(')').next().unwrap().trim().starts_with('Z'))
        };
        while started.elapsed() < wait {
            if ended() {
                return true;
            }
            std::thread::sleep(Duration::from_micros(500));
        }
        ended()
    }

    fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Waits for its end, and gives the status; no fault may keep it for ever.
    fn end(mut self) -> Option<i32> {
        let in_time = self.ends_within(Duration::from_mins(2));
        if !in_time {
            self.child.kill().unwrap();
        }
        let status = self.child.wait().unwrap();
        assert!(in_time, "it hung:\n{}", std::fs::read_to_string(&self.told).unwrap());
        status.code()
    }
}

/// Runs until a run is complete; gives how many were not.
fn until_complete(desk: &Desk) -> u32 {
    for failed in 0..6 {
        let job = Job::start(desk);
        let told = job.told.clone();
        match job.end() {
            Some(0) => return failed,
            // The destination could not be written: what a fault of the network is.
            Some(6) => {}
            other => panic!("status {other:?}:\n{}", std::fs::read_to_string(told).unwrap()),
        }
    }
    panic!("no run is complete:\n{}", std::fs::read_to_string(desk.path("told")).unwrap())
}

fn source(sim: &Running) -> String {
    format!("api_token = \"{}\"\napi_url = \"{}\"\n{FAST}", sim.token(), sim.url())
}

fn change(sim: &Running) {
    for stream in ["customer", "conversation", "message", "note", "kobject", "tag"] {
        sim.control().mutate(&Mutation::update(stream, Pick::Random(15))).unwrap();
    }
    sim.control().mutate(&Mutation::add("conversation", 10)).unwrap();
    sim.control().advance(600_000);
}

fn duckdb_rows(desk: &Desk, table: &str) -> Option<Vec<(String, i64)>> {
    let sql = format!("SELECT id, epoch_ms(updated_at) FROM kustomer.{table}");
    let answer = bobbin_duckdb::query::query(&desk.path("out.duckdb"), &sql, usize::MAX).ok()?;
    let row = |row: &Vec<Option<String>>| {
        (row[0].clone().unwrap(), row[1].as_ref().unwrap().parse().unwrap())
    };
    Some(answer.rows.iter().map(row).collect())
}

/// Compares every table with the oracle.
pub(crate) fn compare(
    sim: &Running,
    mut rows: impl FnMut(&str) -> Option<Vec<(String, i64)>>,
) -> Verdict {
    let mut verdict = Verdict::default();
    for (table, stream) in TABLES {
        let mut found: HashMap<String, i64> = HashMap::new();
        for (id, updated) in rows(table).unwrap_or_default() {
            verdict.doubled += u64::from(found.insert(id, updated).is_some());
        }
        for record in sim.oracle().held(stream, Bounds::all()).unwrap() {
            match found.remove(&record.id) {
                None => verdict.lost += 1,
                Some(updated) => verdict.stale += u64::from(updated < record.updated_ms),
            }
        }
        verdict.invented += found.len() as u64;
    }
    verdict
}

/// The faults of the network without TLS, with offsets that a seed chooses.
///
/// What can be promised without TLS: bytes that are late, sliced, missing or the last before a cut
/// are always noticed, and so is a damaged frame, since tags and lengths are checked by both sides.
/// A damaged *value* is not: PostgreSQL's protocol has no checksum above TCP's, and the server would
/// store what it got. That is one reason why TLS is required beyond this machine; under TLS every
/// byte is authenticated and each is tried below.
fn network_faults(dice: &mut Dice, bytes: [u64; 2], commits: u32) -> Vec<(&'static str, Fault)> {
    let [there, back] = bytes;
    let at = |dice: &mut Dice, bytes: u64| dice.below(bytes * 9 / 10);
    // The first COMMIT is that of opening; the others are rounds.
    let nth = |dice: &mut Dice| 2 + dice.below(u64::from(commits.saturating_sub(2))) as u32;
    let second = Duration::from_secs(1);
    let none = Duration::ZERO;
    vec![
        ("every chunk is late", Fault::Delay(Duration::from_millis(1))),
        ("chunks of 7 bytes", Fault::Slices(7)),
        ("cut on the way there", Fault::CutAfter(Way::There, at(dice, there))),
        ("cut on the way back", Fault::CutAfter(Way::Back, at(dice, back))),
        ("held on the way there", Fault::Hold(Way::There, at(dice, there), second)),
        ("held on the way back", Fault::Hold(Way::Back, at(dice, back), second)),
        ("cut before COMMIT arrives", Fault::CutAtCommit(Moment::BeforeQuestion, nth(dice), none)),
        ("cut before COMMIT's answer", Fault::CutAtCommit(Moment::BeforeAnswer, nth(dice), none)),
        ("cut in COMMIT's answer", Fault::CutAtCommit(Moment::InAnswer, nth(dice), none)),
        ("cut after COMMIT's answer", Fault::CutAtCommit(Moment::AfterAnswer, nth(dice), none)),
        (
            "the same, server away for 1.5 s",
            Fault::CutAtCommit(Moment::BeforeAnswer, nth(dice), second * 3 / 2),
        ),
        ("damaged tag, there", Fault::CorruptFrame(Way::There, Frame::Tag, 1 + dice.below(150))),
        ("damaged tag, back", Fault::CorruptFrame(Way::Back, Frame::Tag, 1 + dice.below(150))),
        (
            "damaged length, there",
            Fault::CorruptFrame(Way::There, Frame::Length, 1 + dice.below(150)),
        ),
        (
            "damaged length, back",
            Fault::CorruptFrame(Way::Back, Frame::Length, 1 + dice.below(150)),
        ),
    ]
}

/// The faults that only TLS makes harmless, and those that need patience.
fn encrypted_faults(dice: &mut Dice, bytes: [u64; 2]) -> Vec<(&'static str, Fault)> {
    let [there, back] = bytes;
    let at = |dice: &mut Dice, bytes: u64| dice.below(bytes * 9 / 10);
    vec![
        ("TLS: chunks of 7 bytes", Fault::Slices(7)),
        ("TLS: cut on the way there", Fault::CutAfter(Way::There, at(dice, there))),
        ("TLS: cut on the way back", Fault::CutAfter(Way::Back, at(dice, back))),
        ("TLS: a byte flipped, there", Fault::Corrupt(Way::There, at(dice, there))),
        ("TLS: a byte flipped, back", Fault::Corrupt(Way::Back, at(dice, back))),
        ("TLS: a byte flipped early, there", Fault::Corrupt(Way::There, dice.below(3000))),
        ("TLS: a byte flipped early, back", Fault::Corrupt(Way::Back, dice.below(3000))),
    ]
}

#[test]
fn a_bad_network_costs_time_and_nothing_else() {
    let mut range = Range::new();
    let seed = 1;
    let (bytes, commits) = {
        let peace = range.peace(seed);
        (peace.bytes, peace.commits)
    };
    for (name, fault) in network_faults(&mut Dice::new(seed), bytes, commits) {
        let trial = range.trial(Kind::Postgres, Blow::Network(fault), seed);
        assert_eq!(trial.verdict, Verdict::default(), "{name}: {fault:?}");
    }
}

#[test]
fn under_tls_every_damaged_byte_is_noticed() {
    let mut range = Range::new();
    let seed = 3;
    let bytes = range.peace(seed).bytes;
    for (name, fault) in encrypted_faults(&mut Dice::new(seed), bytes) {
        let trial = range.trial(Kind::Postgres, Blow::Encrypted(fault), seed);
        assert_eq!(trial.verdict, Verdict::default(), "{name}: {fault:?}");
    }
}

/// A network that swallows everything and keeps the connection open: nothing but patience that ends
/// can find that out.
#[test]
fn a_connection_that_is_silent_for_ever_is_given_up() {
    let mut range = Range::new();
    let bytes = range.peace(5).bytes;
    let fault = Fault::Swallow(Way::There, bytes[0] / 2);
    let trial = range.trial(Kind::Postgres, Blow::Network(fault), 5);
    assert_eq!(trial.verdict, Verdict::default(), "{fault:?}");
}

/// A commit whose answer is lost is looked up: no run fails, and nothing is loaded twice.
#[test]
fn a_lost_answer_to_commit_is_looked_up() {
    let range = Range::new();
    let away = Duration::from_millis(1500);
    let none = Duration::ZERO;
    for (moment, away, again) in [
        (Moment::BeforeQuestion, none, true),
        (Moment::BeforeAnswer, none, false),
        (Moment::InAnswer, none, false),
        (Moment::AfterAnswer, none, false),
        // It cannot be looked up at once; the next connection tells.
        (Moment::BeforeAnswer, away, true),
        (Moment::BeforeQuestion, away, true),
    ] {
        let sim = Simulator::start(tiny(6)).unwrap();
        let proxy = Proxy::start(range.server.address(), Fault::CutAtCommit(moment, 4, away));
        let desk = range.desk(&sim, Some(&proxy), false);
        let told = desk.run(&["run"]);
        told.assert(0, &["complete"]);
        assert_eq!(proxy.struck(), 1, "{moment:?}: nothing was cut");
        assert!(proxy.connections() >= 2, "{moment:?}: it never connected anew");
        let all = format!("{}{}", told.stdout, told.stderr);
        assert_eq!(all.contains("tried again"), again, "{moment:?} {away:?}:\n{all}");
        assert_eq!(range.verdict(&sim), Verdict::default(), "{moment:?} {away:?}");
    }
}

/// Every fault, destination and seed. Writes a Markdown table to the file named by `BOBBIN_FIRE_OUT`
/// and fails when anything was lost, doubled, stale, invented or altered.
#[test]
#[ignore = "long; cargo xtask fire runs it"]
fn the_whole_matrix() {
    let number = |name: &str, otherwise: u64| {
        std::env::var(name).ok().map_or(otherwise, |text| text.parse().unwrap())
    };
    let (first, seeds) = (number("BOBBIN_FIRE_FIRST", 1), number("BOBBIN_FIRE_SEEDS", 3));
    let mut range = Range::new();
    let mut rows: Vec<(String, Kind, u32, u32, Verdict)> = Vec::new();
    for seed in first..first + seeds {
        let mut blows: Vec<(String, Kind, Blow)> = Vec::new();
        let mut dice = Dice::new(seed ^ 0xF13E);
        for kind in [Kind::DuckDb, Kind::Postgres] {
            for point in crash::POINTS {
                // The first one, and some later one.
                for nth in [1, 2 + dice.below(6) as u32] {
                    blows.push((format!("`{point}`"), kind, Blow::Point(point, nth)));
                }
            }
            blows.push(("SIGKILL at any moment, 3 times".to_owned(), kind, Blow::Kill));
        }
        let server = "the server crashes at any moment, 3 times".to_owned();
        blows.push((server, Kind::Postgres, Blow::ServerCrash));
        let (bytes, commits) = {
            let peace = range.peace(seed);
            (peace.bytes, peace.commits)
        };
        for (name, fault) in network_faults(&mut dice, bytes, commits) {
            blows.push((name.to_owned(), Kind::Postgres, Blow::Network(fault)));
        }
        for (name, fault) in encrypted_faults(&mut dice, bytes) {
            blows.push((name.to_owned(), Kind::Postgres, Blow::Encrypted(fault)));
        }
        let swallow = Fault::Swallow(Way::Back, dice.below(bytes[1] * 9 / 10));
        blows.push(("swallowed for ever".to_owned(), Kind::Postgres, Blow::Network(swallow)));
        for (name, kind, blow) in blows {
            let trial = range.trial(kind, blow, seed);
            if trial.verdict != Verdict::default() {
                println!("seed {seed}, {kind:?}, {blow:?}: {:?}", trial.verdict);
            }
            match rows.iter_mut().find(|row| row.0 == name && row.1 == kind) {
                Some((_, _, trials, ended, verdict)) => {
                    *trials += 1;
                    *ended += trial.ended;
                    verdict.add(trial.verdict);
                }
                None => rows.push((name, kind, 1, trial.ended, trial.verdict)),
            }
        }
    }
    let mut table = String::from(
        "| point or fault | destination | trials | runs ended by it | lost | doubled | stale | invented | altered |\n\
         |---|---|---:|---:|---:|---:|---:|---:|---:|\n",
    );
    let mut all = Verdict::default();
    for (name, kind, trials, ended, verdict) in rows {
        let Verdict { lost, doubled, stale, invented, altered } = verdict;
        let (kind, altered) = match kind {
            Kind::DuckDb => ("duckdb", "–".to_owned()),
            Kind::Postgres => ("postgres", altered.to_string()),
        };
        table += &format!(
            "| {name} | {kind} | {trials} | {ended} | {lost} | {doubled} | {stale} | {invented} | {altered} |\n"
        );
        all.add(verdict);
    }
    println!("{table}");
    if let Ok(path) = std::env::var("BOBBIN_FIRE_OUT") {
        std::fs::write(path, &table).unwrap();
    }
    assert_eq!(all, Verdict::default(), "seeds {first} to {}", first + seeds - 1);
}
