//! Lifetimes of identifiers.

use serde::{Deserialize, Serialize};

/// The lifetime of an identifier, as its name suggests it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Lifetime {
    /// As long as the installation, the device or the account.
    Lasting,
    /// As long as the application runs, or as a visit lasts.
    Session,
    /// One request or message, of which it distinguishes copies.
    Request,
    /// Unknown: the value has the form of an identifier, but its name says nothing.
    Unknown,
}

impl Lifetime {
    /// Returns the name in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Lasting => "lasting",
            Self::Session => "session",
            Self::Request => "request",
            Self::Unknown => "unknown",
        }
    }

    /// Describes the lifetime.
    pub fn describe(self) -> &'static str {
        match self {
            Self::Lasting => "lasting",
            Self::Session => "for a session",
            Self::Request => "for one request",
            Self::Unknown => "lifetime unknown",
        }
    }
}

/// The degree to which a request identifies the installation or the user.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Identification {
    /// No identifier is known.
    None,
    /// A value in the form of an identifier, whose lifetime is not known.
    Seen,
    /// An identifier that lasts: its name says so, or it returned after a restart
    /// or in another application.
    Lasting,
}
