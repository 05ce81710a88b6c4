//! How fast records are pushed into a running service, and how soon they are in the destination.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::{Place, Plan};

/// Records of a request.
const BATCH: u64 = 5_000;

/// Connections that push at once.
const CLIENTS: u64 = 2;

/// How long the records may take to arrive.
const PATIENCE: Duration = Duration::from_mins(10);

const FILE: &str = "[sources.pushed]\ntype = \"import_api\"\n\
                    [destinations.warehouse]\ntype = \"duckdb\"\npath = \"out.duckdb\"\n\
                    [connections.pushed]\nsource = \"pushed\"\ndestination = \"warehouse\"\n\
                    schedule = { frequency_minutes = 1440 }\n";

pub(super) fn run(plan: &Plan, place: &Place) -> Result<(), String> {
    let records = plan.records.unwrap_or(1_000_000).max(BATCH * CLIENTS);
    let mut rates = Vec::new();
    let mut bytes = 0;
    let mut arrivals = Vec::new();
    let runs = plan.runs.unwrap_or(3);
    for run in 0..runs {
        let scratch = place.fresh(&format!("import{run}"))?;
        let bodies = bodies(records);
        bytes = bodies.iter().flatten().map(|body| body.len() as u64).sum();
        let service = Service::start(place, &scratch)?;
        let began = Instant::now();
        let pushed: Result<Vec<()>, String> = std::thread::scope(|scope| {
            let clients: Vec<_> = bodies
                .iter()
                .map(|bodies| scope.spawn(|| push(&service.address, &service.token, bodies)))
                .collect();
            let joined = clients.into_iter().map(|client| client.join());
            joined.map(|done| done.map_err(|_| "a client panicked".to_owned())?).collect()
        });
        pushed?;
        let took = began.elapsed().as_secs_f64();
        rates.push(records as f64 / took);
        arrivals.push(service.wait(records, began)?);
        println!(
            "run {}: {:.0} records/s accepted, all in the destination {:.1} s after the first",
            run + 1,
            records as f64 / took,
            arrivals.last().copied().unwrap_or_default()
        );
    }
    rates.sort_by(f64::total_cmp);
    arrivals.sort_by(f64::total_cmp);
    let (rate, arrival) = (rates[rates.len() / 2], arrivals[arrivals.len() / 2]);
    println!(
        "\nImport API, {records} records of {} bytes in requests of {BATCH} from {CLIENTS} clients, medians of {}\n",
        bytes / records,
        runs
    );
    println!(
        "accepted and durable   {rate:>10.0} records/s   {:>6.1} MB/s",
        rate * bytes as f64 / records as f64 / 1e6
    );
    println!("in the destination     {arrival:>10.1} s after the first request");
    Ok(())
}

/// What each client pushes.
fn bodies(records: u64) -> Vec<Vec<Vec<u8>>> {
    let mut all = vec![Vec::new(); CLIENTS as usize];
    let schema = r#"{"type":"object","properties":{"id":{"type":"integer"},"customer":{"type":["null","string"]},"email":{"type":["null","string"]},"status":{"type":["null","string"]},"amount":{"type":["null","number"]},"quantity":{"type":["null","integer"]},"paid":{"type":["null","boolean"]},"created_at":{"type":["null","string"],"format":"date-time"},"updated_at":{"type":["null","string"],"format":"date-time"},"note":{"type":["null","string"]}}}"#;
    let mut id = 0;
    while id < records {
        let mut body = format!(
            "{{\"table_name\":\"orders\",\"schema\":{schema},\"key_names\":[\"id\"],\"messages\":["
        );
        let until = (id + BATCH).min(records);
        for n in id..until {
            if n > id {
                body.push(',');
            }
            body.push_str(&format!(
                "{{\"action\":\"upsert\",\"sequence\":{},\"data\":{{\"id\":{n},\"customer\":\"customer {n}\",\"email\":\"c{n}@example.com\",\"status\":\"shipped\",\"amount\":{}.25,\"quantity\":{},\"paid\":{},\"created_at\":\"2026-05-01T08:00:00.000Z\",\"updated_at\":\"2026-05-02T08:00:00.000Z\",\"note\":\"a line of text that somebody wrote about this order\"}}}}",
                1_700_000_000_000_000_000 + n,
                n % 1000,
                n % 9,
                n % 2 == 0
            ));
        }
        body.push_str("]}");
        all[(id / BATCH % CLIENTS) as usize].push(body.into_bytes());
        id = until;
    }
    all
}

/// Sends bodies one after the other over one connection.
fn push(address: &str, token: &str, bodies: &[Vec<u8>]) -> Result<(), String> {
    let failed = |error: std::io::Error| format!("cannot push: {error}");
    let mut stream = TcpStream::connect(address).map_err(failed)?;
    stream.set_nodelay(true).map_err(failed)?;
    let mut answers = BufReader::new(stream.try_clone().map_err(failed)?);
    for body in bodies {
        write!(
            stream,
            "POST /v2/import/batch HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {token}\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            body.len()
        )
        .and_then(|()| stream.write_all(body))
        .map_err(failed)?;
        let (mut status, mut length, mut line) = (String::new(), 0, String::new());
        loop {
            line.clear();
            answers.read_line(&mut line).map_err(failed)?;
            if status.is_empty() {
                status.clone_from(&line);
            }
            if let Some((name, value)) = line.split_once(':')
                && name.eq_ignore_ascii_case("content-length")
            {
                length = value.trim().parse().unwrap_or(0);
            }
            if line.trim().is_empty() {
                break;
            }
        }
        let mut text = vec![0; length];
        answers.read_exact(&mut text).map_err(failed)?;
        if !status.contains(" 201 ") {
            return Err(format!("{}: {}", status.trim(), String::from_utf8_lossy(&text)));
        }
    }
    Ok(())
}

/// A running service; it is stopped when dropped.
struct Service {
    child: Child,
    lines: BufReader<std::process::ChildStdout>,
    address: String,
    token: String,
}

impl Service {
    fn start(place: &Place, scratch: &Path) -> Result<Self, String> {
        std::fs::write(scratch.join("bobbin.toml"), FILE).map_err(|error| error.to_string())?;
        let program = place.program("bobbin");
        let mut child = Command::new(&program)
            .current_dir(scratch)
            .args(["serve", "--format", "json", "--listen", "127.0.0.1:0"])
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| format!("cannot start bobbin: {error}"))?;
        let stdout = child.stdout.take().ok_or("bobbin has no output")?;
        let mut service = Self {
            child,
            lines: BufReader::new(stdout),
            address: String::new(),
            token: String::new(),
        };
        let serving = service.next("serving")?;
        serving["api"].as_str().unwrap_or_default().clone_into(&mut service.address);
        service.next("job")?;
        let made = Command::new(&program)
            .current_dir(scratch)
            .args(["token", "create", "pushed", "--format", "json"])
            .output()
            .map_err(|error| format!("cannot make a token: {error}"))?;
        let made: serde_json::Value =
            serde_json::from_slice(&made.stdout).map_err(|error| error.to_string())?;
        made["token"].as_str().unwrap_or_default().clone_into(&mut service.token);
        Ok(service)
    }

    fn next(&mut self, event: &str) -> Result<serde_json::Value, String> {
        let mut line = String::new();
        loop {
            line.clear();
            if self.lines.read_line(&mut line).map_err(|error| error.to_string())? == 0 {
                return Err("bobbin ended".to_owned());
            }
            let object: serde_json::Value =
                serde_json::from_str(&line).map_err(|error| error.to_string())?;
            if object["event"] == event {
                return Ok(object);
            }
        }
    }

    /// Seconds after `began` until so many records were loaded.
    fn wait(mut self, records: u64, began: Instant) -> Result<f64, String> {
        let mut loaded = 0;
        while loaded < records {
            if began.elapsed() > PATIENCE {
                return Err(format!("{loaded} of {records} records arrived in time"));
            }
            let job = self.next("job")?;
            let tables = job["report"]["tables"].as_array().cloned().unwrap_or_default();
            loaded += tables.iter().filter_map(|table| table["loaded"].as_u64()).sum::<u64>();
        }
        Ok(began.elapsed().as_secs_f64())
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
