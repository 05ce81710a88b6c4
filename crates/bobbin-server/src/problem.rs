//! Errors as problem details (RFC 9457), or as Stitch gives them to those who ask in its way.

use axum::extract::rejection::JsonRejection;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use bobbin_core::{Error, ErrorKind};
use serde_json::{Map, Value, json};

/// What went wrong with a request.
#[derive(Clone, Debug)]
pub(crate) struct Problem {
    status: StatusCode,
    detail: String,
    /// The word Stitch has for it (`stitch-behaviour.md` 9.4).
    word: Option<&'static str>,
    more: Map<String, Value>,
    /// Seconds after which it may be tried again.
    after: Option<u16>,
}

impl Problem {
    pub(crate) fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Self { status, detail: detail.into(), word: None, more: Map::new(), after: None }
    }

    pub(crate) fn not_found(what: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, format!("there is no such {what}"))
    }

    /// A request that Stitch refuses with this word.
    pub(crate) fn refused(word: &'static str, detail: impl Into<String>) -> Self {
        Self { word: Some(word), ..Self::new(StatusCode::BAD_REQUEST, detail) }
    }

    /// A body that cannot be read, in Stitch's way.
    pub(crate) fn unread(error: JsonRejection) -> Self {
        Self::refused("InvalidBody", error.body_text())
    }

    /// The same with something more to know.
    pub(crate) fn with(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.more.insert(key.to_owned(), value.into());
        self
    }

    /// The same with the seconds after which it may be tried again.
    pub(crate) fn after(mut self, seconds: u16) -> Self {
        self.after = Some(seconds);
        self
    }

    pub(crate) fn detail(&self) -> &str {
        &self.detail
    }

    pub(crate) fn status(&self) -> StatusCode {
        self.status
    }

    fn hold(&self, response: &mut Response) {
        if let Some(seconds) = self.after {
            response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
        }
    }

    /// Something went wrong that was asked for in Stitch's way, for which Stitch has this word if it is the
    /// asker's fault.
    pub(crate) fn of(error: &Error, word: &'static str) -> Self {
        let problem = Self::told(error);
        match problem.status {
            StatusCode::UNPROCESSABLE_ENTITY | StatusCode::CONFLICT | StatusCode::BAD_REQUEST => {
                Self::refused(word, problem.detail)
            }
            _ => problem,
        }
    }

    pub(crate) fn told(error: &Error) -> Self {
        let status = match error.kind() {
            ErrorKind::Conflict => StatusCode::CONFLICT,
            ErrorKind::NotFound => StatusCode::NOT_FOUND,
            ErrorKind::Config => StatusCode::UNPROCESSABLE_ENTITY,
            ErrorKind::Unavailable | ErrorKind::Timeout | ErrorKind::DiskFull => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Self::new(status, error.report())
    }

    /// The answer to whoever asks in Stitch's way.
    pub(crate) fn for_stitch(self) -> Response {
        let word = self.word.unwrap_or(match self.status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => "AccessDenied",
            StatusCode::NOT_FOUND => "InvalidId",
            status if status.is_client_error() => "InvalidBody",
            _ => "InternalError",
        });
        let mut error = Map::new();
        error.insert("type".to_owned(), word.into());
        error.insert("message".to_owned(), self.detail.as_str().into());
        error.extend(self.more.clone());
        let mut response = (self.status, axum::Json(json!({ "error": error }))).into_response();
        self.hold(&mut response);
        response
    }
}

impl Problem {
    /// The answer to whoever pushes records.
    pub(crate) fn for_import(self) -> Response {
        let mut body = json!({ "status": "ERROR", "error": self.detail });
        for (key, value) in &self.more {
            body[key] = value.clone();
        }
        let mut response = (self.status, axum::Json(body)).into_response();
        self.hold(&mut response);
        response
    }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        Self::told(&error)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let title = self.status.canonical_reason().unwrap_or("error");
        let mut body = json!({
            "type": "about:blank",
            "title": title,
            "status": self.status.as_u16(),
            "detail": self.detail,
        });
        for (key, value) in &self.more {
            body[key] = value.clone();
        }
        let kind = (header::CONTENT_TYPE, "application/problem+json");
        let mut response = (self.status, [kind], body.to_string()).into_response();
        self.hold(&mut response);
        // The gate gives it another form, where it is to have one.
        response.extensions_mut().insert(self);
        response
    }
}
