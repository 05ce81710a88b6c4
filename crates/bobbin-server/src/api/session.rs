//! Sessions: somebody shows a password, or the first token, and is known by a cookie from then on.

use std::sync::Arc;
use std::time::Instant;

use axum::extract::rejection::JsonRejection;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json, RequestExt};
use bobbin_core::Error;
use bobbin_core::secret::Secret;
use bobbin_engine::ledger::{Owner, User};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;

use super::people::given;
use super::{Answer, asked};
use crate::audit::Asked;
use crate::gate::{Watch, is_encrypted};
use crate::guests::Peer;
use crate::people::TooOften;
use crate::problem::Problem;
use crate::replay::Unkept;
use crate::who::{self, Who, same};
use crate::{Api, people, token};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Login {
    name: Option<String>,
    password: Option<String>,
    token: Option<String>,
}

/// How somebody shows who they are.
pub(crate) enum Shown {
    Password(String, Secret),
    Token(Secret),
}

/// A session that has begun.
struct Begun {
    text: Secret,
    told: Value,
}

/// Begins a session. It is always a new one, whatever cookie came along, and takes that one's place.
pub(super) async fn begin(
    State(api): State<Arc<Api>>,
    Extension(watch): Extension<Arc<Watch>>,
    unkept: Unkept,
    request: Request,
) -> Answer<Response> {
    let headers = request.headers().clone();
    let peer = request.extensions().get::<Peer>().copied();
    let asked = Asked::of(request.method(), request.uri().path(), &headers, peer);
    let body: Result<Json<Login>, JsonRejection> = request.extract().await;
    let form = "{name, password} or {token}";
    let shown = match given(body, form)? {
        Login { name: Some(name), password: Some(password), token: None } => {
            Shown::Password(name, Secret::new(password))
        }
        Login { name: None, password: None, token: Some(token) } => {
            Shown::Token(Secret::new(token))
        }
        _ => return Err(Problem::new(StatusCode::BAD_REQUEST, format!("give {form}"))),
    };
    let begun = log_in(&api, &watch, (asked, &headers), shown).await?;
    let mut response = unkept.told((StatusCode::CREATED, Json(begun.told)));
    response.headers_mut().insert(header::SET_COOKIE, begun.cookie);
    Ok(response)
}

/// What a session that has begun is told.
pub(crate) struct LoggedIn {
    /// The cookie of the session.
    pub(crate) cookie: HeaderValue,
    /// As [`Who::told`].
    told: Value,
}

/// Begins a session for whoever shows who they are; it takes the place of the one they had.
pub(crate) async fn log_in(
    api: &Arc<Api>,
    watch: &Watch,
    (asked, headers): (Asked, &HeaderMap),
    shown: Shown,
) -> Answer<LoggedIn> {
    let (kind, name, begun) = match shown {
        Shown::Token(shown) => ("token", None, by_token(api, &shown).await),
        Shown::Password(name, password) => {
            let tried = watch.tries.begin(&name, asked.address(), Instant::now());
            if let Err(again @ TooOften { first: false, .. }) = tried {
                // The first of them was written down.
                return Err(again.into());
            }
            let by = (&*name, asked.address());
            let (user, begun) = by_password(api, watch, by, password, tried).await;
            ("user", user.map(|user| user.name), begun)
        }
    };
    let is_known = name.is_some() || begun.is_ok();
    let name = name.unwrap_or_else(|| {
        // What is the name of nobody may be a password in the wrong field.
        if kind == "token" { "api-token" } else { "nobody of that name" }.to_owned()
    });
    let status = match &begun {
        Ok(_) => StatusCode::CREATED,
        Err(problem) => problem.status(),
    };
    if is_known || watch.tries.is_written(asked.address(), Instant::now()) {
        asked.write_down(api, kind, name, status.as_u16()).await;
    }
    let begun = begun?;
    if let Some(old) = who::cookie(headers) {
        let (api, old) = (Arc::clone(api), token::hash(old));
        super::asked(api, move |api| Ok(api.engine.ledger()?.end_session(&old)?)).await?;
    }
    let cookie = cookie(begun.text.reveal(), is_secure(watch, headers))?;
    Ok(LoggedIn { cookie, told: begun.told })
}

async fn by_token(api: &Arc<Api>, shown: &Secret) -> Answer<Begun> {
    if !same(shown.reveal().trim(), api.token.reveal()) {
        return Err(wrong("that is not the token"));
    }
    let begun =
        asked(Arc::clone(api), |api| begun(api, Owner::Token(&token::hash(api.token.reveal()))));
    begun.await
}

/// Begins a session, if it may; also gives the user of that name.
async fn by_password(
    api: &Arc<Api>,
    watch: &Watch,
    (name, address): (&str, &str),
    password: Secret,
    tried: Result<(), TooOften>,
) -> (Option<User>, Answer<Begun>) {
    let turn = match tried {
        Ok(()) => watch.tries.turn().await,
        Err(_) => None,
    };
    let of = name.to_owned();
    let done = asked(Arc::clone(api), move |api| {
        let _turn = turn;
        let found = api.engine.ledger()?.password_of(&of)?;
        let user = found.as_ref().map(|(user, _)| user.clone());
        if let Err(too_often) = tried {
            return Ok((user, Err(too_often.into())));
        }
        let right = people::is(&password, found.as_ref().map(|(_, kept)| kept.as_str()));
        let begun = match &user {
            Some(user) if right? && user.disabled_at.is_none() => begun(api, Owner::User(user.id)),
            _ => Err(wrong("name or password is wrong, or the user is disabled")),
        };
        Ok((user, begun))
    });
    match done.await {
        Ok((user, begun)) => {
            if begun.is_ok() {
                watch.tries.succeeded(name, address);
            }
            (user, begun)
        }
        Err(problem) => (None, Err(problem)),
    }
}

fn wrong(detail: &str) -> Problem {
    Problem::new(StatusCode::UNAUTHORIZED, detail)
}

fn begun(api: &Api, owner: Owner<'_>) -> Answer<Begun> {
    let (text, ledger) = (token::random()?, api.engine.ledger()?);
    ledger.begin_session(&token::hash(&text), owner, Timestamp::now())?;
    let who = Who::of_session(api, &*ledger, &text)?;
    // Whoever was disabled or removed meanwhile is nobody.
    let told = who.ok_or_else(|| wrong("the session is over"))?.told();
    Ok(Begun { text: Secret::new(text), told })
}

/// Ends the session of whoever asks.
pub(super) async fn end(
    State(api): State<Arc<Api>>,
    Extension(watch): Extension<Arc<Watch>>,
    Extension(who): Extension<Who>,
    headers: HeaderMap,
) -> Answer<Response> {
    let Some(session) = who.session else {
        let detail = "whoever asks with a token has no session";
        return Err(Problem::new(StatusCode::CONFLICT, detail));
    };
    asked(api, move |api| Ok(api.engine.ledger()?.end_session(&session.hash)?)).await?;
    let mut response = StatusCode::NO_CONTENT.into_response();
    response.headers_mut().insert(header::SET_COOKIE, cookie("", is_secure(&watch, &headers))?);
    Ok(response)
}

/// Whether the cookie may only go over TLS: a proxy speaks it, or others than this machine may ask.
pub(crate) fn is_secure(watch: &Watch, headers: &HeaderMap) -> bool {
    !watch.is_local || is_encrypted(headers)
}

/// The cookie of a session; without a text the browser forgets it. It ends with the browser.
pub(crate) fn cookie(text: &str, secure: bool) -> Answer<HeaderValue> {
    let mut cookie = format!("{}={text}; HttpOnly; SameSite=Strict; Path=/", who::COOKIE);
    if text.is_empty() {
        cookie.push_str("; Max-Age=0");
    }
    if secure {
        cookie.push_str("; Secure");
    }
    let bug = |error| Error::bug("a cookie that cannot be sent").caused_by(error);
    let mut value = HeaderValue::from_str(&cookie).map_err(bug)?;
    value.set_sensitive(true);
    Ok(value)
}
