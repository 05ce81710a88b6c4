//! Who is told of notices, and how it reads there.

use std::time::Duration;

use bobbin_core::Result;
use bobbin_engine::ledger::{Notice, NoticeKind, Telling};
use serde_json::{Value, json};

use crate::http::Target;
use crate::mail::Mail;

/// Somebody who is told of notices.
#[derive(Debug)]
pub struct Channel {
    /// Its name in the file.
    pub name: String,
    /// How it is told.
    pub means: Means,
    /// How long a notice must be so before it is told; as Stitch does unless given
    /// (`stitch-behaviour.md` 9.1).
    pub delay: Option<Duration>,
    /// Whether warnings are told, too.
    pub warnings: bool,
    /// Whether errors in full stay out, for whoever must not read them (F-94).
    pub hides_errors: bool,
}

/// How a channel is told.
#[derive(Debug)]
pub enum Means {
    /// A JSON object is posted.
    Webhook(Target),
    /// A message is posted, in the form that Slack's incoming webhooks take.
    Slack(Target),
    /// A mail is sent.
    Mail(Mail),
}

impl Channel {
    /// Whether notices of this kind are told here.
    pub(crate) fn wants(&self, kind: NoticeKind) -> bool {
        self.warnings || kind.is_critical()
    }

    /// How long a notice of this kind must be so.
    pub(crate) fn delay(&self, kind: NoticeKind) -> Duration {
        match (self.delay, &self.means, kind) {
            (Some(delay), ..) => delay,
            (None, Means::Webhook(_) | Means::Slack(_), _) => Duration::ZERO,
            (None, Means::Mail(_), NoticeKind::Loading) => Duration::from_hours(2),
            (None, Means::Mail(_), NoticeKind::Hook) => Duration::ZERO,
            (None, Means::Mail(_), _) => Duration::from_hours(1),
        }
    }

    /// Tells one notice.
    pub(crate) fn tell(&self, notice: &Notice, telling: Telling) -> Result<()> {
        match &self.means {
            Means::Webhook(target) => target.post(&self.object(notice, telling)),
            Means::Slack(target) => {
                target.post(&json!({ "text": plain(&self.text(notice, telling)) }))
            }
            Means::Mail(mail) => {
                let subject = match telling {
                    Telling::Raised => {
                        format!("bobbin: {}: {}", notice.connection, headline(notice.kind))
                    }
                    Telling::Recovered => {
                        format!("bobbin: {}: over: {}", notice.connection, headline(notice.kind))
                    }
                };
                mail.send(&subject, &self.text(notice, telling))
            }
        }
    }

    fn object(&self, notice: &Notice, telling: Telling) -> Value {
        let mut object = json!({
            "event": telling.word(),
            "notice": notice.id,
            "connection": notice.connection,
            "kind": notice.kind,
            "level": notice.level,
            "raised_at": notice.raised_at,
            "times": notice.times,
            "recovered_at": notice.recovered_at,
        });
        if !self.hides_errors {
            object["message"] = notice.message.as_str().into();
            object["detail"] = notice.detail.clone().into();
        }
        object
    }

    fn text(&self, notice: &Notice, telling: Telling) -> String {
        let (connection, headline) = (&notice.connection, headline(notice.kind));
        let since = format!("{:.0}", notice.raised_at);
        match telling {
            Telling::Recovered => {
                let over = notice.recovered_at.unwrap_or(notice.seen_at);
                format!("{connection}: over since {over:.0}: {headline} (since {since})")
            }
            Telling::Raised => {
                let times = match notice.times {
                    1 => String::new(),
                    n => format!(", seen {n} times"),
                };
                let mut text =
                    format!("{connection}: {}: {headline} (since {since}{times})", notice.level);
                if !self.hides_errors {
                    let all = notice.detail.as_deref().unwrap_or("");
                    if !all.starts_with(&notice.message) {
                        text = format!("{text}\n{}", notice.message);
                    }
                    if !all.is_empty() {
                        text = format!("{text}\n{all}");
                    }
                }
                text
            }
        }
    }
}

/// Text in which nothing is a link, a mention or markup to Slack.
fn plain(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

fn headline(kind: NoticeKind) -> &'static str {
    match kind {
        NoticeKind::Extraction => "extraction fails",
        NoticeKind::Loading => "loading fails",
        NoticeKind::Incomplete => "something is missing",
        NoticeKind::Rejected => "records were set aside",
        NoticeKind::Stale => "no complete job for too long",
        NoticeKind::Hook => "a post-load hook cannot be told",
        NoticeKind::Unusual => "far more or fewer rows than usual",
    }
}
