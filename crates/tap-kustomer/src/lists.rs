//! Lists that are read whole in every run: users, teams, tags, shortcuts.
//!
//! They are small, have no search, and do not say what changed; `start_date` does not apply to
//! them. Every variant of the query (for example the deleted ones) is read to its end. Reading
//! goes on while the API says that there is more, by its link, its total or a full page; a link
//! that leads in a circle is not followed.

use std::collections::VecDeque;

use bobbin_core::id::StreamName;
use bobbin_core::report::Event;
use rustc_hash::FxHashSet;

use crate::http::pace::Bucket;
use crate::http::pages::Next;
use crate::http::{Call, Failure};
use crate::lane::{Lane, Outlet};
use crate::page::{PageData, ReadSpec};
use crate::walk::{Ask, Trouble, Walk};

/// Attempts at a variant whose count does not agree.
const TRIES: u32 = 4;
/// How often a page that brings records once more is asked for again before it is believed.
const DOUBTS: u32 = 3;
/// No list that is read whole has more pages than this.
const MOST_PAGES: u32 = 20_000;
/// The page size that every list takes.
const SAFE_PAGE_SIZE: u32 = 100;

enum Stage {
    Wanted,
    Asked,
}

/// A walk through a list.
pub(crate) struct ListWalk {
    stream: StreamName,
    path: String,
    page_size: u32,
    /// Queries still to be read; the first is being read.
    variants: Vec<String>,
    /// Keep only records updated in here.
    keep: Option<(i64, i64)>,
    unit: u64,
    page: u32,
    /// The path asked for, when it came from a link with a cursor.
    cursor: Option<String>,
    stage: Stage,
    /// Pages that wait to be handed over.
    ready: VecDeque<PageData>,
    attempt: u32,
    /// Distinct records of this attempt.
    received: FxHashSet<Box<str>>,
    /// The total as each page told it; false once two differed.
    total: Option<u64>,
    agreed: bool,
    seen: FxHashSet<String>,
    number: Option<u32>,
    calls: u32,
    counted: u64,
    incomplete: Option<String>,
    /// A page of this attempt brought records again, or was short though more followed.
    suspect: bool,
    /// How often the present page was asked for again, since it brought records once more.
    doubts: u32,
    /// Distinct records of the attempt before.
    before: Option<u64>,
}

impl ListWalk {
    /// A walk through `path` and its variants. `ordinal` tells the walks of one stream apart.
    pub(crate) fn new(
        stream: StreamName,
        ordinal: u32,
        path: &str,
        page_size: u32,
        variants: &[&str],
    ) -> Self {
        let mut queries = vec![String::new()];
        queries.extend(variants.iter().map(|variant| (*variant).to_owned()));
        Self {
            stream,
            path: path.to_owned(),
            page_size: page_size.max(1),
            variants: queries,
            keep: None,
            unit: u64::from(ordinal) << 32,
            page: 1,
            cursor: None,
            stage: Stage::Wanted,
            ready: VecDeque::new(),
            attempt: 1,
            received: FxHashSet::default(),
            total: None,
            agreed: true,
            seen: FxHashSet::default(),
            number: None,
            calls: 0,
            counted: 0,
            incomplete: None,
            suspect: false,
            doubts: 0,
            before: None,
        }
    }

    /// Keeps only records updated from `from` to `to`, in milliseconds, both inclusive.
    pub(crate) fn keeping(mut self, from: i64, to: i64) -> Self {
        self.keep = Some((from, to));
        self
    }

    fn call(&self) -> Call {
        let path = match (&self.cursor, self.variants.first().map(String::as_str)) {
            (Some(cursor), _) => cursor.clone(),
            (None, None | Some("")) => {
                format!("{}?page={}&pageSize={}", self.path, self.page, self.page_size)
            }
            (None, Some(variant)) => {
                format!("{}?page={}&pageSize={}&{variant}", self.path, self.page, self.page_size)
            }
        };
        Call {
            body: None,
            path,
            bucket: Bucket::Organization,
            stream: Some(self.stream.clone()),
            divisible: true,
        }
    }

    /// Begins the present variant again.
    fn restart(&mut self) {
        self.unit += 1;
        self.page = 1;
        self.cursor = None;
        self.stage = Stage::Wanted;
        self.received.clear();
        self.total = None;
        self.agreed = true;
        self.suspect = false;
        self.doubts = 0;
        self.seen.clear();
    }

    /// The next page after one with `received` records, by whatever the API tells; `None` at the
    /// end.
    fn after(&mut self, page: &PageData, new: usize) -> Option<()> {
        let used = page.page_size.unwrap_or(self.page_size).min(self.page_size).max(1);
        if page.page_size.is_some_and(|size| size < self.page_size) && self.page == 1 {
            self.page_size = used;
        }
        let full = page.received >= used as usize;
        // An empty page may be the end, or an answer that lost its records: only reading the same
        // once more can tell.
        self.suspect |= new < page.received
            || page.received == 0
            || (!full && matches!(page.next, Next::Link(_)));
        if page.received == 0 || self.page >= MOST_PAGES {
            return None;
        }
        let missing = self.total.is_some_and(|total| (self.received.len() as u64) < total);
        match &page.next {
            Next::Link(link) => {
                // A page that brings nothing new, linked on and on, is a circle.
                if new == 0 && !missing {
                    return None;
                }
                self.cursor = match linked_page(link) {
                    Linked::Numbered => None,
                    Linked::Cursor(path) if self.seen.insert(path.clone()) => Some(path),
                    Linked::Cursor(_) => return None,
                };
            }
            Next::Null if !(full && missing) => return None,
            _ if !full => return None,
            _ => {}
        }
        if new == 0 && self.page > 2 && !missing {
            return None;
        }
        self.page += 1;
        self.stage = Stage::Wanted;
        Some(())
    }

    /// A variant was read to its end.
    fn settle(&mut self) {
        let counted = self.received.len() as u64;
        let agrees = match self.total {
            Some(total) => self.agreed && total == counted,
            // Without a total the best proof is to receive the same once more.
            None => !self.suspect || self.before == Some(counted),
        };
        self.before = Some(counted);
        if !agrees && self.attempt < TRIES {
            self.attempt += 1;
            self.restart();
            return;
        }
        if !agrees && self.total.is_some() {
            let variant = self.variants.first().map_or("", String::as_str);
            self.incomplete = Some(format!(
                "the list{}{variant} counts {} records and sent {counted}; it is read again in the \
                 next run",
                if variant.is_empty() { "" } else { " with " },
                self.total.unwrap_or_default(),
            ));
        }
        self.counted += counted;
        self.variants.remove(0);
        self.attempt = 1;
        self.before = None;
        self.restart();
    }

    /// Takes in a page and decides what comes next.
    fn take(&mut self, page: PageData) {
        let ids: FxHashSet<&str> = page.rows.iter().map(|row| &*row.id).collect();
        let again = ids.len() < page.rows.len() || ids.iter().any(|id| self.received.contains(*id));
        if again && self.doubts < DOUBTS {
            self.doubts += 1;
            self.stage = Stage::Wanted;
            return;
        }
        self.doubts = 0;
        if self.total.is_some() && self.total != page.total {
            self.agreed = false;
        }
        self.total = page.total.or(self.total);
        // What `keep` left out counts too, or the total would never be met.
        let left_out = page.received - page.rows.len();
        let before = self.received.len();
        self.received.extend(page.rows.iter().map(|row| row.id.clone()));
        for n in 0..left_out {
            self.received.insert(format!("?{}/{}/{n}", self.page, self.variants.len()).into());
        }
        let new = self.received.len() - before;
        let more = self.after(&page, new).is_some();
        self.ready.push_back(page);
        if !more {
            self.settle();
        }
    }

    fn close(&mut self, lane: &mut Lane, outlet: &Outlet<'_>) {
        outlet
            .cx
            .log
            .event(Event::StreamTotal { stream: self.stream.clone(), total: self.counted });
        if let Some(problem) = self.incomplete.take() {
            lane.problem(problem);
        }
    }
}

enum Linked {
    Numbered,
    Cursor(String),
}

/// What a link leads to: a page by number, or something only the API understands. Links are
/// paths; of an absolute one only the path is used, so that the key goes nowhere else.
fn linked_page(link: &str) -> Linked {
    let path = match link.split_once("://") {
        Some((_, rest)) => rest.find('/').map_or("/", |at| &rest[at..]),
        None => link,
    };
    let numbered = path.split_once('?').is_some_and(|(_, query)| {
        query
            .split('&')
            .any(|pair| pair.strip_prefix("page=").is_some_and(|page| page.parse::<u32>().is_ok()))
    });
    if numbered { Linked::Numbered } else { Linked::Cursor(path.to_owned()) }
}

impl Walk for ListWalk {
    fn next(&mut self, _lookahead: usize) -> Option<Ask> {
        if self.variants.is_empty() || !matches!(self.stage, Stage::Wanted) {
            return None;
        }
        self.stage = Stage::Asked;
        self.calls += 1;
        let spec = ReadSpec { bounds: None, keep: self.keep, axis: None };
        Some(Ask { unit: self.unit, page: self.page, call: self.call(), spec })
    }

    fn arrive(
        &mut self,
        unit: u64,
        _page: u32,
        result: Result<PageData, Failure>,
    ) -> Result<(), Trouble> {
        if unit != self.unit {
            return Ok(());
        }
        match result {
            Ok(page) => {
                self.take(page);
                Ok(())
            }
            Err(Failure::Refused { status: 400, .. })
                if self.page == 1 && self.page_size > SAFE_PAGE_SIZE =>
            {
                self.page_size = SAFE_PAGE_SIZE;
                self.restart();
                Ok(())
            }
            // A variant that this API does not know.
            Err(Failure::Refused { status: 400, .. })
                if self.page == 1 && self.variants.first().is_some_and(|v| !v.is_empty()) =>
            {
                self.variants.remove(0);
                self.restart();
                Ok(())
            }
            Err(Failure::TooMuch(error)) => {
                if self.page_size <= 1 {
                    return Err(Trouble::Stream(error));
                }
                self.page_size = (self.page_size / 2).max(1);
                self.restart();
                Ok(())
            }
            Err(failure) => Err(Trouble::of(failure)),
        }
    }

    fn emit(&mut self, lane: &mut Lane, outlet: &mut Outlet<'_>) -> Result<bool, Trouble> {
        while let Some(page) = self.ready.pop_front() {
            let number = *self.number.get_or_insert_with(|| lane.book.window());
            lane.hand_over(outlet, page, number, 1, 1)?;
        }
        if !self.variants.is_empty() {
            return Ok(false);
        }
        self.close(lane, outlet);
        Ok(true)
    }

    fn owns(&self, unit: u64) -> bool {
        unit >> 32 == self.unit >> 32
    }

    fn waiting_bytes(&self) -> usize {
        self.ready.iter().map(|page| page.text.capacity()).sum()
    }

    fn old_from(&self) -> Option<i64> {
        self.keep.map(|(from, _)| from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_lead_to_pages_or_cursors_of_the_same_host() {
        assert!(matches!(linked_page("/v1/users?page=3&pageSize=100"), Linked::Numbered));
        assert!(matches!(linked_page("https://evil.example/v1/users?page=4"), Linked::Numbered));
        assert!(matches!(
            linked_page("https://evil.example/v1/users?after=x"),
            Linked::Cursor(path) if path == "/v1/users?after=x"
        ));
    }
}
