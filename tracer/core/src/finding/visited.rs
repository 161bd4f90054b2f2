//! The relation between a finding and the visits of the application.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Part of a URL that a finding reveals.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// The host alone.
    Host,
    /// The host and a path.
    HostPath,
    /// The whole URL.
    Full,
}

/// The visit that a finding is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Visited {
    /// The page was visited.
    Page {
        /// The page's URL as it was requested.
        url: String,
        /// Time between the visit and the request.
        #[serde(rename = "ago_ms", with = "millis")]
        ago: Duration,
    },
    /// The host was visited or looked up; the page is not known.
    Host {
        /// The host.
        host: String,
        /// Time between the visit and the request.
        #[serde(rename = "ago_ms", with = "millis")]
        ago: Duration,
    },
    /// The application's visits are known and do not contain it.
    No,
    /// No visit of the application is known.
    Unknown,
}

/// The variants of [`Visited`] without their data, as the judgement table tests
/// them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VisitedKind {
    /// [`Visited::Page`].
    Page,
    /// [`Visited::Host`].
    Host,
    /// [`Visited::No`].
    No,
    /// [`Visited::Unknown`].
    Unknown,
}

impl From<&Visited> for VisitedKind {
    fn from(visited: &Visited) -> Self {
        match visited {
            Visited::Page { .. } => Self::Page,
            Visited::Host { .. } => Self::Host,
            Visited::No => Self::No,
            Visited::Unknown => Self::Unknown,
        }
    }
}

/// A duration as a number of milliseconds.
mod millis {
    use std::time::Duration;

    use serde::{Deserialize as _, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(ago: &Duration, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_u64(ago.as_millis().try_into().unwrap_or(u64::MAX))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
        u64::deserialize(from).map(Duration::from_millis)
    }
}
