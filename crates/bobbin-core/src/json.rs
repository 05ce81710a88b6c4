//! A pull reader for JSON text that keeps every digit and says exactly what is wrong.
//!
//! Why not a library: a page must be cut into records before they are parsed, so that one bad
//! record does not take its neighbours along (`failures.md` 4.3); numbers must keep their
//! literal text; and both the tap and the loader work from text to text or text to columns,
//! where building values first would cost more than everything else. Strict by RFC 8259, with
//! three limits that make every accepted record readable by other programs as well: at most
//! [`MAX_DEPTH`] levels, numbers finite as a double, no lone surrogates.
//!
//! The input must be UTF-8 (check it once for a whole page).

mod strip;

use std::borrow::Cow;
use std::fmt;

pub use strip::strip;

/// Levels of nesting accepted; the limit of `serde_json` and of most readers.
pub const MAX_DEPTH: u32 = 128;

/// What is wrong with a text, and at which byte.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct JsonError {
    /// The problem.
    pub problem: Problem,
    /// Offset in bytes from the start of the text.
    pub offset: usize,
}

/// A way in which text fails to be the JSON we accept.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Problem {
    /// The text ends too early.
    End,
    /// A character that cannot stand here.
    Unexpected(u8),
    /// Text after the end of the value.
    Trailing,
    /// A `\` followed by something that is no escape.
    Escape,
    /// A `\uD800`–`\uDFFF` without its partner: no Unicode text can hold it.
    LoneSurrogate,
    /// A raw control character inside a string.
    Control(u8),
    /// Not a number by JSON's grammar (also `NaN` and `Infinity`).
    Number,
    /// A number too great for any double, such as `1e400`.
    NumberRange,
    /// More than [`MAX_DEPTH`] levels.
    Depth,
    /// Bytes that are not UTF-8.
    Utf8,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::End => f.write_str("the text ends inside a value"),
            Self::Unexpected(b) if b.is_ascii_graphic() => {
                write!(f, "unexpected character '{}'", char::from(*b))
            }
            Self::Unexpected(b) => write!(f, "unexpected byte 0x{b:02x}"),
            Self::Trailing => f.write_str("text after the end of the value"),
            Self::Escape => f.write_str("unknown escape sequence in a string"),
            Self::LoneSurrogate => {
                f.write_str("half a surrogate pair (\\uD800-\\uDFFF) in a string")
            }
            Self::Control(b) => write!(f, "raw control character 0x{b:02x} in a string"),
            Self::Number => f.write_str("malformed number"),
            Self::NumberRange => f.write_str("number beyond the range of a double"),
            Self::Depth => write!(f, "nested more than {MAX_DEPTH} levels deep"),
            Self::Utf8 => f.write_str("bytes that are not UTF-8"),
        }
    }
}

impl fmt::Display for JsonError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at byte {}", self.problem, self.offset)
    }
}

impl std::error::Error for JsonError {}

/// What the next value is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Peek {
    /// `{`
    Object,
    /// `[`
    Array,
    /// `"`
    String,
    /// A digit or `-`.
    Number,
    /// `true` or `false`
    Bool,
    /// `null`
    Null,
}

/// A string as it stands in the text, without its quotes, known to be well formed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Text<'a> {
    /// The characters between the quotes, escapes and all.
    pub raw: &'a str,
    /// Whether there is any escape in it.
    pub escaped: bool,
}

impl<'a> Text<'a> {
    /// The text it stands for.
    pub fn decode(&self) -> Cow<'a, str> {
        if !self.escaped {
            return Cow::Borrowed(self.raw);
        }
        let mut out = String::with_capacity(self.raw.len());
        self.decode_into(&mut out);
        Cow::Owned(out)
    }

    /// Appends the text it stands for.
    pub fn decode_into(&self, out: &mut String) {
        let mut rest = self.raw;
        while let Some(at) = rest.find('\\') {
            out.push_str(&rest[..at]);
            let escape = &rest.as_bytes()[at + 1..];
            let mut used = 2;
            match escape.first() {
                Some(b'n') => out.push('\n'),
                Some(b't') => out.push('\t'),
                Some(b'r') => out.push('\r'),
                Some(b'b') => out.push('\u{8}'),
                Some(b'f') => out.push('\u{c}'),
                Some(b'u') => {
                    let high = hex4(&escape[1..]).unwrap_or(0xFFFD);
                    used = 6;
                    let code = if (0xD800..0xDC00).contains(&high) {
                        let low = escape.get(7..).and_then(hex4).unwrap_or(0xDC00);
                        used = 12;
                        0x10000 + ((high - 0xD800) << 10) + (low.wrapping_sub(0xDC00) & 0x3FF)
                    } else {
                        high
                    };
                    out.push(char::from_u32(code).unwrap_or('\u{FFFD}'));
                }
                Some(&other) => out.push(char::from(other)),
                None => {}
            }
            rest = rest.get(at + used..).unwrap_or("");
        }
        out.push_str(rest);
    }
}

fn hex4(digits: &[u8]) -> Option<u32> {
    let digits = digits.get(..4)?;
    let mut code = 0;
    for &digit in digits {
        code = code * 16 + char::from(digit).to_digit(16)?;
    }
    Some(code)
}

/// Reads one JSON text from the front.
///
/// For an object call [`Reader::object`], then [`Reader::key`] and one value method or
/// [`Reader::skip`] in turn until `key` gives `None`; likewise [`Reader::array`] and
/// [`Reader::item`].
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    text: &'a str,
    at: usize,
    depth: u32,
    /// True right after `{` or `[`, when no comma is due.
    first: bool,
}

const LO: u64 = 0x0101_0101_0101_0101;
const HI: u64 = 0x8080_8080_8080_8080;
const QUOTES: u64 = LO * 0x22;
const BACKSLASHES: u64 = LO * 0x5C;
const OPENINGS: u64 = LO * 0x7B;
const CLOSINGS: u64 = LO * 0x7D;
const SPACES: u64 = LO * 0x20;

/// High bit set in every byte of `word` that equals zero (exact for the lowest one).
const fn zero_bytes(word: u64) -> u64 {
    word.wrapping_sub(LO) & !word & HI
}

impl<'a> Reader<'a> {
    /// Starts at the front of `text`.
    pub fn new(text: &'a str) -> Self {
        Self { text, at: 0, depth: 0, first: false }
    }

    /// Starts at the front of `bytes`, which must be UTF-8.
    pub fn from_bytes(bytes: &'a [u8]) -> Result<Self, JsonError> {
        match std::str::from_utf8(bytes) {
            Ok(text) => Ok(Self::new(text)),
            Err(error) => Err(JsonError { problem: Problem::Utf8, offset: error.valid_up_to() }),
        }
    }

    /// Offset of the next unread byte.
    pub fn offset(&self) -> usize {
        self.at
    }

    #[inline]
    fn bytes(&self) -> &'a [u8] {
        self.text.as_bytes()
    }

    #[inline]
    fn fail<T>(&self, problem: Problem) -> Result<T, JsonError> {
        Err(JsonError { problem, offset: self.at })
    }

    #[cold]
    fn unexpected<T>(&self) -> Result<T, JsonError> {
        match self.bytes().get(self.at) {
            Some(&byte) => self.fail(Problem::Unexpected(byte)),
            None => self.fail(Problem::End),
        }
    }

    #[inline]
    fn space(&mut self) {
        while let Some(b' ' | b'\n' | b'\r' | b'\t') = self.bytes().get(self.at) {
            self.at += 1;
        }
    }

    /// What the next value is, without reading it.
    #[inline]
    pub fn peek(&mut self) -> Result<Peek, JsonError> {
        self.space();
        match self.bytes().get(self.at) {
            Some(b'"') => Ok(Peek::String),
            Some(b'{') => Ok(Peek::Object),
            Some(b'[') => Ok(Peek::Array),
            Some(b'-' | b'0'..=b'9') => Ok(Peek::Number),
            Some(b't' | b'f') => Ok(Peek::Bool),
            Some(b'n') => Ok(Peek::Null),
            Some(b'N' | b'I' | b'+' | b'.') => self.fail(Problem::Number),
            _ => self.unexpected(),
        }
    }

    /// Enters an object.
    #[inline]
    pub fn object(&mut self) -> Result<(), JsonError> {
        self.enter(b'{')
    }

    /// Enters an array.
    #[inline]
    pub fn array(&mut self) -> Result<(), JsonError> {
        self.enter(b'[')
    }

    #[inline]
    fn enter(&mut self, open: u8) -> Result<(), JsonError> {
        self.space();
        if self.bytes().get(self.at) != Some(&open) {
            return self.unexpected();
        }
        if self.depth == MAX_DEPTH {
            return self.fail(Problem::Depth);
        }
        self.depth += 1;
        self.at += 1;
        self.first = true;
        Ok(())
    }

    /// Steps over the comma before the next member, or leaves at `close`.
    #[inline]
    fn more(&mut self, close: u8) -> Result<bool, JsonError> {
        self.space();
        let first = std::mem::replace(&mut self.first, false);
        match self.bytes().get(self.at) {
            Some(&byte) if byte == close => {
                self.at += 1;
                self.depth -= 1;
                Ok(false)
            }
            Some(b',') if !first => {
                self.at += 1;
                Ok(true)
            }
            Some(_) if first => Ok(true),
            _ => self.unexpected(),
        }
    }

    /// The next key of the object we are in, or `None` at its end (which is then left).
    #[inline]
    pub fn key(&mut self) -> Result<Option<Text<'a>>, JsonError> {
        if !self.more(b'}')? {
            return Ok(None);
        }
        self.space();
        let key = self.string()?;
        self.space();
        if self.bytes().get(self.at) != Some(&b':') {
            return self.unexpected();
        }
        self.at += 1;
        Ok(Some(key))
    }

    /// Steps over the next key if it stands there as `quoted`, that is `"name":` without white
    /// space around. False when anything else comes, of which nothing is read then: call
    /// [`Reader::key`]. For readers who know which key to expect.
    #[inline]
    pub fn key_if(&mut self, quoted: &[u8]) -> bool {
        let rest = &self.bytes()[self.at..];
        let rest = match rest.first() {
            Some(b',') if !self.first => &rest[1..],
            Some(_) if self.first => rest,
            _ => return false,
        };
        let matches = rest.starts_with(quoted);
        if matches {
            self.at = self.text.len() - rest.len() + quoted.len();
            self.first = false;
        }
        matches
    }

    /// Whether the array we are in has another item; at its end the array is left.
    #[inline]
    pub fn item(&mut self) -> Result<bool, JsonError> {
        self.more(b']')
    }

    /// Reads a string.
    #[inline]
    pub fn string(&mut self) -> Result<Text<'a>, JsonError> {
        self.space();
        if self.bytes().get(self.at) != Some(&b'"') {
            return self.unexpected();
        }
        let start = self.at + 1;
        let mut at = start;
        let bytes = self.bytes();
        let mut escaped = false;
        loop {
            // Eight bytes at a time up to the next quote, backslash or control character.
            while let Some(chunk) = bytes.get(at..at + 8) {
                let mut word = [0; 8];
                word.copy_from_slice(chunk);
                let word = u64::from_le_bytes(word);
                let stops = zero_bytes(word ^ QUOTES)
                    | zero_bytes(word ^ BACKSLASHES)
                    | (word.wrapping_sub(SPACES) & !word & HI);
                if stops != 0 {
                    at += (stops.trailing_zeros() / 8) as usize;
                    break;
                }
                at += 8;
            }
            match bytes.get(at) {
                Some(b'"') => {
                    self.at = at + 1;
                    return Ok(Text { raw: &self.text[start..at], escaped });
                }
                Some(b'\\') => {
                    escaped = true;
                    self.at = at;
                    at = self.escape(at)?;
                }
                Some(&byte) if byte < 0x20 => {
                    self.at = at;
                    return self.fail(Problem::Control(byte));
                }
                Some(_) => at += 1,
                None => {
                    self.at = at;
                    return self.fail(Problem::End);
                }
            }
        }
    }

    /// Checks the escape at `at`; gives the offset behind it.
    fn escape(&self, at: usize) -> Result<usize, JsonError> {
        let bytes = self.bytes();
        match bytes.get(at + 1) {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => Ok(at + 2),
            Some(b'u') => {
                let Some(high) = bytes.get(at + 2..).and_then(hex4) else {
                    return self.fail(Problem::Escape);
                };
                match high {
                    0xD800..=0xDBFF => {
                        let low = bytes
                            .get(at + 6..at + 12)
                            .filter(|next| next.starts_with(b"\\u"))
                            .and_then(|next| hex4(&next[2..]));
                        match low {
                            Some(0xDC00..=0xDFFF) => Ok(at + 12),
                            _ => self.fail(Problem::LoneSurrogate),
                        }
                    }
                    0xDC00..=0xDFFF => self.fail(Problem::LoneSurrogate),
                    _ => Ok(at + 6),
                }
            }
            Some(_) => self.fail(Problem::Escape),
            None => self.fail(Problem::End),
        }
    }

    /// Reads a number and gives its own digits.
    #[inline]
    pub fn number(&mut self) -> Result<&'a str, JsonError> {
        self.space();
        let bytes = self.bytes();
        let start = self.at;
        let mut at = start;
        let digits = |mut at: usize| {
            while matches!(bytes.get(at), Some(b'0'..=b'9')) {
                at += 1;
            }
            at
        };
        if bytes.get(at) == Some(&b'-') {
            at += 1;
        }
        let whole = at;
        at = digits(at);
        if at == whole || (bytes.get(whole) == Some(&b'0') && at > whole + 1) {
            return self.fail(Problem::Number);
        }
        let mut checked = at - whole < 300;
        if bytes.get(at) == Some(&b'.') {
            let fraction = at + 1;
            at = digits(fraction);
            if at == fraction {
                return self.fail(Problem::Number);
            }
        }
        if matches!(bytes.get(at), Some(b'e' | b'E')) {
            checked = false;
            at += 1;
            if matches!(bytes.get(at), Some(b'+' | b'-')) {
                at += 1;
            }
            let exponent = at;
            at = digits(exponent);
            if at == exponent {
                return self.fail(Problem::Number);
            }
        }
        let literal = &self.text[start..at];
        if !checked && !literal.parse::<f64>().is_ok_and(f64::is_finite) {
            return self.fail(Problem::NumberRange);
        }
        self.at = at;
        Ok(literal)
    }

    /// Reads `true` or `false`.
    #[inline]
    pub fn bool(&mut self) -> Result<bool, JsonError> {
        self.space();
        let rest = &self.bytes()[self.at.min(self.text.len())..];
        if rest.starts_with(b"true") {
            self.at += 4;
            Ok(true)
        } else if rest.starts_with(b"false") {
            self.at += 5;
            Ok(false)
        } else {
            self.unexpected()
        }
    }

    /// Reads `null`.
    #[inline]
    pub fn null(&mut self) -> Result<(), JsonError> {
        self.space();
        if self.bytes()[self.at.min(self.text.len())..].starts_with(b"null") {
            self.at += 4;
            Ok(())
        } else {
            self.unexpected()
        }
    }

    /// Checks the next value and gives its text as it stands, whatever it is.
    #[inline]
    pub fn skip(&mut self) -> Result<&'a str, JsonError> {
        self.space();
        let start = self.at;
        match self.peek()? {
            Peek::String => {
                self.string()?;
            }
            Peek::Number => {
                self.number()?;
            }
            Peek::Bool => {
                self.bool()?;
            }
            Peek::Null => self.null()?,
            Peek::Object | Peek::Array => self.skip_nested()?,
        }
        Ok(&self.text[start..self.at])
    }

    /// Checks an object or array without recursion: a bit per level says which of the two.
    fn skip_nested(&mut self) -> Result<(), JsonError> {
        let outside = self.depth;
        let mut objects: u128 = 0;
        loop {
            // A value stands here.
            match self.peek()? {
                Peek::Object => {
                    self.object()?;
                    objects = objects << 1 | 1;
                }
                Peek::Array => {
                    self.array()?;
                    objects <<= 1;
                }
                Peek::String => {
                    self.string()?;
                }
                Peek::Number => {
                    self.number()?;
                }
                Peek::Bool => {
                    self.bool()?;
                }
                Peek::Null => self.null()?,
            }
            // Close whatever ends here, then step to the next value.
            loop {
                if self.depth == outside {
                    return Ok(());
                }
                let more = if objects & 1 == 1 { self.key()?.is_some() } else { self.item()? };
                if more {
                    break;
                }
                objects >>= 1;
            }
        }
    }

    /// Checks that nothing but white space follows.
    pub fn end(&mut self) -> Result<(), JsonError> {
        self.space();
        if self.at == self.text.len() { Ok(()) } else { self.fail(Problem::Trailing) }
    }

    /// Steps over the next value by its brackets and quotes alone and gives its text: what is
    /// inside may be anything. This is how a page is cut into records.
    pub fn skip_unchecked(&mut self) -> Result<&'a str, JsonError> {
        self.space();
        let start = self.at;
        let bytes = self.bytes();
        match bytes.get(self.at) {
            Some(b'{' | b'[') => {}
            Some(b'"') => {
                self.at = end_of_string(bytes, self.at + 1)
                    .ok_or(JsonError { problem: Problem::End, offset: bytes.len() })?;
                return Ok(&self.text[start..self.at]);
            }
            _ => {
                while let Some(byte) = bytes.get(self.at) {
                    if matches!(byte, b',' | b']' | b'}' | b' ' | b'\n' | b'\r' | b'\t') {
                        break;
                    }
                    self.at += 1;
                }
                return if self.at == start {
                    self.unexpected()
                } else {
                    Ok(&self.text[start..self.at])
                };
            }
        }
        let mut at = start + 1;
        let mut depth = 1usize;
        loop {
            // `[` and `{`, `]` and `}` differ in one bit only: fold it away.
            while let Some(chunk) = bytes.get(at..at + 8) {
                let mut word = [0; 8];
                word.copy_from_slice(chunk);
                let word = u64::from_le_bytes(word);
                let folded = word | SPACES;
                let stops = zero_bytes(word ^ QUOTES)
                    | zero_bytes(folded ^ OPENINGS)
                    | zero_bytes(folded ^ CLOSINGS);
                if stops != 0 {
                    at += (stops.trailing_zeros() / 8) as usize;
                    break;
                }
                at += 8;
            }
            match bytes.get(at) {
                Some(b'"') => {
                    at = end_of_string(bytes, at + 1)
                        .ok_or(JsonError { problem: Problem::End, offset: bytes.len() })?;
                }
                Some(b'{' | b'[') => {
                    depth += 1;
                    at += 1;
                }
                Some(b'}' | b']') => {
                    depth -= 1;
                    at += 1;
                    if depth == 0 {
                        self.at = at;
                        return Ok(&self.text[start..at]);
                    }
                }
                Some(_) => at += 1,
                None => {
                    self.at = at;
                    return self.fail(Problem::End);
                }
            }
        }
    }
}

/// The offset behind the quote that ends the string whose first character is at `at`.
fn end_of_string(bytes: &[u8], mut at: usize) -> Option<usize> {
    loop {
        while let Some(chunk) = bytes.get(at..at + 8) {
            let mut word = [0; 8];
            word.copy_from_slice(chunk);
            let word = u64::from_le_bytes(word);
            let stops = zero_bytes(word ^ QUOTES) | zero_bytes(word ^ BACKSLASHES);
            if stops != 0 {
                at += (stops.trailing_zeros() / 8) as usize;
                break;
            }
            at += 8;
        }
        match bytes.get(at)? {
            b'"' => return Some(at + 1),
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
}

/// Writes `text` as a JSON string with its quotes.
pub fn write_string(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    let bytes = text.as_bytes();
    let mut from = 0;
    for (at, &byte) in bytes.iter().enumerate() {
        let escape: &[u8] = match byte {
            b'"' => b"\\\"",
            b'\\' => b"\\\\",
            b'\n' => b"\\n",
            b'\r' => b"\\r",
            b'\t' => b"\\t",
            0..0x20 => b"",
            _ => continue,
        };
        out.extend_from_slice(&bytes[from..at]);
        if escape.is_empty() {
            out.extend_from_slice(format!("\\u{byte:04x}").as_bytes());
        } else {
            out.extend_from_slice(escape);
        }
        from = at + 1;
    }
    out.extend_from_slice(&bytes[from..]);
    out.push(b'"');
}

#[cfg(test)]
mod tests;
