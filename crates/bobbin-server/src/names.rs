//! What things are called: by people, and in addresses, files and schemas.

use bobbin_core::id::ConnectionId;
use bobbin_engine::ledger::{Ledger, Thing};

use crate::Api;
use crate::api::Answer;

/// Bytes that people may call a connection by.
pub(crate) const LONGEST: usize = 200;

/// Whether people may call a connection that; `own` is the one that is to be.
///
/// # Errors
/// Why not.
pub(crate) fn free(api: &Api, name: &str, own: Option<&ConnectionId>) -> Result<(), &'static str> {
    if name.is_empty() || name.len() > LONGEST {
        return Err("`display_name` is a text of 1 to 200 bytes");
    }
    let mut others = api.program.connections().into_iter();
    if others.any(|(id, other)| Some(&id) != own && other.display_name == name) {
        return Err("another source has this display_name");
    }
    Ok(())
}

/// A name out of what people call something, that nothing else has.
pub(crate) fn slug(text: &str, taken: impl Fn(&str) -> Answer<bool>) -> Answer<Option<String>> {
    let mut base: String = text
        .to_lowercase()
        .chars()
        .filter(|c| !matches!(c, '.' | '(' | ')'))
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '_' })
        .take(40)
        .collect();
    if !base.contains(|c: char| c.is_ascii_alphanumeric()) {
        return Ok(None);
    }
    // A schema begins with a letter.
    if base.starts_with(|c: char| c.is_ascii_digit()) {
        base.insert(0, '_');
    }
    let numbered = |n: usize| if n == 1 { base.clone() } else { format!("{base}_{n}") };
    for n in 1..1000 {
        let name = numbered(n);
        if !taken(&name)? {
            return Ok(Some(name));
        }
    }
    Ok(None)
}

/// Whether anything is, or was, called that.
pub(crate) fn is_taken(api: &Api, ledger: &dyn Ledger, name: &str) -> Answer<bool> {
    let is_part = |thing| api.program.parts(thing).iter().any(|part| part.name == name);
    let id = ConnectionId::from(name);
    let connections = api.program.connections();
    let schemas = connections.values().any(|known| known.schema == name);
    let broken = api.program.broken().iter().any(|(_, broken, _)| broken == name);
    Ok(is_part(Thing::Source)
        || connections.contains_key(&id)
        || schemas
        || broken
        || ledger.knows(&id)?)
}

/// Whether a destination is called that.
pub(crate) fn is_destination(api: &Api, name: &str) -> Answer<bool> {
    let broken = api.program.broken();
    let broken =
        broken.iter().any(|(thing, known, _)| *thing == Thing::Destination && known == name);
    Ok(broken || api.program.parts(Thing::Destination).iter().any(|part| part.name == name))
}
