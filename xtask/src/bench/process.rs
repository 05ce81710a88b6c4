//! Running programs and reading what they cost: wall time, processor time, peak memory.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// What one run of a program cost.
#[derive(Clone, Debug, Default)]
pub(super) struct Cost {
    /// Seconds from start to end.
    pub wall: f64,
    /// Seconds of processor time, user and system.
    pub cpu: f64,
    /// Peak resident memory in MiB.
    pub peak_mib: f64,
    /// What it printed.
    pub stdout: String,
}

/// Runs a program to its end; `keep` says whether its output is kept or thrown away.
pub(super) fn measure(command: &mut Command, keep: bool) -> Result<Cost, String> {
    measure_fed(command, Stdio::null(), keep)
}

/// The same with something to read.
pub(super) fn measure_fed(command: &mut Command, input: Stdio, keep: bool) -> Result<Cost, String> {
    command.stdin(input).stderr(Stdio::piped());
    command.stdout(if keep { Stdio::piped() } else { Stdio::null() });
    let started = Instant::now();
    let mut child =
        command.spawn().map_err(|error| format!("cannot start {command:?}: {error}"))?;
    let mut stderr = child.stderr.take();
    let complaints = std::thread::spawn(move || {
        let mut text = String::new();
        if let Some(stderr) = &mut stderr {
            let _ = stderr.read_to_string(&mut text);
        }
        text
    });
    let mut stdout = child.stdout.take();
    let output = std::thread::spawn(move || {
        let mut text = String::new();
        if let Some(stdout) = &mut stdout {
            let _ = stdout.read_to_string(&mut text);
        }
        text
    });
    let mut cost = Cost::default();
    let status = loop {
        sample(child.id(), &mut cost);
        match child.try_wait() {
            Ok(Some(status)) => break status,
            Ok(None) => std::thread::sleep(Duration::from_millis(5)),
            Err(error) => return Err(format!("cannot wait for {command:?}: {error}")),
        }
    };
    cost.wall = started.elapsed().as_secs_f64();
    cost.stdout = output.join().unwrap_or_default();
    let complaints = complaints.join().unwrap_or_default();
    if status.success() {
        Ok(cost)
    } else {
        Err(format!("{command:?} ended with {status}:\n{complaints}\n{}", cost.stdout))
    }
}

/// Reads the kernel's account of a running process.
fn sample(process: u32, cost: &mut Cost) {
    if let Ok(status) = fs::read_to_string(format!("/proc/{process}/status"))
        && let Some(line) = status.lines().find(|line| line.starts_with("VmHWM:"))
        && let Some(kib) = line.split_whitespace().nth(1).and_then(|n| n.parse::<f64>().ok())
    {
        cost.peak_mib = cost.peak_mib.max(kib / 1024.0);
    }
    if let Ok(stat) = fs::read_to_string(format!("/proc/{process}/stat"))
        && let Some((_, rest)) = stat.rsplit_once(')')
    {
        let field = |n: usize| {
            rest.split_whitespace().nth(n).and_then(|n| n.parse::<f64>().ok()).unwrap_or(0.0)
        };
        // Fields 14 and 15 of proc_pid_stat(5), in ticks of a hundredth of a second.
        cost.cpu = (field(11) + field(12)) / 100.0;
    }
}

/// Seconds of processor time that a running process has used.
pub(super) fn cpu_seconds(process: u32) -> f64 {
    let mut cost = Cost::default();
    sample(process, &mut cost);
    cost.cpu
}

/// A simulator in its own process, stopped when dropped.
pub(super) struct Simulator {
    child: Child,
    /// Where it listens.
    pub url: String,
}

/// The key the simulators here take.
pub(super) const TOKEN: &str = "bench-token";

impl Simulator {
    /// Starts one with the given configuration.
    pub(super) fn start(
        program: &Path,
        config: &serde_json::Value,
        directory: &Path,
    ) -> Result<Self, String> {
        let file = directory.join("simulator.json");
        fs::write(&file, config.to_string()).map_err(|error| error.to_string())?;
        let mut child = Command::new(program)
            .arg("--scenario")
            .arg(&file)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| format!("cannot start {}: {error}", program.display()))?;
        let stdout = child.stdout.take().ok_or("the simulator has no output")?;
        let mut lines = BufReader::new(stdout).lines();
        let url = loop {
            let Some(Ok(line)) = lines.next() else {
                let _ = child.kill();
                return Err("the simulator ended before it said where it listens".into());
            };
            if let Some(at) = line.find("http://") {
                let url = line[at..].split_whitespace().next().unwrap_or_default();
                break url.trim_end_matches(['"', ',', '/']).to_owned();
            }
        };
        // Keep reading, or it would stop at a full pipe.
        std::thread::spawn(move || lines.for_each(drop));
        Ok(Self { child, url })
    }

    /// Peak resident memory so far in MiB.
    pub(super) fn peak_mib(&self) -> f64 {
        let mut cost = Cost::default();
        sample(self.child.id(), &mut cost);
        cost.peak_mib
    }
}

impl Drop for Simulator {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A `bobbin.toml` for a run against a simulator.
pub(super) fn bobbin_toml(
    directory: &Path,
    url: &str,
    source: &str,
    connection: &str,
) -> Result<std::path::PathBuf, String> {
    let path = directory.join("bobbin.toml");
    let text = format!(
        "[sources.k]\ntype = \"kustomer\"\napi_token = \"{TOKEN}\"\napi_url = \"{url}\"\n{source}\n\
         [destinations.d]\ntype = \"duckdb\"\npath = \"out.duckdb\"\n\
         [connections.kustomer]\nsource = \"k\"\ndestination = \"d\"\n{connection}\n"
    );
    fs::write(&path, text).map_err(|error| error.to_string())?;
    Ok(path)
}

/// The middle of some numbers.
pub(super) fn median(mut numbers: Vec<f64>) -> f64 {
    numbers.sort_by(f64::total_cmp);
    numbers.get(numbers.len() / 2).copied().unwrap_or(f64::NAN)
}
