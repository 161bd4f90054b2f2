//! Questions, their answers, and the numbers that prove them.

use serde::{Deserialize, Serialize};

use crate::canary::Extent;

/// A question that an audit answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Question {
    /// Does the browser send the URLs of visited pages, or parts of them?
    Urls,
    /// Does it send them in private mode?
    UrlsInPrivateMode,
    /// Does it send them before consent is given?
    UrlsBeforeConsent,
    /// Does it send them after consent is declined?
    UrlsAfterDeclining,
    /// Does it send them to its maker?
    ToMaker,
    /// Does it send them to others?
    ToThirdParties,
    /// Does it send values that depend on the page?
    DerivedValues,
    /// Is an identifier sent with them?
    Identifier,
    /// Is the identifier the same after a restart?
    SameAfterRestart,
    /// Is it the same in private mode as in normal mode?
    SameInPrivateMode,
    /// Is it the same in private mode before and after a restart?
    SameInPrivateModeAfterRestart,
    /// Is it the same after the data was cleared?
    SameAfterClearing,
    /// Is it the same after the browser was reinstalled?
    SameAfterReinstall,
    /// Do other applications send it too?
    SameInOtherApplications,
    /// Does it send personal details?
    PersonalDetails,
    /// Does it send anything that identifies or discloses before consent?
    BeforeConsent,
    /// Does it do so after consent was declined?
    AfterDeclining,
    /// Does it report actions in its interface?
    InterfaceEvents,
    /// Does it report which pieces of content are read?
    ContentItems,
    /// Does it send what is typed, letter by letter?
    TypedLetters,
    /// Does it send titles or texts of pages?
    PageText,
    /// Is the history processed on the device: are counts sent, and no URLs?
    ProcessedLocally,
}

impl Question {
    /// Reports whether the question is about pages disclosed without consent.
    pub(crate) fn is_about_consent(self) -> bool {
        matches!(self, Self::UrlsBeforeConsent | Self::UrlsAfterDeclining)
    }
}

/// An answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// Yes: it was seen.
    Yes,
    /// No: it was looked for, and enough was read to have seen it.
    No,
    /// Neither was shown.
    CannotTell,
}

impl Answer {
    /// Returns the answer in words.
    pub fn label(self) -> &'static str {
        match self {
            Self::Yes => "yes",
            Self::No => "no",
            Self::CannotTell => "cannot tell",
        }
    }
}

/// A question and its answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Conclusion {
    /// The question.
    pub question: Question,
    /// The question in words.
    pub title: String,
    /// The answer.
    pub answer: Answer,
    /// The reason, with numbers.
    pub detail: String,
    /// Number of pages that were disclosed, or of identifiers that returned. Null if nothing is
    /// counted.
    pub count: Option<Count>,
    /// Number of pages by the disclosed part of their URLs, most first; for questions about URLs.
    pub scopes: Vec<ExtentCount>,
    /// Protection of the disclosed URLs; for questions about URLs.
    pub protection: Option<Protection>,
    /// The disclosures that prove it, by [`DisclosureReport::id`](super::DisclosureReport::id); at
    /// most [`MAX_EVIDENCE`].
    pub evidence: Vec<u64>,
    /// Percentage of the run's traffic that was read; null if nothing was sent.
    pub percent_read: Option<u8>,
}

/// Number of disclosures that prove one answer. The report lists all of them.
pub const MAX_EVIDENCE: usize = 16;

/// A number out of a total.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Count {
    /// The number.
    pub told: u64,
    /// The total.
    pub of: u64,
}

/// Number of pages of which no more than this was disclosed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExtentCount {
    /// The most that was disclosed of them.
    pub scope: Extent,
    /// Number of pages.
    pub visits: u64,
}

/// Protection of a value besides TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Protection {
    /// None: it is sent as text.
    None,
    /// It is encoded or compressed, which can be undone without a key.
    EncodingOnly,
    /// It is hashed, which can be undone with a list of URLs.
    Hashed,
    /// It was encrypted before TLS, and could not be read.
    Encrypted,
}

impl Protection {
    /// Returns the protection in words.
    pub fn label(self) -> &'static str {
        match self {
            Self::None => "none besides TLS",
            Self::EncodingOnly => "encoding only",
            Self::Hashed => "hashed",
            Self::Encrypted => "encrypted beyond TLS",
        }
    }
}
