//! What an API key says about itself, if it says anything.
//!
//! A Kustomer key is usually a JWT whose middle part names region, organisation and expiry
//! (kustomer-api 1.2). It is read without being verified, only to choose a host and to warn; a key
//! that cannot be read this way is just as good.

use jiff::Timestamp;
use serde_json::Value;

/// What was found in a key.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Claims {
    /// The region that issued it, for example `prod1`.
    pub pod: Option<String>,
    /// The organisation's name.
    pub organization: Option<String>,
    /// When it stops working.
    pub expires: Option<Timestamp>,
}

impl Claims {
    /// Reads what the key says; nothing when it is opaque.
    pub fn of(token: &str) -> Self {
        let mut parts = token.split('.');
        let (Some(_), Some(payload), Some(_), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Self::default();
        };
        let Some(value) =
            base64url(payload).and_then(|bytes| serde_json::from_slice::<Value>(&bytes).ok())
        else {
            return Self::default();
        };
        let text = |key: &str| {
            let text = value.get(key)?.as_str()?;
            (!text.is_empty()).then(|| text.to_owned())
        };
        Self {
            pod: text("pod").filter(|pod| pod.bytes().all(|b| b.is_ascii_alphanumeric())),
            organization: text("orgName"),
            expires: value
                .get("exp")
                .and_then(Value::as_i64)
                .and_then(|seconds| Timestamp::from_second(seconds).ok()),
        }
    }
}

/// Decodes base64 in its URL alphabet, with or without padding.
fn base64url(text: &str) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len() * 3 / 4);
    let mut bits = 0_u32;
    let mut held = 0;
    for byte in text.trim_end_matches('=').bytes() {
        let six = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'-' | b'+' => 62,
            b'_' | b'/' => 63,
            _ => return None,
        };
        bits = bits << 6 | u32::from(six);
        held += 6;
        if held >= 8 {
            held -= 8;
            out.push((bits >> held) as u8);
            bits &= (1 << held) - 1;
        }
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_may_name_its_region_organisation_and_expiry() {
        // {"pod":"prod2","orgName":"acme","exp":1800000000}
        let claims = Claims::of(
            "eyJhbGciOiJIUzI1NiJ9.eyJwb2QiOiJwcm9kMiIsIm9yZ05hbWUiOiJhY21lIiwiZXhwIjoxODAwMDAwMDAwfQ.sig",
        );
        assert_eq!(claims.pod.as_deref(), Some("prod2"));
        assert_eq!(claims.organization.as_deref(), Some("acme"));
        assert_eq!(claims.expires, Timestamp::from_second(1_800_000_000).ok());
    }

    #[test]
    fn an_opaque_key_says_nothing() {
        for token in ["", "abc", "a.b.c", "a.!!.c", "a.b.c.d", "e30.e30.x"] {
            assert_eq!(Claims::of(token), Claims::default());
        }
    }
}
