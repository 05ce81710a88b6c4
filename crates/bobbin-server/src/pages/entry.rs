//! Coming in and leaving.

use std::sync::Arc;

use askama::Template;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Form};
use bobbin_core::secret::Secret;
use serde::Deserialize;

use super::visit::keep_theme;
use super::{Frame, Place, Said, Visit, gone_to, shown, shown_as, welcome};
use crate::Api;
use crate::api::asked;
use crate::api::session::{self, Shown};
use crate::audit::Asked;
use crate::gate::Watch;
use crate::guests::Peer;
use crate::who::Who;

#[derive(Template)]
#[template(path = "login.html")]
struct LoginPage {
    frame: Frame,
    next: String,
    /// Whether there are users; without, the token is the way in.
    users: bool,
    by_token: bool,
    name: String,
    wrong: Option<String>,
    /// Told in full only where nobody else can ask.
    token_file: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct Next {
    #[serde(default)]
    next: String,
    #[serde(default)]
    by: String,
}

#[derive(Deserialize)]
pub(super) struct Login {
    #[serde(default)]
    name: String,
    #[serde(default)]
    password: String,
    #[serde(default)]
    token: String,
    #[serde(default)]
    next: String,
    #[serde(default)]
    by: String,
}

pub(super) async fn login(
    State(api): State<Arc<Api>>,
    Extension(watch): Extension<Arc<Watch>>,
    Query(next): Query<Next>,
    visit: Visit,
) -> Response {
    let local = watch.is_local;
    let page =
        move |api: &Api, frame| page(api, frame, local, next.next, next.by == "token", "", None);
    shown(api, visit, Place::Else, page).await
}

fn page(
    api: &Api,
    frame: Frame,
    is_local: bool,
    next: String,
    by_token: bool,
    name: &str,
    wrong: Option<String>,
) -> crate::api::Answer<LoginPage> {
    let users = !api.engine.ledger()?.users()?.is_empty();
    let token_file = api.engine.home().join("api-token").display().to_string();
    let token_file = is_local.then_some(token_file);
    Ok(LoginPage {
        frame: frame.titled("Log in"),
        next,
        users,
        by_token: by_token || !users,
        name: name.to_owned(),
        wrong,
        token_file,
    })
}

pub(super) async fn log_in(
    State(api): State<Arc<Api>>,
    Extension(watch): Extension<Arc<Watch>>,
    Extension(peer): Extension<Peer>,
    (method, uri, headers): (Method, Uri, HeaderMap),
    visit: Visit,
    Form(login): Form<Login>,
) -> Response {
    let asked = Asked::of(&method, uri.path(), &headers, Some(peer));
    let by_token = login.by == "token";
    let given = if by_token {
        Shown::Token(Secret::new(login.token))
    } else {
        Shown::Password(login.name.clone(), Secret::new(login.password))
    };
    match session::log_in(&api, &watch, (asked, &headers), given).await {
        Ok(begun) => {
            let first = asked_first(&api, &login.next).await;
            let mut response = gone_to(if first { "/welcome" } else { own(&login.next) }, None);
            response.headers_mut().append(header::SET_COOKIE, begun.cookie);
            response
        }
        Err(problem) => {
            let (status, wrong) = (problem.status(), problem.detail().to_owned());
            let make = move |api: &Api, frame| {
                page(api, frame, watch.is_local, login.next, by_token, &login.name, Some(wrong))
            };
            shown_as(status, api, visit, Place::Else, make).await
        }
    }
}

/// Whether whoever has come in has everything to set up yet, and came for nothing else.
async fn asked_first(api: &Arc<Api>, next: &str) -> bool {
    own(next) == "/" && asked(Arc::clone(api), welcome::is_first_run).await.unwrap_or(false)
}

/// An address of this service; anything else is the first page.
pub(super) fn own(next: &str) -> &str {
    let plain = |text: &str| text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\');
    if next.starts_with('/') && !next.starts_with("//") && plain(next) { next } else { "/" }
}

pub(super) async fn log_out(
    State(api): State<Arc<Api>>,
    Extension(watch): Extension<Arc<Watch>>,
    Extension(who): Extension<Who>,
    headers: HeaderMap,
) -> Response {
    if let Some(session) = who.session {
        let ended = asked(api, move |api| Ok(api.engine.ledger()?.end_session(&session.hash)?));
        if let Err(problem) = ended.await {
            return problem.into_response();
        }
    }
    let mut response = gone_to("/login", Some(&Said::good("You are logged out.")));
    match session::cookie("", session::is_secure(&watch, &headers)) {
        Ok(cookie) => response.headers_mut().append(header::SET_COOKIE, cookie),
        Err(problem) => return problem.into_response(),
    };
    response
}

#[derive(Deserialize)]
pub(super) struct Theme {
    #[serde(default)]
    back: String,
}

/// The next way to look: as the system has it, dark, light.
pub(super) async fn theme(visit: Visit, Form(theme): Form<Theme>) -> Response {
    let next = match visit.theme {
        None => "dark",
        Some("dark") => "light",
        Some(_) => "",
    };
    let mut response = gone_to(own(&theme.back), None);
    response.headers_mut().append(header::SET_COOKIE, keep_theme(next));
    *response.status_mut() = StatusCode::SEE_OTHER;
    response
}

#[cfg(test)]
mod tests {
    use super::own;

    #[test]
    fn nobody_is_sent_elsewhere() {
        for fine in ["/", "/connections/a?x=1", "/notices#b"] {
            assert_eq!(own(fine), fine);
        }
        for wrong in ["", "https://evil", "//evil", "/\\evil", "javascript:x", "/a\r\nb", "/ b"] {
            assert_eq!(own(wrong), "/", "{wrong}");
        }
    }
}
