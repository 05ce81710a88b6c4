//! Settings of a program, and `--about` (`singer.md` 13).

use std::fmt::Write;

use serde_json::{Map, Value, json};

use crate::cli::Format;

/// One setting.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    /// Its key in the config file.
    pub name: &'static str,
    /// Its type.
    pub kind: SettingKind,
    /// Whether it must be given to sync.
    pub required: bool,
    /// Whether it must never be shown.
    pub secret: bool,
    /// What holds when it is not given, as JSON text.
    pub default: Option<&'static str>,
    /// What it does.
    pub description: &'static str,
}

/// The type of a setting.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SettingKind {
    /// Text.
    Text,
    /// An instant, RFC 3339.
    DateTime,
    /// A whole number.
    Integer,
    /// A number.
    Number,
    /// True or false.
    Boolean,
}

impl Setting {
    /// An optional text setting to start from.
    pub const fn text(name: &'static str, description: &'static str) -> Self {
        Self {
            name,
            kind: SettingKind::Text,
            required: false,
            secret: false,
            default: None,
            description,
        }
    }
}

/// What a tap of ours can do, in Meltano's words.
pub const TAP: [&str; 6] = ["catalog", "properties", "discover", "state", "about", "test"];

/// What a target of ours can do, in Meltano's words.
pub const TARGET: [&str; 6] =
    ["about", "activate-version", "soft-delete", "hard-delete", "batch", "target-schema"];

/// A program, as it describes itself.
#[derive(Clone, Copy, Debug)]
pub struct About<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its version.
    pub version: &'a str,
    /// What it does, in a sentence.
    pub description: &'a str,
    /// What it can do, in Meltano's words.
    pub capabilities: &'a [&'a str],
    /// What can be set.
    pub settings: &'a [Setting],
}

impl About<'_> {
    /// The text in that form; for people when none is asked for.
    pub fn text(&self, format: Option<Format>) -> String {
        match format {
            Some(Format::Json) => self.json(),
            Some(Format::Markdown) => self.markdown(),
            None => self.plain(),
        }
    }

    fn json(&self) -> String {
        let Self { name, version, description, capabilities, settings } = *self;
        let mut properties = Map::new();
        for setting in settings {
            let mut schema = Map::new();
            let kind = match setting.kind {
                SettingKind::Text | SettingKind::DateTime => "string",
                SettingKind::Integer => "integer",
                SettingKind::Number => "number",
                SettingKind::Boolean => "boolean",
            };
            let kinds = if setting.required { json!([kind]) } else { json!([kind, "null"]) };
            schema.insert("type".into(), kinds);
            if setting.kind == SettingKind::DateTime {
                schema.insert("format".into(), "date-time".into());
            }
            schema.insert("title".into(), title(setting.name).into());
            schema.insert("description".into(), setting.description.into());
            if let Some(default) = setting.default {
                let value = serde_json::from_str(default).unwrap_or(Value::from(default));
                schema.insert("default".into(), value);
            }
            if setting.secret {
                schema.insert("secret".into(), true.into());
                schema.insert("writeOnly".into(), true.into());
            }
            properties.insert(setting.name.into(), schema.into());
        }
        let required: Vec<&str> = settings
            .iter()
            .filter(|setting| setting.required)
            .map(|setting| setting.name)
            .collect();
        let about = json!({
            "name": name,
            "description": description,
            "version": version,
            "sdk_version": null,
            "supported_python_versions": null,
            "capabilities": capabilities,
            "settings": {"type": "object", "properties": properties, "required": required,
                "additionalProperties": true},
        });
        format!("{about:#}\n")
    }

    fn markdown(&self) -> String {
        let Self { name, description, capabilities, settings, .. } = *self;
        let mut text = format!("# `{name}`\n\n{description}\n\n## Capabilities\n\n");
        for capability in capabilities {
            let _ = writeln!(text, "* `{capability}`");
        }
        text.push_str("\n## Settings\n\n| Setting | Required | Default | Description |\n");
        text.push_str("|:--------|:--------:|:-------:|:------------|\n");
        for setting in settings {
            let _ = writeln!(
                text,
                "| {} | {} | {} | {} |",
                setting.name,
                if setting.required { "True" } else { "False" },
                setting.default.unwrap_or("None"),
                setting.description
            );
        }
        text
    }

    fn plain(&self) -> String {
        let Self { name, version, description, settings, .. } = *self;
        let mut text = format!("{name} v{version}\n{description}\n\nSettings:\n");
        for setting in settings {
            let required = if setting.required { " (required)" } else { "" };
            let _ = write!(text, "  {}{required}: {}", setting.name, setting.description);
            if let Some(default) = setting.default {
                let _ = write!(text, " Default: {default}.");
            }
            text.push('\n');
        }
        text
    }
}

/// `start_date` is `Start date`.
fn title(name: &str) -> String {
    let words = name.replace('_', " ");
    let mut chars = words.chars();
    chars.next().map(|c| c.to_ascii_uppercase()).into_iter().chain(chars).collect()
}
