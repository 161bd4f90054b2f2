//! Browsers and who makes them: `rules/browsers.toml`.

use serde::{Deserialize, Deserializer, Serialize};
use thiserror::Error;
use toml::Spanned;

use super::{Domain, Located, Named, RulesError, RulesFile, Text, checked};

/// Who makes a browser.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Maker {
    /// What it is called.
    pub name: Text,
    /// Where it receives what its own software sends. A header field which says
    /// that a page made the request does not acquit here: the maker could have
    /// written it.
    #[serde(default)]
    pub domains: Vec<Domain>,
    /// Where it also receives what pages of other sites send: analytics,
    /// advertising, fonts.
    #[serde(default)]
    pub page_domains: Vec<Domain>,
    /// Why it is listed.
    pub reason: Text,
    /// Where that can be read.
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
    /// What it is called.
    pub name: Text,
    /// Its maker's name in the rules.
    pub maker: Text,
    /// What it is.
    #[serde(default)]
    pub role: Role,
    /// Its packages on Android.
    #[serde(default)]
    pub packages: Vec<Package>,
    /// The programs that do its network on Linux.
    #[serde(default)]
    pub executables: Vec<Executable>,
    /// What is known of its private mode without looking at it.
    #[serde(default)]
    pub private_mode: PrivateMode,
    /// Arguments that make a whole process private.
    #[serde(default)]
    pub private_args: Vec<Text>,
    /// Why it is listed.
    pub reason: Text,
    /// Where that can be read.
    pub source: Text,
}

impl Named for Browser {
    fn name(&self) -> &str {
        self.name.as_str()
    }
}

/// What an application is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// It opens pages.
    #[default]
    Browser,
    /// A part of the system that its maker's browser comes with: a launcher, a
    /// status bar, settings, news.
    System,
}

/// What is known of an application's private mode without looking at it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum PrivateMode {
    /// It can have private windows beside others: only its arguments may tell.
    #[default]
    Windows,
    /// It knows no other.
    Always,
    /// It has none.
    Never,
}

impl Browser {
    /// Whether a process with these arguments is private as a whole: `None`
    /// where they do not tell, since private windows can be opened later.
    pub fn is_private(&self, args: &[impl AsRef<str>]) -> Option<bool> {
        match self.private_mode {
            PrivateMode::Always => Some(true),
            PrivateMode::Never => Some(false),
            PrivateMode::Windows => args
                .iter()
                .map(AsRef::as_ref)
                // What follows are pages to open, not options.
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

/// A program: the name of its file, or its path from the root.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
#[serde(into = "String")]
pub struct Executable(String);

/// Why a text names no application.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ApplicationError {
    /// Not an application id of Android's.
    #[error("`{0}` is no Android package: write its full name, as in `com.android.chrome`")]
    Package(String),
    /// A path that begins nowhere.
    #[error(
        "`{0}` is neither a file's name nor a path from the root: \
         write `chromium` or `/usr/lib/chromium/chromium`"
    )]
    Executable(String),
}

impl Package {
    /// Its name.
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
    /// Its name or path.
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

/// `browsers.toml`.
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

/// Reads `browsers.toml`.
pub(super) fn parse(file: RulesFile<'_>) -> Result<Lists, RulesError> {
    let File { maker, browser } = file.parse()?;
    Ok(Lists { makers: file.entries(maker)?, browsers: file.entries(browser)? })
}
