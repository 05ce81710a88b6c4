//! What a request is for: its path and query, and the roles it takes.

use axum::body::Bytes;
use axum::http::Method;
use serde_json::Value;

use crate::api::Refusal;
use crate::timeline::Id;

/// Collections by the path they are read at.
const COLLECTIONS: [(&str, &str); 14] = [
    ("customers", "customer"),
    ("conversations", "conversation"),
    ("messages", "message"),
    ("notes", "note"),
    ("companies", "company"),
    ("users", "user"),
    ("teams", "team"),
    ("tags", "tag"),
    ("shortcuts", "shortcut"),
    ("klasses", "klass"),
    ("brands", "brand"),
    ("routing/queues", "queue"),
    ("slas", "sla"),
    ("schedules", "schedule"),
];

/// What a request is for.
pub(crate) struct Route {
    pub(crate) kind: Kind,
    pub(crate) stream: String,
    pub(crate) query: Query,
    pub(crate) body: Bytes,
}

/// The endpoint.
pub(crate) enum Kind {
    Search {
        archive: bool,
    },
    List,
    Get(String),
    /// Records of one stream that belong to a record of another.
    Children {
        parent: &'static str,
        id: String,
    },
    Metadata(String),
    CurrentToken,
    Tokens,
    CurrentUser,
    CurrentOrg,
    AuditLogs,
    Merges(String),
    Unknown,
}

/// The query string.
#[derive(Default)]
pub(crate) struct Query(Vec<(String, String)>);

impl Query {
    pub(crate) fn parse(text: &str) -> Self {
        let pairs = text.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (unescape(name), unescape(value))
        });
        Self(pairs.collect())
    }

    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

fn unescape(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        match byte {
            b'+' => bytes.push(b' '),
            b'%' => {
                let digits: String = rest.by_ref().take(2).map(char::from).collect();
                bytes.push(u8::from_str_radix(&digits, 16).unwrap_or(b'%'));
            }
            _ => bytes.push(byte),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

impl Route {
    pub(crate) fn parse(method: &Method, path: &str, query: &str, body: &Bytes) -> Self {
        let query = Query::parse(query);
        let body = body.clone();
        let make = |kind: Kind, stream: &str| (kind, stream.to_owned());
        let Some(path) = path.strip_prefix("/v1/") else {
            return Self { kind: Kind::Unknown, stream: String::new(), query, body };
        };
        let path = path.trim_end_matches('/');
        let (kind, stream) = match (method, path) {
            (&Method::POST, "customers/search" | "customers/archive/search") => {
                // Only the context is wanted here; errors come when the body is read in full.
                let parsed: Option<Value> = serde_json::from_slice(&body).ok();
                let context =
                    parsed.and_then(|body| Some(body["queryContext"].as_str()?.to_owned()));
                let archive = path.contains("archive");
                (Kind::Search { archive }, context.unwrap_or_default())
            }
            (&Method::GET | &Method::HEAD, _) => match path {
                "auth/tokens/current" => make(Kind::CurrentToken, ""),
                "auth/tokens" => make(Kind::Tokens, ""),
                "users/current" => make(Kind::CurrentUser, "user"),
                "orgs/current" => make(Kind::CurrentOrg, ""),
                "audit-logs" => make(Kind::AuditLogs, "audit_log"),
                _ => Self::parse_collection(path),
            },
            _ => make(Kind::Unknown, ""),
        };
        Self { kind, stream, query, body }
    }

    fn parse_collection(path: &str) -> (Kind, String) {
        let unknown = (Kind::Unknown, String::new());
        if let Some(resource) = path.strip_prefix("metadata/") {
            return (Kind::Metadata(resource.to_owned()), "metadata".to_owned());
        }
        for (collection, stream) in COLLECTIONS {
            let Some(rest) = path.strip_prefix(collection) else { continue };
            if rest.is_empty() {
                return (Kind::List, stream.to_owned());
            }
            let Some(rest) = rest.strip_prefix('/') else { continue };
            let parts: Vec<&str> = rest.split('/').collect();
            return match (stream, parts.as_slice()) {
                // `klasses/{id}` is a class, `klasses/{name}` its objects.
                ("klass", [id]) if Id::parse(id).is_some() => {
                    (Kind::Get((*id).to_owned()), stream.to_owned())
                }
                ("klass", [name]) => (Kind::List, format!("kobject_{name}")),
                ("klass", [name, id]) => (Kind::Get((*id).to_owned()), format!("kobject_{name}")),
                (_, [id]) => (Kind::Get((*id).to_owned()), stream.to_owned()),
                ("customer", [id, "merges"]) => {
                    (Kind::Merges((*id).to_owned()), "customer_merge".to_owned())
                }
                ("customer", [id, "klasses", name]) => {
                    let kind = Kind::Children { parent: "customer", id: (*id).to_owned() };
                    (kind, format!("kobject_{}", name.strip_suffix('s').unwrap_or(name)))
                }
                ("customer", [id, child @ ("conversations" | "messages" | "notes")]) => {
                    let kind = Kind::Children { parent: "customer", id: (*id).to_owned() };
                    (kind, child.trim_end_matches('s').to_owned())
                }
                ("conversation", [id, child @ ("messages" | "notes")]) => {
                    let kind = Kind::Children { parent: "conversation", id: (*id).to_owned() };
                    (kind, child.trim_end_matches('s').to_owned())
                }
                _ => unknown,
            };
        }
        unknown
    }

    pub(crate) fn endpoint(&self) -> &'static str {
        match self.kind {
            Kind::Search { archive: false } => "search",
            Kind::Search { archive: true } => "archive",
            Kind::List | Kind::Children { .. } | Kind::AuditLogs | Kind::Merges(_) => "list",
            Kind::Get(_) | Kind::Metadata(_) => "get",
            _ => "other",
        }
    }

    pub(crate) fn stream(&self) -> &str {
        &self.stream
    }

    /// The page asked for, as far as it can be told.
    pub(crate) fn page(&self) -> u64 {
        self.query.get("page").and_then(|page| page.parse().ok()).unwrap_or(1)
    }

    /// Roles of which any one will do; none asked for when empty.
    pub(crate) fn roles(&self) -> Vec<&'static str> {
        match (&self.kind, self.stream.as_str()) {
            (Kind::Search { .. }, _) => vec![
                "org.permission.search.create",
                "org.permission.search.update",
                "org.permission.search_global.create",
                "org.permission.search_preview.create",
                "org.user.search.read",
                "org.admin.search.read",
            ],
            (Kind::Metadata(_), _) => vec![
                "org.permission.metadata.read",
                "org.user.metadata.read",
                "org.admin.metadata.read",
            ],
            (Kind::Tokens, _) => vec!["org.permission.security", "org.admin.security"],
            (Kind::CurrentToken | Kind::CurrentUser | Kind::CurrentOrg | Kind::Unknown, _) => {
                vec![]
            }
            (Kind::AuditLogs, _) => {
                vec!["org.permission.audit_logs.read", "org.admin.audit_logs.read"]
            }
            (Kind::Merges(_), _) => vec![
                "org.permission.customer_merge.read",
                "org.user.customer.read",
                "org.admin.customer.merge.read",
            ],
            (_, "customer") => vec!["org.permission.customer.read", "org.user.customer.read"],
            (_, "conversation") => {
                vec!["org.permission.conversation.read", "org.user.conversation.read"]
            }
            (_, "message") => vec!["org.permission.message.read", "org.user.message.read"],
            (_, "note") => vec!["org.permission.note.read", "org.user.note.read"],
            (_, "company") => vec!["org.permission.company.read", "org.user.company.read"],
            (_, "user") => vec!["org.permission.user.read", "org.user.read", "org.user.user.read"],
            (_, "team") => vec!["org.permission.team.read", "org.user.read", "org.user.team.read"],
            (_, "tag") => vec!["org.permission.tag.read", "org.user.tag.read"],
            (_, "shortcut") => vec!["org.permission.shortcut.read", "org.user.shortcut.read"],
            (_, "brand") => {
                vec!["org.permission.brand.read", "org.user.brand.read", "org.admin.brand.read"]
            }
            (_, "queue") => vec![
                "org.permission.queue.read",
                "org.permission.routing.read",
                "org.user.routing.read",
            ],
            (_, "sla") => vec!["org.permission.sla.read", "org.user.sla.read"],
            (_, "schedule") => vec![
                "org.permission.schedule.read",
                "org.user.schedule.read",
                "org.admin.schedule.read",
            ],
            _ => vec!["org.permission.klass.read", "org.user.klass.read", "org.admin.klass.read"],
        }
    }

    /// Page and page size; a size above `most` is cut to it.
    pub(crate) fn paging(&self, default: u64, most: u64) -> Result<(u64, u64), Refusal> {
        let number = |name: &str, default: u64| match self.query.get(name) {
            None => Ok(default),
            Some(text) => text
                .parse::<u64>()
                .ok()
                .filter(|number| *number > 0)
                .ok_or_else(|| Refusal::bad_request(format!("Invalid value for {name}."))),
        };
        Ok((number("page", 1)?, number("pageSize", default)?.min(most)))
    }
}
