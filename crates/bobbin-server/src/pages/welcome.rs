//! The first run: the first user, the first destination, and on to the first connection.

use std::sync::Arc;

use askama::Template;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Form};
use bobbin_core::secret::Secret;
use bobbin_engine::ledger::{Role, Thing};
use serde::Deserialize;

use super::destinations::{self, DestinationForm};
use super::field::{self, Entered, Field, Pairs, Refused, Wrongs};
use super::show::Told;
use super::steps::Step;
use super::{Frame, Place, Said, Visit, gone_to, shown, shown_as};
use crate::Api;
use crate::api::session::{self, Shown};
use crate::api::{Answer, asked, people};
use crate::audit::Asked;
use crate::gate::Watch;
use crate::guests::Peer;
use crate::problem::Problem;

const USER: &str = "/welcome";
const DESTINATION: &str = "/welcome/destination";

/// Whether what a first run sets up is not there yet.
pub(super) fn is_first_run(api: &Api) -> Answer<bool> {
    Ok(api.engine.ledger()?.users()?.is_empty() && api.program.parts(Thing::Destination).is_empty())
}

fn steps(here: usize, users: bool) -> Vec<Step> {
    let step = |at: usize, name: &'static str, href: Option<&str>, done: bool| Step {
        name,
        href: href.map(str::to_owned),
        done,
        here: at == here,
    };
    vec![
        step(0, "You", (!users).then_some(USER), users),
        step(1, "Destination", Some(DESTINATION), false),
        step(2, "Kustomer", None, false),
    ]
}

#[derive(Template)]
#[template(path = "welcome.html")]
struct UserPage {
    frame: Frame,
    steps: Vec<Step>,
    wrong: Option<String>,
    fields: Vec<Field>,
}

fn user_page(frame: Frame, entered: &Entered, wrongs: &Wrongs) -> UserPage {
    let fields = vec![
        Field::text("name", "Your name", entered.get("name"))
            .needed()
            .help("With it you log in: letters and digits without accents, . _ - @ +")
            .complete("username")
            .wrong(wrongs),
        Field::text("password", "Password", "")
            .needed()
            .kind("password")
            .help("12 characters or more; a few words in a row are long and easy to remember.")
            .complete("new-password")
            .wrong(wrongs),
        Field::text("again", "The same password again", "")
            .needed()
            .kind("password")
            .complete("new-password")
            .wrong(wrongs),
    ];
    UserPage {
        frame: frame.titled("Welcome"),
        steps: steps(0, false),
        wrong: wrongs.beside(&["name", "password", "again"]),
        fields,
    }
}

/// Where the first run goes on.
pub(super) async fn user(State(api): State<Arc<Api>>, visit: Visit) -> Response {
    let looked = asked(Arc::clone(&api), |api| {
        let users = !api.engine.ledger()?.users()?.is_empty();
        Ok((users, api.program.parts(Thing::Destination).is_empty()))
    });
    match looked.await {
        Ok((true, true)) => gone_to(DESTINATION, None),
        Ok((true, false)) => gone_to("/", None),
        Ok((false, _)) => {
            let page =
                |_: &Api, frame| Ok(user_page(frame, &Entered::default(), &Wrongs::default()));
            shown(api, visit, Place::Else, page).await
        }
        Err(problem) => problem.into_response(),
    }
}

/// Makes the first user, who is an administrator, and has them go on in a session of their own.
pub(super) async fn make_user(
    State(api): State<Arc<Api>>,
    Extension(watch): Extension<Arc<Watch>>,
    Extension(peer): Extension<Peer>,
    (method, uri, headers): (Method, Uri, HeaderMap),
    visit: Visit,
    Form(pairs): Pairs,
) -> Response {
    let entered = Entered::new(pairs);
    let (name, password) = (entered.get("name").to_owned(), entered.raw("password"));
    let made = if password == entered.raw("again") {
        first(&api, &watch, &name, &password).await
    } else {
        Err(Refused::Wrong(Wrongs::of("again", "This is not the password above.")))
    };
    match made {
        Ok(()) => {}
        Err(Refused::Else(problem)) => return problem.into_response(),
        Err(Refused::Wrong(wrongs)) => {
            let page = move |_: &Api, frame| Ok(user_page(frame, &entered, &wrongs));
            let status = StatusCode::UNPROCESSABLE_ENTITY;
            return shown_as(status, api, visit, Place::Else, page).await;
        }
    }
    let asked = Asked::of(&method, uri.path(), &headers, Some(peer));
    let given = Shown::Password(name.clone(), Secret::new(password));
    match session::log_in(&api, &watch, (asked, &headers), given).await {
        Ok(begun) => {
            let said = Said::good(format!("Welcome, {name}. You are logged in."));
            let mut response = gone_to(DESTINATION, Some(&said));
            response.headers_mut().append(header::SET_COOKIE, begun.cookie);
            response
        }
        Err(problem) => problem.into_response(),
    }
}

async fn first(api: &Arc<Api>, watch: &Watch, name: &str, password: &str) -> Result<(), Refused> {
    let users = asked(Arc::clone(api), |api| Ok(api.engine.ledger()?.users()?)).await?;
    if !users.is_empty() {
        let detail = "there are users already; an administrator makes further ones";
        return Err(Problem::new(StatusCode::CONFLICT, detail).into());
    }
    let secret = Secret::new(password);
    let made = people::make(Arc::clone(api), watch, name.to_owned(), Role::Administrator, secret);
    match made.await {
        Ok(_) => Ok(()),
        Err(problem) if problem.status() == StatusCode::UNPROCESSABLE_ENTITY => {
            let about_password = problem.detail().contains("password");
            let field = if about_password { "password" } else { "name" };
            Err(Refused::Wrong(Wrongs::of(field, Told::line(problem.detail()))))
        }
        Err(problem) => Err(problem.into()),
    }
}

#[derive(Template)]
#[template(path = "welcome_destination.html")]
struct DestinationPage {
    frame: Frame,
    steps: Vec<Step>,
    form: DestinationForm,
    is_duckdb: bool,
}

fn destination_page(
    api: &Api,
    frame: Frame,
    kind: &str,
    entered: Option<&Entered>,
    wrongs: &Wrongs,
) -> Answer<DestinationPage> {
    let users = !api.engine.ledger()?.users()?.is_empty();
    Ok(DestinationPage {
        frame: frame.titled("Where tables go"),
        steps: steps(1, users),
        form: DestinationForm::of(api, kind, None, entered, wrongs)?,
        is_duckdb: kind == "duckdb",
    })
}

#[derive(Deserialize)]
pub(super) struct Chosen {
    #[serde(default = "duckdb", rename = "type")]
    kind: String,
}

fn duckdb() -> String {
    "duckdb".to_owned()
}

pub(super) async fn destination(
    State(api): State<Arc<Api>>,
    visit: Visit,
    Query(chosen): Query<Chosen>,
) -> Response {
    if !api.program.parts(Thing::Destination).is_empty() {
        return gone_to("/add", None);
    }
    shown(api, visit, Place::Else, move |api, frame| {
        destination_page(api, frame, &chosen.kind, None, &Wrongs::default())
    })
    .await
}

pub(super) async fn make_destination(
    State(api): State<Arc<Api>>,
    visit: Visit,
    pairs: Pairs,
) -> Response {
    let act = |api: &Api, entered: &Entered| {
        let (_, unbegun) = destinations::save(api, None, entered)?;
        let said = destinations::kept("The destination is set up.", unbegun);
        Ok(Some(("/add".to_owned(), Some(said))))
    };
    let again = |api: &Api, frame, entered: &Entered, wrongs: &Wrongs| {
        destination_page(api, frame, entered.get("type"), Some(entered), wrongs)
    };
    field::sent((api, visit, Place::Else), pairs, act, again).await
}
