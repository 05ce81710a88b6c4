//! One of those who are told, to be changed.

use std::sync::Arc;

use askama::Template;
use axum::extract::{Path, State};
use axum::response::Response;
use bobbin_engine::ledger::Thing;
use serde_json::{Map, Value, json};

use super::channels::{DELAY_HELP, Line, URL_HELP, line};
use crate::api::{Answer, channels};
use crate::pages::field::{self, Entered, Field, Pairs, Refused, Wrongs};
use crate::pages::{Frame, Place, Said, Visit};
use crate::{Api, Channel, Edit};

#[derive(Template)]
#[template(path = "settings/channel.html")]
struct ChannelPage {
    frame: Frame,
    line: Line,
    fields: Vec<Field>,
    /// Whether it can be told of critical notices alone; none where it is told of loads.
    critical: Option<bool>,
    wrong: Option<String>,
}

/// The fields that a message names, with the words it has for them.
const NAMED: [(&str, &str); 4] =
    [("`url`", "place"), ("the URL", "place"), ("`to`", "place"), ("address", "place")];

fn page(
    api: &Api,
    frame: Frame,
    name: &str,
    entered: Option<&Entered>,
    wrongs: &Wrongs,
) -> Answer<ChannelPage> {
    let channel = channels::find(api, name)?;
    let text = |field: &str, known: String| match entered {
        Some(entered) => entered.get(field).to_owned(),
        None => known,
    };
    let place = if channel.kind == "email" {
        let to = channel.settings.get("to").and_then(Value::as_array);
        let to: Vec<&str> = to.into_iter().flatten().filter_map(Value::as_str).collect();
        Field::text("place", "Address", text("place", to.join(", "))).needed()
    } else {
        // A URL may be a secret: it is neither shown nor sent back.
        let again = entered.is_some_and(|entered| !entered.get("place").is_empty());
        let help = if again {
            "Enter the new one again: what was entered is not shown."
        } else {
            URL_HELP
        };
        let mut place = Field::text("place", "URL", "").needed().help(help);
        // Left empty, the old one would stay, which is not what was wished.
        place.kept = !again;
        place
    };
    let mut fields = vec![place.wrong(wrongs)];
    let is_of_notices = channel.kind != "post_load";
    if is_of_notices {
        let delay = channel.settings.get("delay_minutes").and_then(Value::as_u64);
        let delay = text("delay", delay.map(|minutes| minutes.to_string()).unwrap_or_default());
        let delay = Field::text("delay", "Told after so many minutes", delay).help(DELAY_HELP);
        fields.push(delay.wrong(wrongs));
    }
    let critical = match entered {
        Some(entered) => entered.get("critical") == "yes",
        None => channel.settings.get("warnings") == Some(&Value::Bool(false)),
    };
    Ok(ChannelPage {
        frame: frame.titled(format!("{name} is told")),
        fields,
        critical: is_of_notices.then_some(critical),
        wrong: wrongs.beside(&["place", "delay"]),
        line: line(channel),
    })
}

pub(in crate::pages) async fn form(
    State(api): State<Arc<Api>>,
    visit: Visit,
    Path(name): Path<String>,
) -> Response {
    field::form((api, visit, Place::Settings), name, page).await
}

/// Has it be told as entered; whether it is on stays.
pub(in crate::pages) async fn save(
    State(api): State<Arc<Api>>,
    visit: Visit,
    Path(name): Path<String>,
    pairs: Pairs,
) -> Response {
    let act = |api: &Api, of: &str, entered: &Entered| {
        let channel = channels::find(api, of)?;
        let delay = entered.get("delay");
        if !delay.is_empty() && delay.parse::<u32>().is_err() {
            let why = "Give a whole number of minutes, or nothing.";
            return Err(Wrongs::of("delay", why).into());
        }
        let body = channels::kept(&channel, written(&channel, entered));
        let wish =
            Edit { thing: Thing::Channel, name: of.to_owned(), body: Some(body), new: false };
        api.program.change(&[wish]).map_err(|error| Refused::by(&error, &NAMED))?;
        Ok(Some(("/channels".to_owned(), Some(Said::good(format!("{of} is changed."))))))
    };
    field::sent_of((api, visit, Place::Settings), (name, pairs), act, page).await
}

/// Its settings, as entered; a URL that is left empty is left out and so stays.
fn written(channel: &Channel, entered: &Entered) -> Map<String, Value> {
    let mut body = channel.settings.clone();
    put_place(&mut body, channel.kind, entered.get("place"));
    put_told(&mut body, channel.kind, entered.get("delay"), entered.get("critical") == "yes");
    body
}

/// Writes where a channel leads, in the words of the file.
pub(super) fn put_place(body: &mut Map<String, Value>, kind: &str, place: &str) {
    if kind == "email" {
        body.insert("to".to_owned(), json!([place]));
    } else if !place.is_empty() {
        body.insert("url".to_owned(), place.into());
    }
}

/// Writes when a channel is told, and of what, in the words of the file.
pub(super) fn put_told(body: &mut Map<String, Value>, kind: &str, delay: &str, critical: bool) {
    body.remove("warnings");
    body.remove("delay_minutes");
    if kind == "post_load" {
        return;
    }
    if critical {
        body.insert("warnings".to_owned(), false.into());
    }
    if !delay.is_empty() {
        // What is no number is refused in the words that it has everywhere.
        let number = delay.parse::<u32>().map_or_else(|_| delay.into(), Value::from);
        body.insert("delay_minutes".to_owned(), number);
    }
}
