//! With what a page is asked: by whom, how it is to look, and what is said on it once.

use std::convert::Infallible;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Method, header};

use crate::who::Who;

/// The cookie of what is said once.
const SAID: &str = "bobbin_said";

/// The cookie of how pages look.
const THEME: &str = "bobbin_theme";

/// Somebody asks for a page.
#[derive(Clone, Debug)]
pub(crate) struct Visit {
    pub(crate) who: Option<Who>,
    /// `dark` or `light`; none as the system has it.
    pub(crate) theme: Option<&'static str>,
    pub(crate) said: Option<Said>,
    pub(crate) gzip: bool,
    /// The address with its query; of a page that answers a form, the one where that form is.
    pub(crate) address: String,
}

impl Visit {
    pub(crate) fn of(parts: &Parts) -> Self {
        let headers = &parts.headers;
        let address = match parts.method {
            Method::GET | Method::HEAD => {
                parts.uri.path_and_query().map_or("/", |text| text.as_str()).to_owned()
            }
            _ => page_of(parts.uri.path()),
        };
        Self {
            who: parts.extensions.get::<Who>().cloned(),
            theme: cookie(headers, THEME).and_then(|text| theme(&text)),
            said: cookie(headers, SAID).and_then(|text| Said::of(&text)),
            gzip: takes_gzip(headers),
            address,
        }
    }
}

impl<S: Sync> FromRequestParts<S> for Visit {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self::of(parts))
    }
}

/// The page whose form is sent to an address: nobody can be sent back to what only takes forms.
fn page_of(path: &str) -> String {
    let words: Vec<&str> = path.split('/').skip(1).collect();
    let page: &[&str] = match *words {
        ["logout" | "theme"] | ["add", _, "discard"] => &[],
        ["add", id, "finish"] => &["add", id, "tables"],
        ["connections", _, "tables" | "rejected", _] => &words[..3],
        ["connections", _, "extractions", _, _] => &words[..4],
        ["connections", _, "jobs" | "pause" | "stop"] => &words[..2],
        ["connections", id, _] => &["connections", id, "settings"],
        ["destinations", _, _] | ["channels", _, "save"] => &words[..2],
        ["add-channel"] => &["channels"],
        ["channels" | "keys" | "me" | "notices" | "users", ..] | ["welcome", "user"] => &words[..1],
        _ => return path.to_owned(),
    };
    format!("/{}", page.join("/"))
}

/// A way to look that there is.
fn theme(text: &str) -> Option<&'static str> {
    ["dark", "light"].into_iter().find(|known| *known == text)
}

/// The cookie that keeps how pages look; none as the system has it.
pub(crate) fn keep_theme(text: &str) -> HeaderValue {
    match theme(text) {
        Some("dark") => HeaderValue::from_static(
            "bobbin_theme=dark; HttpOnly; SameSite=Strict; Path=/; Max-Age=31536000",
        ),
        Some(_) => HeaderValue::from_static(
            "bobbin_theme=light; HttpOnly; SameSite=Strict; Path=/; Max-Age=31536000",
        ),
        None => {
            HeaderValue::from_static("bobbin_theme=; HttpOnly; SameSite=Strict; Path=/; Max-Age=0")
        }
    }
}

/// Something that is said on the next page.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Said {
    /// `good`, `warn` or `bad`.
    pub(crate) tone: &'static str,
    pub(crate) text: String,
}

/// Bytes of what is said; a cookie holds some 4,000, and this may grow threefold.
const MOST_SAID: usize = 1000;

impl From<String> for Said {
    fn from(good: String) -> Self {
        Self::good(good)
    }
}

impl Said {
    pub(crate) fn good(text: impl Into<String>) -> Self {
        Self { tone: "good", text: text.into() }
    }

    pub(crate) fn bad(text: impl Into<String>) -> Self {
        Self { tone: "bad", text: text.into() }
    }

    fn of(text: &str) -> Option<Self> {
        let (tone, text) = text.split_once('.')?;
        let tone = ["good", "warn", "bad"].into_iter().find(|known| *known == tone)?;
        // Nothing of it is taken for more than text.
        let pair = format!("t={text}");
        let (_, text) = form_urlencoded::parse(pair.as_bytes()).next()?;
        Some(Self { tone, text: text.into_owned() })
    }

    pub(crate) fn cookie(&self) -> HeaderValue {
        let end = self.text.floor_char_boundary(MOST_SAID);
        let text: String = form_urlencoded::byte_serialize(&self.text.as_bytes()[..end]).collect();
        let cookie =
            format!("{SAID}={}.{text}; HttpOnly; SameSite=Strict; Path=/; Max-Age=60", self.tone);
        HeaderValue::from_str(&cookie).unwrap_or_else(|_| forget())
    }
}

/// Lets what was said be forgotten.
pub(crate) fn forget() -> HeaderValue {
    HeaderValue::from_static("bobbin_said=; HttpOnly; SameSite=Strict; Path=/; Max-Age=0")
}

fn cookie(headers: &HeaderMap, wanted: &str) -> Option<String> {
    let all = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut pairs = all.flat_map(|value| value.split(';')).filter_map(|pair| pair.split_once('='));
    pairs.find(|(name, _)| name.trim() == wanted).map(|(_, text)| text.trim().to_owned())
}

/// Whether whoever asks takes a text packed with gzip.
pub(crate) fn takes_gzip(headers: &HeaderMap) -> bool {
    let taken = headers.get(header::ACCEPT_ENCODING).and_then(|value| value.to_str().ok());
    taken.is_some_and(|taken| {
        let mut all = taken.split(',').map(|one| one.split(';').map(str::trim));
        all.any(|mut one| one.next() == Some("gzip") && one.next() != Some("q=0"))
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may")]
mod tests {
    use super::*;

    #[test]
    fn a_page_that_answers_a_form_is_where_the_form_is() {
        for (sent, page) in [
            ("/connections/a/reset", "/connections/a/settings"),
            ("/connections/a/pause", "/connections/a"),
            ("/connections/a/tables/save", "/connections/a/tables"),
            ("/connections/a/rejected/retry", "/connections/a/rejected"),
            ("/connections/a/extractions/b/stop", "/connections/a/extractions/b"),
            ("/add/a/finish", "/add/a/tables"),
            ("/add/a/start", "/add/a/start"),
            ("/add/a/discard", "/"),
            ("/destinations/a/save", "/destinations/a"),
            ("/users/a/change", "/users"),
            ("/channels/a/save", "/channels/a"),
            ("/channels/a/enable", "/channels"),
            ("/add-channel", "/channels"),
            ("/me/password", "/me"),
            ("/welcome/user", "/welcome"),
            ("/welcome/destination", "/welcome/destination"),
            ("/login", "/login"),
        ] {
            assert_eq!(page_of(sent), page);
        }
    }

    #[test]
    fn what_is_said_comes_back_as_it_was() {
        for text in ["saved", "a <b> & \"c\"; d=e, ü\n%", &"ä".repeat(2000)] {
            let cookie = Said::good(text).cookie();
            let cookie = cookie.to_str().unwrap().split(';').next().unwrap().to_owned();
            let said = Said::of(cookie.split_once('=').unwrap().1).unwrap();
            assert!(text.starts_with(&said.text) && said.text.len() >= text.len().min(999));
        }
        assert_eq!(Said::of("loud.x"), None);
    }

    #[test]
    fn gzip_is_sent_to_those_who_take_it() {
        let takes = |text: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static(text));
            takes_gzip(&headers)
        };
        assert!(takes("gzip") && takes("br, gzip;q=0.5") && !takes("br") && !takes("gzip;q=0"));
    }
}
