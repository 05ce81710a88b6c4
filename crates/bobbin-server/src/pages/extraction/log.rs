//! The log of an extraction, some lines at a time.

use std::sync::Arc;
use std::time::Instant;

use askama::Template;
use axum::Extension;
use axum::extract::{Path, Query, State};
use bobbin_engine::job_log::Line;
use bobbin_engine::job_reader::{LEVELS, LinesQuery};
use serde::Deserialize;

use super::super::show::Count;
use super::super::{Body, Visit, part};
use super::{LATER, PAGE, Seen};
use crate::Api;
use crate::api::Answer;
use crate::gate::Watch;
use crate::live::{Live, locked};

/// Lines on a page that is loaded.
const PAGE_LINES: usize = 100;

/// Lines that are asked for at once, at most.
const MOST_LINES: usize = 500;

/// Bytes of what is looked for.
const MOST_SEARCH_BYTES: usize = 200;

/// Which lines somebody wants to see.
#[derive(Clone, Deserialize, Default)]
#[serde(default)]
pub(in super::super) struct Wanted {
    /// The line they begin at, or end at where `back` is set; none for the end of the log.
    line: String,
    /// Whether lines before it are wanted.
    back: String,
    /// The least level, as it is called.
    pub(super) level: String,
    /// What they hold.
    pub(super) search: String,
    most: String,
}

impl Wanted {
    fn query(&self, total: u64, most: usize) -> LinesQuery {
        let line = self.line.parse().ok();
        let backwards = line.is_none() || !self.back.is_empty();
        let level = LEVELS.iter().position(|level| *level == self.level).unwrap_or(0);
        let end = self.search.floor_char_boundary(MOST_SEARCH_BYTES);
        let search = self.search[..end].to_owned();
        LinesQuery { line: line.unwrap_or(total), backwards, most, level, search }
    }

    fn is_filtered(&self) -> bool {
        !self.search.is_empty() || LEVELS[1..].contains(&self.level.as_str())
    }

    /// The same search somewhere else.
    fn at(&self, line: u64, back: bool) -> String {
        self.query_of(&line.to_string(), if back { "yes" } else { "" })
    }

    /// The same once more.
    fn again(&self) -> String {
        self.query_of(&self.line, &self.back)
    }

    fn query_of(&self, line: &str, back: &str) -> String {
        let pairs = [
            ("line", line),
            ("back", back),
            ("level", self.level.as_str()),
            ("search", self.search.as_str()),
        ];
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.extend_pairs(pairs.into_iter().filter(|(_, value)| !value.is_empty()));
        query.finish()
    }
}

/// Lines of the log, with the way to those before and after them.
#[derive(Template)]
#[template(path = "extraction_log.html")]
pub(super) struct LinesPart {
    address: String,
    lines: Vec<LineShown>,
    total: Count,
    earlier: Option<String>,
    later: Option<String>,
    /// Whether only some lines are wanted.
    pub(super) filtered: bool,
    /// Whether it was looked only into a part of the log so far.
    late: bool,
    no_log: bool,
    /// Percent of the log that was read, where that is not all; and what to ask for again then.
    reading: Option<(u64, String)>,
}

/// A line as it is shown.
pub(super) struct LineShown {
    number: u64,
    line: Option<Line>,
}

impl LineShown {
    pub(super) fn of((number, line): (u64, Option<Line>)) -> Self {
        Self { number, line }
    }

    fn tone(&self) -> &'static str {
        match self.line.as_ref().map_or("DEBUG", |line| line.level) {
            "DEBUG" => "faint",
            "WARNING" => "warn",
            "ERROR" | "CRITICAL" => "bad",
            _ => "",
        }
    }

    fn time(&self) -> String {
        let line = self.line.as_ref();
        line.map_or_else(String::new, |line| line.at.strftime("%H:%M:%S%.3f").to_string())
    }

    fn instant(&self) -> String {
        self.line.as_ref().map_or_else(String::new, |line| line.at.to_string())
    }
}

/// Lines alone, one after the other.
#[derive(Template)]
#[template(path = "extraction_lines.html")]
pub(super) struct NewLines {
    pub(super) address: String,
    pub(super) lines: Vec<LineShown>,
}

impl LinesPart {
    pub(super) fn of(api: &Api, live: &Live, seen: &Seen, wanted: &Wanted) -> Answer<Self> {
        Self::with(api, live, seen, wanted, (PAGE_LINES, PAGE))
    }

    fn with(
        api: &Api,
        live: &Live,
        seen: &Seen,
        wanted: &Wanted,
        (most, time): (usize, std::time::Duration),
    ) -> Answer<Self> {
        let total = seen.view.lines;
        let mut part = Self {
            address: seen.address.clone(),
            lines: Vec::new(),
            total: Count(total),
            earlier: None,
            later: None,
            filtered: wanted.is_filtered(),
            late: false,
            no_log: seen.no_log,
            reading: (seen.read < 1.0).then(|| ((seen.read * 100.0) as u64, wanted.again())),
        };
        if total == 0 {
            return Ok(part);
        }
        let query = wanted.query(total, most);
        let reader = live.reader(&api.engine, &seen.which)?;
        let found = locked(&reader).lines(&query, Instant::now() + time)?;
        let numbers = |at: Option<&(u64, _)>| at.map(|(number, _)| *number);
        let (first, last) = (numbers(found.lines.first()), numbers(found.lines.last()));
        part.late = found.late;
        let before = |line: u64| (line > 1).then(|| wanted.at(line - 1, true));
        let after = |line: u64| (line < total).then(|| wanted.at(line + 1, false));
        if query.backwards {
            part.earlier = found.next.map(|next| wanted.at(next, true));
            part.later = after(last.unwrap_or(query.line));
        } else {
            part.earlier = before(first.unwrap_or(query.line));
            part.later = found.next.map(|next| wanted.at(next, false));
        }
        part.lines = found.lines.into_iter().map(LineShown::of).collect();
        Ok(part)
    }
}

/// Lines of the log, for a page that shows them as somebody scrolls.
pub(in super::super) async fn lines(
    State(api): State<Arc<Api>>,
    Extension(watch): Extension<Arc<Watch>>,
    Path((connection, job)): Path<(String, String)>,
    Query(wanted): Query<Wanted>,
    visit: Visit,
) -> Answer<Body> {
    part(api, visit.gzip, move |api| {
        let seen = Seen::of(api, &watch.live, (&connection, &job), LATER)?;
        let most = wanted.most.parse().unwrap_or(PAGE_LINES).min(MOST_LINES);
        LinesPart::with(api, &watch.live, &seen, &wanted, (most, LATER))
    })
    .await
}
