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
