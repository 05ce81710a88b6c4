//! What bobbin put around a record: the two fields that lead each line, and rejected records.

use bobbin_core::json::{JsonError, Peek, Reader};

use super::number;

/// Why a record cannot be taken.
pub(super) enum Refusal {
    Json(JsonError),
    Reason(String),
}

impl From<JsonError> for Refusal {
    fn from(error: JsonError) -> Self {
        Self::Json(error)
    }
}

/// The sequence, the second field.
pub(super) fn sequence(r: &mut Reader<'_>) -> Result<i64, Refusal> {
    match r.key()? {
        Some(key) if key.raw == "_sdc_sequence" => {
            number::integer(r.number()?).ok_or_else(no_system_fields)
        }
        _ => Err(no_system_fields()),
    }
}

/// For a line that is not one of ours.
pub(super) fn no_system_fields() -> Refusal {
    Refusal::Reason(
        "the line does not begin with a valid _sdc_extracted_at and _sdc_sequence".to_owned(),
    )
}

/// The reason and record of a line that holds a rejected record and nothing else.
pub(super) fn rejected(mut r: Reader<'_>) -> Result<Option<(String, String)>, Refusal> {
    r.key()?;
    let (mut reason, mut record) = (None, None);
    if r.peek()? != Peek::Object {
        return Ok(None);
    }
    r.object()?;
    while let Some(key) = r.key()? {
        let place = match key.raw {
            "reason" => &mut reason,
            "record" => &mut record,
            _ => return Ok(None),
        };
        if r.peek()? != Peek::String {
            return Ok(None);
        }
        *place = Some(r.string()?.decode().into_owned());
    }
    if r.key()?.is_some() {
        return Ok(None);
    }
    r.end()?;
    Ok(reason.zip(record))
}
