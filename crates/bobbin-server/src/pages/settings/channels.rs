//! Who is told of notices and of loads.

use std::sync::Arc;

use askama::Template;
use axum::Form;
use axum::extract::{Path, State};
use axum::response::Response;
use bobbin_engine::ledger::Thing;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::channel::{put_place, put_told};
use super::{TabLink, tabs};
use crate::api::{Answer, asked, channels};
use crate::pages::show::When;
use crate::pages::{Frame, Place, Said, Visit, gone_to, shown, shown_as};
use crate::{Api, Channel, Edit, Managed};

/// What a channel can be, with what is asked for it.
const KINDS: [(&str, &str, &str); 4] = [
    ("email", "E-mail", "A person's address. Mails go through the mail server in bobbin's file."),
    ("slack", "Slack", "The URL of an incoming webhook of Slack."),
    ("webhook", "Webhook", "A URL that takes a JSON object for each notice."),
    ("post_load", "Post-load hook", "A URL that takes one for each load, in the form of Stitch's."),
];

pub(super) const URL_HELP: &str = "A URL is sealed and never shown again beyond its host.";
pub(super) const DELAY_HELP: &str = "Empty: mails after an hour, others at once.";

/// What a kind is called.
fn called(kind: &str) -> &'static str {
    KINDS.iter().find(|(word, ..)| *word == kind).map_or("", |(_, name, _)| name)
}

#[derive(Template)]
#[template(path = "settings/channels.html")]
struct ChannelsPage {
    frame: Frame,
    tabs: Vec<TabLink>,
    channels: Vec<Line>,
    broken: Vec<(String, String)>,
    new: NewChannel,
    wrong: Option<String>,
}

pub(super) struct Line {
    pub(super) name: String,
    pub(super) kind: &'static str,
    pub(super) place: String,
    pub(super) is_of_file: bool,
    pub(super) disabled: Option<When>,
    pub(super) told: String,
}

#[derive(Clone, Default, Deserialize)]
pub(in crate::pages) struct NewChannel {
    #[serde(default)]
    name: String,
    #[serde(default)]
    kind: String,
    #[serde(default)]
    place: String,
    #[serde(default)]
    delay: String,
    #[serde(default)]
    critical: String,
}

impl ChannelsPage {
    fn of(api: &Api, frame: Frame, mut new: NewChannel, wrong: Option<String>) -> Self {
        let of_channels = |(thing, _, _): &(Thing, String, String)| *thing == Thing::Channel;
        let broken = api.program.broken().into_iter().filter(of_channels);
        // A URL may be a secret: it is entered again.
        if new.kind != "email" {
            new.place.clear();
        }
        Self {
            tabs: tabs(&frame, "/channels"),
            frame: frame.titled("Notifications"),
            channels: api.program.channels().into_iter().map(line).collect(),
            broken: broken.map(|(_, name, reason)| (name, reason)).collect(),
            new,
            wrong,
        }
    }

    fn kinds() -> [(&'static str, &'static str, &'static str); 4] {
        KINDS
    }
}

pub(super) fn line(channel: Channel) -> Line {
    let to = channel.settings.get("to").and_then(Value::as_array);
    let to: Vec<&str> = to.into_iter().flatten().filter_map(Value::as_str).collect();
    let place =
        if to.is_empty() { channel.host.clone().unwrap_or_default() } else { to.join(", ") };
    let delay = channel.settings.get("delay_minutes").and_then(Value::as_u64);
    let critical = channel.settings.get("warnings") == Some(&Value::Bool(false));
    let what = match channel.kind {
        "post_load" => "every load".to_owned(),
        _ if critical => "critical notices".to_owned(),
        _ => "critical notices and warnings".to_owned(),
    };
    let after = match (channel.kind, delay) {
        ("post_load", _) => String::new(),
        (_, Some(0)) | ("slack" | "webhook", None) => ", at once".to_owned(),
        (_, Some(minutes)) => format!(", after {minutes} minutes"),
        (_, None) => ", after an hour; two for loading".to_owned(),
    };
    Line {
        kind: called(channel.kind),
        place,
        is_of_file: channel.managed_by == Managed::File,
        disabled: channel.disabled_at.map(When),
        told: what + &after,
        name: channel.name,
    }
}

pub(in crate::pages) async fn list(State(api): State<Arc<Api>>, visit: Visit) -> Response {
    shown(api, visit, Place::Settings, |api, frame| {
        Ok(ChannelsPage::of(api, frame, NewChannel::default(), None))
    })
    .await
}

pub(in crate::pages) async fn add(
    State(api): State<Arc<Api>>,
    visit: Visit,
    Form(new): Form<NewChannel>,
) -> Response {
    let mut body = Map::new();
    body.insert("type".to_owned(), new.kind.as_str().into());
    put_place(&mut body, &new.kind, new.place.trim());
    put_told(&mut body, &new.kind, new.delay.trim(), new.critical == "yes");
    let name = new.name.trim().to_owned();
    let wish = Edit { thing: Thing::Channel, name: name.clone(), body: Some(body), new: true };
    let made = asked(Arc::clone(&api), move |api| Ok(api.program.change(&[wish])?)).await;
    match made {
        Ok(()) => gone_to("/channels", Some(&Said::good(format!("{name} is told from now on.")))),
        Err(problem) => {
            let (status, wrong) = (problem.status(), problem.detail().to_owned());
            shown_as(status, api, visit, Place::Settings, move |api, frame| {
                Ok(ChannelsPage::of(api, frame, new, Some(wrong)))
            })
            .await
        }
    }
}

#[derive(Deserialize)]
pub(in crate::pages) struct Told {
    enabled: String,
}

pub(in crate::pages) async fn enable(
    State(api): State<Arc<Api>>,
    Path(name): Path<String>,
    Form(told): Form<Told>,
) -> Response {
    let enabled = told.enabled == "yes";
    let of = name.clone();
    let done =
        asked(api, move |api| Ok(channels::switch(api, &channels::find(api, &of)?, enabled)?));
    let good = if enabled { "is told again" } else { "is not told any more" };
    said(done.await, format!("{name} {good}."))
}

pub(in crate::pages) async fn remove(
    State(api): State<Arc<Api>>,
    Path(name): Path<String>,
) -> Response {
    let gone = Edit { thing: Thing::Channel, name: name.clone(), body: None, new: false };
    let done = asked(api, move |api| Ok(api.program.change(&[gone])?));
    said(done.await, format!("{name} is removed."))
}

fn said(done: Answer<()>, good: String) -> Response {
    let said = match done {
        Ok(()) => Said::good(good),
        Err(problem) => Said::bad(problem.detail()),
    };
    gone_to("/channels", Some(&said))
}
