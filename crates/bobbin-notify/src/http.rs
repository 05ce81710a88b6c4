//! Posting JSON to an address that a person wrote down, and to no other.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use bobbin_core::secret::Secret;
use bobbin_core::{Error, ErrorKind, Result};
use serde_json::Value;
use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{DefaultConnector, NextTimeout};

/// How long an answer may take (`stitch-behaviour.md` 9.3).
const PATIENCE: Duration = Duration::from_secs(30);

/// An address to post to. It may hold a secret, as Slack's do, so it is never shown beyond its host.
#[derive(Debug)]
pub struct Target {
    url: Secret,
    host: String,
    agent: ureq::Agent,
    user_agent: &'static str,
}

impl Target {
    /// An address as a person wrote it. Only `https`, and only addresses of the world, unless
    /// `local` allows this machine's and its networks' (and `http` there).
    ///
    /// # Errors
    /// Of kind `Config` when it is no such address.
    pub fn new(url: &Secret, local: bool, user_agent: &'static str) -> Result<Self> {
        let wrong = |what: &str| {
            Error::config(format!("the URL {what}"))
                .hint("write the whole address: https://host/path")
        };
        let uri: Uri = url.reveal().trim().parse().map_err(|_| wrong("cannot be read"))?;
        let host = uri.host().ok_or_else(|| wrong("names no host"))?.to_owned();
        match uri.scheme_str() {
            Some("https") => {}
            Some("http") if local => {}
            _ => return Err(wrong("does not begin with https://").with("host", &host)),
        }
        if uri.authority().is_some_and(|authority| authority.as_str().contains('@')) {
            return Err(wrong("holds a user's name").with("host", &host));
        }
        let config = ureq::Agent::config_builder()
            .timeout_global(Some(PATIENCE))
            .max_redirects(0)
            .http_status_as_error(false)
            .proxy(None)
            .build();
        let resolver = Guarded { local, plain: DefaultResolver::default() };
        let agent = ureq::Agent::with_parts(config, DefaultConnector::default(), resolver);
        Ok(Self { url: Secret::new(url.reveal().trim()), host, agent, user_agent })
    }

    /// Where it leads, as far as that may be shown.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Whether it says by itself that it leads to this machine or its networks. A name that leads there is
    /// found out when it is looked up.
    pub fn is_local(&self) -> bool {
        let host = self.host.trim_start_matches('[').trim_end_matches(']');
        host.eq_ignore_ascii_case("localhost")
            || host.parse().is_ok_and(|address| !is_of_the_world(address))
    }

    /// Posts an object.
    ///
    /// # Errors
    /// When it cannot be reached within half a minute, or answers with anything but 2xx.
    pub(crate) fn post(&self, body: &Value) -> Result<()> {
        let answer = self
            .agent
            .post(self.url.reveal())
            .header("User-Agent", self.user_agent)
            .header("Content-Type", "application/json")
            .send(body.to_string().as_str());
        let status = match answer {
            Ok(answer) => answer.status(),
            Err(error) => return Err(self.unreachable(error)),
        };
        if status.is_success() {
            return Ok(());
        }
        let hint = if status.is_redirection() {
            "redirects are not followed: write the address that it leads to"
        } else {
            "look at what the other side says of it"
        };
        Err(Error::new(ErrorKind::Protocol, format!("{} answered with status {status}", self.host))
            .hint(hint))
    }

    fn unreachable(&self, error: ureq::Error) -> Error {
        let what = match &error {
            ureq::Error::HostNotFound => "the host is unknown",
            ureq::Error::Timeout(_) => "no answer in time",
            ureq::Error::Io(io) if io.kind() == std::io::ErrorKind::PermissionDenied => {
                return Error::config(format!(
                    "{} is an address of this machine or its networks",
                    self.host
                ))
                .hint("set allow_local = true if that is what you want");
            }
            ureq::Error::Tls(_) | ureq::Error::Rustls(_) => "the certificate is not trusted",
            _ => "it cannot be reached",
        };
        // The error's own words may hold the address.
        Error::new(ErrorKind::Unavailable, format!("{}: {what}", self.host))
    }
}

/// Looks names up, and refuses addresses that are not of the world.
#[derive(Debug)]
struct Guarded {
    local: bool,
    plain: DefaultResolver,
}

impl Resolver for Guarded {
    fn resolve(
        &self,
        uri: &Uri,
        config: &Config,
        timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, ureq::Error> {
        let found = self.plain.resolve(uri, config, timeout)?;
        // Whatever it resolves to is what is connected to: there is no second look-up.
        if !self.local && found.iter().any(|address| !is_of_the_world(address.ip())) {
            return Err(ureq::Error::Io(std::io::ErrorKind::PermissionDenied.into()));
        }
        Ok(found)
    }
}

/// Whether an address may belong to anyone but this machine and its networks.
fn is_of_the_world(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => is_v4_of_the_world(v4),
        IpAddr::V6(v6) => {
            if let Some(v4) = v6.to_ipv4() {
                // Mapped and compatible ones mean the IPv4 address within.
                return is_v4_of_the_world(v4);
            }
            let [first, second, ..] = v6.segments();
            // 6to4, NAT64 and Teredo mean an IPv4 address within.
            let embeds = first == 0x2002
                || (first == 0x64 && second == 0xff9b)
                || (first == 0x2001 && second == 0);
            let local = v6.is_unspecified()
                || v6.is_loopback()
                || v6.is_multicast()
                || v6.is_unique_local()
                || v6.is_unicast_link_local()
                || first & 0xffc0 == 0xfec0;
            !local && !embeds
        }
    }
}

fn is_v4_of_the_world(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    let shared = a == 100 && (64..128).contains(&b);
    let special = a == 192 && b == 0 && (c == 0 || c == 2);
    let reserved = a == 0 || a >= 240 || special || (a == 198 && (b & 0xfe) == 18);
    !(address.is_private()
        || address.is_loopback()
        || address.is_link_local()
        || address.is_multicast()
        || address.is_broadcast()
        || shared
        || reserved)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may")]
mod tests {
    use super::*;

    #[test]
    fn a_target_says_where_it_leads() {
        for (url, local) in [
            ("https://localhost/x", true),
            ("https://127.0.0.1:8443/x", true),
            ("https://[::1]/x", true),
            ("https://10.0.0.1", true),
            ("https://1.1.1.1/127.0.0.1", false),
            ("https://localhost.example.com", false),
        ] {
            let target = Target::new(&Secret::new(url), false, "x").unwrap();
            assert_eq!(target.is_local(), local, "{url}");
        }
    }

    #[test]
    fn addresses_of_this_machine_and_its_networks_are_told_from_others() {
        for local in [
            "127.0.0.1",
            "127.9.9.9",
            "10.1.2.3",
            "172.16.0.1",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "0.0.0.0",
            "255.255.255.255",
            "224.0.0.1",
            "192.0.0.8",
            "192.0.2.1",
            "198.18.0.1",
            "240.0.0.1",
            "::1",
            "::",
            "fe80::1",
            "fc00::1",
            "fd12::1",
            "ff02::1",
            "fec0::1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "::127.0.0.1",
            "64:ff9b::7f00:1",
            "2002:7f00:1::",
            "2001:0:4136:e378:8000:63bf:3fff:fdd2",
        ] {
            assert!(local.parse().is_ok_and(|address| !is_of_the_world(address)), "{local}");
        }
        for open in [
            "1.1.1.1",
            "93.184.216.34",
            "172.32.0.1",
            "100.128.0.1",
            // WordPress.com.
            "192.0.78.9",
            "2606:4700::1111",
            "2001:4860:4860::8888",
        ] {
            assert!(open.parse().is_ok_and(is_of_the_world), "{open}");
        }
    }

    #[test]
    fn urls_that_lead_elsewhere_are_refused() {
        let new = |url: &str, local| Target::new(&Secret::new(url), local, "test");
        for wrong in [
            "http://example.com/",
            "ftp://example.com",
            "example.com/x",
            "https://u:p@example.com/",
            "https:///x",
            "",
        ] {
            assert!(new(wrong, false).is_err(), "{wrong}");
        }
        assert!(new("https://example.com/x?y", false).is_ok());
        assert!(new("http://127.0.0.1:9/", true).is_ok());
        for here in ["https://127.0.0.1:9/", "https://localhost:9/", "https://[::1]:9/"] {
            let told = new(here, false).and_then(|target| target.post(&Value::Null));
            let error = told.err().map(|error| error.report()).unwrap_or_default();
            assert!(error.contains("allow_local"), "{here}: {error}");
        }
    }

    #[test]
    fn a_url_is_not_shown() {
        let target = Target::new(&Secret::new("http://127.0.0.1:9/hooks/T0KEN"), true, "test");
        let target = target.unwrap();
        let error = target.post(&Value::Null).unwrap_err().report();
        assert!(error.contains("127.0.0.1: it cannot be reached"), "{error}");
        assert!(!error.contains("T0KEN") && !format!("{target:?}").contains("T0KEN"));
    }
}
