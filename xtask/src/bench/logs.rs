//! What logs cost a job, and how fast a service answers with many of them.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::process::{Simulator, TOKEN, measure, median};
use super::throughput::simulator_config;
use super::{Place, Plan};

/// Extraction into the spool with and without the job's log, in pairs, each pair in the other order.
pub(super) fn cost(plan: &Plan, place: &Place) -> Result<(), String> {
    let scratch = place.fresh("log-cost")?;
    let pairs = plan.runs.unwrap_or(7);
    let records = plan.records.unwrap_or(100_000);
    let config = simulator_config(records);
    let simulator = Simulator::start(&place.program("fake-kustomer"), &config, &scratch)?;
    println!("\n{records} each of customers, conversations and messages, {pairs} pairs; medians\n");
    println!(
        "| page size | lines | log MB | with, s | without, s | ratio | with, CPU s | without, CPU s | ratio |\n\
         | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |"
    );
    for page_size in [500, 50] {
        let settings = serde_json::json!({
            "api_token": TOKEN, "api_url": simulator.url, "start_date": "2025-01-01T00:00:00Z",
            "search_share": 1.0, "organization_share": 1.0, "search_per_minute": 0,
            "organization_per_minute": 0, "page_size_limit": page_size,
        });
        let (mut walls, mut cpus) = ([Vec::new(), Vec::new()], [Vec::new(), Vec::new()]);
        let (mut lines, mut bytes) = (0, 0);
        // The first pair warms up.
        for pair in 0..=pairs {
            for turn in 0..2 {
                let with = (pair + turn) % 2 == 0;
                let home = scratch.join("home");
                let _ = fs::remove_dir_all(&home);
                let mut job = Command::new(place.example("extraction"));
                job.arg(&home).arg(settings.to_string()).arg(if with { "log" } else { "none" });
                let cost = measure(&mut job, true)?;
                let told: Value =
                    serde_json::from_str(&cost.stdout).map_err(|error| error.to_string())?;
                if told["outcome"] != "complete" || (told["log_lines"] == 0) == with {
                    return Err(format!("that was no measurement: {told}"));
                }
                if with {
                    lines = told["log_lines"].as_u64().unwrap_or(0);
                    bytes = told["log_bytes"].as_u64().unwrap_or(0);
                }
                if pair > 0 {
                    walls[usize::from(!with)].push(told["seconds"].as_f64().unwrap_or(f64::NAN));
                    cpus[usize::from(!with)].push(cost.cpu);
                }
            }
        }
        // Each run beside the one before or after it: what the machine does meanwhile befalls both.
        let ratio = |both: &[Vec<f64>; 2]| {
            median(both[0].iter().zip(&both[1]).map(|(with, without)| with / without).collect())
        };
        let (wall, cpu) = (ratio(&walls), ratio(&cpus));
        let [with, without] = walls.map(median);
        let [cpu_with, cpu_without] = cpus.map(median);
        println!(
            "| {page_size} | {lines} | {:.2} | {with:.3} | {without:.3} | {wall:.3} | {cpu_with:.2} | \
             {cpu_without:.2} | {cpu:.3} |",
            bytes as f64 / 1e6
        );
    }
    Ok(())
}

/// How often each question is asked in a round.
pub(super) const TIMES: usize = 300;

/// Rounds: what else a machine does is not in all of them.
pub(super) const ROUNDS: usize = 5;

/// Bytes of all logs.
pub(super) const LOGS: u64 = 10_000_000_000;

/// A service with a long history of so many connections: a job an hour for 60 days, each with its log.
pub(super) struct History {
    pub(super) service: Service,
    pub(super) scratch: PathBuf,
    pub(super) loads: u64,
    pub(super) jobs: u64,
}

impl History {
    pub(super) fn make(
        plan: &Plan,
        place: &Place,
        name: &str,
        connections: u64,
    ) -> Result<Self, String> {
        let scratch = place.fresh(name)?;
        let home = scratch.join("home");
        fs::create_dir_all(&home).map_err(|error| error.to_string())?;
        let loads = plan.records.unwrap_or(1_000_000);
        let jobs = connections * 60 * 24;
        let status = Command::new(place.example("ledger"))
            .arg(&home)
            .args([loads, LOGS / jobs, connections].map(|n| n.to_string()))
            .status();
        if !status.is_ok_and(|status| status.success()) {
            return Err("no ledger and logs".to_owned());
        }
        // What is still on its way to the disk would be in the way of the answers.
        let _ = Command::new("sync").status();
        let mut text = String::from("home = \"home\"\n");
        for n in 0..connections {
            text += &format!(
                "[sources.s{n}]\ntype = \"kustomer\"\napi_token = \"none\"\n\
                 api_url = \"http://127.0.0.1:1\"\n[destinations.d{n}]\ntype = \"duckdb\"\n\
                 path = \"{n}.duckdb\"\n[connections.connection_{n}]\nsource = \"s{n}\"\n\
                 destination = \"d{n}\"\nschedule = {{ paused = true }}\n"
            );
        }
        fs::write(scratch.join("bobbin.toml"), text).map_err(|error| error.to_string())?;
        let service = Service::start(&place.program("bobbin"), &scratch)?;
        Ok(Self { service, scratch, loads, jobs })
    }

    /// The newest jobs of a connection.
    pub(super) fn newest(&self, connection: &str) -> Result<Vec<String>, String> {
        let address = format!("/api/v1/connections/{connection}/jobs?limit=1000");
        let (_, list) = self.service.ask(&address, usize::MAX)?;
        let list: Value = serde_json::from_str(&list).map_err(|error| error.to_string())?;
        let jobs = list["data"].as_array().into_iter().flatten();
        let jobs: Vec<String> =
            jobs.filter_map(|job| job["id"].as_str().map(str::to_owned)).collect();
        if jobs.len() < TIMES {
            return Err(format!("there are {} jobs: {list}", jobs.len()));
        }
        Ok(jobs)
    }
}

impl Drop for History {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.scratch);
    }
}

/// A service with a long history, asked over HTTP.
pub(super) fn questions(plan: &Plan, place: &Place) -> Result<(), String> {
    let history = History::make(plan, place, "logs", 10)?;
    let (service, loads) = (&history.service, history.loads);
    let jobs = history.newest("connection_3")?;
    let connection = "/api/v1/connections/connection_3";
    println!(
        "\n{loads} loads, {} jobs, {:.1} GB of logs, {ROUNDS} rounds of {TIMES}\n\n\
         | question | answer kB | median ms | 99th percentile ms | of the quietest round |\n\
         | --- | ---: | ---: | ---: | ---: |",
        history.jobs,
        LOGS as f64 / 1e9
    );
    let log = |n: usize, query: &str| {
        format!("{connection}/jobs/{}/log{query}", jobs[n * 7 % jobs.len()])
    };
    type Path<'a> = Box<dyn Fn(usize) -> String + 'a>;
    let all = usize::MAX;
    let questions: Vec<(&str, usize, bool, Path<'_>)> = vec![
        (
            "the last 100 jobs of a connection",
            all,
            false,
            Box::new(|_| format!("{connection}/jobs?limit=100")),
        ),
        ("one job", all, false, Box::new(|n| format!("{connection}/jobs/{}", jobs[n]))),
        (
            "the last 100 loads of a connection",
            all,
            false,
            Box::new(|_| format!("{connection}/loads?limit=100")),
        ),
        ("the report of all 60 tables", all, false, Box::new(|_| format!("{connection}/tables"))),
        ("a log's first page (64 kB)", 64 << 10, false, Box::new(|n| log(n, ""))),
        ("a log's last 200 lines", all, false, Box::new(|n| log(n, "?last=200"))),
        ("the same of logs that are on disk alone", all, true, Box::new(|n| log(n, "?last=200"))),
        (
            "the last 200 lines without DEBUG",
            all,
            false,
            Box::new(|n| log(n, "?last=200&brief=true")),
        ),
        ("a rare word in a log", all, false, Box::new(|n| log(n, "?search=the%20job%20is"))),
        ("a whole log", all, false, Box::new(|n| log(n, ""))),
    ];
    for (what, most, cold, path) in questions {
        // Another round of those would find the logs in memory.
        let rounds = if cold { 1 } else { ROUNDS };
        if cold && !forget_pages() {
            continue;
        }
        let (mut all, mut quietest, mut bytes) = (Vec::new(), f64::INFINITY, 0);
        for _ in 0..rounds {
            let mut times = Vec::new();
            for n in 0..TIMES {
                let path = path(n);
                let since = Instant::now();
                let (status, body) = service.ask(&path, most)?;
                times.push(since.elapsed().as_secs_f64() * 1e3);
                if status != 200 || body.is_empty() {
                    return Err(format!("{path}: {status} {body}"));
                }
                bytes = bytes.max(body.len());
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
    Ok(())
}

pub(super) fn percentile(sorted: &[f64]) -> f64 {
    sorted.get(sorted.len() * 99 / 100).copied().unwrap_or(f64::NAN)
}

/// Makes the system forget what it holds of files, which only root may ask for.
fn forget_pages() -> bool {
    fs::write("/proc/sys/vm/drop_caches", "1").is_ok()
}

/// A running `bobbin serve`.
pub(super) struct Service {
    child: Child,
    address: String,
    token: String,
}

impl Service {
    pub(super) fn start(program: &Path, directory: &Path) -> Result<Self, String> {
        let mut child = Command::new(program)
            .args(["serve", "--format", "json", "--listen", "127.0.0.1:0"])
            .current_dir(directory)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| format!("cannot start {}: {error}", program.display()))?;
        let lines = child.stdout.take().map(|stdout| BufReader::new(stdout).lines());
        let mut lines = lines.ok_or("the service has no output")?;
        let first: Value = match lines.next() {
            Some(Ok(line)) => serde_json::from_str(&line).map_err(|error| error.to_string())?,
            _ => return Err("the service ended at once".to_owned()),
        };
        std::thread::spawn(move || lines.for_each(drop));
        let address = first["api"].as_str().unwrap_or_default().to_owned();
        let token = fs::read_to_string(directory.join("home/api-token"));
        let token = token.map_err(|error| error.to_string())?.trim().to_owned();
        let service = Self { child, address, token };
        let since = Instant::now();
        while service.ask("/health", usize::MAX).map_or(0, |(status, _)| status) != 200 {
            if since.elapsed() > Duration::from_secs(30) {
                return Err("the service does not answer".to_owned());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(service)
    }

    /// Where it listens, and the token it takes.
    pub(super) fn entry(&self) -> (String, &str) {
        (format!("http://{}", self.address), &self.token)
    }

    /// Asks as a browser does; gives the status and how many bytes came.
    pub(super) fn weigh(&self, path: &str) -> Result<(u16, usize), String> {
        let failed = |error: std::io::Error| format!("{path}: {error}");
        let mut stream = self.open_with(path, "Accept-Encoding: gzip\r\n")?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).map_err(failed)?;
        let head = String::from_utf8_lossy(&answer[..answer.len().min(40)]).into_owned();
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
        Ok((status, answer.len()))
    }

    /// Asks on a connection of its own; gives the status and the body's text, up to `most` bytes.
    pub(super) fn ask(&self, path: &str, most: usize) -> Result<(u16, String), String> {
        let failed = |error: std::io::Error| format!("{path}: {error}");
        let stream = self.open(path)?;
        let mut answer = Vec::new();
        stream.take(most as u64).read_to_end(&mut answer).map_err(failed)?;
        let answer = String::from_utf8_lossy(&answer);
        let (head, body) =
            answer.split_once("\r\n\r\n").ok_or_else(|| format!("{path}: {answer}"))?;
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
        Ok((status, body.to_owned()))
    }

    /// The process.
    pub(super) fn process(&self) -> u32 {
        self.child.id()
    }

    /// Asks on a connection of its own, and leaves the answer to be read.
    pub(super) fn open(&self, path: &str) -> Result<TcpStream, String> {
        self.open_with(path, "")
    }

    fn open_with(&self, path: &str, more: &str) -> Result<TcpStream, String> {
        let failed = |error: std::io::Error| format!("{path}: {error}");
        let mut stream = TcpStream::connect(&self.address).map_err(failed)?;
        stream.set_read_timeout(Some(Duration::from_secs(30))).map_err(failed)?;
        let question = format!(
            "GET {path} HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {}\r\n{more}Connection: close\r\n\r\n",
            self.address, self.token
        );
        stream.write_all(question.as_bytes()).map_err(failed)?;
        Ok(stream)
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
