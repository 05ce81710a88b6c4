//! What stands around every page.

use bobbin_engine::ledger::Role;

use super::assets;
use super::visit::{Said, Visit};
use crate::Api;
use crate::api::Answer;

/// Where in the service a page is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Place {
    Connections,
    Destinations,
    Notices,
    Settings,
    /// Nowhere in the menu.
    Else,
}

/// What stands around a page.
#[derive(Clone, Debug)]
pub(crate) struct Frame {
    pub(crate) title: String,
    /// The page's own address with its query.
    pub(crate) path: String,
    pub(crate) theme: Option<&'static str>,
    /// Whoever looks at it.
    pub(crate) person: Option<Person>,
    pub(crate) said: Option<Said>,
    pub(crate) version: &'static str,
    place: Place,
    /// Notices that are open.
    notices: usize,
}

/// Whoever looks at a page.
#[derive(Clone, Debug)]
pub(crate) struct Person {
    pub(crate) name: String,
    pub(crate) role: &'static str,
    /// What their forms carry.
    pub(crate) csrf: String,
    may: Role,
}

/// An entry of the menu.
pub(crate) struct Link {
    pub(crate) href: &'static str,
    pub(crate) name: &'static str,
    pub(crate) here: bool,
    pub(crate) count: usize,
}

/// The most notices that are counted.
const MOST_COUNTED: u32 = 100;

impl Frame {
    pub(super) fn of(api: &Api, visit: Visit, place: Place) -> Answer<Self> {
        let mut frame = Self::alone(visit, "bobbin");
        frame.place = place;
        if frame.person.is_some() {
            frame.notices = api.engine.ledger()?.notices(false, MOST_COUNTED)?.len();
        }
        Ok(frame)
    }

    /// A frame that asks nobody.
    pub(super) fn alone(visit: Visit, title: &str) -> Self {
        let person = visit.who.map(|who| Person {
            name: who.name(),
            role: who.role().word(),
            csrf: who.session.as_ref().map_or_else(String::new, |session| session.csrf.clone()),
            may: who.role(),
        });
        Self {
            title: title.to_owned(),
            path: visit.address,
            theme: visit.theme,
            person,
            said: visit.said,
            version: env!("CARGO_PKG_VERSION"),
            place: Place::Else,
            notices: 0,
        }
    }

    pub(crate) fn titled(mut self, title: impl Into<String>) -> Self {
        self.title = title.into();
        self
    }

    pub(crate) fn links(&self) -> Vec<Link> {
        let link = |href, name, place| Link { href, name, here: self.place == place, count: 0 };
        let mut links = vec![
            link("/", "Connections", Place::Connections),
            link("/destinations", "Destinations", Place::Destinations),
            Link { count: self.notices, ..link("/notices", "Notices", Place::Notices) },
        ];
        if self.may_govern() {
            links.push(link("/users", "Settings", Place::Settings));
        }
        links
    }

    /// Whether whoever looks may start, stop, pause and check.
    pub(crate) fn may_operate(&self) -> bool {
        self.person.as_ref().is_some_and(|person| person.may >= Role::Operator)
    }

    /// Whether whoever looks may set things up.
    pub(crate) fn may_govern(&self) -> bool {
        self.person.as_ref().is_some_and(|person| person.may >= Role::Administrator)
    }

    /// What forms carry.
    pub(crate) fn csrf(&self) -> &str {
        self.person.as_ref().map_or("", |person| person.csrf.as_str())
    }

    #[allow(clippy::unused_self, reason = "templates ask the frame")]
    pub(crate) fn asset(&self, name: &str) -> &'static str {
        assets::address(name)
    }

    /// The mark beside the name.
    #[allow(clippy::unused_self, reason = "templates ask the frame")]
    pub(crate) fn mark(&self) -> &'static str {
        concat!(include_str!("../../assets/icon.svg"))
    }

    /// The way to look that a button offers.
    pub(crate) fn next_theme(&self) -> &'static str {
        match self.theme {
            None => "Dark",
            Some("dark") => "Light",
            Some(_) => "System",
        }
    }
}
