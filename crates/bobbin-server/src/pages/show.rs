//! How numbers and instants stand on a page: readable without a script, and in the reader's own way with
//! one.

use std::fmt;
use std::fmt::Write as _;

use askama::Template;
use askama::filters::HtmlSafe;
use jiff::Timestamp;
use jiff::tz::TimeZone;

/// A number of things.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub(crate) struct Count(pub(crate) u64);

/// With a comma between thousands.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<data class=\"count\" value=\"{}\">{}</data>", self.0, grouped(self.0))
    }
}

impl HtmlSafe for Count {}

/// A name as a part of an address (RFC 3986).
pub(crate) fn segment(name: &str) -> String {
    name.bytes().fold(String::with_capacity(name.len()), |mut text, byte| {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            text.push(byte.into());
        } else {
            let _ = write!(text, "%{byte:02X}");
        }
        text
    })
}

/// An instant.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct When(pub(crate) Timestamp);

/// An instant that is told from now, where it is near.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Ago(pub(crate) Timestamp);

fn utc(at: Timestamp) -> String {
    TimeZone::UTC.to_datetime(at).strftime("%Y-%m-%d %H:%M").to_string()
}

impl fmt::Display for When {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<time datetime=\"{}\">{} UTC</time>", self.0, utc(self.0))
    }
}

impl HtmlSafe for When {}

impl fmt::Display for Ago {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<time datetime=\"{}\" data-ago>{} UTC</time>", self.0, utc(self.0))
    }
}

impl HtmlSafe for Ago {}

/// Bytes, in the unit that reads best.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Bytes(pub(crate) u64);

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut amount = self.0 as f64;
        for unit in ["B", "kB", "MB", "GB"] {
            if amount < 1000.0 {
                let digits = usize::from(unit != "B" && amount < 100.0);
                return write!(f, "{amount:.digits$} {unit}");
            }
            amount /= 1000.0;
        }
        write!(f, "{amount:.1} TB")
    }
}

impl HtmlSafe for Bytes {}

/// Seconds, in words.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) struct Lasting(pub(crate) f64);

impl fmt::Display for Lasting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.max(0.0);
        if seconds < 10.0 {
            return write!(f, "{seconds:.1} s");
        }
        let whole = seconds.round() as u64;
        let (hours, minutes, rest) = (whole / 3600, whole / 60 % 60, whole % 60);
        match (hours, minutes) {
            (0, 0) => write!(f, "{rest} s"),
            (0, _) => write!(f, "{minutes} min {rest:02} s"),
            (1..48, _) => write!(f, "{hours} h {minutes:02} min"),
            _ => write!(f, "{} days", hours / 24),
        }
    }
}

impl HtmlSafe for Lasting {}

/// Seconds between two instants.
pub(crate) fn between(from: Timestamp, to: Timestamp) -> Lasting {
    Lasting(to.duration_since(from).as_secs_f64())
}

/// Rows per day as a small picture, oldest day first, with what it shows as text.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Spark(pub(crate) Vec<u64>);

impl fmt::Display for Spark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const HEIGHT: u64 = 28;
        let (days, most) = (self.0.len().max(1), self.0.iter().copied().max().unwrap_or(0).max(1));
        let sum: u64 = self.0.iter().sum();
        write!(
            f,
            "<svg class=\"spark\" role=\"img\" viewBox=\"0 0 {} {HEIGHT}\" preserveAspectRatio=\"none\" \
             aria-label=\"{} rows in {days} days, at most {} a day\">",
            days * 4,
            grouped(sum),
            grouped(if sum == 0 { 0 } else { most }),
        )?;
        for (at, rows) in self.0.iter().enumerate() {
            let height = if *rows == 0 { 1 } else { (rows * (HEIGHT - 2)).div_ceil(most).max(2) };
            let none = if *rows == 0 { " class=\"none\"" } else { "" };
            let (x, y) = (at * 4, HEIGHT - height);
            write!(f, "<rect x=\"{x}\" y=\"{y}\" width=\"3\" height=\"{height}\"{none}/>")?;
        }
        f.write_str("</svg>")
    }
}

impl HtmlSafe for Spark {}

/// A state in a word and a colour.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct State {
    pub(crate) tone: &'static str,
    pub(crate) word: &'static str,
}

impl State {
    pub(crate) fn new(tone: &'static str, word: &'static str) -> Self {
        Self { tone, word }
    }

    /// The state of a job, or of one of its tables.
    pub(crate) fn of(word: &str) -> Self {
        match word {
            "complete" => Self::new("good", "Complete"),
            "running" => Self::new("busy", "Running"),
            "incomplete" => Self::new("warn", "Incomplete"),
            "interrupted" => Self::new("warn", "Interrupted"),
            "not finished" => Self::new("warn", "Not finished"),
            "not loaded" => Self::new("warn", "Not loaded"),
            "unreadable" => Self::new("warn", "Not readable"),
            "failed" => Self::new("bad", "Failed"),
            "abrupt" => Self::new("bad", "Ended abruptly"),
            "skipped" => Self::new("", "Skipped"),
            "missed" => Self::new("warn", "Missed"),
            _ => Self::new("", "Not started"),
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<span class=\"state {}\">{}</span>", self.tone, self.word)
    }
}

impl HtmlSafe for State {}

/// An error as it is told to people: what happened, then what to do.
#[derive(Template, Clone, PartialEq, Eq, Debug)]
#[template(source = "{% for line in self.lines() %}<p>{{ line }}</p>{% endfor %}", ext = "html")]
pub(crate) struct Told(pub(crate) String);

impl HtmlSafe for Told {}

impl Told {
    /// Sentences of an error's report.
    pub(crate) fn lines(&self) -> Vec<String> {
        let lines = self.0.lines().map(|line| line.trim().trim_start_matches("hint: "));
        lines.filter(|line| !line.is_empty()).map(sentence).collect()
    }

    /// The same in one line.
    pub(crate) fn line(report: &str) -> String {
        Self(report.to_owned()).lines().join(" ")
    }
}

/// A text with a great letter at its front and a stop at its end.
fn sentence(text: &str) -> String {
    let mut letters = text.chars();
    let first = letters.next().map(|first| first.to_uppercase().to_string()).unwrap_or_default();
    let end = if text.ends_with(['.', '!', '?', ':', ';']) { "" } else { "." };
    format!("{first}{}{end}", letters.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well() {
        for (number, text) in [(0, "0"), (999, "999"), (1000, "1,000"), (1_234_567, "1,234,567")] {
            assert_eq!(grouped(number), text);
        }
        for (bytes, text) in [(0, "0 B"), (999, "999 B"), (1500, "1.5 kB"), (250_000_000, "250 MB")]
        {
            assert_eq!(Bytes(bytes).to_string(), text);
        }
        for (seconds, text) in
            [(0.06, "0.1 s"), (12.0, "12 s"), (75.0, "1 min 15 s"), (7322.0, "2 h 02 min")]
        {
            assert_eq!(Lasting(seconds).to_string(), text);
        }
        let told = Told("the key <b> is wrong\n  hint: make another".to_owned()).to_string();
        assert_eq!(told, "<p>The key &#60;b&#62; is wrong.</p><p>Make another.</p>");
    }
}
