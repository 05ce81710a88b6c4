//! What of each table's time was read, compared and loaded, as a picture and in numbers.

use std::fmt;

use askama::Template;
use askama::filters::HtmlSafe;
use bobbin_engine::job_view::{Coverage, JobView, Stretch, TableView, WindowView};
use jiff::Timestamp;

use super::super::show::{Count, When};
use super::{Look, Seen};

/// Cells of a table's picture, and of the larger one of its windows.
const CELLS: usize = 480;
const LARGE_CELLS: usize = 120;

/// Windows that are listed one by one.
const MOST_LISTED: usize = 50;

/// Every table's time line.
#[derive(Template)]
#[template(path = "extraction_coverage.html")]
pub(super) struct CoveragePart {
    address: String,
    rows: Vec<CoverageRow>,
    /// Percent of the log that was read, where that is not all.
    reading: Option<u64>,
    no_log: bool,
    running: bool,
    legend: [(&'static str, u32, &'static str); 5],
}

struct CoverageRow {
    name: String,
    strip: Strip,
    span: Option<(When, When)>,
    windows: Count,
    incomplete: Count,
    words: String,
}

impl CoveragePart {
    pub(super) fn of(seen: &Seen) -> Self {
        let begun = seen.view.tables.iter().filter(|table| table.began.is_some());
        let mut begun: Vec<&TableView> = begun.collect();
        begun.sort_by_key(|table| table.began);
        Self {
            address: seen.address.clone(),
            rows: begun.into_iter().map(|table| CoverageRow::of(&seen.view, table)).collect(),
            reading: (seen.read < 1.0).then_some((seen.read * 100.0) as u64),
            no_log: seen.no_log,
            running: seen.is_running(),
            legend: LEGEND.map(|(coverage, told)| (coverage.word(), height(coverage), told)),
        }
    }
}

const LEGEND: [(Coverage, &str); 5] = [
    (Coverage::Planned, "still to be read"),
    (Coverage::Fetched, "read to its end, not counted by the source"),
    (Coverage::Verified, "read, and as many as the source counts"),
    (Coverage::Loaded, "durable in the destination"),
    (Coverage::Incomplete, "the numbers differ, or not reached"),
];

impl CoverageRow {
    fn of(view: &JobView, table: &TableView) -> Self {
        let span = table.from.zip(table.until).filter(|(from, until)| from < until);
        let stretches = match span {
            Some(span) => view.strip(table, span, CELLS),
            None => vec![Stretch { first: 0, cells: CELLS, coverage: view.whole(table) }],
        };
        let windows = table.windows.iter().map(|window| u64::from(window.parts)).sum();
        let incomplete = table.windows.iter().filter(|window| !window.verified).count() as u64;
        let words = words(&stretches, CELLS);
        let label = format!("{}: {words}", table.name);
        Self {
            name: table.name.clone(),
            strip: Strip { stretches, cells: CELLS, height: 24, label },
            span: span.map(|(from, until)| (When(from), When(until))),
            windows: Count(windows),
            incomplete: Count(incomplete),
            words,
        }
    }
}

/// A picture in words: `80 % loaded, 20 % planned`.
fn words(stretches: &[Stretch], cells: usize) -> String {
    let all = [
        Coverage::Incomplete,
        Coverage::Loaded,
        Coverage::Verified,
        Coverage::Fetched,
        Coverage::Planned,
    ];
    let told = all.into_iter().filter_map(|coverage| {
        let of = stretches.iter().filter(|stretch| stretch.coverage == coverage);
        let sum: usize = of.map(|stretch| stretch.cells).sum();
        match sum * 100 / cells.max(1) {
            _ if sum == 0 => None,
            0 => Some(format!("under 1 % {}", coverage.word())),
            percent => Some(format!("{percent} % {}", coverage.word())),
        }
    });
    told.collect::<Vec<_>>().join(", ")
}

/// How high a state stands in the picture, of 24: the further, the higher.
fn height(coverage: Coverage) -> u32 {
    match coverage {
        Coverage::Planned => 3,
        Coverage::Fetched => 9,
        Coverage::Verified => 15,
        Coverage::Loaded => 21,
        Coverage::Incomplete => 24,
    }
}

/// A time line as a drawing.
struct Strip {
    stretches: Vec<Stretch>,
    cells: usize,
    height: u32,
    label: String,
}

/// The parts of a time line.
fn rectangles(f: &mut fmt::Formatter<'_>, stretch: &Stretch, tall: u32) -> fmt::Result {
    let (x, width, word) = (stretch.first, stretch.cells, stretch.coverage.word());
    let height = height(stretch.coverage) * tall / 24;
    let y = tall - height;
    write!(
        f,
        "<rect class=\"{word}\" x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{height}\"/>"
    )?;
    if stretch.coverage == Coverage::Incomplete {
        // Not by colour alone: a gap in the middle, as in a broken line.
        let (y, height) = (tall / 2 - 2, 4);
        write!(
            f,
            "<rect class=\"gap\" x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{height}\"/>"
        )?;
    }
    Ok(())
}

impl fmt::Display for Strip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "<svg class=\"strip\" role=\"img\" viewBox=\"0 0 {} {}\" preserveAspectRatio=\"none\" \
             aria-label=\"{}\">",
            self.cells,
            self.height,
            askama::filters::escape(&self.label, askama::filters::Html).map_err(|_| fmt::Error)?,
        )?;
        for stretch in &self.stretches {
            rectangles(f, stretch, self.height)?;
        }
        f.write_str("</svg>")
    }
}

impl HtmlSafe for Strip {}

/// One table's windows in a part of its time.
#[derive(Template)]
#[template(path = "extraction_zoom.html")]
pub(super) struct Zoom {
    address: String,
    table: String,
    /// Whether the table has windows at all.
    windowed: bool,
    span: (When, When),
    large: Large,
    /// Queries of the whole time, of a longer part, and of those before and after.
    whole: String,
    wider: Option<String>,
    earlier: Option<String>,
    later: Option<String>,
    windows: Vec<WindowRow>,
    more: Count,
    counted: Count,
    received: Count,
    calls: Count,
    /// Windows whose numbers differ; the first of them are listed.
    missing: usize,
    incomplete: Vec<WindowRow>,
    running: bool,
}

/// An instant to the millisecond, as windows begin and end.
struct Exact(Timestamp);

impl fmt::Display for Exact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = self.0.strftime("%Y-%m-%d %H:%M:%S%.3f");
        write!(f, "<span class=\"nowrap\">{at} UTC</span>")
    }
}

impl HtmlSafe for Exact {}

struct WindowRow {
    from: Exact,
    to: Exact,
    expected: Option<Count>,
    received: Count,
    calls: Count,
    word: &'static str,
    tone: &'static str,
    parts: u32,
    line: u64,
    query: String,
}

/// The larger drawing: each of its parts leads to itself, larger.
struct Large {
    stretches: Vec<(Stretch, String, String)>,
    address: String,
}

const LARGE_HEIGHT: u32 = 72;

impl fmt::Display for Large {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "<svg class=\"strip large\" role=\"group\" aria-label=\"Parts of this time\" \
             viewBox=\"0 0 {LARGE_CELLS} {LARGE_HEIGHT}\" preserveAspectRatio=\"none\">",
        )?;
        for (stretch, query, label) in &self.stretches {
            let escape = |text: &str| {
                let text = askama::filters::escape(text, askama::filters::Html);
                text.map(|text| text.to_string()).map_err(|_| fmt::Error)
            };
            let (label, query, address) = (escape(label)?, escape(query)?, escape(&self.address)?);
            write!(
                f,
                "<a href=\"{address}?{query}#windows\" aria-label=\"{label}\"><title>{label}</title>"
            )?;
            rectangles(f, stretch, LARGE_HEIGHT)?;
            let (x, width) = (stretch.first, stretch.cells);
            write!(
                f,
                "<rect class=\"hit\" x=\"{x}\" y=\"0\" width=\"{width}\" height=\"{LARGE_HEIGHT}\"/></a>"
            )?;
        }
        f.write_str("</svg>")
    }
}

impl HtmlSafe for Large {}

impl Zoom {
    /// The table somebody chose, if it is there.
    pub(super) fn of(seen: &Seen, look: &Look) -> Option<Self> {
        let view = &seen.view;
        let table = view.tables.iter().find(|table| table.name == look.table)?;
        let whole = table.from.zip(table.until).filter(|(from, until)| from < until);
        let (start, end) = whole.unwrap_or_default();
        let instant = |text: &str| text.parse::<Timestamp>().ok();
        let from = instant(&look.from).map_or(start, |from| from.clamp(start, end));
        let until = instant(&look.until).map_or(end, |until| until.clamp(start, end));
        let (from, until) = if from < until { (from, until) } else { (start, end) };
        let span = Span { from: from.as_millisecond(), until: until.as_millisecond() };
        let all = Span { from: start.as_millisecond(), until: end.as_millisecond() };
        let query = |span: Span| span.query(&table.name);
        let length = span.until - span.from;
        let moved = |by: i64| {
            let from = (span.from + by).clamp(all.from, (all.until - length).max(all.from));
            let moved = Span { from, until: from + length };
            (moved != span).then(|| query(moved))
        };
        let wider = Span {
            from: (span.from - length * 3 / 2).max(all.from),
            until: (span.until + length * 3 / 2).min(all.until),
        };
        let within = |window: &&WindowView| {
            window.from.as_millisecond() < span.until && window.to.as_millisecond() >= span.from
        };
        let windows: Vec<&WindowView> = table.windows.iter().filter(within).collect();
        let row = |window: &&WindowView| WindowRow::of(view, table, window);
        let sum = |pick: fn(&WindowView) -> u64| {
            Count(windows.iter().map(|window| pick(window)).sum::<u64>())
        };
        let stretches = view.strip(table, (from, until), LARGE_CELLS).into_iter().map(|stretch| {
            let at = |cell: usize| span.from + length * cell as i64 / LARGE_CELLS as i64;
            let part = Span { from: at(stretch.first), until: at(stretch.first + stretch.cells) };
            let label = format!("{}, {}", stretch.coverage.word(), part.words());
            (stretch, query(part), label)
        });
        let incomplete = || windows.iter().filter(|window| !window.verified);
        Some(Self {
            address: seen.address.clone(),
            table: table.name.clone(),
            windowed: whole.is_some(),
            span: (When(from), When(until)),
            large: Large { stretches: stretches.collect(), address: seen.address.clone() },
            whole: query(all),
            wider: (wider != span).then(|| query(wider)),
            earlier: moved(-length),
            later: moved(length),
            more: Count(windows.len().saturating_sub(MOST_LISTED) as u64),
            counted: sum(|window| u64::from(window.parts)),
            received: sum(|window| window.received),
            calls: sum(|window| window.calls),
            missing: incomplete().count(),
            incomplete: incomplete().take(MOST_LISTED).map(row).collect(),
            windows: windows.iter().take(MOST_LISTED).map(row).collect(),
            running: seen.is_running(),
        })
    }
}

/// A part of time in milliseconds, without its end.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Span {
    from: i64,
    until: i64,
}

impl Span {
    fn instants(self) -> (Timestamp, Timestamp) {
        let instant = |at| Timestamp::from_millisecond(at).unwrap_or_default();
        (instant(self.from), instant(self.until.max(self.from + 1)))
    }

    fn query(self, table: &str) -> String {
        let (from, until) = self.instants();
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.append_pair("table", table);
        query.append_pair("from", &from.to_string()).append_pair("until", &until.to_string());
        query.finish()
    }

    fn words(self) -> String {
        let (from, until) = self.instants();
        format!("{from:.0} to {until:.0}")
    }
}

impl WindowRow {
    fn of(view: &JobView, table: &TableView, window: &WindowView) -> Self {
        let coverage = view.coverage(table, window);
        let tone = match coverage {
            Coverage::Loaded => "good",
            Coverage::Verified | Coverage::Fetched => "busy",
            Coverage::Planned => "",
            Coverage::Incomplete => "bad",
        };
        let span =
            Span { from: window.from.as_millisecond(), until: window.to.as_millisecond() + 1 };
        Self {
            from: Exact(window.from),
            to: Exact(window.to),
            expected: window.expected.map(Count),
            received: Count(window.received),
            calls: Count(window.calls),
            word: coverage.word(),
            tone,
            parts: window.parts,
            line: window.line,
            query: span.query(&table.name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_is_told_in_words() {
        let stretch = |first, cells, coverage| Stretch { first, cells, coverage };
        let stretches = [
            stretch(0, 400, Coverage::Loaded),
            stretch(400, 1, Coverage::Incomplete),
            stretch(401, 79, Coverage::Planned),
        ];
        let told = words(&stretches, CELLS);
        assert_eq!(
            told,
            format!("under 1 % incomplete, 83 % loaded, {} % planned", 79 * 100 / CELLS)
        );
        let label = "<b>\"x\"".to_owned();
        let strip = Strip { stretches: stretches.to_vec(), cells: CELLS, height: 24, label };
        let strip = strip.to_string();
        assert!(!strip.contains("<b>") && strip.contains("x=\"400\""), "{strip}");
        assert_eq!(strip.matches("class=\"gap\"").count(), 1);
    }
}
