//! Keys of the API.

use std::sync::Arc;

use askama::Template;
use axum::Form;
use axum::extract::{Path, State};
use axum::response::Response;
use bobbin_core::secret::Secret;
use bobbin_engine::ledger::{Key, MOST_KEYS, Role};
use jiff::Timestamp;
use serde::Deserialize;

use super::{Chosen, RoleChoice, TabLink, roles, tabs};
use crate::api::{Answer, asked};
use crate::pages::show::When;
use crate::pages::{Frame, Place, Said, Visit, gone_to, shown, shown_as};
use crate::{Api, token};

#[derive(Template)]
#[template(path = "settings/keys.html")]
struct KeysPage {
    frame: Frame,
    tabs: Vec<TabLink>,
    keys: Vec<Key>,
    roles: [RoleChoice; 3],
    /// What was entered of a new one, and what is wrong with it.
    description: String,
    role: Role,
    wrong: Option<String>,
    /// The text of the key that was just made: it is shown this once.
    made: Option<(String, Secret)>,
    most: u32,
}

impl KeysPage {
    fn of(api: &Api, frame: Frame, made: Option<(String, Secret)>) -> Answer<Self> {
        Ok(Self {
            tabs: tabs(&frame, "/keys"),
            frame: frame.titled("API keys"),
            keys: api.engine.ledger()?.keys()?,
            roles: roles(),
            description: String::new(),
            role: Role::Viewer,
            wrong: None,
            made,
            most: MOST_KEYS,
        })
    }

    fn when(at: &Timestamp) -> When {
        When(*at)
    }
}

pub(in crate::pages) async fn list(State(api): State<Arc<Api>>, visit: Visit) -> Response {
    shown(api, visit, Place::Settings, |api, frame| KeysPage::of(api, frame, None)).await
}

#[derive(Deserialize)]
pub(in crate::pages) struct NewKey {
    description: String,
    #[serde(default)]
    role: Chosen,
}

/// The only page on which a key's text ever stands, so nobody is sent on from it.
pub(in crate::pages) async fn add(
    State(api): State<Arc<Api>>,
    visit: Visit,
    Form(new): Form<NewKey>,
) -> Response {
    let role: Role = new.role.into();
    let description = new.description.clone();
    let made = asked(Arc::clone(&api), move |api| {
        let (text, key) = token::make_key(&*api.engine.ledger()?, &new.description, role)?;
        Ok((key.description, text))
    });
    match made.await {
        Ok(made) => {
            let page = |api: &Api, frame| KeysPage::of(api, frame, Some(made));
            shown(api, visit, Place::Settings, page).await
        }
        Err(problem) => {
            let (status, wrong) = (problem.status(), Some(problem.detail().to_owned()));
            let page = move |api: &Api, frame| {
                let page = KeysPage::of(api, frame, None)?;
                Ok(KeysPage { description, role, wrong, ..page })
            };
            shown_as(status, api, visit, Place::Settings, page).await
        }
    }
}

#[derive(Deserialize)]
pub(in crate::pages) struct KeyChange {
    enabled: String,
}

pub(in crate::pages) async fn enable(
    State(api): State<Arc<Api>>,
    Path(key): Path<i64>,
    Form(change): Form<KeyChange>,
) -> Response {
    let enabled = change.enabled == "yes";
    let done = asked(api, move |api| {
        Ok(api.engine.ledger()?.enable_key(key, enabled, Timestamp::now())?)
    });
    told(done.await, if enabled { "The key is accepted again." } else { "The key is refused now." })
}

pub(in crate::pages) async fn delete(
    State(api): State<Arc<Api>>,
    Path(key): Path<i64>,
) -> Response {
    let done = asked(api, move |api| Ok(api.engine.ledger()?.delete_key(key)?));
    told(done.await, "The key is deleted.")
}

fn told(done: Answer<bool>, good: &str) -> Response {
    let said = match done {
        Ok(true) => Said::good(good),
        Ok(false) => Said::bad("There is no such key any more."),
        Err(problem) => Said::bad(problem.detail()),
    };
    gone_to("/keys", Some(&said))
}
