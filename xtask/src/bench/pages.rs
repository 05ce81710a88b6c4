//! What it costs to be looked at: a running job's page and those who watch it.

use std::fs;
use std::io::{BufWriter, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::logs::{History, LOGS, ROUNDS, Service, TIMES, percentile};
use super::process::{Simulator, TOKEN, bobbin_toml, cpu_seconds};
use super::{Place, Plan};

/// Viewers, unless `--records` says otherwise.
const VIEWERS: u64 = 200;

/// How long each measurement takes.
const SPELL: Duration = Duration::from_secs(30);

/// The service's processor time while its job is watched by nobody, by all, and by nobody again: what it
/// takes more meanwhile is what they cost.
pub(super) fn live(plan: &Plan, place: &Place) -> Result<(), String> {
    let scratch = place.fresh("pages-live")?;
    let viewers = plan.records.unwrap_or(VIEWERS);
    // At the pace of a real organisation's limits, so that the job outlasts the measurement.
    let config = serde_json::json!({
        "seed": 7, "latency_ms": 200, "rate": { "factor": 1.0 },
        "tokens": [{ "token": TOKEN, "roles": ["*"] }],
        "counts": { "customer": 50_000, "conversation": 100_000, "message": 200_000, "note": 0,
                    "kobject": 0, "company": 0, "user": 20 },
    });
    let simulator = Simulator::start(&place.program("fake-kustomer"), &config, &scratch)?;
    let file = bobbin_toml(&scratch, &simulator.url, "start_date = \"2015-01-01\"", "")?;
    let text = fs::read_to_string(&file).map_err(|error| error.to_string())?;
    fs::write(&file, format!("home = \"home\"\n{text}")).map_err(|error| error.to_string())?;
    let service = Service::start(&place.program("bobbin"), &scratch)?;
    let jobs = "/api/v1/connections/kustomer/jobs";
    let since = Instant::now();
    let job = loop {
        let (_, list) = service.ask(jobs, usize::MAX)?;
        let list: Value = serde_json::from_str(&list).map_err(|error| error.to_string())?;
        if let Some(job) = list["data"][0]["id"].as_str() {
            break job.to_owned();
        }
        if since.elapsed() > Duration::from_secs(30) {
            return Err("no job began".to_owned());
        }
        std::thread::sleep(Duration::from_millis(100));
    };
    let spell = || -> Result<f64, String> {
        let (before, since) = (cpu_seconds(service.process()), Instant::now());
        std::thread::sleep(SPELL);
        let used = cpu_seconds(service.process()) - before;
        Ok(used / since.elapsed().as_secs_f64() * 100.0)
    };
    std::thread::sleep(Duration::from_secs(5));
    let alone = spell()?;
    let watchers = Watchers::start(&service, &job, viewers)?;
    let watched = spell()?;
    let bytes = watchers.stop()?;
    let again = spell()?;
    let (_, told) = service.ask(&format!("{jobs}/{job}"), usize::MAX)?;
    let told: Value = serde_json::from_str(&told).map_err(|error| error.to_string())?;
    if told["status"] != "running" {
        return Err(format!("the job is {} already: that was no measurement", told["status"]));
    }
    println!(
        "\n{viewers} viewers of a running job's page, {} s each\n\n\
         | | percent of a core |\n| --- | ---: |\n\
         | the job, before | {alone:.1} |\n| the job and {viewers} viewers | {watched:.1} |\n\
         | the job, after | {again:.1} |\n| the viewers | {:.1} |\n\n\
         Each was sent {:.1} kB a second.",
        SPELL.as_secs(),
        watched - f64::midpoint(alone, again),
        bytes as f64 / 1e3 / viewers.max(1) as f64 / SPELL.as_secs_f64(),
    );
    drop(service);
    let _ = fs::remove_dir_all(scratch);
    Ok(())
}

/// Connections of the service whose pages are asked for.
const CONNECTIONS: u64 = 100;

/// What pages weigh and how long the service needs for them, with many connections and a long history; then
/// how a browser has them.
pub(super) fn asked(plan: &Plan, place: &Place) -> Result<(), String> {
    let history = History::make(plan, place, "pages", CONNECTIONS)?;
    let jobs = history.newest("connection_3")?;
    let connection = "/connections/connection_3";
    let job = |n: usize| format!("{connection}/extractions/{}", jobs[n * 7 % jobs.len()]);
    type Address<'a> = Box<dyn Fn(usize) -> String + 'a>;
    let fixed = |path: String| -> Address<'_> { Box::new(move |_| path.clone()) };
    let pages: Vec<(&str, Address<'_>)> = vec![
        ("all connections", fixed("/".to_owned())),
        ("a connection's summary", fixed(connection.to_owned())),
        ("its extractions", fixed(format!("{connection}/extractions"))),
        ("one extraction", Box::new(job)),
        ("its loads", fixed(format!("{connection}/loads"))),
        ("its tables", fixed(format!("{connection}/tables"))),
        ("its settings", fixed(format!("{connection}/settings"))),
        ("notices", fixed("/notices?all=yes".to_owned())),
        ("destinations", fixed("/destinations".to_owned())),
        ("users", fixed("/users".to_owned())),
        ("the system", fixed("/system".to_owned())),
    ];
    println!(
        "\n{CONNECTIONS} connections, {} loads, {} jobs, {:.1} GB of logs, {ROUNDS} rounds of {TIMES}\n\n\
         | page | sent kB | median ms | 99th percentile ms | of the quietest round |\n\
         | --- | ---: | ---: | ---: | ---: |",
        history.loads,
        history.jobs,
        LOGS as f64 / 1e9
    );
    for (what, path) in pages {
        let (mut all, mut quietest, mut bytes) = (Vec::new(), f64::INFINITY, 0);
        for _ in 0..ROUNDS {
            let mut times = Vec::new();
            for n in 0..TIMES {
                let path = path(n);
                let since = Instant::now();
                let (status, weight) = history.service.weigh(&path)?;
                times.push(since.elapsed().as_secs_f64() * 1e3);
                if status != 200 {
                    return Err(format!("{path}: {status}"));
                }
                bytes = bytes.max(weight);
            }
            times.sort_unstable_by(f64::total_cmp);
            quietest = quietest.min(percentile(&times));
            all.append(&mut times);
        }
        all.sort_unstable_by(f64::total_cmp);
        println!(
            "| {what} | {:.1} | {:.2} | {:.2} | {quietest:.2} |",
            bytes as f64 / 1e3,
            all[all.len() / 2],
            percentile(&all)
        );
    }
    let browse = |script: &str, name: &str, value: &str| {
        let (address, token) = history.service.entry();
        let mut node = Command::new("node");
        node.arg(script).env("BASE", address).env("TOKEN", token).env(name, value);
        match node.status() {
            Ok(status) if status.success() => Ok(()),
            Ok(status) => Err(format!("{script}: {status}")),
            Err(_) => {
                Err("no node: scripts/setup --with-tools installs it and a browser".to_owned())
            }
        }
    };
    let pages = format!("/,{connection},{connection}/loads,{}", job(0));
    browse("browser/paint.mjs", "PAGES", &pages)?;
    let long = &jobs[jobs.len() / 2];
    lengthen(&history.scratch.join("home/logs/connection_3").join(format!("{long}.jsonl")))?;
    browse("browser/scroll.mjs", "PAGE", &format!("{connection}/extractions/{long}"))
}

/// Bytes of a log that is very long.
const LONG_LOG: usize = 500_000_000;

/// Repeats what stands between a log's first and last line until it is very long.
fn lengthen(path: &Path) -> Result<(), String> {
    let failed = |error: std::io::Error| format!("{}: {error}", path.display());
    let text = fs::read_to_string(path).map_err(failed)?;
    let first = text.find('\n').map_or(0, |at| at + 1);
    let last = text.trim_end().rfind('\n').map_or(first, |at| at + 1);
    let middle = text.get(first..last).filter(|middle| !middle.is_empty()).ok_or("an empty log")?;
    let mut file = BufWriter::new(fs::File::create(path).map_err(failed)?);
    file.write_all(&text.as_bytes()[..first]).map_err(failed)?;
    for _ in 0..LONG_LOG.div_ceil(middle.len()) {
        file.write_all(middle.as_bytes()).map_err(failed)?;
    }
    file.write_all(&text.as_bytes()[last..]).map_err(failed)?;
    file.flush().map_err(failed)
}

/// Connections that read what a running job's page is sent.
struct Watchers {
    threads: Vec<JoinHandle<Result<(), String>>>,
    over: Arc<AtomicBool>,
    bytes: Arc<AtomicU64>,
}

impl Watchers {
    fn start(service: &Service, job: &str, viewers: u64) -> Result<Self, String> {
        let (over, bytes) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let mut threads = Vec::new();
        for _ in 0..viewers {
            let mut stream: TcpStream =
                service.open(&format!("/connections/kustomer/extractions/{job}/live"))?;
            let failed = |error: std::io::Error| format!("a viewer: {error}");
            stream.set_read_timeout(Some(Duration::from_secs(20))).map_err(failed)?;
            let (over, bytes) = (Arc::clone(&over), Arc::clone(&bytes));
            threads.push(std::thread::spawn(move || {
                let mut buffer = vec![0; 64 << 10];
                while !over.load(Ordering::Relaxed) {
                    let read = stream.read(&mut buffer).map_err(failed)?;
                    if read == 0 {
                        return Err("a viewer was sent away".to_owned());
                    }
                    bytes.fetch_add(read as u64, Ordering::Relaxed);
                }
                Ok(())
            }));
        }
        Ok(Self { threads, over, bytes })
    }

    /// Ends them; gives the bytes all of them read.
    fn stop(self) -> Result<u64, String> {
        self.over.store(true, Ordering::Relaxed);
        for thread in self.threads {
            thread.join().map_err(|_| "a viewer panicked")??;
        }
        Ok(self.bytes.load(Ordering::Relaxed))
    }
}
