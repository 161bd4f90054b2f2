//! Scenarios: how a browser is started, pointed at pages, stopped and cleared.
//!
//! A TOML file, described in `docs/reference/scenarios.md`; ready ones are embedded. What a
//! scenario has no command for, the operator is asked to do.

use std::collections::BTreeMap;

use serde::Deserialize;
use thiserror::Error;

use super::phase::Phase;

/// How to drive a browser.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// What it is called.
    pub name: String,
    /// The browser's name in the rules.
    pub browser: Option<String>,
    /// Executables to watch, by name or path.
    #[serde(default)]
    pub executables: Vec<String>,
    /// Where the pages are: `loopback` (a server of tracer's, over TLS, with
    /// names of its own), `plain` (the same on `http://127.0.0.1`), or a URL
    /// below which they are made up. `--site` overrides it.
    #[serde(default = "loopback")]
    pub site: String,
    /// Files that a new profile has.
    #[serde(default, rename = "file")]
    pub files: Vec<ProfileFile>,
    /// What is done how.
    #[serde(default)]
    pub commands: Commands,
    /// What differs from phase to phase.
    #[serde(default)]
    pub phases: BTreeMap<Phase, Settings>,
    /// How long a page is left to be reported, in seconds.
    #[serde(default = "dwell")]
    pub dwell: u64,
    /// How long the browser is left alone after it was started, in seconds.
    #[serde(default = "settle")]
    pub settle: u64,
}

fn loopback() -> String {
    "loopback".into()
}

const fn dwell() -> u64 {
    5
}

const fn settle() -> u64 {
    5
}

/// A file that a new profile has.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProfileFile {
    /// Where; with placeholders.
    pub path: String,
    /// What is in it; with placeholders.
    pub text: String,
}

/// Commands, with placeholders in their arguments. No shell reads them.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Commands {
    /// Says the browser's version, on standard output.
    pub version: Option<Command>,
    /// Makes a new profile, after its files were written.
    pub prepare: Option<Command>,
    /// Starts the browser.
    pub start: Option<Command>,
    /// Starts it in private mode; where there is none, `start` is used.
    pub start_private: Option<Command>,
    /// Opens `{url}`.
    pub open: Option<Command>,
    /// Opens `{url}` in a private window.
    pub open_private: Option<Command>,
    /// Types `{text}` into the address bar, letter by letter, and confirms it.
    #[serde(rename = "type")]
    pub type_text: Option<Command>,
    /// Declines what the browser asks to be allowed.
    pub decline: Option<Command>,
    /// Agrees to it.
    pub accept: Option<Command>,
    /// Stops the browser; where there is none, what was started is ended.
    pub stop: Option<Command>,
    /// Clears its data.
    pub clear: Option<Command>,
    /// Removes and installs it.
    pub reinstall: Option<Command>,
}

/// One command, or several.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum Command {
    /// One: the program and its arguments.
    One(Vec<String>),
    /// Several, one after the other.
    Several(Vec<Vec<String>>),
}

impl Command {
    /// Its parts, one after the other.
    pub fn parts(&self) -> &[Vec<String>] {
        match self {
            Self::One(one) => std::slice::from_ref(one),
            Self::Several(several) => several,
        }
    }
}

/// What differs in one phase.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// How many pages are opened.
    pub pages: Option<u32>,
    /// How long it takes at least, in seconds, after the pages.
    pub seconds: Option<u64>,
    /// It is left out, for this reason.
    pub skip: Option<String>,
}

/// The most pages of a phase, and of an audit's words.
pub const MAX_PAGES: u32 = 50;

impl Scenario {
    /// How many pages a phase opens.
    pub fn pages(&self, phase: Phase) -> u32 {
        let usual = match phase {
            Phase::Fresh | Phase::Declined => 1,
            Phase::Idle => 0,
            Phase::Typed => 2,
            _ => 3,
        };
        self.settings(phase).and_then(|settings| settings.pages).unwrap_or(usual).min(MAX_PAGES)
    }

    /// How long the browser is left alone at the end of a phase, in seconds.
    pub fn seconds(&self, phase: Phase) -> u64 {
        let usual = if phase == Phase::Idle { 60 } else { self.settle };
        self.settings(phase).and_then(|settings| settings.seconds).unwrap_or(usual)
    }

    /// Why a phase is left out, if it is.
    pub fn skipped(&self, phase: Phase) -> Option<&str> {
        self.settings(phase)?.skip.as_deref()
    }

    fn settings(&self, phase: Phase) -> Option<&Settings> {
        self.phases.get(&phase)
    }

    /// Reads a scenario.
    ///
    /// # Errors
    /// When it is none.
    pub fn parse(text: &str) -> Result<Self, ScenarioError> {
        let scenario: Self = toml::from_str(text).map_err(Box::new)?;
        for command in scenario.commands.all() {
            let words = command.parts().iter().any(|part| part.is_empty());
            if words || command.parts().is_empty() {
                return Err(ScenarioError::Empty);
            }
            let arguments = command.parts().iter().flatten();
            let unknown = arguments
                .flat_map(|text| placeholders(text))
                .find(|name| !PLACEHOLDERS.contains(name));
            if let Some(name) = unknown {
                return Err(ScenarioError::Placeholder { name: name.to_owned() });
            }
        }
        Ok(scenario)
    }

    /// One without any command: the operator does it all.
    pub fn by_hand() -> Self {
        Self {
            name: "by hand".into(),
            browser: None,
            executables: Vec::new(),
            // No browser that is not told to trusts the other one.
            site: "plain".into(),
            files: Vec::new(),
            commands: Commands::default(),
            phases: BTreeMap::new(),
            dwell: dwell(),
            settle: settle(),
        }
    }

    /// The embedded scenario of this name.
    pub fn embedded(name: &str) -> Option<&'static str> {
        EMBEDDED.iter().find(|(known, _)| *known == name).map(|(_, text)| *text)
    }

    /// The embedded scenario for the browser of this name in the rules.
    pub fn for_browser(browser: &str) -> Option<Self> {
        EMBEDDED
            .iter()
            .filter_map(|(_, text)| Self::parse(text).ok())
            .find(|scenario| scenario.browser.as_deref() == Some(browser))
    }
}

impl Commands {
    fn all(&self) -> impl Iterator<Item = &Command> {
        [
            &self.version,
            &self.prepare,
            &self.start,
            &self.start_private,
            &self.open,
            &self.open_private,
            &self.type_text,
            &self.decline,
            &self.accept,
            &self.stop,
            &self.clear,
            &self.reinstall,
        ]
        .into_iter()
        .flatten()
    }
}

/// The embedded scenarios, by name.
pub const EMBEDDED: [(&str, &str); 3] = [
    ("chromium", include_str!("../../scenarios/chromium.toml")),
    ("firefox", include_str!("../../scenarios/firefox.toml")),
    ("android", include_str!("../../scenarios/android.toml")),
];

/// Why a text is no scenario.
#[derive(Debug, Error)]
pub enum ScenarioError {
    /// It is no such TOML.
    #[error("{0}")]
    Toml(#[from] Box<toml::de::Error>),
    /// A command without a program.
    #[error("a command has no program")]
    Empty,
    /// A placeholder that nobody fills.
    #[error("nobody knows what {{{name}}} is; there are {}", PLACEHOLDERS.join(", "))]
    Placeholder {
        /// Its name.
        name: String,
    },
}

/// What stands for something in commands and files.
pub const PLACEHOLDERS: [&str; 9] =
    ["profile", "url", "text", "hosts", "domain", "port", "spki", "ca", "package"];

/// The placeholders of a text: `{name}`, in small letters.
fn placeholders(text: &str) -> impl Iterator<Item = &str> {
    text.split('{').skip(1).filter_map(|rest| {
        let (name, _) = rest.split_once('}')?;
        let is_name = !name.is_empty() && name.bytes().all(|b| b.is_ascii_lowercase());
        is_name.then_some(name)
    })
}

/// Fills the placeholders of a text.
pub fn fill(text: &str, values: &BTreeMap<&'static str, String>) -> String {
    let mut filled = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('{') {
        let (before, from) = rest.split_at(at);
        filled.push_str(before);
        let name = from[1..].split('}').next().unwrap_or_default();
        match values.get(name) {
            Some(value) => {
                filled.push_str(value);
                rest = &from[name.len() + 2..];
            }
            None => {
                filled.push('{');
                rest = &from[1..];
            }
        }
    }
    filled + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_embedded_is_a_scenario() {
        for (name, text) in EMBEDDED {
            let scenario = Scenario::parse(text).unwrap_or_else(|err| panic!("{name}: {err}"));
            assert!(scenario.commands.start.is_some(), "{name}");
        }
        assert!(Scenario::for_browser("Chromium").is_some());
        assert!(Scenario::for_browser("Firefox").is_some());
    }

    #[test]
    fn mistakes_are_told() {
        let wrong = |text: &str| Scenario::parse(text).unwrap_err().to_string();
        assert!(wrong("name = 'a'\n[commands]\nstart = ['b', '{nobody}']").contains("{nobody}"));
        assert!(wrong("name = 'a'\n[commands]\nstart = []").contains("no program"));
        assert!(wrong("name = 'a'\nnonsense = 1").contains("nonsense"));
        assert!(wrong("name = 'a'\n[phases.nonsense]").contains("nonsense"));
    }

    #[test]
    fn placeholders_are_filled_once() {
        let values = BTreeMap::from([("url", "https://a/{port}".to_owned()), ("port", "1".into())]);
        assert_eq!(fill("x {url} {port} {other} {", &values), "x https://a/{port} 1 {other} {");
    }
}
