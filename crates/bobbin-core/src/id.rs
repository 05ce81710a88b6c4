//! Typed names and identities. No bare string stands for one of these anywhere else.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

macro_rules! name {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Arc<str>);

        impl $name {
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl From<&str> for $name {
            fn from(text: &str) -> Self {
                Self(text.into())
            }
        }

        impl From<String> for $name {
            fn from(text: String) -> Self {
                Self(text.into())
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, f)
            }
        }
    };
}

name!(
    /// A stream as the tap offers it, for example `conversations`.
    StreamName
);
name!(
    /// One source wired to one destination; its spool, its jobs and its logs are kept by this name.
    ConnectionId
);
name!(
    /// A schema in a destination: where the tables of a connection are.
    SchemaName
);
name!(
    /// One run of a connection. Text order is time order.
    JobId
);

/// One sealed run of records of one stream in the spool: the job that wrote it and its number
/// within the job, from 1, in the order of sealing.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct SegmentId {
    /// The job that extracted it.
    pub job: JobId,
    /// Its place in the job's order of sealing, from 1.
    pub number: u64,
}

impl fmt::Display for SegmentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{:06}", self.job, self.number)
    }
}
