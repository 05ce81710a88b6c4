//! The tap as a Singer program: what it says about itself. The program is [`bobbin_singer`]'s.

use bobbin_core::Result;
use bobbin_core::catalog::Catalog;
use bobbin_core::tap::Tap;
use bobbin_singer::about::{Setting, SettingKind};
use bobbin_singer::program::Program;
use serde_json::Value;

use crate::config::Config;
use crate::metadata::CustomAttributes;
use crate::streams;
use crate::tap::KustomerTap;

/// The stream that records go to which cannot be taken.
pub const REJECTED_STREAM: &str = "kustomer_rejected_records";

/// The program.
pub const fn program() -> Program {
    Program {
        name: "tap-kustomer",
        version: env!("CARGO_PKG_VERSION"),
        description: "Extracts conversations, messages, customers and six more streams from Kustomer.",
        settings: SETTINGS,
        rejected_stream: REJECTED_STREAM,
        open,
        offered,
    }
}

/// What can be set; [`Config`] is what it means. The first five are those of the singer-io tap.
pub const SETTINGS: &[Setting] = &[
    Setting {
        required: true,
        secret: true,
        ..Setting::text("api_token", "API key, from Settings > Security > API Keys in Kustomer.")
    },
    Setting {
        kind: SettingKind::DateTime,
        ..Setting::text(
            "start_date",
            "How far back the first sync goes; one year when it is not given.",
        )
    },
    Setting::text("user_agent", "What the tap calls itself to the API, with a way to reach you."),
    Setting {
        kind: SettingKind::Integer,
        default: Some("500"),
        ..Setting::text("page_size_limit", "Records per search page, at most 500.")
    },
    Setting {
        kind: SettingKind::Integer,
        ..Setting::text(
            "date_window_size",
            "Accepted from older configurations; windows are chosen by what is in them.",
        )
    },
    Setting::text("region", "us, eu or in; found from the key when it is not given."),
    Setting::text("organization", "First part of your Kustomer address, instead of a region."),
    Setting::text("api_url", "Address of the API, instead of a region or organisation."),
    Setting {
        kind: SettingKind::Number,
        default: Some("0.8"),
        ..Setting::text("search_share", "Part of the search budget per minute to use.")
    },
    Setting {
        kind: SettingKind::Number,
        default: Some("0.5"),
        ..Setting::text(
            "organization_share",
            "Part of the organisation's budget of calls per minute to use.",
        )
    },
    Setting {
        kind: SettingKind::Integer,
        default: Some("60"),
        ..Setting::text(
            "settle_seconds",
            "How far behind the clock to read, so that the search index has caught up.",
        )
    },
    Setting {
        kind: SettingKind::Integer,
        default: Some("300"),
        ..Setting::text("overlap_seconds", "How far before the last bookmark to begin again.")
    },
];

fn open(config: &Value) -> Result<Box<dyn Tap>> {
    Ok(Box::new(KustomerTap::new(Config::from_json(config)?)))
}

/// The streams with the fields that every organisation has.
fn offered() -> Catalog {
    let custom = CustomAttributes::default();
    Catalog {
        streams: streams::resources()
            .iter()
            .map(|resource| streams::stream(resource, &custom))
            .collect(),
    }
}
