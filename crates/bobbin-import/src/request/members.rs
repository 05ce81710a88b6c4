//! The members of bodies and of messages; which ones must be there depends on who asks.

use std::borrow::Cow;

use bobbin_core::json::{Peek, Reader};
use jiff::Timestamp;

use super::tree::{Extent, Members, Tree};
use super::{MOST_MESSAGES, Refused, missing, shortened, unreadable};

/// What a message wants.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    Upsert,
    Activate,
}

/// The members of a batch's body.
#[derive(Default)]
pub(super) struct Envelope<'t> {
    pub(super) table: Option<Cow<'t, str>>,
    pub(super) schema: Option<&'t str>,
    pub(super) keys: Option<Vec<String>>,
    pub(super) bookmarks: Vec<String>,
    pub(super) version: Option<i64>,
    /// Where the messages are, unread.
    pub(super) messages: Option<Reader<'t>>,
}

/// Reads the members of a batch's body, in any order, and leaves the messages unread.
pub(super) fn envelope<'t>(r: &mut Reader<'t>) -> Result<Envelope<'t>, Refused> {
    if r.peek().map_err(unreadable)? != Peek::Object {
        return Err(Refused::invalid("the body must be an object".to_owned()));
    }
    r.object().map_err(unreadable)?;
    let mut whole = Envelope::default();
    while let Some(key) = r.key().map_err(unreadable)? {
        match key.decode().as_ref() {
            "table_name" => whole.table = text(r, "table_name")?,
            "schema" => whole.schema = Some(r.skip().map_err(unreadable)?),
            "key_names" => whole.keys = list(r, "key_names")?,
            "bookmark_names" => {
                whole.bookmarks = list(r, "bookmark_names")?.unwrap_or_default();
            }
            "table_version" => whole.version = integer(r, "table_version")?,
            "messages" => {
                whole.messages = Some(r.clone());
                r.skip_unchecked().map_err(unreadable)?;
            }
            _ => {
                r.skip().map_err(unreadable)?;
            }
        }
    }
    r.end().map_err(unreadable)?;
    Ok(whole)
}

/// One message.
#[derive(Default)]
pub(super) struct Message<'t> {
    pub(super) table: Option<Cow<'t, str>>,
    pub(super) keys: Option<Vec<String>>,
    pub(super) version: Option<i64>,
    action: Option<Cow<'t, str>>,
    sequence: Option<i64>,
    time: Option<Cow<'t, str>>,
    data: Option<Data<'t>>,
}

struct Data<'t> {
    text: &'t str,
    tree: Tree<'t>,
    extent: Extent,
}

/// A record: its text, and what is in it.
pub(super) struct Record<'m, 't> {
    pub(super) text: &'t str,
    pub(super) tree: &'m Tree<'t>,
    pub(super) members: &'m Members<'t>,
    pub(super) extent: Extent,
}

/// Reads messages one by one from where `r` is in `body`. Gives how many there are.
pub(super) fn each<'t>(
    body: &'t str,
    r: &mut Reader<'t>,
    what: &str,
    take: &mut dyn FnMut(Message<'t>) -> Result<(), Refused>,
) -> Result<usize, Refused> {
    if r.peek().map_err(unreadable)? != Peek::Array {
        return Err(Refused::invalid(format!("{what} must be a list of messages")));
    }
    r.array().map_err(unreadable)?;
    let mut count = 0;
    while r.item().map_err(unreadable)? {
        if count == MOST_MESSAGES {
            return Err(Refused::too_large(format!(
                "there are more than {MOST_MESSAGES} messages; send them in several requests"
            )));
        }
        let message = message(body, r).map_err(|refused| refused.at(count))?;
        take(message).map_err(|refused| refused.at(count))?;
        count += 1;
    }
    Ok(count)
}

fn message<'t>(body: &'t str, r: &mut Reader<'t>) -> Result<Message<'t>, Refused> {
    if r.peek().map_err(unreadable)? != Peek::Object {
        return Err(Refused::invalid("it must be an object".to_owned()));
    }
    r.object().map_err(unreadable)?;
    let mut message = Message::default();
    while let Some(key) = r.key().map_err(unreadable)? {
        match key.decode().as_ref() {
            "action" => message.action = text(r, "action")?,
            "sequence" => message.sequence = integer(r, "sequence")?,
            "time_extracted" => message.time = text(r, "time_extracted")?,
            "data" => {
                // Steps over white space.
                r.peek().map_err(unreadable)?;
                let start = r.offset();
                let mut extent = Extent::default();
                let tree = Tree::read(r, &mut extent).map_err(unreadable)?;
                message.data = Some(Data { text: &body[start..r.offset()], tree, extent });
            }
            "table_name" => message.table = text(r, "table_name")?,
            "key_names" => message.keys = list(r, "key_names")?,
            "table_version" => message.version = integer(r, "table_version")?,
            _ => {
                r.skip().map_err(unreadable)?;
            }
        }
    }
    Ok(message)
}

impl<'t> Message<'t> {
    pub(super) fn action(&self) -> Result<Action, Refused> {
        match self.action.as_deref() {
            Some("upsert") => Ok(Action::Upsert),
            Some("activate_version") => Ok(Action::Activate),
            Some(other) => Err(Refused::invalid(format!(
                "there is no action `{}`; there are upsert and activate_version",
                shortened(other, 40)
            ))),
            None => Err(missing("action")),
        }
    }

    pub(super) fn sequence(&self) -> Result<i64, Refused> {
        self.sequence.ok_or_else(|| missing("sequence"))
    }

    pub(super) fn time(&self) -> Result<Option<Timestamp>, Refused> {
        let Some(text) = &self.time else { return Ok(None) };
        let time = text.parse();
        time.map(Some).map_err(|_| {
            Refused::invalid(
                "time_extracted is no instant, such as 2026-11-28T09:30:00Z".to_owned(),
            )
        })
    }

    pub(super) fn record(&self) -> Result<Record<'_, 't>, Refused> {
        let Some(Data { text, tree, extent }) = &self.data else { return Err(missing("data")) };
        let Tree::Object(members) = tree else {
            return Err(Refused::invalid("data must be an object".to_owned()));
        };
        Ok(Record { text, tree, members, extent: *extent })
    }
}

/// A text, or nothing for null.
fn text<'t>(r: &mut Reader<'t>, what: &str) -> Result<Option<Cow<'t, str>>, Refused> {
    match r.peek().map_err(unreadable)? {
        Peek::String => Ok(Some(r.string().map_err(unreadable)?.decode())),
        Peek::Null => r.null().map(|()| None).map_err(unreadable),
        _ => Err(Refused::invalid(format!("{what} must be a text"))),
    }
}

/// A whole number of 64 bits, or nothing for null.
fn integer(r: &mut Reader<'_>, what: &str) -> Result<Option<i64>, Refused> {
    let wrong = || Refused::invalid(format!("{what} must be an integer, at most {}", i64::MAX));
    match r.peek().map_err(unreadable)? {
        Peek::Number => {
            let literal = r.number().map_err(unreadable)?;
            literal.parse().map(Some).map_err(|_| wrong())
        }
        Peek::Null => r.null().map(|()| None).map_err(unreadable),
        _ => Err(wrong()),
    }
}

/// A list of texts, or nothing for null.
fn list(r: &mut Reader<'_>, what: &str) -> Result<Option<Vec<String>>, Refused> {
    let wrong = || Refused::invalid(format!("{what} must be a list of names"));
    match r.peek().map_err(unreadable)? {
        Peek::Array => {}
        Peek::Null => return r.null().map(|()| None).map_err(unreadable),
        _ => return Err(wrong()),
    }
    r.array().map_err(unreadable)?;
    let mut names = Vec::new();
    while r.item().map_err(unreadable)? {
        names.push(text(r, what)?.ok_or_else(wrong)?.into_owned());
    }
    Ok(Some(names))
}
