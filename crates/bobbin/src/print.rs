//! How things look to a person: errors, tables, numbers. JSON is printed where it arises.

use std::io::IsTerminal;

use bobbin_core::Error;
use bobbin_engine::{Outcome, RunReport};
use comfy_table::{CellAlignment, ContentArrangement, LineStyle, Table, TableStyle};
use jiff::SignedDuration;

use crate::out::eprintln;

/// Prints an error and what to try, on stderr.
pub(crate) fn error(error: &Error) {
    eprintln!("{} {}", paint("error:", RED, std::io::stderr().is_terminal()), error.report());
}

pub(crate) const RED: &str = "31;1";
pub(crate) const GREEN: &str = "32;1";
pub(crate) const YELLOW: &str = "33;1";
pub(crate) const BOLD: &str = "1";
pub(crate) const DIM: &str = "2";

/// `text` in a colour, where colours are wanted.
pub(crate) fn paint(text: &str, code: &str, terminal: bool) -> String {
    if terminal && std::env::var_os("NO_COLOR").is_none() {
        format!("\u{1b}[{code}m{text}\u{1b}[0m")
    } else {
        text.to_owned()
    }
}

/// A table with a heading; columns named in `right` are numbers.
pub(crate) fn table(heading: &[&str], right: &[usize], rows: Vec<Vec<String>>) -> String {
    let mut table = Table::new();
    let rule = LineStyle::none().fill('─').junction('─');
    table.load_style(TableStyle::new().header_separator(rule));
    if std::io::stdout().is_terminal() {
        table.set_content_arrangement(ContentArrangement::Dynamic);
    }
    table.set_header(heading.iter().copied());
    for row in rows {
        table.add_row(row);
    }
    for &column in right {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table.to_string()
}

/// `1234567` as `1,234,567`.
pub(crate) fn number(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// Bytes in decimal units.
pub(crate) fn bytes(n: u64) -> String {
    match n {
        0..1_000 => format!("{n} B"),
        1_000..1_000_000 => format!("{:.1} kB", n as f64 / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1} MB", n as f64 / 1e6),
        _ => format!("{:.2} GB", n as f64 / 1e9),
    }
}

/// A duration in seconds, for people.
pub(crate) fn seconds(seconds: f64) -> String {
    let whole = seconds as u64;
    match whole {
        0..60 => format!("{seconds:.1} s"),
        60..3600 => format!("{} min {:02} s", whole / 60, whole % 60),
        _ => format!("{} h {:02} min", whole / 3600, whole / 60 % 60),
    }
}

/// The closing summary of a run.
pub(crate) fn summary(report: &RunReport, terminal: bool) -> String {
    let rows = report
        .tables
        .iter()
        .map(|table| {
            vec![
                table.stream.clone(),
                number(table.extracted),
                number(table.loaded),
                number(table.unchanged),
                number(table.rejected),
                number(table.calls),
                bytes(table.bytes),
                seconds(table.seconds),
                table
                    .reached
                    .filter(|_| table.outcome != "unreadable")
                    .map_or_else(String::new, |reached| format!("{reached:.0}")),
                table.outcome.clone(),
            ]
        })
        .collect();
    let heading = self::table(
        &[
            "table",
            "extracted",
            "loaded",
            "unchanged",
            "rejected",
            "calls",
            "bytes",
            "time",
            "complete until",
            "result",
        ],
        &[1, 2, 3, 4, 5, 6, 7],
        rows,
    );
    // A job that ended before it knew its tables has none to show.
    let mut text = if report.tables.is_empty() { String::new() } else { heading + "\n" };
    for table in &report.tables {
        if table.removed > 0 {
            text.push_str(&format!(
                "  {}: {} rows removed, the source has them no more\n",
                table.stream,
                number(table.removed)
            ));
        }
        if let Some(reason) = &table.reason {
            let line = format!("{}: {}", table.stream, reason.replace('\n', "\n    "));
            text.push_str(&format!("  {} {line}\n", paint("!", YELLOW, terminal)));
        }
    }
    let took: SignedDuration = report.ended.duration_since(report.started);
    let took = took.as_secs_f64();
    let extracted: u64 = report.tables.iter().map(|table| table.extracted).sum();
    let (word, colour) = match report.outcome {
        Outcome::Complete => ("complete", GREEN),
        Outcome::Incomplete => ("incomplete", YELLOW),
        Outcome::Interrupted => ("interrupted", YELLOW),
        Outcome::Failed => ("failed", RED),
    };
    text.push_str(&format!(
        "\n{}: {} records ({}) in {}, {} call{}{}{}{}\n",
        paint(word, colour, terminal),
        number(extracted),
        bytes(report.bytes),
        seconds(took),
        number(report.calls),
        if report.calls == 1 { "" } else { "s" },
        match report.calls.saturating_sub(report.tables.iter().map(|table| table.calls).sum()) {
            0 => String::new(),
            n => format!(", {} of them to see what there is", number(n)),
        },
        match report.calls_wasted {
            0 => String::new(),
            n => format!(", {} without a usable answer", number(n)),
        },
        if report.rate_wait_seconds >= 0.1 {
            format!(", waited {} for the rate limit", seconds(report.rate_wait_seconds))
        } else {
            String::new()
        },
    ));
    if let Some(error) = &report.error {
        text.push_str(&format!("{} {error}\n", paint("error:", RED, terminal)));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped() {
        for (n, text) in [(0, "0"), (999, "999"), (1000, "1,000"), (1_234_567, "1,234,567")] {
            assert_eq!(number(n), text);
        }
        assert_eq!(bytes(2_600_000), "2.6 MB");
        assert_eq!(seconds(3725.0), "1 h 02 min");
        assert_eq!(seconds(65.4), "1 min 05 s");
    }
}
