//! Users, and what is everybody's own.

use std::sync::Arc;

use askama::Template;
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::response::Response;
use axum::{Extension, Form};
use bobbin_core::secret::Secret;
use bobbin_engine::ledger::{Role, User};
use serde::Deserialize;
use serde_json::Value;

use super::{Chosen, RoleChoice, TabLink, roles, tabs};
use crate::api::{Answer, people};
use crate::gate::Watch;
use crate::guests::Peer;
use crate::pages::show::When;
use crate::pages::{Frame, Place, Said, Visit, gone_to, shown, shown_as};
use crate::who::{By, Who};
use crate::{Api, audit};

#[derive(Template)]
#[template(path = "settings/users.html")]
struct UsersPage {
    frame: Frame,
    tabs: Vec<TabLink>,
    users: Vec<User>,
    roles: [RoleChoice; 3],
    /// What was entered of somebody new.
    name: String,
    role: Role,
    wrong: Option<String>,
}

impl UsersPage {
    fn of(
        api: &Api,
        frame: Frame,
        (name, role): (String, Role),
        wrong: Option<String>,
    ) -> Answer<Self> {
        Ok(Self {
            tabs: tabs(&frame, "/users"),
            frame: frame.titled("Users"),
            users: api.engine.ledger()?.users()?,
            roles: roles(),
            name,
            role,
            wrong,
        })
    }

    fn when(at: &jiff::Timestamp) -> When {
        When(*at)
    }
}

pub(in crate::pages) async fn list(State(api): State<Arc<Api>>, visit: Visit) -> Response {
    shown(api, visit, Place::Settings, |api, frame| {
        UsersPage::of(api, frame, (String::new(), Role::Viewer), None)
    })
    .await
}

#[derive(Deserialize)]
pub(in crate::pages) struct NewUser {
    name: String,
    #[serde(default)]
    role: Chosen,
    password: String,
}

pub(in crate::pages) async fn add(
    State(api): State<Arc<Api>>,
    Extension(watch): Extension<Arc<Watch>>,
    visit: Visit,
    Form(new): Form<NewUser>,
) -> Response {
    let (name, password) = (new.name.clone(), Secret::new(new.password));
    match people::make(Arc::clone(&api), &watch, name, new.role.into(), password).await {
        Ok(user) => gone_to("/users", Some(&Said::good(format!("{} can log in now.", user.name)))),
        Err(problem) => {
            let (status, wrong) = (problem.status(), problem.detail().to_owned());
            shown_as(status, api, visit, Place::Settings, move |api, frame| {
                UsersPage::of(api, frame, (new.name, new.role.into()), Some(wrong))
            })
            .await
        }
    }
}

#[derive(Deserialize)]
pub(in crate::pages) struct UserChange {
    #[serde(default)]
    role: Option<Chosen>,
    #[serde(default)]
    enabled: Option<String>,
    #[serde(default)]
    password: Option<String>,
}

pub(in crate::pages) async fn change(
    State(api): State<Arc<Api>>,
    Extension(watch): Extension<Arc<Watch>>,
    Extension(who): Extension<Who>,
    Path(name): Path<String>,
    Form(form): Form<UserChange>,
) -> Response {
    let wanted = people::Change {
        role: form.role.map(Into::into),
        enabled: form.enabled.map(|text| text == "yes"),
        password: form.password.filter(|text| !text.is_empty()),
    };
    let changed = people::alter(api, &watch, who, name.clone(), wanted).await;
    told(
        changed,
        format!("{name} is changed; where they were logged in, they have to log in again."),
    )
}

pub(in crate::pages) async fn remove(
    State(api): State<Arc<Api>>,
    Path(name): Path<String>,
) -> Response {
    told(people::take_out(api, name.clone()).await, format!("{name} is removed."))
}

fn told(done: Answer<Value>, good: String) -> Response {
    let said = match done {
        Ok(told) => match told["warning"].as_str() {
            Some(warning) => Said { tone: "warn", text: format!("{good} {warning}") },
            None => Said::good(good),
        },
        Err(problem) => Said::bad(problem.detail()),
    };
    gone_to("/users", Some(&said))
}

#[derive(Template)]
#[template(path = "settings/me.html")]
struct MePage {
    frame: Frame,
    kind: &'static str,
    name: String,
    role: &'static str,
    ends: Option<When>,
    has_password: bool,
    wrong: Option<String>,
}

impl MePage {
    fn of(frame: Frame, who: &Who, wrong: Option<String>) -> Self {
        Self {
            frame: frame.titled("Your account"),
            kind: who.kind(),
            name: who.name(),
            role: who.role().word(),
            ends: who.session.as_ref().map(|session| When(session.ends_at)),
            has_password: matches!(who.by, By::User(_)),
            wrong,
        }
    }
}

pub(in crate::pages) async fn me(
    State(api): State<Arc<Api>>,
    Extension(who): Extension<Who>,
    visit: Visit,
) -> Response {
    shown(api, visit, Place::Else, move |_, frame| Ok(MePage::of(frame, &who, None))).await
}

#[derive(Deserialize)]
pub(in crate::pages) struct NewPassword {
    old: String,
    new: String,
}

pub(in crate::pages) async fn password(
    State(api): State<Arc<Api>>,
    (Extension(watch), Extension(who), Extension(peer)): (
        Extension<Arc<Watch>>,
        Extension<Who>,
        Extension<Peer>,
    ),
    headers: HeaderMap,
    visit: Visit,
    Form(form): Form<NewPassword>,
) -> Response {
    let address = audit::from(&headers, peer);
    let both = (Secret::new(form.old), Secret::new(form.new));
    match people::renew(Arc::clone(&api), &watch, who.clone(), &address, both).await {
        Ok(()) => gone_to("/me", Some(&Said::good("Your password is changed."))),
        Err(problem) => {
            let (status, wrong) = (problem.status(), problem.detail().to_owned());
            shown_as(status, api, visit, Place::Else, move |_, frame| {
                Ok(MePage::of(frame, &who, Some(wrong)))
            })
            .await
        }
    }
}
