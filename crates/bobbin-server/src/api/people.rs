//! Users, whom only an administrator sees and changes, and what is everybody's own.

use std::sync::Arc;
use std::time::Instant;

use axum::extract::rejection::JsonRejection;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::{Extension, Json};
use bobbin_core::secret::Secret;
use bobbin_engine::ledger::{Ledger, Role, User, UserChange};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Answer, Given, Refusal, asked};
use crate::gate::Watch;
use crate::guests::Peer;
use crate::people::TooOften;
use crate::problem::Problem;
use crate::who::{By, Who};
use crate::{Api, audit, people};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NewUser {
    name: String,
    role: Role,
    password: String,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Change {
    pub(crate) role: Option<Role>,
    pub(crate) enabled: Option<bool>,
    pub(crate) password: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct OwnPassword {
    old: String,
    new: String,
}

/// What a body says. Why it cannot be read is told without its text, in which there may be a password.
pub(super) fn given<T>(body: Given<Json<T>, JsonRejection>, form: &str) -> Answer<T> {
    let Json(body) = body.map_err(|error| {
        let detail = format!("the body is no JSON object of the form {form}, or it is too long");
        Problem::new(Refusal::status(&error), detail)
    })?;
    Ok(body)
}

pub(super) async fn users(State(api): State<Arc<Api>>) -> Answer<Json<Value>> {
    let users: Vec<User> = asked(api, |api| Ok(api.engine.ledger()?.users()?)).await?;
    Ok(Json(json!({ "data": users })))
}

pub(super) async fn create(
    State(api): State<Arc<Api>>,
    Extension(watch): Extension<Arc<Watch>>,
    body: Given<Json<NewUser>, JsonRejection>,
) -> Answer<(StatusCode, Json<User>)> {
    let NewUser { name, role, password } = given(body, "{name, role, password}")?;
    let made = make(api, &watch, name, role, Secret::new(password));
    Ok((StatusCode::CREATED, Json(made.await?)))
}

/// Makes a user.
///
/// # Errors
/// When the name or the password may be none, or somebody has the name.
pub(crate) async fn make(
    api: Arc<Api>,
    watch: &Watch,
    name: String,
    role: Role,
    password: Secret,
) -> Answer<User> {
    let turn = watch.tries.turn().await;
    asked(api, move |api| {
        let _turn = turn;
        people::check_name(&name)?;
        let kept = people::keep(&name, &password)?;
        Ok(api.engine.ledger()?.add_user(&name, role, &kept, Timestamp::now())?)
    })
    .await
}

pub(super) async fn change(
    State(api): State<Arc<Api>>,
    Extension(watch): Extension<Arc<Watch>>,
    Extension(who): Extension<Who>,
    Path(name): Path<String>,
    body: Given<Json<Change>, JsonRejection>,
) -> Answer<Json<Value>> {
    let wanted = given(body, "{role, enabled, password}")?;
    Ok(Json(alter(api, &watch, who, name, wanted).await?))
}

/// Changes a user; gives how they are then.
pub(crate) async fn alter(
    api: Arc<Api>,
    watch: &Watch,
    who: Who,
    name: String,
    Change { role, enabled, password }: Change,
) -> Answer<Value> {
    if role.is_none() && enabled.is_none() && password.is_none() {
        let detail = "nothing is to change: give role, enabled or password";
        return Err(Problem::new(StatusCode::BAD_REQUEST, detail));
    }
    let password = match password.map(Secret::new) {
        Some(password) => Some((password, watch.tries.turn().await)),
        None => None,
    };
    let changed = asked(api, move |api| {
        let ledger = api.engine.ledger()?;
        let Some(user) = ledger.user(&name)? else { return Err(Problem::not_found("user")) };
        let kept = password.map(|(password, _turn)| people::keep(&user.name, &password));
        let change = UserChange { role, enabled, password: kept.transpose()? };
        let own = own_session(&who, &user);
        let changed = ledger.change_user(&user.name, &change, own, Timestamp::now())?;
        let changed = changed.ok_or_else(|| Problem::not_found("user"))?;
        let mut told = json!(changed);
        warn(&*ledger, &mut told)?;
        Ok(told)
    });
    changed.await
}

pub(super) async fn remove(
    State(api): State<Arc<Api>>,
    Path(name): Path<String>,
) -> Answer<Json<Value>> {
    Ok(Json(take_out(api, name).await?))
}

/// Removes a user.
pub(crate) async fn take_out(api: Arc<Api>, name: String) -> Answer<Value> {
    asked(api, move |api| {
        let ledger = api.engine.ledger()?;
        if !ledger.remove_user(&name)? {
            return Err(Problem::not_found("user"));
        }
        let mut told = json!({ "status": "ok" });
        warn(&*ledger, &mut told)?;
        Ok(told)
    })
    .await
}

/// Adds that no user is an administrator any more. It is no error: the first token is one, always.
fn warn(ledger: &dyn Ledger, told: &mut Value) -> Answer<()> {
    if let Some(warning) = people::lacks_administrator(&ledger.users()?) {
        told["warning"] = warning.into();
    }
    Ok(())
}

/// The session that goes on when its own user is changed.
fn own_session<'a>(who: &'a Who, user: &User) -> Option<&'a str> {
    let By::User(own) = &who.by else { return None };
    let session = who.session.as_ref().filter(|_| own.id == user.id)?;
    Some(&session.hash)
}

/// Who asks, what they may do and, in a session, what its changes must carry.
pub(super) async fn me(Extension(who): Extension<Who>) -> Json<Value> {
    Json(who.told())
}

/// Changes one's own password.
pub(super) async fn password(
    State(api): State<Arc<Api>>,
    Extension(watch): Extension<Arc<Watch>>,
    Extension(who): Extension<Who>,
    Extension(peer): Extension<Peer>,
    headers: HeaderMap,
    body: Given<Json<OwnPassword>, JsonRejection>,
) -> Answer<Json<Value>> {
    let OwnPassword { old, new } = given(body, "{old, new}")?;
    let address = audit::from(&headers, peer);
    renew(api, &watch, who, &address, (Secret::new(old), Secret::new(new))).await?;
    Ok(Json(json!({ "status": "ok" })))
}

/// Changes somebody's own password, which they know.
pub(crate) async fn renew(
    api: Arc<Api>,
    watch: &Watch,
    who: Who,
    address: &str,
    (old, new): (Secret, Secret),
) -> Answer<()> {
    let By::User(user) = who.by.clone() else {
        let detail = "whoever asks with a token has no password";
        return Err(Problem::new(StatusCode::CONFLICT, detail));
    };
    watch.tries.begin(&user.name, address, Instant::now())?;
    let turn = watch.tries.turn().await;
    let name = user.name.clone();
    asked(api, move |api| {
        let _turn = turn;
        let ledger = api.engine.ledger()?;
        let kept = ledger.password_of(&user.name)?.map(|(_, kept)| kept);
        if !people::is(&old, kept.as_deref())? {
            let detail = "that is not the password so far";
            return Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, detail));
        }
        let kept = Some(people::keep(&user.name, &new)?);
        let change = UserChange { password: kept, ..UserChange::default() };
        let own = own_session(&who, &user);
        ledger.change_user(&user.name, &change, own, Timestamp::now())?;
        Ok(())
    })
    .await?;
    watch.tries.succeeded(&name, address);
    Ok(())
}

impl From<TooOften> for Problem {
    fn from(TooOften { wait, .. }: TooOften) -> Self {
        let detail = "too many wrong passwords for that name; try again later";
        Self::new(StatusCode::TOO_MANY_REQUESTS, detail).after(wait.as_secs() as u16 + 1)
    }
}
