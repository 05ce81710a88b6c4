//! What only an administrator sets: users, keys, and the record of who did what.

pub(super) mod audit;
pub(super) mod channel;
pub(super) mod channels;
pub(super) mod keys;
pub(super) mod users;

use bobbin_engine::ledger::Role;
use serde::Deserialize;

use super::Frame;

/// The pages of the settings.
pub(crate) struct TabLink {
    pub(crate) href: &'static str,
    pub(crate) name: &'static str,
    pub(crate) here: bool,
}

/// Links to those that somebody may see, with the one that is shown.
pub(crate) fn tabs(frame: &Frame, here: &str) -> Vec<TabLink> {
    let all = [
        ("/users", "Users"),
        ("/keys", "API keys"),
        ("/channels", "Notifications"),
        ("/audit", "Audit trail"),
    ];
    let all = all.into_iter().filter(|(href, _)| frame.may_govern() || *href == "/channels");
    all.map(|(href, name)| TabLink { href, name, here: href == here }).collect()
}

/// What somebody may do, as a form says it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Chosen {
    Administrator,
    Operator,
    #[default]
    Viewer,
}

impl From<Chosen> for Role {
    fn from(chosen: Chosen) -> Self {
        match chosen {
            Chosen::Administrator => Self::Administrator,
            Chosen::Operator => Self::Operator,
            Chosen::Viewer => Self::Viewer,
        }
    }
}

/// A role with what it may do, for a choice.
pub(crate) struct RoleChoice {
    pub(crate) role: Role,
    pub(crate) word: &'static str,
    pub(crate) told: &'static str,
}

pub(crate) fn roles() -> [RoleChoice; 3] {
    let choice = |role: Role, told| RoleChoice { role, word: role.word(), told };
    [
        choice(Role::Viewer, "sees everything but secrets, changes nothing"),
        choice(Role::Operator, "also starts, stops, pauses, resets and retries"),
        choice(Role::Administrator, "also sets up connections, users and keys"),
    ]
}
