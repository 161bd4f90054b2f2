//! Kinds of findings.

use serde::{Deserialize, Serialize};

/// The kind of a finding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A URL, or a host and path, of another site than the recipient's.
    Url,
    /// A URL in a request whose recipient is not known, because its head was
    /// cut before the authority. It may be the recipient's own.
    UrlToUnknown,
    /// A hash of a URL, host or registrable domain that was visited.
    VisitedUrlHash,
    /// Terms that the user searched for.
    SearchTerms,
    /// Text that the user typed, letter by letter.
    TypedText,
    /// The title or text of a page.
    PageText,
    /// An action of the user in the interface: a click, a screen, a folder.
    UiEvent,
    /// The number of a piece of content that the user saw.
    ContentItem,
    /// A value that distinguishes one installation or user from others.
    Identifier,
    /// An e-mail address, a telephone number, a number of the device.
    PersonalDetail,
    /// The `Referer` field: the page that the request comes from.
    Referer,
    /// The `Origin` field, if it names a site.
    Origin,
}

impl Kind {
    /// All kinds.
    pub const ALL: [Self; 12] = [
        Self::Url,
        Self::UrlToUnknown,
        Self::VisitedUrlHash,
        Self::SearchTerms,
        Self::TypedText,
        Self::PageText,
        Self::UiEvent,
        Self::ContentItem,
        Self::Identifier,
        Self::PersonalDetail,
        Self::Referer,
        Self::Origin,
    ];

    /// Returns the name in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Url => "url",
            Self::UrlToUnknown => "url_to_unknown",
            Self::VisitedUrlHash => "visited_url_hash",
            Self::SearchTerms => "search_terms",
            Self::TypedText => "typed_text",
            Self::PageText => "page_text",
            Self::UiEvent => "ui_event",
            Self::ContentItem => "content_item",
            Self::Identifier => "identifier",
            Self::PersonalDetail => "personal_detail",
            Self::Referer => "referer",
            Self::Origin => "origin",
        }
    }
}
