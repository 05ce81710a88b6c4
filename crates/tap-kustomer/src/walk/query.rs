//! What is asked of the search: bodies in the plainest form, so that simple stand-ins of the API
//! understand them too (kustomer-api 4).

use std::fmt::Write as _;

use bobbin_core::id::StreamName;
use jiff::Timestamp;

use super::window::Window;
use crate::http::Call;
use crate::http::pace::Bucket;
use crate::window::Span;

/// A criterion besides the window's own.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Filter {
    /// An attribute lies in a span.
    Range {
        /// Which, see [`Query::axes`].
        axis: usize,
        /// The span.
        span: Span,
    },
    /// An attribute is not set.
    NotSet {
        /// Which.
        axis: usize,
    },
}

impl Filter {
    pub(super) fn axis(self) -> usize {
        match self {
            Self::Range { axis, .. } | Self::NotSet { axis } => axis,
        }
    }
}

/// A search context and where it is asked.
#[derive(Clone, Debug)]
pub(crate) struct Query {
    path: &'static str,
    context: &'static str,
    /// Ask for soft-deleted records too.
    include_deleted: bool,
    /// A call has been answered.
    works: bool,
}

/// Attributes by which the records of one instant can be told apart, and how the search calls
/// them (kustomer-api 4.4).
const AXES: [(&str, &str); 4] = [
    ("created_at", "createdAt"),
    ("modified_at", "modifiedAt"),
    ("sent_at", "sentAt"),
    ("imported_at", "importedAt"),
];

impl Query {
    /// The live search.
    pub(crate) fn live(context: &'static str) -> Self {
        Self { path: "/v1/customers/search", context, include_deleted: true, works: false }
    }

    /// The archive search.
    pub(crate) fn archive(context: &'static str) -> Self {
        Self { path: "/v1/customers/archive/search", ..Self::live(context) }
    }

    /// Which attributes this context can be told apart by.
    pub(super) fn axes(&self) -> &'static [usize] {
        match self.context {
            _ if self.path.contains("archive") => &[0],
            "message" => &[0, 2, 3],
            "kobject" => &[0, 3],
            _ => &[0, 1, 3],
        }
    }

    /// The attribute's name in records.
    pub(super) fn attribute(axis: usize) -> Option<&'static str> {
        AXES.get(axis).map(|(_, attribute)| *attribute)
    }

    /// A call was answered: what is refused from now on is refused for another reason.
    pub(super) fn works(&mut self) {
        self.works = true;
    }

    /// Whether this is an archive search that never answered.
    pub(super) fn is_unknown_archive(&self) -> bool {
        !self.works && self.path.contains("archive")
    }

    /// The call that finds out whether the context may be searched, how much there is in a span, and what
    /// some `records` of it look like.
    pub(crate) fn probe(&self, stream: &StreamName, span: Span, records: u32) -> Call {
        self.call(stream, &Window::new(0, span, records), 1)
    }

    /// A call was refused as malformed: asks for less if that may be why. False when there is
    /// nothing left to leave out.
    pub(crate) fn retreat(&mut self) -> bool {
        !self.works && std::mem::replace(&mut self.include_deleted, false)
    }

    /// The call for a page of a window.
    pub(super) fn call(&self, stream: &StreamName, window: &Window, page: u32) -> Call {
        let context = self.context;
        let mut body = format!(r#"{{"queryContext":"{context}","and":["#);
        range(&mut body, context, "updated_at", window.span);
        for filter in &window.filters {
            body.push(',');
            let name = AXES.get(filter.axis()).map_or("created_at", |(name, _)| name);
            match filter {
                Filter::Range { span, .. } => range(&mut body, context, name, *span),
                Filter::NotSet { .. } => {
                    let _ = write!(body, r#"{{"{context}_{name}":{{"not_set":true}}}}"#);
                }
            }
        }
        let _ = write!(body, r#"],"or":[],"sort":[{{"{context}_updated_at":"asc"}}]"#);
        if self.include_deleted {
            body.push_str(r#","includeDeleted":true"#);
        }
        body.push('}');
        Call {
            body: Some(body),
            path: format!("{}?page={page}&pageSize={}", self.path, window.page_size),
            bucket: Bucket::Search,
            stream: Some(stream.clone()),
            divisible: true,
        }
    }
}

/// Two criteria, one operator each: every reader of this language understands that.
fn range(body: &mut String, context: &str, attribute: &str, span: Span) {
    let text = |ms: i64| Timestamp::from_millisecond(ms).unwrap_or(Timestamp::MAX);
    let _ = write!(
        body,
        r#"{{"{context}_{attribute}":{{"gte":"{:.3}"}}}},{{"{context}_{attribute}":{{"lte":"{:.3}"}}}}"#,
        text(span.from),
        text(span.to)
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_closed_sorted_and_plain() {
        let mut query = Query::live("customer");
        let mut window =
            Window::new(1, Span { from: 1_767_225_600_000, to: 1_767_225_600_001 }, 500);
        let call = query.call(&StreamName::from("customers"), &window, 2);
        assert_eq!(call.path, "/v1/customers/search?page=2&pageSize=500");
        insta::assert_snapshot!(call.body.unwrap_or_default(), @r#"{"queryContext":"customer","and":[{"customer_updated_at":{"gte":"2026-01-01T00:00:00.000Z"}},{"customer_updated_at":{"lte":"2026-01-01T00:00:00.001Z"}}],"or":[],"sort":[{"customer_updated_at":"asc"}],"includeDeleted":true}"#);
        assert!(query.retreat());
        window.filters = vec![Filter::NotSet { axis: 1 }];
        let call = query.call(&StreamName::from("customers"), &window, 1);
        insta::assert_snapshot!(call.body.unwrap_or_default(), @r#"{"queryContext":"customer","and":[{"customer_updated_at":{"gte":"2026-01-01T00:00:00.000Z"}},{"customer_updated_at":{"lte":"2026-01-01T00:00:00.001Z"}},{"customer_modified_at":{"not_set":true}}],"or":[],"sort":[{"customer_updated_at":"asc"}]}"#);
        assert!(!query.retreat());
    }
}
