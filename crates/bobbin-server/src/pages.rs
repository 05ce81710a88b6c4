//! The pages: what a person sees of the service in a browser. They ask the same model as the API and
//! decide nothing by themselves; every form works without a script.

mod add;
mod assets;
mod connection;
mod connections;
mod destinations;
mod entry;
mod extraction;
pub(crate) mod field;
pub(crate) mod forecast;
mod frame;
mod notices;
mod reference;
mod rejected;
pub(crate) mod schedule;
pub(crate) mod selection;
mod settings;
mod show;
pub(crate) mod steps;
mod system;
mod visit;
mod welcome;

use std::sync::Arc;

use askama::Template;
use axum::Router;
use axum::extract::{DefaultBodyLimit, Request};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use bobbin_core::Error;

use crate::Api;
use crate::api::{Answer, asked};
use crate::problem::Problem;
use crate::who::CSRF;

pub(crate) use frame::{Frame, Place};
pub(crate) use visit::{Said, Visit};

/// What a browser may do with a page: run and draw what comes from here, and send forms here alone.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
                      connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// Beginnings of the addresses that programs ask; all others are pages.
const PROGRAMS: [&str; 7] =
    ["/api/", "/v4/", "/v2/", "/notifications/public/", "/metrics", "/health", "/ready"];

/// Bytes of a form: one with a choice for each of thousands of columns is long.
const MOST_FORM_BYTES: usize = 1 << 20;

/// Pages that anybody may see.
const OPEN: &str = "/login";

/// Whether an address is one of a page.
pub(crate) fn is_page(path: &str) -> bool {
    !PROGRAMS.iter().any(|begin| path.starts_with(begin))
}

/// Whether anybody may ask for a page: it shows nothing of anybody's.
pub(crate) fn is_open(path: &str) -> bool {
    path == OPEN || path.starts_with(assets::ROOT)
}

pub(crate) fn router() -> Router<Arc<Api>> {
    Router::new()
        .route("/", get(connections::list))
        .route("/add", get(add::begin).post(add::make))
        .route("/add-destination", get(destinations::add).post(destinations::make))
        .route("/add-naming", get(add::naming))
        .route("/add/{connection}", get(add::resume))
        .route("/add/{connection}/check", get(add::check).post(add::check_again))
        .route("/add/{connection}/checked", get(add::checked))
        .route("/add/{connection}/discard", post(add::discard))
        .route("/add/{connection}/finish", post(add::finish))
        .route("/add/{connection}/forecast", get(add::forecast))
        .route("/add/{connection}/key", get(add::key).post(add::set_key))
        .route("/add/{connection}/schedule", get(add::timing).post(add::set_timing))
        .route("/add/{connection}/start", get(add::start).post(add::set_start))
        .route("/add/{connection}/start/forecast", get(add::start_forecast))
        .route("/add/{connection}/tables", get(add::tables))
        .route("/assets/{name}", get(assets::asset))
        .route("/audit", get(settings::audit::list))
        .route("/channels", get(settings::channels::list))
        .route("/add-channel", post(settings::channels::add))
        .route("/channels/{channel}", get(settings::channel::form))
        .route("/channels/{channel}/save", post(settings::channel::save))
        .route("/channels/{channel}/enable", post(settings::channels::enable))
        .route("/channels/{channel}/remove", post(settings::channels::remove))
        .route("/connections/{connection}", get(connection::summary::summary))
        .route("/connections/{connection}/backfill", post(connection::settings::backfill))
        .route("/connections/{connection}/checked", get(connection::settings::checked))
        .route("/connections/{connection}/clone", post(connection::settings::clone))
        .route("/connections/{connection}/data", get(connection::data::tables))
        .route("/connections/{connection}/data/{table}", get(connection::data::rows))
        .route("/connections/{connection}/delete", post(connection::settings::delete))
        .route("/connections/{connection}/extractions", get(connection::extractions::list))
        .route("/connections/{connection}/extractions/{job}", get(extraction::page))
        .route("/connections/{connection}/extractions/{job}/coverage", get(extraction::coverage))
        .route("/connections/{connection}/extractions/{job}/live", get(extraction::follow))
        .route("/connections/{connection}/extractions/{job}/log", get(extraction::lines))
        .route("/connections/{connection}/extractions/{job}/stop", post(extraction::stop))
        .route("/connections/{connection}/jobs", post(connection::acts::run))
        .route("/connections/{connection}/key", post(connection::settings::key))
        .route("/connections/{connection}/loads", get(connection::loads::list))
        .route("/connections/{connection}/pause", post(connection::acts::pause))
        .route("/connections/{connection}/rejected", get(rejected::page))
        .route("/connections/{connection}/rejected/download", get(rejected::download))
        .route("/connections/{connection}/rejected/retry", post(rejected::retry))
        .route("/connections/{connection}/rename", post(connection::settings::rename))
        .route("/connections/{connection}/reset", post(connection::settings::reset))
        .route("/connections/{connection}/schedule", post(connection::settings::schedule))
        .route("/connections/{connection}/settings", get(connection::settings::settings))
        .route("/connections/{connection}/start", post(connection::settings::start))
        .route("/connections/{connection}/stop", post(connection::acts::stop))
        .route("/connections/{connection}/tables", get(connection::tables::tables))
        .route("/connections/{connection}/tables/save", post(connection::tables::save))
        .route("/destinations", get(destinations::list))
        .route("/destinations/{name}", get(destinations::one))
        .route("/destinations/{name}/check", post(destinations::check))
        .route("/destinations/{name}/checked", get(destinations::checked))
        .route("/destinations/{name}/delete", post(destinations::delete))
        .route("/destinations/{name}/save", post(destinations::change))
        .route("/keys", get(settings::keys::list))
        .route("/keys/add", post(settings::keys::add))
        .route("/keys/{key}/delete", post(settings::keys::delete))
        .route("/keys/{key}/enable", post(settings::keys::enable))
        .route("/login", get(entry::login).post(entry::log_in))
        .route("/logout", post(entry::log_out))
        .route("/me", get(settings::users::me))
        .route("/me/password", post(settings::users::password))
        .route("/notices", get(notices::list))
        .route("/notices/{notice}/dismiss", post(notices::dismiss))
        .route("/schedule/preview", get(schedule::preview))
        .route("/reference", get(reference::page))
        .route("/system", get(system::system))
        .route("/theme", post(entry::theme))
        .route("/users", get(settings::users::list))
        .route("/users/add", post(settings::users::add))
        .route("/users/{user}/change", post(settings::users::change))
        .route("/users/{user}/remove", post(settings::users::remove))
        .route("/welcome", get(welcome::user))
        .route("/welcome/destination", get(welcome::destination).post(welcome::make_destination))
        .route("/welcome/user", post(welcome::make_user))
        .layer(DefaultBodyLimit::max(MOST_FORM_BYTES))
}

/// A page made by `make`, which may ask what blocks.
pub(crate) async fn shown<T: Template>(
    api: Arc<Api>,
    visit: Visit,
    place: Place,
    make: impl FnOnce(&Api, Frame) -> Answer<T> + Send + 'static,
) -> Response {
    shown_as(StatusCode::OK, api, visit, place, make).await
}

/// The same with a status of its own, for a form that was filled in wrongly.
pub(crate) async fn shown_as<T: Template>(
    status: StatusCode,
    api: Arc<Api>,
    visit: Visit,
    place: Place,
    make: impl FnOnce(&Api, Frame) -> Answer<T> + Send + 'static,
) -> Response {
    let told = visit.said.is_some();
    let gzip = visit.gzip;
    let page = asked(api, move |api| {
        let frame = Frame::of(api, visit, place)?;
        rendered(&make(api, frame)?, gzip)
    });
    match page.await {
        Ok(body) => {
            let mut response = (status, body).into_response();
            if told {
                // It was said once.
                response.headers_mut().append(header::SET_COOKIE, visit::forget());
            }
            response
        }
        Err(problem) => problem.into_response(),
    }
}

/// A part of a page, as it is put in the place of what is there.
pub(crate) async fn part<T: Template>(
    api: Arc<Api>,
    gzip: bool,
    make: impl FnOnce(&Api) -> Answer<T> + Send + 'static,
) -> Answer<Body> {
    asked(api, move |api| rendered(&make(api)?, gzip)).await
}

/// A page's text, made small where the browser takes it so.
pub(crate) struct Body {
    text: Vec<u8>,
    gzip: bool,
}

/// Bytes that are not worth making smaller.
const SMALL: usize = 1400;

fn rendered<T: Template>(page: &T, gzip: bool) -> Answer<Body> {
    let bug = |error: askama::Error| Error::bug("a page cannot be shown").caused_by(error);
    let text = page.render().map_err(bug)?.into_bytes();
    let gzip = gzip && text.len() > SMALL;
    Ok(Body { text: if gzip { assets::packed(&text, 5) } else { text }, gzip })
}

impl IntoResponse for Body {
    fn into_response(self) -> Response {
        let mut response = self.text.into_response();
        let headers = response.headers_mut();
        let html = HeaderValue::from_static("text/html; charset=utf-8");
        headers.insert(header::CONTENT_TYPE, html);
        headers.insert(header::VARY, HeaderValue::from_static("accept-encoding, cookie"));
        if self.gzip {
            headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
        guard(headers);
        response
    }
}

/// What a browser is told to do with a page.
fn guard(headers: &mut HeaderMap) {
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::REFERRER_POLICY, "same-origin"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        (HeaderName::from_static("permissions-policy"), "camera=(), geolocation=(), microphone=()"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
}

/// Sends a browser elsewhere after a form, where it is told something once.
pub(crate) fn gone_to(to: &str, said: Option<&Said>) -> Response {
    let to = HeaderValue::from_str(to).unwrap_or(HeaderValue::from_static("/"));
    let mut response = (StatusCode::SEE_OTHER, [(header::LOCATION, to)]).into_response();
    if let Some(said) = said {
        response.headers_mut().append(header::SET_COOKIE, said.cookie());
    }
    response
}

/// Sends whoever is not known to where they can say who they are, and from there back.
pub(crate) fn to_login(method: &Method, request: &str, headers: &HeaderMap) -> Response {
    // A part of a page is of no use alone: the browser goes with all of its page.
    if let Some(page) = headers.get("HX-Current-URL").and_then(|page| page.to_str().ok()) {
        let path = page.splitn(4, '/').nth(3).unwrap_or_default();
        let login = login(&format!("/{path}"));
        let to = HeaderValue::from_str(&login).unwrap_or(HeaderValue::from_static("/login"));
        return (StatusCode::UNAUTHORIZED, [("HX-Redirect", to)]).into_response();
    }
    if *method == Method::GET {
        return gone_to(&login(request), None);
    }
    // What was posted is not sent again.
    let said = "Your session was over: what you sent was not done. Log in and send it again.";
    gone_to("/login", (request != "/logout").then(|| Said::bad(said)).as_ref())
}

/// Where one logs in, and goes on from to a page.
fn login(next: &str) -> String {
    if next == "/" {
        return "/login".to_owned();
    }
    let next: String = form_urlencoded::byte_serialize(next.as_bytes()).collect();
    format!("/login?next={next}")
}

/// A form carries in a field what a program's request carries in a header.
///
/// # Errors
/// When it is too large or cannot be read.
pub(crate) async fn with_csrf(request: Request) -> Answer<Request> {
    let form = header::HeaderValue::from_static("application/x-www-form-urlencoded");
    if request.headers().get(header::CONTENT_TYPE) != Some(&form) {
        return Ok(request);
    }
    let (mut head, body) = request.into_parts();
    let body = axum::body::to_bytes(body, MOST_FORM_BYTES).await.map_err(|_| {
        Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "the form is too large, or broke off")
    })?;
    let given = form_urlencoded::parse(&body).find(|(name, _)| name == "csrf");
    let given = given.and_then(|(_, text)| HeaderValue::from_str(&text).ok());
    if let Some(given) = given.filter(|_| !head.headers.contains_key(CSRF)) {
        head.headers.insert(HeaderName::from_static(CSRF), given);
    }
    Ok(Request::from_parts(head, body.into()))
}

#[derive(Template)]
#[template(path = "problem.html")]
struct ProblemPage {
    frame: Frame,
    status: u16,
    heading: &'static str,
    detail: String,
    advice: &'static str,
}

/// An error as a page; of a request that changes something it is told what becomes of that.
pub(crate) fn problem(problem: &Problem, visit: Visit, changing: bool) -> Response {
    let status = problem.status();
    let (heading, advice) = match status {
        StatusCode::FORBIDDEN => ("You may not do that", "Ask an administrator of this bobbin."),
        StatusCode::NOT_FOUND => ("There is no such page", "It may have been removed or renamed."),
        StatusCode::CONFLICT => {
            ("That cannot be done now", "Go back, look again, and try once more.")
        }
        StatusCode::GATEWAY_TIMEOUT if changing => (
            "It takes longer than a page can wait",
            "What you asked for goes on. Look whether it is done before you ask for it again.",
        ),
        StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT => {
            ("bobbin cannot answer just now", "Nothing was lost. Try again in a moment.")
        }
        status if status.is_server_error() => {
            ("Something went wrong in bobbin", "Nothing was lost. The service's own log has more.")
        }
        _ => ("That request cannot be done", "Go back and look at what was entered."),
    };
    let gzip = visit.gzip;
    let frame = Frame::alone(visit, heading);
    let detail = problem.detail().to_owned();
    let page = ProblemPage { frame, status: status.as_u16(), heading, detail, advice };
    match rendered(&page, gzip) {
        Ok(body) => (status, body).into_response(),
        Err(problem) => problem.into_response(),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may")]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_told_to_ask_again_for_what_goes_on() {
        let text = |changing| {
            let visit = Visit {
                who: None,
                theme: None,
                said: None,
                gzip: false,
                address: "/connections/a/reset".to_owned(),
            };
            let late = Problem::new(StatusCode::GATEWAY_TIMEOUT, "the answer took too long");
            let body = problem(&late, visit, changing).into_body();
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let body = runtime.block_on(axum::body::to_bytes(body, 1 << 20)).unwrap();
            String::from_utf8(body.to_vec()).unwrap()
        };
        assert!(text(false).contains("Nothing was lost. Try again in a moment."));
        assert!(text(true).contains("What you asked for goes on."));
        assert!(!text(true).contains("Try again"));
    }
}
