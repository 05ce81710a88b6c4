//! Configuration: files laid over each other, and the environment (`singer.md` 2).

use std::collections::HashMap;
use std::path::Path;

use bobbin_core::{Error, Result};
use serde_json::{Map, Value};

use crate::about::{Setting, SettingKind};

/// Reads the config that `--config` names: later files lay their keys over earlier ones, and the
/// word `ENV` adds settings from the environment, which win over files whatever the order.
///
/// # Errors
/// When a file cannot be read or is no JSON object.
pub fn load(sources: &[String], program: &str, settings: &[Setting]) -> Result<Value> {
    let mut config = Map::new();
    for source in sources.iter().filter(|source| *source != "ENV") {
        config.extend(file(source)?);
    }
    if sources.iter().any(|source| source == "ENV") {
        let dotted = dotenv(&std::env::current_dir().unwrap_or_default());
        let lookup = |name: &str| std::env::var(name).ok().or_else(|| dotted.get(name).cloned());
        config.extend(environment(program, settings, lookup));
    }
    Ok(Value::Object(config))
}

/// A JSON file.
///
/// # Errors
/// When it cannot be read or is not JSON.
pub fn json_file(what: &str, path: &str) -> Result<Value> {
    let text = text_file(what, path)?;
    serde_json::from_str(text.trim_start_matches('\u{feff}')).map_err(|error| {
        // The message of serde_json tells line and column, never content.
        Error::config(format!("the {what} is not JSON")).with("path", path).caused_by(error)
    })
}

/// A text file.
///
/// # Errors
/// When it cannot be read.
pub fn text_file(what: &str, path: &str) -> Result<String> {
    std::fs::read_to_string(path)
        .map_err(|error| Error::io(format!("cannot read the {what}"), error).with("path", path))
}

fn file(path: &str) -> Result<Map<String, Value>> {
    match json_file("config", path)? {
        Value::Object(map) => Ok(map),
        _ => Err(Error::config("the config is not a JSON object").with("path", path)),
    }
}

/// Settings from the environment: `start_date` of `tap-kustomer` is `TAP_KUSTOMER_START_DATE`.
fn environment(
    program: &str,
    settings: &[Setting],
    lookup: impl Fn(&str) -> Option<String>,
) -> Map<String, Value> {
    let mut config = Map::new();
    for setting in settings {
        let name = format!("{program}_{}", setting.name).to_uppercase().replace(['-', '.'], "_");
        let Some(text) = lookup(&name) else { continue };
        let value = match setting.kind {
            SettingKind::Text | SettingKind::DateTime => Value::from(text),
            SettingKind::Integer | SettingKind::Number => {
                serde_json::from_str(text.trim()).unwrap_or(Value::from(text))
            }
            SettingKind::Boolean => {
                matches!(text.to_ascii_lowercase().as_str(), "true" | "1" | "yes" | "on").into()
            }
        };
        config.insert(setting.name.to_owned(), value);
    }
    config
}

/// The nearest `.env` file, here or above.
fn dotenv(from: &Path) -> HashMap<String, String> {
    from.ancestors()
        .find_map(|folder| std::fs::read_to_string(folder.join(".env")).ok())
        .map(|text| pairs(&text))
        .unwrap_or_default()
}

/// `KEY=value` lines; `export`, quotes and comments are understood.
fn pairs(text: &str) -> HashMap<String, String> {
    let pair = |line: &str| {
        let line = line.trim();
        let line = line.strip_prefix("export ").unwrap_or(line);
        let (key, value) = line.split_once('=').filter(|_| !line.starts_with('#'))?;
        let value = value.trim();
        let quoted = ['"', '\''].iter().find_map(|&quote| {
            let rest = value.strip_prefix(quote)?;
            rest.find(quote).map(|end| &rest[..end])
        });
        let plain = || value.split(" #").next().unwrap_or(value).trim_end();
        Some((key.trim().to_owned(), quoted.unwrap_or_else(plain).to_owned()))
    };
    text.lines().filter_map(pair).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may")]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn later_files_lay_over_earlier_ones() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            path.to_str().unwrap().to_owned()
        };
        let sources =
            [write("a", r#"{"x":1,"y":2}"#), write("b", "\u{feff}{\"y\":3,\"unknown\":null}")];
        let config = load(&sources, "tap-x", &[]).unwrap();
        assert_eq!(config, json!({"x": 1, "y": 3, "unknown": null}));
        assert!(load(&[write("c", "[]")], "tap-x", &[]).is_err());
        assert!(load(&[write("d", "{")], "tap-x", &[]).is_err());
        assert!(load(&["/nowhere/config.json".to_owned()], "tap-x", &[]).is_err());
    }

    #[test]
    fn settings_come_from_the_environment() {
        let settings = [
            Setting::text("api_token", ""),
            Setting { kind: SettingKind::Integer, ..Setting::text("page_size_limit", "") },
            Setting { kind: SettingKind::Boolean, ..Setting::text("dry-run", "") },
            Setting::text("absent", ""),
        ];
        let dotted = pairs(
            "# x=y\nexport TAP_X_API_TOKEN='a b'\nTAP_X_PAGE_SIZE_LIMIT=300 # rows\nTAP_X_DRY_RUN=\"Yes\"\nbroken\n",
        );
        let config = environment("tap-x", &settings, |name| dotted.get(name).cloned());
        assert_eq!(
            Value::Object(config),
            json!({"api_token": "a b", "page_size_limit": 300, "dry-run": true})
        );
    }
}
