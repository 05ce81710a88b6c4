//! Schemas of tables, compiled once.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use bobbin_core::schema::Object;
use bobbin_singer::schema::object_from_json;
use jiff::Timestamp;
use jsonschema::{Draft, PatternOptions, ValidationError, Validator};
use serde_json::Value;

use super::tree::{Borrowed, Tree};
use super::{Refused, shortened, weight};
use crate::names;

/// Schemas kept at a time, and bytes of their text.
const MOST_KEPT: usize = 64;
const MOST_KEPT_BYTES: usize = 8 << 20;

/// Formats that validators judge differently and nothing here depends on. An instant that cannot be
/// read would be no instant in its table; what is no e-mail address is text all the same.
const UNJUDGED: [&str; 18] = [
    "date",
    "time",
    "duration",
    "email",
    "idn-email",
    "hostname",
    "idn-hostname",
    "ipv4",
    "ipv6",
    "uri",
    "uri-reference",
    "iri",
    "iri-reference",
    "uri-template",
    "json-pointer",
    "relative-json-pointer",
    "regex",
    "uuid",
];

/// A schema that was understood.
pub(super) struct Compiled {
    validator: Validator<Borrowed>,
    /// Levels that a record may have.
    pub(super) most_levels: usize,
    /// The fields it declares.
    pub(super) fields: Object,
}

/// The schemas met last, by their text: a client sends the same one with each batch.
#[derive(Default)]
pub(super) struct Schemas {
    kept: Mutex<VecDeque<(Arc<str>, Arc<Compiled>)>>,
}

impl Schemas {
    /// The schema that a text is.
    pub(super) fn compile(&self, text: &str) -> Result<Arc<Compiled>, Refused> {
        let kept = || self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, found)) = kept().iter().find(|(known, _)| **known == *text) {
            return Ok(Arc::clone(found));
        }
        let compiled = Arc::new(Compiled::new(text)?);
        let mut kept = kept();
        kept.push_front((text.into(), Arc::clone(&compiled)));
        let mut bytes = 0;
        let fits = kept.iter().take(MOST_KEPT).take_while(|(text, _)| {
            bytes += text.len();
            bytes <= MOST_KEPT_BYTES
        });
        let fits = fits.count();
        kept.truncate(fits);
        Ok(compiled)
    }
}

impl Compiled {
    fn new(text: &str) -> Result<Self, Refused> {
        let schema: Value = serde_json::from_str(text)
            .map_err(|error| Refused::invalid(format!("schema cannot be read: {error}")))?;
        if !schema.is_object() {
            return Err(Refused::invalid("schema must be an object, a JSON Schema".to_owned()));
        }
        let most_levels = weight::most_levels(&schema)
            .map_err(|fault| Refused::invalid(format!("schema {fault}")))?;
        let validator = validator(&schema).map_err(|error| {
            let path = error.instance_path().to_string();
            let place =
                if path.is_empty() { path } else { format!(" at {}", shortened(&path, 200)) };
            Refused::invalid(format!("schema is no JSON Schema{place}: {}", told(&error)))
        })?;
        let fields = object_from_json(&schema);
        if let Some((name, _)) = fields.properties.iter().find(|(name, _)| names::is_ours(name)) {
            return Err(Refused::invalid(format!(
                "schema declares `{name}`, a name that is reserved"
            )));
        }
        Ok(Self { validator, most_levels, fields })
    }

    /// What is wrong with a record, and where; nothing when it is as declared.
    pub(super) fn fault(&self, record: &Tree<'_>) -> Option<(String, String)> {
        if self.validator.is_valid(record) {
            return None;
        }
        let error = self.validator.validate(record).err()?;
        Some((error.instance_path().to_string(), told(&error)))
    }
}

/// What is wrong, without the value.
fn told(error: &ValidationError<'_>) -> String {
    shortened(&error.masked_with("the value").to_string(), 300)
}

/// Draft 4 is what `target-stitch` itself checks by; a schema may name another draft, and one that is
/// none by draft 4 (its `exclusiveMaximum` is a number) is tried as 2020-12.
fn validator(schema: &Value) -> Result<Validator<Borrowed>, ValidationError<'static>> {
    let build = |draft: Option<Draft>| {
        // The engine without look-around takes a time in proportion to the text, whatever the pattern.
        let mut options = jsonschema::options_for::<Borrowed>()
            .offline()
            .with_pattern_options(PatternOptions::regex())
            .should_validate_formats(true)
            .with_format("date-time", |text: &str| text.parse::<Timestamp>().is_ok());
        for format in UNJUDGED {
            options = options.with_format(format, |_: &str| true);
        }
        if let Some(draft) = draft {
            options = options.with_draft(draft);
        }
        options.build(schema)
    };
    let unnamed = || {
        let newest = |error| build(Some(Draft::Draft202012)).map_err(|_| error);
        build(Some(Draft::Draft4)).or_else(newest)
    };
    match schema.get("$schema") {
        // What it names may be none that is known.
        Some(_) => build(None).or_else(|_| unnamed()),
        None => unnamed(),
    }
}
