//! Scenarios: TOML files with the commands that start a browser, open pages in it, stop it and clear
//! its data.
//!
//! `docs/reference/scenarios.md` describes the format. Some scenarios are built in. The operator is
//! asked to do what a scenario has no command for.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use thiserror::Error;

use super::{differential::design, phase::Phase};

/// Commands and settings for one browser.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// Name of the scenario.
    pub name: String,
    /// Name of the browser in the rules.
    pub browser: Option<String>,
    /// Why its commands do what they shall.
    pub reason: Option<String>,
    /// Address of the documentation of the browser's options.
    pub source: Option<String>,
    /// Executables to watch, by name or path.
    #[serde(default)]
    pub executables: Vec<String>,
    /// Location of the pages: `loopback` (a server of tracer's, over TLS, with names of its own),
    /// `plain` (the same at `http://127.0.0.1`), or a URL below which pages are made up. `--site`
    /// overrides it.
    #[serde(default = "loopback")]
    pub site: String,
    /// Files to create in a new profile.
    #[serde(default, rename = "file")]
    pub files: Vec<ProfileFile>,
    /// The commands.
    #[serde(default)]
    pub commands: Commands,
    /// Settings of single phases.
    #[serde(default)]
    pub phases: BTreeMap<Phase, Settings>,
    /// Time that a page stays open, in seconds, so that the browser can report it.
    #[serde(default = "dwell")]
    pub dwell: u64,
    /// Time to wait after the browser was started, in seconds.
    #[serde(default = "settle")]
    pub settle: u64,
    /// Phases that the user left out.
    #[serde(skip)]
    pub left_out: BTreeSet<Phase>,
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

/// A file to create in a new profile.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProfileFile {
    /// Path, with placeholders.
    pub path: String,
    /// Content, with placeholders.
    pub text: String,
}

/// Commands, with placeholders in their arguments. They are not passed to a shell.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Commands {
    /// Prints the browser's version on standard output.
    pub version: Option<Command>,
    /// Prepares a new profile, after its files were created.
    pub prepare: Option<Command>,
    /// Starts the browser.
    pub start: Option<Command>,
    /// Starts the browser in private mode. Without it, `start` is used.
    pub start_private: Option<Command>,
    /// Opens `{url}`.
    pub open: Option<Command>,
    /// Opens `{url}` in a private window.
    pub open_private: Option<Command>,
    /// Types `{text}` into the address bar, letter by letter, and presses Enter.
    #[serde(rename = "type")]
    pub type_text: Option<Command>,
    /// The same with search terms. Without it, `type` is used.
    pub search: Option<Command>,
    /// Declines everything that the browser asks for.
    pub decline: Option<Command>,
    /// Agrees to everything that the browser asks for.
    pub accept: Option<Command>,
    /// Stops the browser. Without it, the processes that tracer started are ended.
    pub stop: Option<Command>,
    /// Clears the browser's data.
    pub clear: Option<Command>,
    /// Removes the browser and installs it again.
    pub reinstall: Option<Command>,
}

/// One command, or several that run one after another.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum Command {
    /// A program and its arguments.
    One(Vec<String>),
    /// Several programs, each with its arguments.
    Several(Vec<Vec<String>>),
}

impl Command {
    /// Returns the programs, each with its arguments, with the values of the placeholders.
    ///
    /// Pages without TLS have no certificate. A program whose arguments name it (`{ca}`) is then left
    /// out. So is each argument with another placeholder that has no value (`{spki}`, `{port}`).
    pub fn filled(&self, values: &BTreeMap<&'static str, String>) -> Vec<Vec<String>> {
        let lacks = |word: &str| placeholders(word).any(|name| lacks_value(name, values));
        let names_ca = |word: &String| placeholders(word).any(|name| name == CA);
        let parts = self.parts().iter();
        let parts = parts.filter(|part| values.contains_key(CA) || !part.iter().any(names_ca));
        let filled = parts.map(|part| {
            let words = part.iter().filter(|word| !lacks(word));
            words.map(|word| fill(word, values)).collect()
        });
        filled.collect()
    }

    /// Returns the programs, each with its arguments.
    pub fn parts(&self) -> &[Vec<String>] {
        match self {
            Self::One(one) => std::slice::from_ref(one),
            Self::Several(several) => several,
        }
    }
}

/// Settings of one phase.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Number of pages to open.
    pub pages: Option<u32>,
    /// Number of visits to each page; for experiments.
    pub visits: Option<u32>,
    /// Number of windows in which nothing is done; for experiments.
    pub idle: Option<u32>,
    /// Time that each page stays open, in seconds; for experiments.
    pub dwell: Option<u64>,
    /// Time to wait after the pages, in seconds.
    pub seconds: Option<u64>,
    /// If set, the phase is skipped for this reason.
    pub skip: Option<String>,
}

/// Extent of an experiment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExperimentSize {
    /// Number of pages.
    pub pages: u32,
    /// Number of visits to each page.
    pub visits: u32,
    /// Number of windows in which nothing is done.
    pub idle: u32,
    /// Time that each page stays open, in seconds.
    pub dwell: u64,
}

/// Maximum number of pages in one phase.
pub const MAX_PAGES: u32 = 50;

impl Scenario {
    /// Returns the number of pages that a phase opens.
    pub fn pages(&self, phase: Phase) -> u32 {
        let usual = match phase {
            Phase::Fresh if self.left_out.contains(&phase) => return 0,
            Phase::Fresh | Phase::Declined => 1,
            Phase::Idle => 0,
            Phase::Typed => 2,
            Phase::Experiment => 16,
            Phase::PrivateExperiment => 8,
            _ => 3,
        };
        self.settings(phase).and_then(|settings| settings.pages).unwrap_or(usual).min(MAX_PAGES)
    }

    /// Returns the extent of an experiment.
    pub fn experiment(&self, phase: Phase) -> ExperimentSize {
        let own = self.settings(phase);
        let idle = if phase == Phase::PrivateExperiment { 6 } else { 10 };
        ExperimentSize {
            pages: self.pages(phase).min(design::MAX_PAGES),
            visits: own.and_then(|own| own.visits).unwrap_or(2),
            idle: own.and_then(|own| own.idle).unwrap_or(idle),
            dwell: own.and_then(|own| own.dwell).unwrap_or(2),
        }
    }

    /// Returns the time to wait at the end of a phase, in seconds.
    pub fn seconds(&self, phase: Phase) -> u64 {
        let usual = if phase == Phase::Idle { 60 } else { self.settle };
        self.settings(phase).and_then(|settings| settings.seconds).unwrap_or(usual)
    }

    /// Leaves out all phases but these. The first one still starts the browser, without pages.
    pub fn only(&mut self, phases: &[Phase]) {
        self.left_out = Phase::ALL.into_iter().filter(|phase| !phases.contains(phase)).collect();
    }

    /// Returns the reason for which a phase is skipped, if it is.
    pub fn skipped(&self, phase: Phase) -> Option<String> {
        if self.left_out.contains(&phase) && phase != Phase::Fresh {
            return Some("the user left it out".to_owned());
        }
        let reason = self.settings(phase)?.skip.as_deref()?;
        Some(format!("the scenario says: {reason}"))
    }

    /// Returns the time that a phase takes, in seconds, without what the operator does.
    pub fn estimate(&self, phase: Phase) -> u64 {
        /// Time until a page is requested.
        const OPENING: u64 = 1;
        /// Time until the browser has ended.
        const STOPPING: u64 = 2;
        if self.skipped(phase).is_some() {
            return 0;
        }
        let has = |command: &Option<Command>| command.is_some();
        let commands = &self.commands;
        if phase.is_experiment() {
            let open = if phase.is_private() { &commands.open_private } else { &commands.open };
            let size = self.experiment(phase);
            let windows = u64::from(size.pages * size.visits + size.idle);
            return if has(open) {
                windows * (size.dwell + OPENING) + self.seconds(phase)
            } else {
                0
            };
        }
        let lacks = match phase {
            Phase::Declined => !has(&commands.decline),
            Phase::Typed => !has(&commands.type_text),
            Phase::Cleared => !has(&commands.clear),
            Phase::Reinstalled => !has(&commands.reinstall),
            _ => false,
        };
        if lacks {
            return 0;
        }
        let starts = match phase {
            Phase::Declined | Phase::Idle | Phase::Pages | Phase::Typed => 0,
            _ => self.settle + STOPPING,
        };
        starts + u64::from(self.pages(phase)) * (self.dwell + OPENING) + self.seconds(phase)
    }

    fn settings(&self, phase: Phase) -> Option<&Settings> {
        self.phases.get(&phase)
    }

    /// Parses a scenario.
    ///
    /// # Errors
    /// Returns an error for invalid TOML, unknown fields, empty commands and unknown placeholders.
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

    /// Creates a scenario without commands, so that the operator does everything.
    pub fn by_hand() -> Self {
        Self {
            name: "by hand".into(),
            browser: None,
            reason: None,
            source: None,
            executables: Vec::new(),
            // Browsers do not trust the other server unless they are configured to.
            site: "plain".into(),
            files: Vec::new(),
            commands: Commands::default(),
            phases: BTreeMap::new(),
            dwell: dwell(),
            settle: settle(),
            left_out: BTreeSet::new(),
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
            &self.search,
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
pub const EMBEDDED: [(&str, &str); 19] = [
    ("chromium", include_str!("../../scenarios/chromium.toml")),
    ("firefox", include_str!("../../scenarios/firefox.toml")),
    ("android", include_str!("../../scenarios/android.toml")),
    ("brave", include_str!("../../scenarios/brave.toml")),
    ("vivaldi", include_str!("../../scenarios/vivaldi.toml")),
    ("edge", include_str!("../../scenarios/edge.toml")),
    ("opera", include_str!("../../scenarios/opera.toml")),
    ("epiphany", include_str!("../../scenarios/epiphany.toml")),
    ("falkon", include_str!("../../scenarios/falkon.toml")),
    ("konqueror", include_str!("../../scenarios/konqueror.toml")),
    ("qutebrowser", include_str!("../../scenarios/qutebrowser.toml")),
    ("surf", include_str!("../../scenarios/surf.toml")),
    ("luakit", include_str!("../../scenarios/luakit.toml")),
    ("netsurf", include_str!("../../scenarios/netsurf.toml")),
    ("dillo", include_str!("../../scenarios/dillo.toml")),
    ("w3m", include_str!("../../scenarios/w3m.toml")),
    ("lynx", include_str!("../../scenarios/lynx.toml")),
    ("links", include_str!("../../scenarios/links.toml")),
    ("elinks", include_str!("../../scenarios/elinks.toml")),
];

/// Why a scenario cannot be parsed.
#[derive(Debug, Error)]
pub enum ScenarioError {
    /// It is not valid TOML, or has unknown fields.
    #[error("{0}")]
    Toml(#[from] Box<toml::de::Error>),
    /// A command is empty.
    #[error("a command is empty; give a program and its arguments")]
    Empty,
    /// A placeholder is unknown.
    #[error("unknown placeholder {{{name}}}; the known ones are {}", PLACEHOLDERS.join(", "))]
    Placeholder {
        /// Name of the placeholder.
        name: String,
    },
}

/// Placeholder of the file with the certificate of the audit's server.
const CA: &str = "ca";

/// Reports whether a known placeholder has no value.
fn lacks_value(name: &str, values: &BTreeMap<&'static str, String>) -> bool {
    PLACEHOLDERS.contains(&name) && !values.contains_key(name)
}

/// Names of the placeholders in commands and files.
pub const PLACEHOLDERS: [&str; 9] =
    ["profile", "url", "text", "hosts", "domain", "port", "spki", "ca", "package"];

/// Returns the placeholders in a text: `{name}`, in lower case.
fn placeholders(text: &str) -> impl Iterator<Item = &str> {
    text.split('{').skip(1).filter_map(|rest| {
        let (name, _) = rest.split_once('}')?;
        let is_name = !name.is_empty() && name.bytes().all(|b| b.is_ascii_lowercase());
        is_name.then_some(name)
    })
}

/// Replaces the placeholders in a text by their values.
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
    fn embedded_scenarios_are_valid() {
        for (name, text) in EMBEDDED {
            let scenario = Scenario::parse(text).unwrap_or_else(|err| panic!("{name}: {err}"));
            assert!(scenario.commands.start.is_some(), "{name}");
            let source = scenario.source.unwrap_or_default();
            assert!(source.starts_with("https://"), "{name} needs a source");
            assert!(scenario.reason.is_some_and(|it| it.len() > 20), "{name} needs a reason");
        }
        assert!(Scenario::for_browser("Chromium").is_some());
        assert!(Scenario::for_browser("Firefox").is_some());
    }

    #[test]
    fn experiments_have_a_size() {
        let text = "name = 'a'\n[phases.experiment]\npages = 99\nvisits = 3\nidle = 4\ndwell = 1";
        let scenario = Scenario::parse(text).unwrap();
        let size = scenario.experiment(Phase::Experiment);
        assert_eq!(size, ExperimentSize { pages: 16, visits: 3, idle: 4, dwell: 1 });
        let usual = ExperimentSize { pages: 8, visits: 2, idle: 6, dwell: 2 };
        assert_eq!(scenario.experiment(Phase::PrivateExperiment), usual);
    }

    #[test]
    fn phases_that_the_user_leaves_out_take_no_time() {
        let mut scenario = Scenario::for_browser("Chromium").unwrap();
        let all: u64 = Phase::ALL.map(|phase| scenario.estimate(phase)).iter().sum();
        assert!((360..=480).contains(&all), "about seven minutes: {all}");
        scenario.only(&[Phase::Private]);
        assert_eq!(scenario.skipped(Phase::Pages).unwrap(), "the user left it out");
        assert_eq!((scenario.skipped(Phase::Fresh), scenario.pages(Phase::Fresh)), (None, 0));
        let short: u64 = Phase::ALL.map(|phase| scenario.estimate(phase)).iter().sum();
        assert!((20..=60).contains(&short), "{short}");
    }

    #[test]
    fn mistakes_are_named() {
        let wrong = |text: &str| Scenario::parse(text).unwrap_err().to_string();
        assert!(wrong("name = 'a'\n[commands]\nstart = ['b', '{nobody}']").contains("{nobody}"));
        assert!(wrong("name = 'a'\n[commands]\nstart = []").contains("is empty"));
        assert!(wrong("name = 'a'\nnonsense = 1").contains("nonsense"));
        assert!(wrong("name = 'a'\n[phases.nonsense]").contains("nonsense"));
    }

    #[test]
    fn without_tls_what_needs_a_certificate_is_left_out() {
        let text =
            "name = 'a'\n[commands]\nprepare = [['certutil', '-N'], ['certutil', '-i', '{ca}']]
            start = ['b', '--trust={spki}', '{profile}']";
        let commands = Scenario::parse(text).unwrap().commands;
        let (prepare, start) = (commands.prepare.unwrap(), commands.start.unwrap());
        let mut values = BTreeMap::from([("profile", "p".to_owned())]);
        assert_eq!(prepare.filled(&values), [["certutil", "-N"]]);
        assert_eq!(start.filled(&values), [["b", "p"]]);
        values.extend([("ca", "f".to_owned()), ("spki", "s".to_owned())]);
        assert_eq!(prepare.filled(&values)[1], ["certutil", "-i", "f"]);
        assert_eq!(start.filled(&values), [["b", "--trust=s", "p"]]);
    }

    #[test]
    fn values_are_not_filled_again() {
        let values = BTreeMap::from([("url", "https://a/{port}".to_owned()), ("port", "1".into())]);
        assert_eq!(fill("x {url} {port} {other} {", &values), "x https://a/{port} 1 {other} {");
    }
}
