//! The report: everything that an audit found, in plain values. Its JSON form is `report.json`;
//! `docs/reference/report.md` describes it.

use serde::{Deserialize, Serialize};

use super::{
    canary::Extent,
    differential::Factor,
    journal::{Outcome, Subject},
    phase::Phase,
};
use tracer_core::account::Attempt;
use tracer_core::finding::{Recipient, Sender, Severity, UrlRole};

/// Version of the report's schema. It increases when a field is removed or changes its meaning. In
/// version 2, a "no" about pages requires an experiment.
pub const REPORT_SCHEMA: u32 = 2;

/// Everything that an audit found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// [`REPORT_SCHEMA`].
    pub schema: u32,
    /// Random number that identifies the run.
    pub run: String,
    /// Version of tracer that wrote the report.
    pub tracer: String,
    /// The audited browser.
    pub subject: Subject,
    /// Time at which the run began, RFC 3339.
    pub began: Option<String>,
    /// Time at which it ended; null for a run that was killed.
    pub ended: Option<String>,
    /// True if every phase was completed or skipped on purpose. Otherwise, [`Report::notes`] gives
    /// the reason.
    pub complete: bool,
    /// True if values that reveal something about a person or device are digests.
    pub redacted: bool,
    /// The answers.
    pub verdicts: Vec<Conclusion>,
    /// The phases, in order.
    pub phases: Vec<PhaseReport>,
    /// Recipients of the browser's own requests, those that learned of the most pages first.
    pub recipients: Vec<RecipientReport>,
    /// Identifiers, those sent with visited pages first.
    pub identifiers: Vec<IdentifierReport>,
    /// The experiments, in order.
    #[serde(default)]
    pub experiments: Vec<ExperimentReport>,
    /// Requests that disclose something, in order.
    pub disclosures: Vec<DisclosureReport>,
    /// Number of disclosing requests that are not in the list.
    pub disclosures_uncounted: u64,
    /// Share of the traffic that was read.
    pub reading: Reading,
    /// What the browser tried to send and what did not arrive.
    #[serde(default)]
    pub not_arrived: NotArrived,
    /// Losses and problems, one sentence each.
    pub notes: Vec<String>,
}

/// Why a report cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// It is not JSON, or not a report.
    #[error("not the report of an audit")]
    Form(#[from] serde_json::Error),
    /// A later version of tracer wrote it.
    #[error(
        "the report has schema {found}, and this version reads schemas up to {REPORT_SCHEMA}; use a newer tracer"
    )]
    Newer {
        /// The report's schema.
        found: u64,
    },
}

impl Report {
    /// Parses `report.json`.
    ///
    /// # Errors
    /// Returns an error for anything else, and for a newer schema.
    pub fn from_json(json: &[u8]) -> Result<Self, ReadError> {
        /// The part that all versions have in common.
        #[derive(Deserialize)]
        struct Versioned {
            schema: u64,
        }
        let Versioned { schema: found } = serde_json::from_slice(json)?;
        if found > u64::from(REPORT_SCHEMA) {
            return Err(ReadError::Newer { found });
        }
        Ok(serde_json::from_slice(json)?)
    }

    /// Returns the answer to a question.
    pub fn verdict(&self, question: Question) -> Option<&Conclusion> {
        self.verdicts.iter().find(|verdict| verdict.question == question)
    }
}

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
    pub(super) fn is_about_consent(self) -> bool {
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
    /// The disclosures that prove it, by [`DisclosureReport::id`]; at most [`MAX_EVIDENCE`].
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

/// A phase of the run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PhaseReport {
    /// The phase.
    pub phase: Phase,
    /// Its name in words.
    pub title: String,
    /// Outcome of the phase.
    pub outcome: Outcome,
    /// Time at which it began, RFC 3339.
    pub began: Option<String>,
    /// The same, in milliseconds since the run began; null if it was skipped.
    pub began_ms: Option<u64>,
    /// Duration in milliseconds.
    pub duration_ms: Option<u64>,
    /// The pages that were opened.
    pub visits: Vec<VisitReport>,
    /// Number of the browser's own requests that were read, without visits and requests by pages.
    pub requests: u64,
    /// Number of requests by pages.
    pub page_requests: u64,
    /// Number of bytes of the browser's own requests that are unknown or could not be read.
    pub unread_bytes: u64,
}

/// A page that was opened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct VisitReport {
    /// Number of the page in the run, from 1.
    pub id: u64,
    /// Its URL, made up for this audit.
    pub url: String,
    /// Time at which it was opened, in milliseconds since the run began.
    pub at_ms: u64,
    /// Times at which it was opened again.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub again_ms: Vec<u64>,
    /// True if the browser requested it; null for pages on another server.
    pub served: Option<bool>,
    /// Recipients that learned of it from the browser.
    pub told: Vec<VisitRecipient>,
}

/// A recipient that learned of a visit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VisitRecipient {
    /// Registrable domain, or address.
    pub recipient: String,
    /// The most that it learned.
    pub scope: Extent,
}

/// An experiment: pages that differ in one part at a time, each opened several times in random order.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ExperimentReport {
    /// Its phase.
    pub phase: Phase,
    /// Number of visits that the browser made.
    pub visits: u64,
    /// Number of windows in which nothing was done.
    pub idle: u64,
    /// Number of places (recipient and chain) that were examined.
    pub places: u64,
    /// Number of tests, for which the probabilities below have to be corrected.
    pub tests: u64,
    /// Probability that any of the dependences is reported in error.
    pub error_rate: f64,
    /// Number of values and messages that were left out, because there were too many.
    pub dropped: u64,
    /// Dependences on the page, the most certain first.
    pub dependences: Vec<DependenceReport>,
    /// Number of dependences that are not in the list.
    pub dependences_uncounted: u64,
    /// Recipients that received something with each visit.
    pub with_visits: Vec<WithVisitsReport>,
}

/// A place whose values or lengths depend on the page.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DependenceReport {
    /// Registrable domain, or address.
    pub recipient: String,
    /// The place: a chain, without indices of arrays.
    pub place: String,
    /// The properties of the page that it depends on.
    pub depends_on: Vec<Factor>,
    /// True if the page was also found in these requests by decoding them.
    pub readable: bool,
    /// Time at which it is sent, in words.
    pub sent: String,
    /// Probability of such a result without a dependence, before the correction.
    pub p: f64,
    /// Number of pages that it reveals.
    pub pages: u64,
    /// Number of requests that contained it.
    pub requests: u64,
    /// Identifiers in most of these requests, or their digests.
    pub identifiers: Vec<String>,
    /// The first of these requests, by [`DisclosureReport::id`]; at most [`MAX_EVIDENCE`].
    pub evidence: Vec<u64>,
}

/// A recipient that received something with each visit.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WithVisitsReport {
    /// Registrable domain, or address.
    pub recipient: String,
    /// `request`, `lookup` or `connection`.
    pub what: String,
    /// Number of visits with one, and of all visits.
    pub visits: Count,
    /// Number of idle windows with one, and of all idle windows.
    pub idle: Count,
    /// Probability of such a result without a relation, before the correction.
    pub p: f64,
}

/// A recipient of the browser's own requests.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RecipientReport {
    /// Registrable domain, or address.
    pub recipient: String,
    /// Its role.
    pub who: Recipient,
    /// Its hosts that received requests.
    pub hosts: Vec<String>,
    /// Number of requests that it received.
    pub requests: u64,
    /// Number of pages that it learned of.
    pub visits: u64,
    /// The most that it learned of one.
    pub scope: Option<Extent>,
    /// Number of identifiers that it received.
    pub identifiers: u64,
    /// Phases in which it received requests.
    pub phases: Vec<Phase>,
    /// Number of bytes sent to it that could not be read.
    pub unread_bytes: u64,
}

/// The use of an identifier in the course of the phases.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct IdentifierReport {
    /// The value, or its digest.
    pub value: String,
    /// Its class in the rules, if its name or form shows one.
    pub class: Option<String>,
    /// A recipient and a chain in which it was found.
    pub place: String,
    /// Recipients of it.
    pub recipients: Vec<String>,
    /// True if it was sent together with visited pages.
    pub with_visits: bool,
    /// Persistence, as far as the phases show it.
    pub life: Persistence,
    /// Number of requests that carried it, by phase.
    pub phases: Vec<(Phase, u64)>,
    /// Other applications that sent it.
    pub other_applications: Vec<String>,
}

/// Persistence of an identifier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Persistence {
    /// Not known: it was only seen between one start and the next.
    Unknown,
    /// It was replaced by another value after a restart.
    Session,
    /// It returned after a restart, and not after the data was cleared.
    Installation,
    /// It returned after the data was cleared, or after the browser was reinstalled.
    Device,
}

impl Persistence {
    /// Returns the persistence in words.
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
pub struct DisclosureReport {
    /// Number of the request in the run, the same as in `evidence.har`.
    pub id: u64,
    /// Phase of the request; null if it was sent before the first phase.
    pub phase: Option<Phase>,
    /// Time of the request, RFC 3339.
    pub time: Option<String>,
    /// The same, in milliseconds since the run began.
    pub at_ms: u64,
    /// Registrable domain, or address.
    pub recipient: String,
    /// Role of the recipient.
    pub who: Recipient,
    /// Host and port.
    pub host: String,
    /// The method.
    pub method: Option<String>,
    /// The path, redacted if the report is.
    pub path: Option<String>,
    /// The telemetry SDK whose form it has.
    pub sdk: Option<String>,
    /// The part of the browser that made the request.
    pub sender: Sender,
    /// ID of the extension that sent it, if the request names it.
    #[serde(default)]
    pub extension: Option<String>,
    /// Name of that extension, if the profile of its browser was read.
    #[serde(default)]
    pub extension_name: Option<String>,
    /// The ID by which users of Firefox know it.
    #[serde(default)]
    pub extension_addon: Option<String>,
    /// The application that sent it.
    pub application: String,
    /// Severity of the most severe verdict.
    pub severity: Option<Severity>,
    /// Reason of that verdict.
    pub reason: Option<String>,
    /// True if the whole request is known.
    pub complete: bool,
    /// Number of its bytes that are unknown or could not be read.
    pub unread_bytes: u64,
    /// The disclosed items.
    pub items: Vec<Item>,
}

/// A piece of information that a request discloses.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Item {
    /// A visit, or the kind of a finding ([alerts](../../../docs/reference/alerts.md)).
    pub kind: ItemKind,
    /// Class of the identifier or personal detail, if it is known.
    pub class: Option<String>,
    /// The value, or its digest. URLs of visits are always shown.
    pub value: String,
    /// The visit that it reveals, by [`VisitReport::id`].
    pub visit: Option<u64>,
    /// The part of the page's address that it reveals.
    pub scope: Option<Extent>,
    /// The role of a URL, by its place.
    #[serde(default)]
    pub role: Option<UrlRole>,
    /// Encodings around the value, outermost first.
    pub chain: String,
    /// The value in each step of the chain, from the raw bytes to the value itself.
    pub steps: Vec<DecodeStep>,
}

/// Kind of an item.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ItemKind {
    /// A visit to a page of the audit.
    Visit,
    /// The title of a visited page.
    PageTitle,
    /// Another URL.
    Url,
    /// An identifier.
    Identifier,
    /// A personal detail.
    PersonalDetail,
    /// An action in the interface.
    UiEvent,
    /// A piece of content.
    ContentItem,
    /// Search terms.
    SearchTerms,
    /// Typed text.
    TypedText,
    /// Other text of a page.
    PageText,
}

/// A value in one step between the raw bytes and the value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DecodeStep {
    /// Name of the step in the chain: `base64`.
    pub name: String,
    /// Length in bytes; null if unknown.
    pub bytes: Option<u64>,
    /// Its beginning, in hexadecimal if it is binary; shorter in redacted reports. Null if unknown.
    pub excerpt: Option<String>,
}

/// Share of the traffic that was read.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Reading {
    /// Percentage that a "no" requires.
    pub percent_needed: u8,
    /// Percentage of the run's traffic that was read; null if nothing was sent.
    pub percent_read: Option<u8>,
    /// Number of bytes of content.
    pub content_bytes: u64,
    /// Number of them that were read.
    pub read_bytes: u64,
    /// Percentage of the run's traffic that was read and whose meaning is known. Null in reports
    /// before version 2.
    #[serde(default)]
    pub percent_understood: Option<u8>,
    /// Percentage that has to be understood for a "no" about pages.
    #[serde(default)]
    pub percent_understood_needed: u8,
    /// Number of bytes that were read and whose meaning is known.
    #[serde(default)]
    pub understood_bytes: u64,
    /// Places with values that change and whose meaning is not known, those with most bytes first.
    #[serde(default)]
    pub not_understood: Vec<NotUnderstood>,
    /// Number of bytes in bodies that could not be decoded.
    pub opaque_bytes: u64,
    /// Number of sends that were lost.
    pub lost: u64,
    /// Servers that unread bytes were sent to, and their number, most first.
    pub unread: Vec<(String, u64)>,
}

/// A place with values that change and whose meaning is not known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NotUnderstood {
    /// Registrable domain, or address.
    pub recipient: String,
    /// The place: a chain, without indices of arrays.
    pub place: String,
    /// Number of different values.
    pub values: u64,
    /// Number of their bytes, as they were sent.
    pub bytes: u64,
}

/// What the browser tried to send and what did not arrive.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct NotArrived {
    /// Number of TCP connections to other machines on which something was sent.
    pub outside_connections: u64,
    /// Hosts that were looked up or connected to, and to which nothing was sent.
    pub hosts: Vec<UnreachedReport>,
    /// Requests that were begun and not finished.
    pub requests: Vec<UnfinishedReport>,
    /// Number of hosts and requests that are not listed.
    pub unlisted: u64,
}

/// A host to which nothing was sent, although the browser tried.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnreachedReport {
    /// Name of the host.
    pub host: String,
    /// The furthest stage that an attempt reached.
    pub attempt: Attempt,
    /// Number of DNS queries for it.
    pub lookups: u64,
    /// Number of connections to it.
    pub connections: u64,
    /// Time of the first attempt, RFC 3339.
    pub first: String,
    /// Time of the last attempt.
    pub last: String,
    /// Phases of the first and the last attempt.
    pub phases: Vec<Phase>,
}

/// A request of which only the beginning was sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnfinishedReport {
    /// Time at which it began, RFC 3339.
    pub time: String,
    /// The phase.
    pub phase: Option<Phase>,
    /// The host, if it was sent.
    pub host: Option<String>,
    /// The method, if it was sent.
    pub method: Option<String>,
}

impl ItemKind {
    /// Returns the kind in words.
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
