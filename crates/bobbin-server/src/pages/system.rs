//! How the service itself is.

use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use axum::response::Response;
use serde_json::Value;

use super::show::{Bytes, When};
use super::{Frame, Place, Visit, shown};
use crate::Api;

#[derive(Template)]
#[template(path = "system.html")]
struct SystemPage {
    frame: Frame,
    platform: String,
    resident: Option<Bytes>,
    most_resident: Option<Bytes>,
    memory: Option<Bytes>,
    disk: Option<Disk>,
    directories: Vec<(String, Bytes, u64)>,
    ledger: u32,
    next: Vec<(String, String, When)>,
    running: Vec<(String, String, When)>,
    home: String,
}

struct Disk {
    free: Bytes,
    all: Bytes,
    used: u64,
    is_low: bool,
}

/// Percent of a disk that may be used before that is told.
const MUCH: u64 = 90;

pub(super) async fn system(State(api): State<Arc<Api>>, visit: Visit) -> Response {
    shown(api, visit, Place::Else, |api, frame| {
        let about = api.program.about();
        let bytes = |of: &str, key: &str| about[of][key].as_u64().map(Bytes);
        let disk = bytes("disk", "total_bytes").zip(bytes("disk", "available_bytes"));
        let word = |key: &str| about["platform"][key].as_str().unwrap_or("?").to_owned();
        let described = api.program.connections();
        let called = |id: &bobbin_core::id::ConnectionId| {
            described.get(id).map_or_else(|| id.to_string(), |told| told.display_name.clone())
        };
        let seen = api.control.look()?;
        let mut next: Vec<_> = seen.iter().filter_map(|one| Some((one, one.next?))).collect();
        next.sort_by_key(|(_, at)| *at);
        let running = seen.iter().filter_map(|one| Some((one, one.running_since?)));
        let told = |(one, at): (&bobbin_engine::service::Seen, jiff::Timestamp)| {
            (one.connection.to_string(), called(&one.connection), When(at))
        };
        Ok(SystemPage {
            platform: format!("{} {}, {}", word("system"), word("kernel"), word("architecture")),
            resident: bytes("memory", "resident_bytes"),
            most_resident: bytes("memory", "most_resident_bytes"),
            memory: bytes("memory", "available_bytes"),
            disk: disk.map(|(all, free)| {
                let used = 100 - (free.0.saturating_mul(100) / all.0.max(1)).min(100);
                Disk { free, all, used, is_low: used >= MUCH }
            }),
            directories: directories(&about),
            ledger: api.engine.ledger()?.version()?,
            next: next.into_iter().take(10).map(told).collect(),
            running: running.map(told).collect(),
            home: api.engine.home().display().to_string(),
            frame: frame.titled("System"),
        })
    })
    .await
}

fn directories(about: &Value) -> Vec<(String, Bytes, u64)> {
    let all = about["directories"].as_object().into_iter().flatten();
    let told = all.map(|(name, told)| {
        let number = |key: &str| told[key].as_u64().unwrap_or(0);
        (name.clone(), Bytes(number("size_bytes")), number("files"))
    });
    told.collect()
}
