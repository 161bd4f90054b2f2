//! Roles of URLs.

use serde::{Deserialize, Serialize};

/// The purpose for which a URL was sent, as its place in the request shows it.
///
/// A role never acquits: a visited page is a visited page whatever its role. Without a
/// known visit, only [`UrlRole::Page`] indicates that the page was looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UrlRole {
    /// A page that was looked at: the field names it (`page_url`, `dl`, `referrer`).
    Page,
    /// Something to load: an image, a script, an ad's creative or its target.
    Resource,
    /// An address to which an answer is to be sent (`redirect_uri`, a webhook).
    Callback,
    /// The name of a thing: an XML namespace, an issuer of tokens, a schema, an IRI.
    Reference,
    /// The home page of a program or of a library.
    Software,
    /// The place says nothing about the purpose.
    #[default]
    Unknown,
}

impl UrlRole {
    /// Returns the name in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Page => "page",
            Self::Resource => "resource",
            Self::Callback => "callback",
            Self::Reference => "reference",
            Self::Software => "software",
            Self::Unknown => "unknown",
        }
    }

    /// Returns the role in words, or `None` if the place says nothing.
    pub fn label(self) -> Option<&'static str> {
        match self {
            Self::Page => Some("a page that was looked at"),
            Self::Resource => Some("something to load"),
            Self::Callback => Some("an address for answers"),
            Self::Reference => Some("the name of a thing"),
            Self::Software => Some("the home page of software"),
            Self::Unknown => None,
        }
    }
}
