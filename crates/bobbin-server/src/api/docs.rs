//! The API's document, for programs and as a page.

use std::fmt::Write as _;

use axum::http::header;
use axum::response::{Html, IntoResponse, Response};
use serde_json::Value;

/// The document, OpenAPI 3.1.
pub(crate) const DOCUMENT: &str = include_str!("../../openapi.json");

pub(super) async fn document() -> Response {
    ([(header::CONTENT_TYPE, "application/json")], DOCUMENT).into_response()
}

pub(super) async fn page() -> Html<String> {
    Html(html(&serde_json::from_str(DOCUMENT).unwrap_or_default()))
}

const HEAD: &str = "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\">\
<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"><title>bobbin: API</title>\
<style>body{font:16px/1.5 system-ui,sans-serif;max-width:50rem;margin:2rem auto;padding:0 1rem;\
color:#1d2433}h2{font-size:1rem;margin:2rem 0 .25rem}code,b{font-family:ui-monospace,monospace}\
b{display:inline-block;min-width:4rem;color:#0a5c46}ul{margin:.25rem 0;padding-left:5.2rem}\
p{margin:.25rem 0}@media(prefers-color-scheme:dark){body{background:#12161f;color:#dde3ee}\
b{color:#62d4ad}a{color:#8ab4ff}}</style>";

fn html(document: &Value) -> String {
    let text = |value: &Value| escaped(value.as_str().unwrap_or_default());
    let mut page = HEAD.to_owned();
    // Writing to a string cannot fail.
    let _ = write!(
        page,
        "<h1>{}: API</h1><p>{}</p><p><a href=\"openapi.json\">openapi.json</a></p>",
        text(&document["info"]["title"]),
        text(&document["info"]["description"])
    );
    for (path, operations) in document["paths"].as_object().into_iter().flatten() {
        for (method, operation) in operations.as_object().into_iter().flatten() {
            let _ = write!(
                page,
                "<h2><b>{}</b> <code>{}</code></h2><p>{}</p><ul>",
                method.to_uppercase(),
                escaped(path),
                text(&operation["summary"])
            );
            let queries = operation["parameters"].as_array().into_iter().flatten();
            for parameter in queries.filter(|parameter| parameter["in"] == "query") {
                let (name, what) = (text(&parameter["name"]), text(&parameter["description"]));
                let _ = write!(page, "<li><code>?{name}=</code> {what}</li>");
            }
            for (status, answer) in operation["responses"].as_object().into_iter().flatten() {
                let what = text(&answer["description"]);
                let _ = write!(page, "<li><code>{}</code> {what}</li>", escaped(status));
            }
            page.push_str("</ul>");
        }
    }
    page
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
