//! What a child says on stderr: levels read (`singer.md` 8), secrets masked.

use bobbin_core::report::{Event, JobLog, Level};
use bobbin_core::secret::Secret;
use serde_json::Value;

/// Characters of one line that are passed on.
const MOST: usize = 4000;

/// Fewer characters than this are no secret: masking them would only garble.
const LEAST_SECRET: usize = 3;

/// Listens to one child.
#[derive(Debug)]
pub(super) struct Listener {
    name: String,
    masks: Vec<String>,
    /// The last line of a level that means the end, then the last line at all.
    critical: Option<String>,
    last: Option<String>,
}

impl Listener {
    pub(super) fn new(name: String, secrets: &[Secret]) -> Self {
        let mut masks: Vec<String> =
            secrets.iter().flat_map(|secret| forms(secret.reveal())).collect();
        // The longest first: a secret may begin with another one.
        masks.sort_by_key(|mask| std::cmp::Reverse(mask.len()));
        masks.dedup();
        Self { name, masks, critical: None, last: None }
    }

    /// Takes one line and passes it on.
    pub(super) fn hear(&mut self, line: &[u8], log: &dyn JobLog) {
        let line = clean(&String::from_utf8_lossy(line));
        if line.trim().is_empty() {
            return;
        }
        let said = understand(&line);
        let message = self.mask(&said.message);
        if said.fatal {
            self.critical = Some(message.clone());
        }
        self.last = Some(message.clone());
        let message = format!("{}: {message}", self.name);
        log.event(Event::Notice { level: said.level, stream: None, message });
    }

    /// Why it failed, as far as it said so.
    pub(super) fn reason(&self) -> Option<&str> {
        self.critical.as_deref().or(self.last.as_deref())
    }

    /// Text of the child without secrets.
    pub(super) fn mask(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for mask in &self.masks {
            if text.contains(mask) {
                text = text.replace(mask, "***");
            }
        }
        // Cut only now: half a secret would not be recognised.
        if let Some((at, _)) = text.char_indices().nth(MOST) {
            text.truncate(at);
            text.push('…');
        }
        text
    }
}

/// The ways in which a secret may come out: as it is, line by line, in JSON, in a URL.
fn forms(secret: &str) -> Vec<String> {
    let mut forms = vec![secret.to_owned()];
    if secret.contains('\n') {
        forms.extend(secret.lines().map(|line| line.trim().to_owned()).filter(|l| l.len() >= 8));
    }
    let json = Value::from(secret).to_string();
    forms.push(json[1..json.len() - 1].to_owned());
    let mut url = String::new();
    for byte in secret.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            url.push(char::from(byte));
        } else {
            url.push_str(&format!("%{byte:02X}"));
        }
    }
    forms.push(url);
    forms.retain(|form| form.len() >= LEAST_SECRET);
    forms
}

/// Without colours and other control characters.
fn clean(line: &str) -> String {
    let mut out = String::with_capacity(line.len());
    let mut chars = line.chars().peekable();
    while let Some(c) = chars.next() {
        if c == '\u{1b}' && chars.next_if_eq(&'[').is_some() {
            while chars.next().is_some_and(|c| !('@'..='~').contains(&c)) {}
        } else if c == '\t' {
            out.push(' ');
        } else if !c.is_control() {
            out.push(c);
        }
    }
    out.truncate(out.trim_end().len());
    out
}

struct Said {
    level: Level,
    fatal: bool,
    message: String,
}

fn understand(line: &str) -> Said {
    let (word, message) = json(line)
        .or_else(|| barred(line))
        .or_else(|| led(line))
        .unwrap_or_else(|| (String::new(), line.to_owned()));
    let word = word.to_ascii_uppercase();
    let mut level = match word.as_str() {
        "DEBUG" => Level::Debug,
        "WARNING" | "WARN" => Level::Warn,
        "ERROR" | "CRITICAL" | "FATAL" => Level::Error,
        _ => Level::Info,
    };
    if message.starts_with("METRIC") {
        level = Level::Debug;
    }
    Said { level, fatal: matches!(word.as_str(), "CRITICAL" | "FATAL"), message }
}

const LEVELS: [&str; 7] = ["DEBUG", "INFO", "WARNING", "WARN", "ERROR", "CRITICAL", "FATAL"];

/// `LEVEL message`, also `LEVEL:logger:message` as Python logs by default.
fn led(line: &str) -> Option<(String, String)> {
    let end = line.find([' ', ':'])?;
    let (word, rest) = line.split_at(end);
    let rest = rest.trim_start_matches([' ', ':']);
    LEVELS.contains(&word).then(|| (word.to_owned(), rest.to_owned()))
}

/// `2026-01-02 03:04:05,678 | LEVEL    | logger | message`.
fn barred(line: &str) -> Option<(String, String)> {
    let mut parts = line.splitn(4, '|');
    let (_, level) = (parts.next()?, parts.next()?.trim());
    let (_, message) = (parts.next()?, parts.next()?.trim());
    LEVELS.contains(&level).then(|| (level.to_owned(), message.to_owned()))
}

/// One object a line, as structured logging writes it.
fn json(line: &str) -> Option<(String, String)> {
    if !line.starts_with('{') {
        return None;
    }
    let value: Value = serde_json::from_str(line).ok()?;
    let text = |key: &str| value.get(key).and_then(Value::as_str).map(ToOwned::to_owned);
    let level = text("level").or_else(|| text("levelname"))?;
    let mut message = text("message").or_else(|| text("event")).or_else(|| text("msg"))?;
    if let Some(metric) = value.get("metric_info") {
        message = format!("METRIC: {metric}");
    }
    if let Some(error) = value.get("exception") {
        let word = |key: &str| error.get(key).and_then(Value::as_str);
        let kind = word("type").unwrap_or("error");
        message = format!("{message}: {kind}: {}", word("message").unwrap_or(""));
    }
    Some((level, message))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may")]
mod tests {
    use std::sync::Mutex;

    use super::*;

    #[test]
    fn levels_are_read_in_every_form() {
        for (line, level, message) in [
            ("INFO starting", Level::Info, "starting"),
            ("WARNING low", Level::Warn, "low"),
            ("CRITICAL it ended", Level::Error, "it ended"),
            ("INFO METRIC: {\"type\":\"counter\"}", Level::Debug, "METRIC: {\"type\":\"counter\"}"),
            ("ERROR:root:oh", Level::Error, "root:oh"),
            ("2026-01-02 03:04:05,678 | WARNING  | tap-x | a | b", Level::Warn, "a | b"),
            (r#"{"level":"error","message":"no","ts":1.0}"#, Level::Error, "no"),
            (
                r#"{"level":"info","message":"METRIC","metric_info":{"value":1}}"#,
                Level::Debug,
                "METRIC: {\"value\":1}",
            ),
            (
                r#"{"level":"error","message":"no","exception":{"type":"KeyError","message":"a"}}"#,
                Level::Error,
                "no: KeyError: a",
            ),
            ("  File \"x.py\", line 3", Level::Info, "  File \"x.py\", line 3"),
            ("Information", Level::Info, "Information"),
        ] {
            let said = understand(line);
            assert_eq!((said.level, said.message.as_str()), (level, message), "{line}");
        }
    }

    #[test]
    fn secrets_do_not_come_out_in_any_form() {
        let secrets = ["p@ss \"word\"", "line one of a key\nline two of a key", "12"];
        let mut listener = Listener::new("tap-x".into(), &secrets.map(Secret::new));
        let heard = Mutex::new(Vec::new());
        let log = |event: Event| {
            if let Event::Notice { message, .. } = event {
                heard.lock().unwrap().push(message);
            }
        };
        for line in [
            "INFO with p@ss \"word\" in it",
            r#"INFO {"password": "p@ss \"word\""}"#,
            "FATAL GET https://x/?p=p%40ss%20%22word%22",
            "line two of a key, 12",
            "\u{1b}[31mINFO red\u{1b}[0m",
            "",
        ] {
            listener.hear(line.as_bytes(), &log);
        }
        let heard = heard.into_inner().unwrap();
        assert_eq!(
            heard,
            [
                "tap-x: with *** in it",
                "tap-x: {\"password\": \"***\"}",
                "tap-x: GET https://x/?p=***",
                "tap-x: ***, 12",
                "tap-x: red",
            ]
        );
        assert_eq!(listener.reason(), Some("GET https://x/?p=***"));
    }
}
