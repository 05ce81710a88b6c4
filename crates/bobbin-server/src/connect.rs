//! Stitch's Connect API (`/v4`, `/notifications`): automation written for it needs another host and token
//! (`stitch-behaviour.md` 1.4, 1.5, 2.4, 5.6, 6.2, 6.4, 9.4, 9.5).
//!
//! A *source* is what Stitch calls a connection with its source. What is managed by the file is told like
//! everything else, and only the file changes it; sources and destinations that are made here live in the
//! service's store, like those made with `/api/v1`.

mod destinations;
mod forms;
mod jobs;
mod notifications;
mod sources;
mod streams;
mod tokens;

use std::sync::Arc;

use axum::Router;
use axum::routing::{get, put};
use bobbin_core::id::ConnectionId;
use bobbin_engine::ledger::{Ledger, Removed, Side, Thing};
use bobbin_engine::service::Seen;
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use crate::api::Answer;
use crate::problem::Problem;
use crate::{Api, Described, Managed, Part, Type};

/// What addresses begin with that answer in Stitch's form.
pub(crate) const ROOTS: [&str; 2] = ["/v4/", "/notifications/"];

/// The number of the one account there is.
const CLIENT: i64 = 1;

/// What stands before the name of a source's type.
const PLATFORM: &str = "platform.";

/// The steps of setting a source up, in order.
const STEPS: [&str; 4] = ["form", "discover_schema", "field_selection", "fully_configured"];

pub(crate) fn router() -> Router<Arc<Api>> {
    Router::new()
        .route("/v4/source-types", get(sources::types))
        .route("/v4/source-types/{type}", get(sources::of_type))
        .route("/v4/sources", get(sources::all).post(sources::create))
        .route(
            "/v4/sources/{source}",
            get(sources::one).put(sources::change).delete(sources::remove),
        )
        .route("/v4/sources/{source}/last-connection-check", get(sources::check))
        .route("/v4/sources/{source}/streams", get(streams::streams))
        .route("/v4/sources/{source}/streams/metadata", put(streams::select))
        .route("/v4/sources/{source}/streams/{stream_id}", get(streams::stream))
        .route(
            "/v4/sources/{source}/sync",
            axum::routing::post(sources::start).delete(sources::stop),
        )
        .route("/v4/sources/{source}/tokens", get(tokens::all).post(tokens::create))
        .route("/v4/sources/{source}/tokens/{token}", axum::routing::delete(tokens::delete))
        .route("/v4/destination-types", get(destinations::types))
        .route("/v4/destination-types/{type}", get(destinations::of_type))
        .route("/v4/destinations", get(destinations::all).post(destinations::create))
        .route(
            "/v4/destinations/{destination}",
            put(destinations::change).delete(destinations::remove),
        )
        .route("/v4/destinations/{destination}/last-connection-check", get(destinations::check))
        .route("/v4/{client}/extractions", get(jobs::extractions))
        .route("/v4/{client}/extractions/{job_name}", get(jobs::extraction))
        .route("/v4/{client}/loads", get(jobs::loads))
        .route(
            "/notifications/public/v1/api/custom-emails",
            get(notifications::emails).post(notifications::add_email),
        )
        .route(
            "/notifications/public/v1/api/custom-emails/{id}",
            put(notifications::change_email).delete(notifications::remove_email),
        )
        .route(
            "/notifications/public/v1/api/hooks",
            get(notifications::hooks).post(notifications::add_hook),
        )
        .route(
            "/notifications/public/v1/api/hooks/{id}",
            put(notifications::change_hook).delete(notifications::remove_hook),
        )
}

/// A connection with what there is to say of it.
struct Source {
    id: i64,
    made: Timestamp,
    seen: Seen,
    described: Described,
    part: Part,
}

impl Source {
    /// All, by number.
    fn all(api: &Api, ledger: &dyn Ledger) -> Answer<Vec<Self>> {
        let (now, mut described) = (Timestamp::now(), api.program.connections());
        let parts = api.program.parts(Thing::Source);
        let mut all = Vec::new();
        for seen in api.control.look()? {
            let Some(described) = described.remove(&seen.connection) else { continue };
            let part = parts.iter().find(|part| part.name == described.source_name);
            let Some(part) = part.cloned() else { continue };
            let (id, made) = ledger.number("source", seen.connection.as_str(), now)?;
            all.push(Self { id, made, seen, described, part });
        }
        all.sort_by_key(|source| source.id);
        Ok(all)
    }

    fn find(api: &Api, ledger: &dyn Ledger, id: i64) -> Answer<Self> {
        let found = Self::all(api, ledger)?.into_iter().find(|source| source.id == id);
        found.ok_or_else(|| Problem::not_found("source"))
    }

    fn connection(&self) -> &ConnectionId {
        &self.seen.connection
    }

    fn kind(&self) -> String {
        format!("{PLATFORM}{}", self.described.source)
    }

    /// The connection as it was set up through the API.
    ///
    /// # Errors
    /// When it was not.
    fn written(&self, api: &Api) -> Answer<Map<String, Value>> {
        api.program.written(self.connection()).ok_or_else(|| {
            Problem::refused(
                "InvalidProperties",
                "this source is managed by the service's file: change it there, and bobbin apply \
                 brings that into effect",
            )
        })
    }

    fn object(&self, api: &Api, ledger: &dyn Ledger) -> Answer<Value> {
        let written = api.program.written(self.connection());
        let schedule = match written.as_ref().and_then(|body| body.get("schedule")) {
            Some(Value::Object(schedule)) => schedule.clone(),
            _ => [
                ("frequency_minutes", self.seen.schedule.frequency_minutes().map(Value::from)),
                ("cron", self.seen.schedule.cron().map(Value::from)),
            ]
            .into_iter()
            .filter_map(|(key, value)| Some((key.to_owned(), value?)))
            .collect(),
        };
        let due = self.seen.next.filter(|_| self.described.configured).map(|next| {
            let cron = self.seen.schedule.cron();
            json!({
                "type": if cron.is_some() { "cron" } else { "interval" },
                "unit": cron.is_none().then_some("minute"),
                "interval": self.seen.schedule.frequency_minutes().map(f64::from),
                "cron_expression": cron,
                "next_fire_time": second(next),
            })
        });
        let check = ledger.check(Side::Source, self.connection().as_str())?;
        let updated = self.part.changed_at.unwrap_or(self.made);
        Ok(json!({
            "id": self.id,
            "stitch_client_id": CLIENT,
            "type": self.kind(),
            "name": self.described.schema,
            "display_name": self.described.display_name,
            "properties": forms::shown_source(&self.part.settings, &schedule),
            "schedule": due,
            "report_card": self.card(api, ledger, &schedule)?,
            "check_job_name": check.map(|check| format!("{CLIENT}.{}.check.{}", self.id, check.number)),
            "created_at": second(self.part.made_at.unwrap_or(self.made)),
            "updated_at": second(updated),
            "paused_at": self.paused_at(ledger)?.map(second),
            "system_paused_at": null,
            "deleted_at": null,
        }))
    }

    /// Since when its schedule is paused.
    fn paused_at(&self, ledger: &dyn Ledger) -> Answer<Option<Timestamp>> {
        let by_hand = ledger.paused_since(self.connection())?;
        // The file pauses from the start.
        let by_file = (self.described.configured && self.seen.paused).then_some(self.made);
        Ok(by_hand.or(by_file))
    }

    /// How far it is set up (`stitch-behaviour.md` 1.4).
    fn card(&self, api: &Api, ledger: &dyn Ledger, schedule: &Map<String, Value>) -> Answer<Value> {
        let of = kind_of(&api.program.types(), "source", &self.described.source);
        let provided = |name: &str| match name {
            "frequency_in_minutes" => schedule.contains_key("frequency_minutes"),
            "anchor_time" => schedule.contains_key("anchor"),
            "cron_expression" => schedule.contains_key("cron"),
            name => {
                self.part.settings.contains_key(name)
                    || self.part.secrets.iter().any(|secret| secret == name)
            }
        };
        let properties = of.as_ref().map_or_else(Vec::new, |of| forms::of_source(of, provided));
        let lacks = of.iter().flat_map(|of| &of.properties);
        let mut lacks = lacks.filter(|property| property.required && !provided(property.name));
        let catalog = ledger.catalog(self.connection())?;
        let selection = api.program.selection(self.connection()).unwrap_or_default();
        // Where everything is chosen, it is before there is anything.
        let chosen = selection.others
            || catalog.as_ref().is_some_and(|(found, _)| {
                found.catalog.streams.iter().any(|stream| selection.contains(&stream.name))
            });
        let current = match (lacks.next(), &catalog, chosen && self.described.configured) {
            (Some(_), _, _) => 1,
            (None, None, _) => 2,
            (None, Some(_), false) => 3,
            (None, Some(_), true) => 4,
        };
        Ok(card(&self.kind(), current, properties))
    }
}

/// A source that is no more, as it is listed still.
fn removed(ledger: &dyn Ledger, gone: &Removed) -> Answer<Value> {
    let (id, _) = ledger.number("source", gone.connection.as_str(), gone.made)?;
    let label: Map<String, Value> = serde_json::from_str(&gone.label).unwrap_or_default();
    let text = |key: &str| label.get(key).and_then(Value::as_str).unwrap_or_default();
    Ok(json!({
        "id": id,
        "stitch_client_id": CLIENT,
        "type": format!("{PLATFORM}{}", text("source")),
        "name": text("schema"),
        "display_name": text("display_name"),
        "properties": {},
        "schedule": null,
        "report_card": null,
        "check_job_name": null,
        "created_at": second(gone.made),
        "updated_at": second(gone.removed),
        "paused_at": null,
        "system_paused_at": null,
        "deleted_at": second(gone.removed),
    }))
}

/// A report card (`stitch-behaviour.md` 9.5); only the form has properties.
fn card(kind: &str, current: usize, properties: Vec<Value>) -> Value {
    let steps = STEPS.iter().enumerate().map(|(n, step)| {
        let properties = if n == 0 { properties.clone() } else { Vec::new() };
        json!({ "type": step, "properties": properties })
    });
    json!({
        "type": kind,
        "current_step": current,
        "current_step_type": STEPS[current - 1],
        "steps": steps.collect::<Vec<_>>(),
    })
}

fn kind_of(types: &[Type], side: &str, name: &str) -> Option<Type> {
    types.iter().find(|known| known.side == side && known.name == name).cloned()
}

fn second(at: Timestamp) -> String {
    format!("{at:.0}")
}

/// Whether only the file can change it.
fn is_of_file(managed: Managed) -> bool {
    managed == Managed::File
}
