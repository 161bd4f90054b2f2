//! Recipients of requests.

use serde::{Deserialize, Serialize};

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
    /// Returns the `kind` in JSON.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::SameSite => "same_site",
            Self::Maker { .. } => "maker",
            Self::Service { .. } => "service",
            Self::ThirdParty => "third_party",
            Self::Unknown => "unknown",
        }
    }

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
