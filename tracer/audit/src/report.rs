//! The report: all that an audit found, in plain values. Its JSON form is
//! `report.json`; `docs/reference/report.md` describes it.

use serde::{Deserialize, Serialize};

use super::{
    journal::{Outcome, Subject},
    phase::Phase,
};
use tracer_core::judge::{Recipient, Sender, Severity};

/// The version of the report's schema. It grows when a field changes its
/// meaning or goes.
pub const REPORT_SCHEMA: u32 = 1;

/// What an audit found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// [`REPORT_SCHEMA`].
    pub schema: u32,
    /// Which run this is: a random number.
    pub run: String,
    /// Which tracer wrote the report.
    pub tracer: String,
    /// What was audited.
    pub subject: Subject,
    /// When the run began, RFC 3339.
    pub began: Option<String>,
    /// When it ended; null for a run that was killed.
    pub ended: Option<String>,
    /// Whether all phases came to their end. Otherwise, [`Report::notes`] says
    /// why.
    pub complete: bool,
    /// Values that tell about a person or device are digests.
    pub redacted: bool,
    /// The answers.
    pub verdicts: Vec<Verdict>,
    /// What was done.
    pub phases: Vec<PhaseReport>,
    /// Who was sent anything by the browser itself, those with most
    /// disclosures first.
    pub recipients: Vec<RecipientReport>,
    /// The identifiers, those that went with URLs first.
    pub identifiers: Vec<Lifeline>,
    /// The requests that disclose something, in order.
    pub disclosures: Vec<Told>,
    /// Disclosing requests beyond those in the list.
    pub disclosures_uncounted: u64,
    /// How much was read.
    pub reading: Reading,
    /// What else the reader has to know: losses, what went wrong.
    pub notes: Vec<String>,
}

/// What is no report that can be read.
#[derive(Debug, thiserror::Error)]
pub enum Unreadable {
    /// Other JSON, or none.
    #[error("this is no report of an audit")]
    Form(#[from] serde_json::Error),
    /// A later version wrote it.
    #[error(
        "the report's schema is {found}, and this version reads up to {REPORT_SCHEMA}: take a newer tracer"
    )]
    Newer {
        /// Its schema.
        found: u64,
    },
}

impl Report {
    /// Reads `report.json`.
    ///
    /// # Errors
    /// When it is something else, or of a newer schema.
    pub fn from_json(json: &[u8]) -> Result<Self, Unreadable> {
        /// What all versions have in common.
        #[derive(Deserialize)]
        struct Versioned {
            schema: u64,
        }
        let Versioned { schema: found } = serde_json::from_slice(json)?;
        if found > u64::from(REPORT_SCHEMA) {
            return Err(Unreadable::Newer { found });
        }
        Ok(serde_json::from_slice(json)?)
    }

    /// The answer to a question.
    pub fn verdict(&self, question: Question) -> Option<&Verdict> {
        self.verdicts.iter().find(|verdict| verdict.question == question)
    }
}

/// What an audit answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Question {
    /// Does the browser send the URLs of visited pages, or parts of them?
    Urls,
    /// Does it in private mode?
    UrlsInPrivateMode,
    /// Before consent was given?
    UrlsBeforeConsent,
    /// After it was declined?
    UrlsAfterDeclining,
    /// To its maker?
    ToMaker,
    /// To others?
    ToThirdParties,
    /// Is an identifier attached to what tells of pages?
    Identifier,
    /// Is it the same after a restart?
    SameAfterRestart,
    /// In private mode the same as in normal mode?
    SameInPrivateMode,
    /// In private mode after a restart the same as in private mode before?
    SameInPrivateModeAfterRestart,
    /// After the data was cleared?
    SameAfterClearing,
    /// After it was installed again?
    SameAfterReinstall,
    /// In other applications?
    SameInOtherApplications,
    /// Does it send personal details?
    PersonalDetails,
    /// Is anything that discloses sent before consent?
    BeforeConsent,
    /// After declining?
    AfterDeclining,
    /// Does it report what is done in its interface?
    InterfaceEvents,
    /// Which pieces of content are read?
    ContentItems,
    /// What is typed, letter by letter?
    TypedLetters,
    /// Titles or texts of pages?
    PageText,
    /// Is history processed on the device: are counts sent, and no URLs?
    ProcessedLocally,
}

impl Question {
    /// Whether it asks what is sent without consent.
    pub(super) fn is_of_consent(self) -> bool {
        matches!(self, Self::UrlsBeforeConsent | Self::UrlsAfterDeclining)
    }
}

/// An answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// Yes: it was seen.
    Yes,
    /// No: it was looked for, and enough was read to see it.
    No,
    /// Nobody can tell.
    CannotTell,
}

impl Answer {
    /// For people.
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
pub struct Verdict {
    /// The question.
    pub question: Question,
    /// The question in words.
    pub title: String,
    /// The answer.
    pub answer: Answer,
    /// Why, in a sentence or two, with the numbers.
    pub detail: String,
    /// Of how many, how many: visits told of, phases an identifier returned in.
    /// Null where nothing is counted.
    pub count: Option<Count>,
    /// How much of visited URLs was told, most first; for questions about URLs.
    pub scopes: Vec<ScopeCount>,
    /// How what was told is protected; for [`Question::Urls`] and where known.
    pub protection: Option<Protection>,
    /// The disclosures that prove it, by [`Told::id`]; at most
    /// [`MAX_EVIDENCE`].
    pub evidence: Vec<u64>,
    /// How many percent of what was sent in the whole run were read; null where
    /// nothing was sent.
    pub percent_read: Option<u8>,
}

/// Disclosures named by a verdict: the report lists all.
pub const MAX_EVIDENCE: usize = 16;

/// `told` of `of`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Count {
    /// How many.
    pub told: u64,
    /// Of how many.
    pub of: u64,
}

/// How much of a visit somebody was told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// What was typed into the address bar.
    Typed,
    /// A hash of the URL or host.
    Hash,
    /// The host.
    Host,
    /// Host and path.
    HostPath,
    /// The URL with its query.
    Full,
}

impl Scope {
    /// For people.
    pub fn label(self) -> &'static str {
        match self {
            Self::Typed => "as typed",
            Self::Hash => "as a hash",
            Self::Host => "host",
            Self::HostPath => "host and path",
            Self::Full => "full URL",
        }
    }
}

/// How many visits were told in this scope at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScopeCount {
    /// How much.
    pub scope: Scope,
    /// Of how many visits.
    pub visits: u64,
}

/// What protects a value from who carries it, beside TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Protection {
    /// It stands there as text.
    None,
    /// It is encoded or compressed, which needs no key to undo.
    EncodingOnly,
    /// It is hashed: who has a list of URLs can look it up.
    Hashed,
    /// It was encrypted before it was encrypted by TLS, and not read.
    Encrypted,
}

impl Protection {
    /// For people.
    pub fn label(self) -> &'static str {
        match self {
            Self::None => "none beside TLS",
            Self::EncodingOnly => "encoding only",
            Self::Hashed => "hashed",
            Self::Encrypted => "encrypted beyond TLS",
        }
    }
}

/// A phase, and what came of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PhaseReport {
    /// Which.
    pub phase: Phase,
    /// What it is called for people.
    pub title: String,
    /// How it ended.
    pub outcome: Outcome,
    /// When it began, RFC 3339.
    pub began: Option<String>,
    /// The same, in milliseconds since the run began; null for one that was
    /// left out.
    pub began_ms: Option<u64>,
    /// How long it took, in milliseconds.
    pub duration_ms: Option<u64>,
    /// The pages that were opened.
    pub visits: Vec<VisitReport>,
    /// Requests of the browser's own that were read: not pages', not visits.
    pub requests: u64,
    /// Requests by pages.
    pub page_requests: u64,
    /// Of the requests' bytes, those that are not known or could not be read.
    pub unread_bytes: u64,
}

/// A page that was opened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct VisitReport {
    /// Its number in the run, from 1.
    pub id: u64,
    /// Its URL: made up for this audit, so that nobody else's.
    pub url: String,
    /// When, in milliseconds since the run began.
    pub at_ms: u64,
    /// Whether its server was asked for it; null where the server is not ours.
    pub served: Option<bool>,
    /// Who was told of it by the browser, and how much at most.
    pub told: Vec<ToldTo>,
}

/// Somebody who was told of a visit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToldTo {
    /// The recipient: a registrable domain, or an address.
    pub recipient: String,
    /// How much.
    pub scope: Scope,
}

/// A recipient of the browser's own requests.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RecipientReport {
    /// The registrable domain, or an address.
    pub recipient: String,
    /// Who that is.
    pub who: Recipient,
    /// The hosts of it that were asked.
    pub hosts: Vec<String>,
    /// How many requests it got.
    pub requests: u64,
    /// Of how many visits it was told.
    pub visits: u64,
    /// How much of them at most.
    pub scope: Option<Scope>,
    /// How many identifiers it got.
    pub identifiers: u64,
    /// In which phases it was asked.
    pub phases: Vec<Phase>,
    /// Bytes to it that could not be read.
    pub unread_bytes: u64,
}

/// An identifier's life through the phases.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Lifeline {
    /// The value, or its digest.
    pub value: String,
    /// What it is called in the rules, where its name or form says it.
    pub class: Option<String>,
    /// Where it stands: the recipient and the chain, of its first time.
    pub place: String,
    /// Who got it.
    pub recipients: Vec<String>,
    /// Whether it went with what tells of visits.
    pub with_visits: bool,
    /// How long it lives, as far as the phases tell.
    pub life: Life,
    /// In which phases it was sent, in how many requests.
    pub phases: Vec<(Phase, u64)>,
    /// Other applications that sent it.
    pub other_applications: Vec<String>,
}

/// How long an identifier lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Life {
    /// Seen between one start and the next only: nobody can tell.
    Unknown,
    /// Another value stood in its place after a restart.
    Session,
    /// It returned after a restart; where the data was cleared, it did not.
    Installation,
    /// It returned after the data was cleared, or after a new installation.
    Device,
}

impl Life {
    /// For people.
    pub fn label(self) -> &'static str {
        match self {
            Self::Unknown => "not known",
            Self::Session => "until the next start",
            Self::Installation => "survives restarts",
            Self::Device => "survives clearing or reinstalling",
        }
    }
}

/// A request that discloses something.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Told {
    /// Its number among the run's requests, the same in `evidence.har`.
    pub id: u64,
    /// In which phase; null between phases.
    pub phase: Option<Phase>,
    /// When, RFC 3339.
    pub time: Option<String>,
    /// The same, in milliseconds since the run began.
    pub at_ms: u64,
    /// The recipient: a registrable domain, or an address.
    pub recipient: String,
    /// Who that is.
    pub who: Recipient,
    /// The host, and port.
    pub host: String,
    /// The method.
    pub method: Option<String>,
    /// The path, redacted unless told otherwise.
    pub path: Option<String>,
    /// The telemetry SDK whose form it has.
    pub sdk: Option<String>,
    /// Who made the request, all in all.
    pub sender: Sender,
    /// Which application.
    pub application: String,
    /// How bad it is.
    pub severity: Option<Severity>,
    /// Why.
    pub reason: Option<String>,
    /// All of the request is known.
    pub complete: bool,
    /// Bytes of it that are not known or could not be read.
    pub unread_bytes: u64,
    /// What it tells.
    pub items: Vec<Item>,
}

/// One thing that a request tells.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Item {
    /// What it is: a visit, or the kind of a finding
    /// ([alerts](../../../docs/reference/alerts.md)).
    pub kind: ItemKind,
    /// Which identifier or detail, where that is known.
    pub class: Option<String>,
    /// The value, or its digest. URLs of visits are always shown.
    pub value: String,
    /// The visit it is about, by [`VisitReport::id`].
    pub visit: Option<u64>,
    /// How much of the visit it tells.
    pub scope: Option<Scope>,
    /// How it was wrapped, from the outside in.
    pub chain: String,
    /// What it looked like on the way, from the outside in: the raw bytes
    /// first, the value last.
    pub steps: Vec<Step>,
}

/// What an item is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ItemKind {
    /// A visit of the audit's.
    Visit,
    /// The title of a visited page.
    PageTitle,
    /// Another URL.
    Url,
    /// An identifier.
    Identifier,
    /// A personal detail.
    PersonalDetail,
    /// Something done in the interface.
    UiEvent,
    /// A piece of content.
    ContentItem,
    /// What was searched for.
    SearchTerms,
    /// Typed text.
    TypedText,
    /// Other text of a page.
    PageText,
}

/// A value on the way from the raw bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// How it came from the one before, in the words of the chain: `base64`.
    pub name: String,
    /// How many bytes it has; null where that is not known.
    pub bytes: Option<u64>,
    /// Its beginning, bytes that are no text in hexadecimal; a few bytes of it
    /// where values are redacted. Null where it is not known.
    pub excerpt: Option<String>,
}

/// How much of what was sent was read.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Reading {
    /// A "no" needs so many percent.
    pub percent_needed: u8,
    /// Of the whole run; null where nothing was sent.
    pub percent_read: Option<u8>,
    /// Bytes that say something.
    pub content_bytes: u64,
    /// Those that were read.
    pub read_bytes: u64,
    /// Bytes in bodies that could not be read through.
    pub opaque_bytes: u64,
    /// Sends that were lost.
    pub lost: u64,
    /// Where unread bytes went: server and bytes, most first.
    pub unread: Vec<(String, u64)>,
}

impl ItemKind {
    /// For people.
    pub fn label(self) -> &'static str {
        match self {
            Self::Visit => "visited pages",
            Self::PageTitle => "titles of visited pages",
            Self::Url => "other URLs",
            Self::Identifier => "identifiers",
            Self::PersonalDetail => "personal details",
            Self::UiEvent => "interface events",
            Self::ContentItem => "items of content",
            Self::SearchTerms => "search terms",
            Self::TypedText => "typed text",
            Self::PageText => "texts of pages",
        }
    }
}
