//! The pass over a document's text.

use std::borrow::Cow;
use std::collections::HashSet;

use bobbin_core::json::{JsonError, Peek, Reader, write_string};

use super::plan::{ATTRIBUTES, Action, Capture, Link, NONE, Plan, RELATIONSHIPS};
use super::{Stop, infer};

/// Values of the document that the tap itself needs, as they stand in the text.
#[derive(Default)]
pub(super) struct Found<'a> {
    pub(super) id: Option<&'a str>,
    pub(super) updated_at: Option<&'a str>,
    pub(super) rev: Option<&'a str>,
    target: Option<&'a str>,
}

/// Writes an object's members to `out`, without braces.
pub(super) fn members<'a>(
    plan: &mut Plan,
    node: usize,
    reader: &mut Reader<'a>,
    raw: &'a str,
    out: &mut Vec<u8>,
    found: &mut Found<'a>,
) -> Result<(), Stop> {
    reader.object()?;
    let here = &mut plan.nodes[node];
    here.visit += 1;
    let visit = here.visit;
    let mut guess = here.first;
    let mut previous = NONE;
    loop {
        let expected = plan.nodes[node].members.get(guess as usize);
        let at = match expected {
            Some(member) if reader.key_if(&member.quoted) => guess,
            _ => {
                let Some(key) = reader.key()? else { return Ok(()) };
                let at = plan.find(node, key);
                let here = &mut plan.nodes[node];
                match here.members.get_mut(previous as usize) {
                    Some(member) => member.next = at,
                    None => here.first = at,
                }
                at
            }
        };
        previous = at;
        let here = &mut plan.nodes[node];
        let member = &mut here.members[at as usize];
        if std::mem::replace(&mut member.seen, visit) == visit {
            return Err(Stop::Twice);
        }
        guess = member.next;
        match member.action {
            Action::Copy => {
                put_key(out, &member.out);
                let capture = member.capture;
                let unknown = member.unknown;
                let value = value(&mut plan.levels, reader, raw)?;
                out.extend_from_slice(value.as_bytes());
                if capture != Capture::Nothing {
                    found.keep(capture, value);
                }
                if unknown && value != "null" {
                    plan.discover(node, at, value);
                }
            }
            Action::Drop => {
                let capture = member.capture;
                let value = value(&mut plan.levels, reader, raw)?;
                found.keep(capture, value);
            }
            // A structure that is not there is left out: null and absent mean the same to every
            // target, and validators that look into a structure stumble over null.
            Action::Structure(_) if reader.peek()? == Peek::Null => reader.null()?,
            Action::Structure(inner) | Action::List(inner) => {
                put_key(out, &member.out);
                structures(plan, inner, reader, raw, out, found)?;
            }
            Action::Attributes => part(plan, ATTRIBUTES, "attributes", reader, raw, out, found)?,
            Action::Relationships => {
                part(plan, RELATIONSHIPS, "relationships", reader, raw, out, found)?;
            }
            Action::Reference => reference(plan, at, reader, raw, out, found)?,
        }
    }
}

impl<'a> Found<'a> {
    fn keep(&mut self, capture: Capture, value: &'a str) {
        match capture {
            Capture::Nothing => {}
            Capture::Id => self.id = Some(value),
            Capture::UpdatedAt => self.updated_at = Some(value),
            Capture::Rev => self.rev = Some(value),
            Capture::Target => self.target = Some(value),
        }
    }
}

/// Writes `,"name":`, without the comma at an object's beginning.
#[inline]
fn put_key(out: &mut Vec<u8>, key: &[u8]) {
    let from = usize::from(out.last() == Some(&b'{'));
    out.extend_from_slice(&key[from..]);
}

/// `attributes` or `relationships`.
fn part<'a>(
    plan: &mut Plan,
    node: usize,
    name: &str,
    reader: &mut Reader<'a>,
    raw: &'a str,
    out: &mut Vec<u8>,
    found: &mut Found<'a>,
) -> Result<(), Stop> {
    match reader.peek()? {
        Peek::Object => members(plan, node, reader, raw, out, found),
        Peek::Null => Ok(reader.null()?),
        other => {
            reader.skip()?;
            Err(Stop::Odd(format!("`{name}` is {}, not an object", infer::kind_name(other))))
        }
    }
}

/// An object with keys to rename, an array of such objects, or whatever stands there instead.
fn structures<'a>(
    plan: &mut Plan,
    node: usize,
    reader: &mut Reader<'a>,
    raw: &'a str,
    out: &mut Vec<u8>,
    found: &mut Found<'a>,
) -> Result<(), Stop> {
    match reader.peek()? {
        Peek::Object => {
            out.push(b'{');
            members(plan, node, reader, raw, out, found)?;
            out.push(b'}');
        }
        Peek::Array => {
            reader.array()?;
            out.push(b'[');
            let mut first = true;
            while reader.item()? {
                if !std::mem::take(&mut first) {
                    out.push(b',');
                }
                if reader.peek()? == Peek::Object {
                    out.push(b'{');
                    members(plan, node, reader, raw, out, found)?;
                    out.push(b'}');
                } else {
                    out.extend_from_slice(value(&mut plan.levels, reader, raw)?.as_bytes());
                }
            }
            out.push(b']');
        }
        _ => out.extend_from_slice(reader.skip()?.as_bytes()),
    }
    Ok(())
}

/// A relationship: its `data` as it stands and the bare id or ids. Without data it is left out:
/// which of those there are depends on the customer's classes.
fn reference<'a>(
    plan: &mut Plan,
    at: u32,
    reader: &mut Reader<'a>,
    raw: &'a str,
    out: &mut Vec<u8>,
    found: &mut Found<'a>,
) -> Result<(), Stop> {
    match reader.peek()? {
        Peek::Object => {
            let mut data = false;
            reader.object()?;
            while let Some(key) = reader.key()? {
                if key.decode() == "data" {
                    if std::mem::replace(&mut data, true) {
                        return Err(Stop::Twice);
                    }
                    target(plan, at, reader, raw, out, found)?;
                } else {
                    reader.skip()?;
                }
            }
            Ok(())
        }
        _ => target(plan, at, reader, raw, out, found),
    }
}

/// What a relationship points to.
fn target<'a>(
    plan: &mut Plan,
    at: u32,
    reader: &mut Reader<'a>,
    raw: &'a str,
    out: &mut Vec<u8>,
    found: &mut Found<'a>,
) -> Result<(), Stop> {
    let peek = reader.peek()?;
    let many = match peek {
        Peek::Array => true,
        Peek::Null => plan.declared_many(at),
        _ => false,
    };
    let mut link = plan.take_link(at, many);
    let result = write_target(plan, &mut link, peek, reader, raw, out, found);
    plan.put_link(at, many, link);
    result
}

fn write_target<'a>(
    plan: &mut Plan,
    link: &mut Link,
    peek: Peek,
    reader: &mut Reader<'a>,
    raw: &'a str,
    out: &mut Vec<u8>,
    found: &mut Found<'a>,
) -> Result<(), Stop> {
    // The object is written even when it is left out, to read the id from it, and taken back.
    let before = out.len();
    if let Some(key) = &link.value {
        put_key(out, key);
    }
    found.target = None;
    match peek {
        Peek::Array => {
            let mut keys = std::mem::take(&mut link.keys);
            keys.clear();
            reader.array()?;
            out.push(b'[');
            let mut first = true;
            while reader.item()? {
                if !std::mem::take(&mut first) {
                    out.push(b',');
                    keys.push(b',');
                }
                found.target = None;
                if reader.peek()? == Peek::Object {
                    out.push(b'{');
                    members(plan, link.node, reader, raw, out, found)?;
                    out.push(b'}');
                    keys.extend_from_slice(found.target.unwrap_or("null").as_bytes());
                } else {
                    let item = value(&mut plan.levels, reader, raw)?;
                    out.extend_from_slice(item.as_bytes());
                    keys.extend_from_slice(item.as_bytes());
                }
            }
            out.push(b']');
            if link.value.is_none() {
                out.truncate(before);
            }
            if let Some(key) = &link.key {
                put_key(out, key);
                out.push(b'[');
                out.extend_from_slice(&keys);
                out.push(b']');
            }
            link.keys = keys;
        }
        _ => {
            if peek == Peek::Object {
                out.push(b'{');
                members(plan, link.node, reader, raw, out, found)?;
                out.push(b'}');
            } else {
                out.extend_from_slice(reader.skip()?.as_bytes());
            }
            if link.value.is_none() {
                out.truncate(before);
            }
            if let Some(key) = &link.key {
                put_key(out, key);
                out.extend_from_slice(found.target.unwrap_or("null").as_bytes());
            }
        }
    }
    if peek != Peek::Null {
        plan.discover_link(link);
    }
    Ok(())
}

/// Checks the next value and gives its text. Objects with keys that stand twice stop the walk:
/// programs do not agree which of the values holds.
#[inline]
pub(super) fn value<'a>(
    levels: &mut [[u64; 4]],
    reader: &mut Reader<'a>,
    raw: &'a str,
) -> Result<&'a str, Stop> {
    match reader.peek()? {
        Peek::Object | Peek::Array => nested(levels, reader, raw),
        Peek::String => {
            let start = reader.offset();
            reader.string()?;
            Ok(&raw[start..reader.offset()])
        }
        _ => Ok(reader.skip()?),
    }
}

/// An object or array. Keys of each level are noted in 256 bits; only when two fall on the same
/// bit are they compared.
fn nested<'a>(
    levels: &mut [[u64; 4]],
    reader: &mut Reader<'a>,
    raw: &'a str,
) -> Result<&'a str, Stop> {
    let start = reader.offset();
    let mut objects: u128 = 0;
    let mut depth = 0;
    let mut suspect = false;
    loop {
        match reader.peek()? {
            Peek::Object => {
                reader.object()?;
                objects = objects << 1 | 1;
                depth += 1;
                levels[depth] = [0; 4];
            }
            Peek::Array => {
                reader.array()?;
                objects <<= 1;
                depth += 1;
            }
            _ => {
                reader.skip()?;
            }
        }
        loop {
            if depth == 0 {
                let text = &raw[start..reader.offset()];
                if suspect && has_duplicates(text)? {
                    return Err(Stop::Twice);
                }
                return Ok(text);
            }
            let more = if objects & 1 == 1 {
                match reader.key()? {
                    Some(key) => {
                        let bit = mix(key.raw.as_bytes());
                        let word = &mut levels[depth][usize::from(bit >> 6)];
                        suspect |= *word >> (bit & 63) & 1 == 1 || key.escaped;
                        *word |= 1 << (bit & 63);
                        true
                    }
                    None => false,
                }
            } else {
                reader.item()?
            };
            if more {
                break;
            }
            objects >>= 1;
            depth -= 1;
        }
    }
}

/// Eight bits that differ for most keys.
#[inline]
fn mix(key: &[u8]) -> u8 {
    let mut head = [0; 8];
    let mut tail = [0; 8];
    let count = key.len().min(8);
    head[..count].copy_from_slice(&key[..count]);
    tail[..count].copy_from_slice(&key[key.len() - count..]);
    let sum = u64::from_le_bytes(head).wrapping_mul(0x9E37_79B9_7F4A_7C15)
        ^ u64::from_le_bytes(tail).wrapping_mul(0xC2B2_AE3D_27D4_EB4F).rotate_left(17)
        ^ (key.len() as u64).wrapping_mul(0x1656_67B1_9E37_79F9);
    (sum.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 56) as u8
}

/// Whether any object in a text has a key twice.
fn has_duplicates(text: &str) -> Result<bool, JsonError> {
    fn look(reader: &mut Reader<'_>) -> Result<bool, JsonError> {
        match reader.peek()? {
            Peek::Object => {
                reader.object()?;
                let mut keys: HashSet<Cow<'_, str>> = HashSet::new();
                while let Some(key) = reader.key()? {
                    if !keys.insert(key.decode()) || look(reader)? {
                        return Ok(true);
                    }
                }
            }
            Peek::Array => {
                reader.array()?;
                while reader.item()? {
                    if look(reader)? {
                        return Ok(true);
                    }
                }
            }
            _ => {
                reader.skip()?;
            }
        }
        Ok(false)
    }
    look(&mut Reader::new(text))
}

/// The same document with only the last of equal keys in every object.
pub(super) fn without_duplicates(text: &str) -> Result<String, JsonError> {
    enum Tree<'a> {
        Leaf(&'a str),
        Object(Vec<(Cow<'a, str>, Tree<'a>)>),
        Array(Vec<Tree<'a>>),
    }
    fn read<'a>(reader: &mut Reader<'a>) -> Result<Tree<'a>, JsonError> {
        Ok(match reader.peek()? {
            Peek::Object => {
                reader.object()?;
                let mut members: Vec<(Cow<'a, str>, Tree<'a>)> = Vec::new();
                let mut places = std::collections::HashMap::new();
                while let Some(key) = reader.key()? {
                    let key = key.decode();
                    let value = read(reader)?;
                    match places.get(&key) {
                        Some(&place) => members[place] = (key, value),
                        None => {
                            places.insert(key.clone(), members.len());
                            members.push((key, value));
                        }
                    }
                }
                Tree::Object(members)
            }
            Peek::Array => {
                reader.array()?;
                let mut items = Vec::new();
                while reader.item()? {
                    items.push(read(reader)?);
                }
                Tree::Array(items)
            }
            _ => Tree::Leaf(reader.skip()?),
        })
    }
    fn write(tree: &Tree<'_>, out: &mut Vec<u8>) {
        match tree {
            Tree::Leaf(text) => out.extend_from_slice(text.as_bytes()),
            Tree::Object(members) => {
                out.push(b'{');
                for (n, (key, value)) in members.iter().enumerate() {
                    if n > 0 {
                        out.push(b',');
                    }
                    write_string(out, key);
                    out.push(b':');
                    write(value, out);
                }
                out.push(b'}');
            }
            Tree::Array(items) => {
                out.push(b'[');
                for (n, item) in items.iter().enumerate() {
                    if n > 0 {
                        out.push(b',');
                    }
                    write(item, out);
                }
                out.push(b']');
            }
        }
    }
    let mut reader = Reader::new(text);
    let tree = read(&mut reader)?;
    reader.end()?;
    let mut out = Vec::with_capacity(text.len());
    write(&tree, &mut out);
    Ok(String::from_utf8_lossy(&out).into_owned())
}

/// The way from the top of a text to the byte at `offset`: `attributes.custom.totalNum`. Works on
/// broken text; long names and ways are cut.
pub(super) fn path_to(text: &str, offset: usize) -> String {
    enum Level {
        Object(Option<String>),
        Array(usize),
    }
    let bytes = &text.as_bytes()[..offset.min(text.len())];
    let mut levels: Vec<Level> = Vec::new();
    let mut key_due = false;
    let mut at = 0;
    while at < bytes.len() {
        match bytes[at] {
            b'"' => {
                let start = at + 1;
                at = start;
                while at < bytes.len() && bytes[at] != b'"' {
                    at += if bytes[at] == b'\\' { 2 } else { 1 };
                }
                if at < bytes.len()
                    && key_due
                    && let Some(Level::Object(key)) = levels.last_mut()
                {
                    let name = String::from_utf8_lossy(&bytes[start..at]);
                    *key = Some(name.chars().take(60).collect());
                    key_due = false;
                }
            }
            b'{' => {
                levels.push(Level::Object(None));
                key_due = true;
            }
            b'[' => {
                levels.push(Level::Array(0));
                key_due = false;
            }
            b'}' | b']' => {
                levels.pop();
                key_due = false;
            }
            b',' => match levels.last_mut() {
                Some(Level::Object(key)) => {
                    *key = None;
                    key_due = true;
                }
                Some(Level::Array(item)) => *item += 1,
                None => {}
            },
            _ => {}
        }
        at += 1;
    }
    let mut path = String::new();
    for (n, level) in levels.iter().enumerate() {
        if n == 12 {
            path.push('…');
            break;
        }
        match level {
            Level::Object(Some(key)) => {
                if !path.is_empty() {
                    path.push('.');
                }
                path.push_str(key);
            }
            Level::Object(None) => {}
            Level::Array(item) => path.push_str(&format!("[{item}]")),
        }
    }
    path
}
