//! An entry for fuzzing: a page as the threads that receive answers read it. Only there with the
//! feature `fuzzing`, which no program turns on.

use bobbin_core::selection::Selection;
use jiff::Timestamp;

use crate::http::{Answer, Flaw};
use crate::metadata::CustomAttributes;
use crate::page::{ReadSpec, read};
use crate::shape::Shaper;
use crate::streams;

/// What reads pages of conversations; it learns from page to page as a thread does.
pub struct Pages(Shaper);

/// What was read of an answer.
#[derive(Debug)]
pub struct Page {
    /// The lines.
    pub text: Vec<u8>,
    /// Records that have a row, set aside or not.
    pub rows: usize,
    /// Records in the answer.
    pub received: usize,
    /// Records set aside: reason and text.
    pub rejected: Vec<(String, String)>,
}

impl Pages {
    /// A reader that has read nothing.
    ///
    /// # Panics
    /// Never: the stream is in the table of streams.
    #[allow(clippy::expect_used, clippy::new_without_default, reason = "only for fuzzing")]
    pub fn new() -> Self {
        let resource = streams::resource("conversations").expect("a stream of the table");
        let stream = streams::stream(resource, &CustomAttributes::default());
        Self(Shaper::new(&stream, resource, &Selection::all()))
    }
}

/// Reads an answer.
///
/// # Errors
/// When it is not a page.
pub fn page(pages: &mut Pages, bytes: &[u8], lossy: bool) -> Result<Page, String> {
    let answer = Answer { bytes, at: Timestamp::UNIX_EPOCH, flawed: 0, lossy };
    let page =
        read(&answer, &ReadSpec::default(), &mut pages.0, Vec::new()).map_err(
            |flaw| match flaw {
                Flaw::Transport(reason) | Flaw::Contract(reason) => reason,
                Flaw::Encoding => "bytes that are not UTF-8".to_owned(),
            },
        )?;
    let rejected = page.rejected.into_iter().map(|rejected| (rejected.reason, rejected.record));
    Ok(Page {
        text: page.text,
        rows: page.rows.len(),
        received: page.received,
        rejected: rejected.collect(),
    })
}
