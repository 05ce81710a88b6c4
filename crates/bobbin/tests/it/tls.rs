//! Encrypted connections, with certificates of an authority of the test's own. F-89.

use std::fs;

use fake_kustomer::{Running, Simulator};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, KeyUsagePurpose,
    date_time_ymd,
};

use crate::proxy::{Fault, Proxy};
use crate::server::{Server, Setup};
use crate::support::{Desk, FAST, tiny};

/// Somebody who signs certificates.
pub(crate) struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    pub(crate) fn new(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    /// Its own certificate.
    pub(crate) fn pem(&self) -> String {
        self.0.pem()
    }

    /// A server's certificate and key.
    pub(crate) fn certificate(&self, names: &[&str], expired: bool) -> (String, String) {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        if expired {
            params.not_before = date_time_ymd(2020, 1, 1);
            params.not_after = date_time_ymd(2021, 1, 1);
        }
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap();
        (certificate.pem(), key.serialize_pem())
    }
}

/// A server with TLS, and a door to it on `localhost`.
struct Place {
    _server: Server,
    door: Proxy,
    sim: Running,
}

impl Place {
    fn new(certificate: Option<(String, String)>) -> Self {
        let certificate = certificate.as_ref().map(|(pem, key)| (pem.as_str(), key.as_str()));
        let server = Server::with(&Setup { tcp: true, certificate, ..Setup::default() });
        let door = Proxy::start(server.address(), Fault::Slices(1 << 20));
        Self { _server: server, door, sim: Simulator::start(tiny(1)).unwrap() }
    }

    fn desk(&self, host: &str, settings: &str, authority: &Authority) -> Desk {
        let desk = Desk::new(&self.sim);
        fs::write(desk.path("ca.pem"), authority.pem()).unwrap();
        let source = format!(
            "api_token = \"{}\"\napi_url = \"{}\"\n{FAST}",
            self.sim.token(),
            self.sim.url()
        );
        let destination = format!(
            "type = \"postgres\"\nhost = \"{host}\"\nport = {}\nuser = \"boss\"\n\
             database = \"postgres\"\n{settings}",
            self.door.port()
        );
        desk.write_with(&source, &destination, "");
        desk
    }
}

const CA: &str = "ca_file = \"ca.pem\"";

#[test]
fn f89_a_certificate_of_an_own_authority_is_verified() {
    let authority = Authority::new("authority");
    let place = Place::new(Some(authority.certificate(&["localhost"], false)));
    let desk = place.desk("localhost", CA, &authority);
    desk.run(&["check"]).assert(0, &["PostgreSQL 1", "encrypted: yes", "verified"]);
    desk.run(&["run"]).assert(0, &["complete"]);
    let desk = place.desk("localhost", "tls = \"off\"", &authority);
    desk.run(&["check"]).assert(0, &["encrypted: no"]);
}

#[test]
fn a_certificate_that_nobody_trusted_signed_is_refused() {
    let authority = Authority::new("authority");
    let place = Place::new(Some(authority.certificate(&["localhost"], false)));
    let words = ["certificate", "signed by nobody who is trusted", "hint", "ca_file"];
    // Another authority's file, be its name the same; and none, so that the system's count.
    for name in ["another", "authority"] {
        let desk = place.desk("localhost", CA, &Authority::new(name));
        desk.run(&["check"]).assert(6, &words).assert(6, &["ca.pem) is not the authority"]);
        desk.run(&["run"]).assert(6, &words);
    }
    let desk = place.desk("localhost", "tls = \"require\"", &authority);
    desk.run(&["check"]).assert(6, &["certificate", "hint", "ca_file"]);
    // The server's own certificate is no authority's.
    let desk = place.desk("localhost", CA, &authority);
    let (own, _) = authority.certificate(&["localhost"], false);
    fs::write(desk.path("ca.pem"), own).unwrap();
    desk.run(&["check"]).assert(6, &["certificate", "hint", "authority"]);
    fs::write(desk.path("ca.pem"), "nothing").unwrap();
    desk.run(&["check"]).assert(6, &["ca_file holds no certificate", "PEM"]);
    fs::remove_file(desk.path("ca.pem")).unwrap();
    desk.run(&["check"]).assert(6, &["ca_file cannot be read", "ca.pem"]);
}

#[test]
fn a_certificate_for_another_name_is_refused() {
    let authority = Authority::new("authority");
    let place = Place::new(Some(authority.certificate(&["db.example.com"], false)));
    let desk = place.desk("localhost", CA, &authority);
    let words = ["certificate is for another name", "db.example.com", "hint", "`localhost`"];
    desk.run(&["check"]).assert(6, &words);
    desk.run(&["run"]).assert(6, &words);
}

#[test]
fn an_expired_certificate_is_refused() {
    let authority = Authority::new("authority");
    let place = Place::new(Some(authority.certificate(&["localhost"], true)));
    let desk = place.desk("localhost", CA, &authority);
    desk.run(&["check"]).assert(6, &["certificate has expired", "hint", "renewed", "clock"]);
}

#[test]
fn f89_a_server_without_tls_is_refused_where_tls_is_required() {
    let authority = Authority::new("authority");
    let place = Place::new(None);
    for settings in ["tls = \"require\"", CA] {
        let desk = place.desk("localhost", settings, &authority);
        desk.run(&["check"]).assert(6, &["the server has no TLS", "hint", "tls = \"off\""]);
    }
    // A name that only means this machine needs none.
    place.desk("localhost", "", &authority).run(&["check"]).assert(0, &["encrypted: no"]);
}
