//! The machine and what bobbin takes of it.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use crate::config::Config;

/// Directories below bobbin's own whose sizes are told.
const DIRECTORIES: [&str; 3] = ["spool", "inbox", "logs"];

/// Files that are counted at most; a size beyond is a lower bound.
const MOST_FILES: usize = 100_000;

/// Versions, platform, memory, disks and what waits.
pub(super) fn about(config: &Config, now: Timestamp) -> Value {
    let engine = config.engine();
    let mut waiting = Map::new();
    for connection in config.connections.values() {
        let streams = match engine.waiting(&connection.id) {
            Ok(streams) => streams,
            Err(error) => {
                waiting.insert(connection.id.to_string(), json!({ "error": error.report() }));
                continue;
            }
        };
        let streams = streams.iter().map(|(stream, waits)| {
            (stream.to_string(), json!({ "rows": waits.rows, "size_bytes": waits.bytes }))
        });
        let streams: Map<String, Value> = streams.collect();
        if !streams.is_empty() {
            waiting.insert(connection.id.to_string(), streams.into());
        }
    }
    let sizes = sizes(&config.home);
    json!({
        "made_at": now,
        "version": env!("CARGO_PKG_VERSION"),
        "platform": {
            "system": std::env::consts::OS,
            "architecture": std::env::consts::ARCH,
            "kernel": word("/proc/sys/kernel/osrelease"),
            "processors": std::thread::available_parallelism().ok().map(usize::from),
        },
        "served": engine.is_served(),
        "memory": {
            "total_bytes": kibibytes("/proc/meminfo", "MemTotal:"),
            "available_bytes": kibibytes("/proc/meminfo", "MemAvailable:"),
            "limit": word("/sys/fs/cgroup/memory.max"),
            "resident_bytes": kibibytes("/proc/self/status", "VmRSS:"),
            "most_resident_bytes": kibibytes("/proc/self/status", "VmHWM:"),
        },
        "disk": disk(&config.home),
        "directories": sizes,
        "waiting": waiting,
    })
}

fn word(path: &str) -> Option<String> {
    fs::read_to_string(path).ok().map(|text| text.trim().to_owned())
}

/// A number of kibibytes in one of the system's tables, in bytes.
fn kibibytes(path: &str, key: &str) -> Option<u64> {
    let text = fs::read_to_string(path).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(key))?;
    let number: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(number << 10)
}

/// The disk that bobbin's directory is on.
fn disk(home: &Path) -> Value {
    rustix::fs::statvfs(home).ok().map_or(Value::Null, |disk| {
        json!({
            "total_bytes": disk.f_blocks.saturating_mul(disk.f_frsize),
            "available_bytes": disk.f_bavail.saturating_mul(disk.f_frsize),
            "files_available": disk.f_favail,
        })
    })
}

/// How long sizes are told again: counting a hundred thousand files takes a while.
const COUNTED_FOR: Duration = Duration::from_mins(1);

/// The sizes last counted, of which directory and when.
static COUNTED: Mutex<Option<(PathBuf, Instant, Value)>> = Mutex::new(None);

/// Files and bytes of the directories below bobbin's own.
fn sizes(home: &Path) -> Value {
    let mut counted = COUNTED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((of, at, told)) = &*counted
        && of == home
        && at.elapsed() < COUNTED_FOR
    {
        return told.clone();
    }
    let told = DIRECTORIES.iter().map(|name| {
        let (files, bytes) = size(&home.join(name));
        ((*name).to_owned(), json!({ "files": files, "size_bytes": bytes }))
    });
    let told: Value = told.collect::<Map<String, Value>>().into();
    *counted = Some((home.to_owned(), Instant::now(), told.clone()));
    told
}

/// Files below a directory, and their bytes.
fn size(directory: &Path) -> (usize, u64) {
    let (mut files, mut bytes) = (0, 0);
    let mut left = vec![directory.to_owned()];
    while let Some(next) = left.pop() {
        let Ok(entries) = fs::read_dir(&next) else { continue };
        for entry in entries.flatten() {
            // Links are not followed.
            let Ok(about) = entry.metadata() else { continue };
            if about.is_dir() {
                left.push(entry.path());
                continue;
            }
            files += 1;
            bytes += about.len();
            if files >= MOST_FILES {
                return (files, bytes);
            }
        }
    }
    (files, bytes)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may")]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_those_of_all_files_below() {
        let place = tempfile::tempdir().unwrap();
        fs::create_dir(place.path().join("in")).unwrap();
        fs::write(place.path().join("a"), [0; 10]).unwrap();
        fs::write(place.path().join("in/b"), [0; 5]).unwrap();
        assert_eq!(size(place.path()), (2, 15));
        assert_eq!(size(&place.path().join("nowhere")), (0, 0));
        let table = place.path().join("table");
        fs::write(&table, "Other: 1 kB\nVmRSS:\t   12 kB\n").unwrap();
        assert_eq!(kibibytes(table.to_str().unwrap(), "VmRSS:"), Some(12288));
        assert_eq!(kibibytes(table.to_str().unwrap(), "None:"), None);
    }
}
