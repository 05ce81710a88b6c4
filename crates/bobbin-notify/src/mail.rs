//! Sending mail over SMTP.

use std::net::IpAddr;
use std::time::Duration;

use bobbin_core::secret::Secret;
use bobbin_core::{Error, ErrorKind, Result};
use lettre::message::Mailbox;
use lettre::transport::smtp::authentication::Credentials;
use lettre::{Message, SmtpTransport, Transport};

/// How long the mail server may take for one step.
const PATIENCE: Duration = Duration::from_secs(30);

/// The most addresses a channel may have (`stitch-behaviour.md` 9.1).
const MOST_ADDRESSES: usize = 10;

/// How the way to the mail server is encrypted.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum MailTls {
    /// After a greeting in the clear, always.
    #[default]
    StartTls,
    /// From the first byte.
    Implicit,
    /// Not at all.
    Off,
}

/// Where mails go, and how.
#[derive(Debug)]
pub struct Mail {
    transport: SmtpTransport,
    host: String,
    from: Mailbox,
    to: Vec<Mailbox>,
}

impl Mail {
    /// Mails from `from` to `to` through a server.
    ///
    /// # Errors
    /// Of kind `Config` when an address is none, or there is none, or more than ten, or when a password
    /// would be sent in the clear to another machine.
    pub fn new(
        server: (&str, Option<u16>, MailTls),
        login: Option<(&str, &Secret)>,
        from: &str,
        to: &[String],
    ) -> Result<Self> {
        let (host, port, tls) = server;
        if to.is_empty() || to.len() > MOST_ADDRESSES {
            return Err(Error::config("a mail goes to one to ten addresses").with("to", to.len()));
        }
        if login.is_some() && tls == MailTls::Off && !is_this_machine(host) {
            return Err(Error::config(
                "the password would be sent to the mail server in the clear",
            )
            .with("server", host)
            .hint("set tls = \"starttls\" or \"implicit\", or send without user and password"));
        }
        let transport = match tls {
            MailTls::StartTls => SmtpTransport::starttls_relay(host),
            MailTls::Implicit => SmtpTransport::relay(host),
            MailTls::Off => Ok(SmtpTransport::builder_dangerous(host)),
        };
        let mut transport = transport
            .map_err(|error| Error::config("the mail server cannot be used").caused_by(error))?
            .timeout(Some(PATIENCE));
        if let Some(port) = port {
            transport = transport.port(port);
        }
        if let Some((user, password)) = login {
            let credentials = Credentials::new(user.to_owned(), password.reveal().to_owned());
            transport = transport.credentials(credentials);
        }
        Ok(Self {
            transport: transport.build(),
            host: host.to_owned(),
            from: address(from)?,
            to: to.iter().map(|to| address(to)).collect::<Result<_>>()?,
        })
    }

    /// Whether a text is an address to which mails can be sent.
    ///
    /// # Errors
    /// Of kind `Config` when it is none.
    pub fn check_address(text: &str) -> Result<()> {
        address(text).map(drop)
    }

    /// Sends one mail to everyone.
    ///
    /// # Errors
    /// When the server cannot be reached or refuses it.
    pub(crate) fn send(&self, subject: &str, text: &str) -> Result<()> {
        let mut message = Message::builder().from(self.from.clone()).subject(subject);
        for to in &self.to {
            message = message.to(to.clone());
        }
        let message = message
            .body(text.to_owned())
            .map_err(|error| Error::bug("a mail cannot be written").caused_by(error))?;
        match self.transport.send(&message) {
            Ok(answer) if answer.is_positive() => Ok(()),
            Ok(answer) => Err(self.refused(&answer.code().to_string())),
            Err(error) => Err(if error.is_permanent() || error.is_transient() {
                self.refused(&error.to_string())
            } else {
                Error::new(
                    ErrorKind::Unavailable,
                    format!("the mail server {} cannot be reached", self.host),
                )
                .caused_by(error)
            }),
        }
    }

    fn refused(&self, why: &str) -> Error {
        Error::new(ErrorKind::Protocol, format!("the mail server {} refuses the mail", self.host))
            .with("answer", why)
            .hint("check user, password and the addresses")
    }
}

fn address(text: &str) -> Result<Mailbox> {
    text.parse().map_err(|error| {
        Error::config(format!("`{text}` is no mail address"))
            .hint("for example to = [\"data@example.com\"]")
            .caused_by(error)
    })
}

fn is_this_machine(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost")
        || host.parse().is_ok_and(|address: IpAddr| address.is_loopback())
}
