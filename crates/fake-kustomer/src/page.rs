//! A page of records as the service writes it, and as faults bend it.

use crate::data::render;
use crate::fault::Fault;
use crate::hostile::Poison;
use crate::out::Out;
use crate::overlay::Rec;
use crate::select::Hit;
use crate::world::World;

/// The faults that strike rows and envelope.
#[derive(Default)]
pub(crate) struct PageFaults {
    faults: Vec<Fault>,
}

impl PageFaults {
    pub(crate) fn new(faults: &[Fault]) -> Self {
        Self { faults: faults.to_vec() }
    }

    fn has(&self, wanted: &Fault) -> bool {
        self.faults.contains(wanted)
    }

    /// The page really served when this one is asked for.
    pub(crate) fn served(&self, page: u64) -> u64 {
        if self.has(&Fault::RepeatPage) { page.saturating_sub(1).max(1) } else { page }
    }

    /// Bends the rows; `before` is the row that precedes them.
    pub(crate) fn bend_rows(&self, hits: &mut Vec<Hit>, before: Option<Hit>) {
        for fault in &self.faults {
            match fault {
                Fault::TimedOut { keep } => hits.truncate(*keep as usize),
                Fault::DuplicateInPage => {
                    if let Some(first) = hits.first().copied() {
                        let middle = hits.len() / 2 + 1;
                        hits.insert(middle.min(hits.len()), first);
                    }
                }
                Fault::DuplicateAcrossPages => {
                    if let Some(before) = before {
                        hits.insert(0, before);
                    }
                }
                Fault::MissingRows { count } => {
                    let count = (*count as usize).min(hits.len());
                    let start = (hits.len() - count) / 2;
                    hits.drain(start..start + count);
                }
                Fault::Unsorted => hits.reverse(),
                _ => {}
            }
        }
    }

    /// Bends the total.
    pub(crate) fn bend_total(&self, total: u64, page: u64) -> u64 {
        self.faults.iter().fold(total, |total, fault| match fault {
            Fault::WrongTotal { by } => total.saturating_add_signed(*by),
            Fault::ShrinkingTotal { by } => total.saturating_sub(by * page.saturating_sub(1)),
            _ => total,
        })
    }

    fn timed_out(&self) -> bool {
        self.faults.iter().any(|fault| matches!(fault, Fault::TimedOut { .. }))
    }

    fn poison(&self, row: usize) -> Option<Poison> {
        self.faults.iter().find_map(|fault| match fault {
            Fault::Poison { poison, row: at } if *at as usize == row => Some(*poison),
            _ => None,
        })
    }
}

/// Writes what goes into `included` for a row.
pub(crate) type Included<'a> = &'a dyn Fn(&mut Out, &World, &Rec<'_>);

/// A page, ready to be written.
pub(crate) struct Page<'a> {
    /// The path of the links, without query.
    pub(crate) path: &'a str,
    /// Further query members of the links, each with a leading `&`.
    pub(crate) query: String,
    pub(crate) page: u64,
    pub(crate) page_size: u64,
    /// Where the endpoint tells it.
    pub(crate) total: Option<u64>,
    pub(crate) has_next: bool,
    /// Whether the envelope is that of a search.
    pub(crate) search: bool,
    pub(crate) ids_only: bool,
    pub(crate) hits: Vec<Hit>,
    pub(crate) faults: &'a PageFaults,
}

impl Page<'_> {
    /// Writes the whole answer; `find` gives the version to show of a row. How many records it has.
    pub(crate) fn write<'w>(
        &self,
        out: &mut Out,
        world: &'w World,
        find: impl Fn(Hit) -> Option<Rec<'w>>,
        included: Option<Included<'_>>,
    ) -> u64 {
        out.buf.reserve(self.hits.len() * if self.ids_only { 80 } else { 3400 } + 1000);
        self.head(out);
        if self.faults.has(&Fault::NoData) {
            out.raw("}");
            return 0;
        }
        if self.faults.has(&Fault::NullData) {
            out.raw(",\"data\":null}");
            return 0;
        }
        out.raw(",\"data\":[");
        let mut records = 0;
        for (row, hit) in self.hits.iter().enumerate() {
            let Some(rec) = find(*hit) else { continue };
            if records > 0 {
                out.raw(",");
            }
            records += 1;
            if let Some(poison) = self.faults.poison(row) {
                let mut clean = Out::default();
                render(&mut clean, world, hit.stream, &rec);
                out.buf.extend_from_slice(&poison.apply(&clean.buf, &rec));
            } else if self.ids_only {
                out.raw("{\"type\":\"").raw(crate::data::type_of(hit.stream));
                out.raw("\",\"id\":").id(rec.id).raw("}");
            } else {
                render(out, world, hit.stream, &rec);
            }
        }
        out.raw("]");
        if let Some(write) = included {
            out.raw(",\"included\":[");
            for (place, hit) in self.hits.iter().enumerate() {
                if place > 0 {
                    out.raw(",");
                }
                if let Some(rec) = find(*hit) {
                    write(out, world, &rec);
                }
            }
            out.raw("]");
        }
        out.raw("}");
        records
    }

    fn head(&self, out: &mut Out) {
        out.raw("{\"meta\":{\"pageSize\":").int(self.page_size).raw(",\"page\":").int(self.page);
        let total = self.total.map(|total| self.faults.bend_total(total, self.page));
        let last = total.map(|total| total.div_ceil(self.page_size).max(1));
        if let (Some(total), Some(last)) = (total, last) {
            let pages = if total == 0 { 0 } else { last };
            out.raw(",\"total\":").int(total).raw(",\"totalPages\":").int(pages);
        }
        if self.search {
            out.raw(",\"aggregations\":{},\"timed_out\":").bool(self.faults.timed_out());
        }
        out.raw("},\"links\":{\"self\":");
        self.link(out, self.page).raw(",\"first\":");
        self.link(out, 1).raw(",\"prev\":");
        if self.page > 1 {
            self.link(out, self.page - 1);
        } else {
            out.raw("null");
        }
        if self.faults.has(&Fault::NextLoop) {
            out.raw(",\"next\":");
            self.link(out, self.page);
        } else if self.faults.has(&Fault::NextMissing) {
        } else if self.has_next {
            out.raw(",\"next\":");
            self.link(out, self.page + 1);
        } else {
            out.raw(",\"next\":null");
        }
        if let Some(last) = last {
            out.raw(",\"last\":");
            self.link(out, last);
        }
        out.raw("}");
    }

    fn link<'o>(&self, out: &'o mut Out, page: u64) -> &'o mut Out {
        out.raw("\"").raw(self.path).raw("?page=").int(page).raw("&pageSize=").int(self.page_size);
        out.raw(&self.query).raw("\"")
    }
}
