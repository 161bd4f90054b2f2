//! What a finding is judged by: who sent it, to whom, about which visit, with
//! which identifier, in which mode.

use serde::{Deserialize, Serialize};

use super::{Severity, Verdict};
use crate::{
    detect::{Finding, Scope, Visited},
    proto::Initiator,
};

/// Who receives a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Recipient {
    /// The site that the finding is about.
    SameSite,
    /// Who makes the browser.
    Maker {
        /// The maker's name in the rules.
        name: String,
    },
    /// A service whose business the rules know.
    Service {
        /// Its name in the rules.
        name: String,
        /// What it does.
        category: Category,
    },
    /// Any other third party.
    ThirdParty,
    /// The request's head was cut before the authority.
    Unknown,
}

/// [`Recipient`], without its name: what the table of judgement goes by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RecipientKind {
    /// The site that the finding is about.
    SameSite,
    /// Who makes the browser.
    Maker,
    /// [`Category::Analytics`].
    Analytics,
    /// [`Category::Advertising`].
    Advertising,
    /// [`Category::Crashes`].
    Crashes,
    /// [`Category::Search`].
    Search,
    /// [`Category::SafeBrowsing`].
    SafeBrowsing,
    /// [`Category::Updates`].
    Updates,
    /// Any other third party.
    ThirdParty,
    /// Nobody knows.
    Unknown,
}

impl Recipient {
    /// What the table of judgement goes by.
    pub fn kind(&self) -> RecipientKind {
        match self {
            Self::SameSite => RecipientKind::SameSite,
            Self::Maker { .. } => RecipientKind::Maker,
            Self::Service { category, .. } => match category {
                Category::Analytics => RecipientKind::Analytics,
                Category::Advertising => RecipientKind::Advertising,
                Category::Crashes => RecipientKind::Crashes,
                Category::Search => RecipientKind::Search,
                Category::SafeBrowsing => RecipientKind::SafeBrowsing,
                Category::Updates => RecipientKind::Updates,
            },
            Self::ThirdParty => RecipientKind::ThirdParty,
            Self::Unknown => RecipientKind::Unknown,
        }
    }

    /// Who it is, in a sentence.
    pub fn describe(&self) -> String {
        match self {
            Self::SameSite => "the same site".into(),
            Self::Maker { name } => format!("the browser's maker ({name})"),
            Self::Service { name, category } => {
                let what = match category {
                    Category::Analytics => "an analytics service",
                    Category::Advertising => "an advertising service",
                    Category::Crashes => "a crash reporting service",
                    Category::Search => "a search service",
                    Category::SafeBrowsing => "a safe browsing service",
                    Category::Updates => "an update service",
                };
                format!("{what} ({name})")
            }
            Self::ThirdParty => "a third party".into(),
            Self::Unknown => "an unknown recipient".into(),
        }
    }
}

/// What a known recipient does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Category {
    /// Counts what users do.
    Analytics,
    /// Sells their attention.
    Advertising,
    /// Collects crashes and errors.
    Crashes,
    /// Completes what is typed, or searches for it.
    Search,
    /// Tells dangerous sites.
    SafeBrowsing,
    /// Hands out updates.
    Updates,
}

/// What identifies the installation or the user in a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Identification {
    /// Nothing that is known to.
    None,
    /// A value in the form of an identifier, of which nobody knows whether it
    /// lasts.
    Seen,
    /// One that lasts: by its name, or because it was seen to return after a
    /// restart or in another application.
    Lasting,
}

/// How sure a disclosure is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// It can be something else.
    Low,
    /// It is this, unless chance or a forger is at work.
    Medium,
    /// It is this.
    High,
}

/// How sure a disclosure is, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Confidence {
    /// How sure.
    pub level: Level,
    /// Why, in one sentence.
    pub reason: &'static str,
}

/// A finding in its context: what was disclosed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disclosure {
    /// What was found.
    pub finding: Finding,
    /// How much of a URL it tells, where it tells of one.
    pub scope: Option<Scope>,
    /// Which visit it is about, where it can be about one.
    pub visited: Option<Visited>,
    /// For an identifier: what is known of its life.
    pub identification: Option<Identification>,
    /// How sure it is.
    pub confidence: Confidence,
    /// How bad it is, and why.
    pub verdict: Verdict,
}

impl Disclosure {
    /// How bad it is.
    pub fn severity(&self) -> Severity {
        self.verdict.severity
    }
}

/// Who sent a request, as far as can be told: what its header fields claim,
/// unless they contradict themselves.
pub type Sender = Initiator;
