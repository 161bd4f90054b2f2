//! Recipients of requests.

use serde::{Deserialize, Serialize};

/// The recipient of a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Recipient {
    /// The site that the finding is about.
    SameSite,
    /// The maker of the browser.
    Maker {
        /// Name of the maker in the rules.
        name: String,
    },
    /// A service that the rules list.
    Service {
        /// Name of the service in the rules.
        name: String,
        /// Category of the service.
        category: Category,
    },
    /// An address of this machine or of a private network.
    Local,
    /// Any other third party.
    ThirdParty,
    /// The request's head was cut before the authority.
    Unknown,
}

/// The kind of a [`Recipient`], as the judgement table tests it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RecipientKind {
    /// The site that the finding is about.
    SameSite,
    /// The maker of the browser.
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
    /// An address of this machine or of a private network.
    Local,
    /// Any other third party.
    ThirdParty,
    /// The recipient is not known.
    Unknown,
}

impl Recipient {
    /// Returns the `kind` in JSON.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::SameSite => "same_site",
            Self::Maker { .. } => "maker",
            Self::Service { .. } => "service",
            Self::Local => "local",
            Self::ThirdParty => "third_party",
            Self::Unknown => "unknown",
        }
    }

    /// Returns the kind.
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
            Self::Local => RecipientKind::Local,
            Self::ThirdParty => RecipientKind::ThirdParty,
            Self::Unknown => RecipientKind::Unknown,
        }
    }

    /// Describes the recipient in a noun phrase.
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
            Self::Local => "this machine or the local network".into(),
            Self::ThirdParty => "a third party".into(),
            Self::Unknown => "an unknown recipient".into(),
        }
    }
}

/// The category of a listed service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Category {
    /// Analyses the use of software and sites.
    Analytics,
    /// Serves advertisements.
    Advertising,
    /// Collects crash and error reports.
    Crashes,
    /// Searches, and suggests completions.
    Search,
    /// Warns of dangerous sites.
    SafeBrowsing,
    /// Distributes updates.
    Updates,
}
