//! Requests that disclose something, and identifiers.

use serde::{Deserialize, Serialize};

use crate::{canary::Extent, phase::Phase};
use tracer_core::finding::{Recipient, Sender, Severity, UrlRole};

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
    /// The visit that it reveals, by [`VisitReport::id`](super::VisitReport::id).
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
