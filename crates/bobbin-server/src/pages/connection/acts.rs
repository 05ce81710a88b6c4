//! What is done with a connection by a button: run, stop, pause.

use std::sync::Arc;

use axum::Form;
use axum::extract::{Path, State};
use axum::response::Response;
use serde::Deserialize;

use crate::Api;
use crate::api::{Answer, asked, known, setup};
use crate::pages::entry::own;
use crate::pages::{Said, gone_to};

#[derive(Deserialize)]
pub(crate) struct Back {
    #[serde(default)]
    back: String,
    #[serde(default)]
    paused: String,
}

/// Tells what came of an act where it was asked for.
pub(crate) fn told(done: Answer<()>, back: &str, good: &str) -> Response {
    match done {
        Ok(()) => gone_to(own(back), Some(&Said::good(good))),
        Err(problem) => gone_to(own(back), Some(&Said::bad(problem.detail()))),
    }
}

pub(crate) async fn run(
    State(api): State<Arc<Api>>,
    Path(connection): Path<String>,
) -> Answer<Response> {
    let of = connection.clone();
    let begun = asked(api, move |api| {
        let id = known(api, &of)?;
        setup::configured(api, &id)?;
        Ok(api.control.run(&id)?)
    });
    Ok(match begun.await {
        Ok(job) => gone_to(&format!("/connections/{connection}/extractions/{job}"), None),
        Err(problem) => told(Err(problem), &format!("/connections/{connection}"), ""),
    })
}

pub(crate) async fn stop(
    State(api): State<Arc<Api>>,
    Path(connection): Path<String>,
    Form(form): Form<Back>,
) -> Response {
    let stopped = asked(api, move |api| Ok(api.control.stop(&known(api, &connection)?)?)).await;
    told(
        stopped,
        &form.back,
        "The job is asked to stop, or is taken out where it had not begun. What is committed stays.",
    )
}

pub(crate) async fn pause(
    State(api): State<Arc<Api>>,
    Path(connection): Path<String>,
    Form(form): Form<Back>,
) -> Response {
    let paused = form.paused == "yes";
    let done = asked(api, move |api| Ok(api.control.pause(&known(api, &connection)?, paused)?));
    let good = if paused {
        "Paused: no slot of its schedule counts until it is resumed. A job that runs goes on."
    } else {
        "Resumed: it runs by its schedule again."
    };
    told(done.await, &form.back, good)
}
