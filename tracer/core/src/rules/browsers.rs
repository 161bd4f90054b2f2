//! Browsers and their makers: `rules/browsers.toml`.

use serde::{Deserialize, Deserializer, Serialize};
use thiserror::Error;
use toml::Spanned;

use super::{Domain, Located, Named, RulesError, RulesFile, Text, checked};

/// The maker of a browser.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Maker {
    /// Name of the maker.
    pub name: Text,
    /// Domains that receive data from the maker's own software. Header fields that
    /// attribute a request to a page are not trusted here, since the maker could have
    /// forged them.
    #[serde(default)]
    pub domains: Vec<Domain>,
    /// Domains that also receive requests of pages of other sites: analytics,
    /// advertising, fonts.
    #[serde(default)]
    pub page_domains: Vec<Domain>,
    /// Reason for the entry.
    pub reason: Text,
    /// Source of that reason.
    pub source: Text,
}

impl Named for Maker {
    fn name(&self) -> &str {
        self.name.as_str()
    }
}

/// An application that sees what its user visits or does.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Browser {
    /// Name of the application.
    pub name: Text,
    /// Name of its maker in the rules.
    pub maker: Text,
    /// Role of the application.
    #[serde(default)]
    pub role: Role,
    /// Its packages on Android.
    #[serde(default)]
    pub packages: Vec<Package>,
    /// Programs that do its networking on Linux.
    #[serde(default)]
    pub executables: Vec<Executable>,
    /// Availability of a private mode.
    #[serde(default)]
    pub private_mode: PrivateMode,
    /// Arguments that make a whole process private.
    #[serde(default)]
    pub private_args: Vec<Text>,
    /// Reason for the entry.
    pub reason: Text,
    /// Source of that reason.
    pub source: Text,
}

impl Named for Browser {
    fn name(&self) -> &str {
        self.name.as_str()
    }
}

/// The role of an application.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Opens pages.
    #[default]
    Browser,
    /// A part of the system that ships with the maker's browser: a launcher, a
    /// status bar, settings, news.
    System,
}

/// The availability of a private mode in an application.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum PrivateMode {
    /// Private windows can be open beside ordinary ones. Only the arguments of the
    /// process may reveal the mode.
    #[default]
    Windows,
    /// Every window is private.
    Always,
    /// There is no private mode.
    Never,
}

impl Browser {
    /// Reports whether a process with these arguments is private as a whole. Returns
    /// `None` if the arguments do not decide it, since private windows can be opened
    /// later.
    pub fn is_private(&self, args: &[impl AsRef<str>]) -> Option<bool> {
        match self.private_mode {
            PrivateMode::Always => Some(true),
            PrivateMode::Never => Some(false),
            PrivateMode::Windows => args
                .iter()
                .map(AsRef::as_ref)
                // Arguments after it are pages to open, not options.
                .take_while(|&arg| arg != "--")
                .any(|arg| self.private_args.iter().any(|private| private.as_str() == arg))
                .then_some(true),
        }
    }
}

/// An Android package: `com.android.chrome`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
#[serde(into = "String")]
pub struct Package(String);

/// A program: its file name or its absolute path.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
#[serde(into = "String")]
pub struct Executable(String);

/// The reason why a text does not name an application.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ApplicationError {
    /// The text is not an Android application id.
    #[error("`{0}` is not an Android package; write its full name, as in `com.android.chrome`")]
    Package(String),
    /// The path is relative.
    #[error(
        "`{0}` is neither a file name nor an absolute path; \
         write `chromium` or `/usr/lib/chromium/chromium`"
    )]
    Executable(String),
}

impl Package {
    /// Returns the name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Package {
    type Error = ApplicationError;

    fn try_from(name: String) -> Result<Self, ApplicationError> {
        let is_part = |part: &str| {
            part.starts_with(|c: char| c.is_ascii_alphabetic())
                && part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
        };
        if name.contains('.') && name.split('.').all(is_part) {
            Ok(Self(name))
        } else {
            Err(ApplicationError::Package(name))
        }
    }
}

impl<'de> Deserialize<'de> for Package {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        checked(from)
    }
}

impl From<Package> for String {
    fn from(package: Package) -> Self {
        package.0
    }
}

impl Executable {
    /// Returns the name or path.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Executable {
    type Error = ApplicationError;

    fn try_from(name: String) -> Result<Self, ApplicationError> {
        let is_path = name.starts_with('/') && !name.ends_with('/') && !name.contains("//");
        let is_name = !name.contains('/') && !name.trim().is_empty();
        if (is_path || is_name) && !name.chars().any(char::is_control) {
            Ok(Self(name))
        } else {
            Err(ApplicationError::Executable(name))
        }
    }
}

impl<'de> Deserialize<'de> for Executable {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        checked(from)
    }
}

impl From<Executable> for String {
    fn from(executable: Executable) -> Self {
        executable.0
    }
}

/// The embedded file.
pub(super) const EMBEDDED: RulesFile<'_> =
    RulesFile { name: "browsers.toml", text: include_str!("../../../rules/browsers.toml") };

/// The structure of `browsers.toml`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    maker: Vec<Spanned<Maker>>,
    #[serde(default)]
    browser: Vec<Spanned<Browser>>,
}

/// The two lists of `browsers.toml`.
pub(super) struct Lists {
    pub(super) makers: Vec<Located<Maker>>,
    pub(super) browsers: Vec<Located<Browser>>,
}

/// Parses `browsers.toml`.
pub(super) fn parse(file: RulesFile<'_>) -> Result<Lists, RulesError> {
    let File { maker, browser } = file.parse()?;
    Ok(Lists { makers: file.entries(maker)?, browsers: file.entries(browser)? })
}
