//! Who asks: whoever has the first token, a key, or a session that began with a password or that token.

use std::sync::Arc;

use axum::http::{HeaderMap, header};
use bobbin_engine::ledger::{Key, Ledger, Role, User};
use jiff::Timestamp;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::api::{Answer, asked};
use crate::{Api, token};

/// The cookie of a session.
pub(crate) const COOKIE: &str = "bobbin_session";

/// The header that a changing request of a session carries.
pub(crate) const CSRF: &str = "x-bobbin-csrf";

/// Characters of a session's text.
const LENGTH: usize = 64;

/// Somebody who is known.
#[derive(Clone, Debug)]
pub(crate) struct Who {
    pub(crate) by: By,
    pub(crate) session: Option<InSession>,
}

/// What somebody is known by.
#[derive(Clone, Debug)]
pub(crate) enum By {
    /// The token in the file.
    Token,
    Key(Key),
    User(User),
}

/// A session that goes on.
#[derive(Clone, Debug)]
pub(crate) struct InSession {
    pub(crate) hash: String,
    /// What its changing requests must carry.
    pub(crate) csrf: String,
    pub(crate) ends_at: Timestamp,
}

impl Who {
    pub(crate) fn role(&self) -> Role {
        match &self.by {
            By::Token => Role::Administrator,
            By::Key(key) => key.role,
            By::User(user) => user.role,
        }
    }

    /// `token`, `key` or `user`.
    pub(crate) fn kind(&self) -> &'static str {
        match self.by {
            By::Token => "token",
            By::Key(_) => "key",
            By::User(_) => "user",
        }
    }

    /// Who they are for as long as they are, whatever they are called.
    pub(crate) fn number(&self) -> String {
        match &self.by {
            By::Token => "token".to_owned(),
            By::Key(key) => format!("key {}", key.id),
            By::User(user) => format!("user {}", user.id),
        }
    }

    /// The name for people.
    pub(crate) fn name(&self) -> String {
        match &self.by {
            By::Token => "api-token".to_owned(),
            By::Key(key) => format!("{} (…{})", key.description, key.ending),
            By::User(user) => user.name.clone(),
        }
    }

    /// What is told to themselves.
    pub(crate) fn told(&self) -> Value {
        json!({
            "kind": self.kind(),
            "name": self.name(),
            "role": self.role(),
            "csrf": self.session.as_ref().map(|session| session.csrf.as_str()),
            "session_ends_at": self.session.as_ref().map(|session| session.ends_at),
        })
    }

    /// Whoever asks with these headers; none where they are nobody.
    pub(crate) async fn find(api: &Arc<Api>, headers: &HeaderMap) -> Answer<Option<Self>> {
        // Whoever shows a token means that, whatever a browser adds.
        if let Some(given) = bearer(headers) {
            if same(given, api.token.reveal()) {
                return Ok(Some(Self { by: By::Token, session: None }));
            }
            if !given.starts_with("bobbin_") {
                return Ok(None);
            }
            let hash = token::hash(given);
            let key = asked(Arc::clone(api), move |api| Ok(api.engine.ledger()?.key_of(&hash)?));
            return Ok(key.await?.map(|key| Self { by: By::Key(key), session: None }));
        }
        let Some(text) = cookie(headers) else { return Ok(None) };
        let text = text.to_owned();
        asked(Arc::clone(api), move |api| Self::of_session(api, &*api.engine.ledger()?, &text))
            .await
    }

    /// Whose session of this text goes on.
    pub(crate) fn of_session(api: &Api, ledger: &dyn Ledger, text: &str) -> Answer<Option<Self>> {
        let hash = token::hash(text);
        let first = token::hash(api.token.reveal());
        let Some(session) = ledger.session(&hash, &first, Timestamp::now())? else {
            return Ok(None);
        };
        let inside = InSession { hash, csrf: csrf(text), ends_at: session.ends_at };
        Ok(Some(Self { by: session.user.map_or(By::Token, By::User), session: Some(inside) }))
    }
}

/// The token that somebody shows; what a proxy asks for in that header is none.
pub(crate) fn bearer(headers: &HeaderMap) -> Option<&str> {
    let text = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, given) = text.split_once(' ').unwrap_or((text, ""));
    scheme.eq_ignore_ascii_case("bearer").then(|| given.trim())
}

/// The session's text in the cookies. Where there are two, somebody else has put one there.
pub(crate) fn cookie(headers: &HeaderMap) -> Option<&str> {
    let all = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let pairs = all.flat_map(|value| value.split(';')).filter_map(|pair| pair.split_once('='));
    let mut ours = pairs.filter(|(name, _)| name.trim() == COOKIE).map(|(_, text)| text.trim());
    let text = ours.next()?;
    (ours.next().is_none() && text.len() == LENGTH).then_some(text)
}

/// What the changing requests of a session carry: only who can read the session's answers knows it.
fn csrf(text: &str) -> String {
    token::hex(&Sha256::digest(format!("bobbin csrf {text}").as_bytes()))
}

/// Compares in a time that tells nothing about where two texts differ.
pub(crate) fn same(a: &str, b: &str) -> bool {
    a.len() == b.len() && a.bytes().zip(b.bytes()).fold(0, |seen, (a, b)| seen | (a ^ b)) == 0
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may")]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn texts_are_the_same_or_not() {
        assert!(same("abc", "abc") && !same("abc", "abd") && !same("abc", "ab"));
    }

    #[test]
    fn a_session_is_found_among_cookies() {
        let text = "a".repeat(LENGTH);
        let found = |cookies: &[String]| {
            let mut headers = HeaderMap::new();
            for cookie in cookies {
                headers.append(header::COOKIE, HeaderValue::from_str(cookie).unwrap());
            }
            cookie(&headers).map(str::to_owned)
        };
        let ours = format!("bobbin_session={text}");
        for cookies in [
            vec![ours.clone()],
            vec![format!("a=b; {ours}")],
            vec!["a=b".to_owned(), format!("{ours}; c")],
        ] {
            assert_eq!(found(&cookies).as_ref(), Some(&text), "{cookies:?}");
        }
        for cookies in [
            vec![],
            vec![format!("x{ours}")],
            vec![format!("{ours}; {ours}")],
            vec![ours.clone(), "bobbin_session=b".to_owned()],
            vec![format!("{ours}a")],
            vec!["bobbin_session=".to_owned()],
        ] {
            assert_eq!(found(&cookies), None, "{cookies:?}");
        }
    }
}
