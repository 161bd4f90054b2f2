//! Plans an audit: what the options, the rules, the scenario and the operator say.

use std::{
    fs,
    io::{self, IsTerminal as _},
    path::{Path, PathBuf},
    time::SystemTime,
};

use anyhow::Context as _;

use super::{Args, guide};
use crate::cli::{
    Usage,
    users::{self, User},
};
use tracer_audit::scenario::Scenario;
use tracer_core::{
    alert::printable,
    rules::{Browser, Rules},
};
use tracer_host::hook::{Resolved, Target};

/// The subject of an audit, and how to control it.
pub(super) struct Plan {
    pub(super) scenario: Scenario,
    /// Name of the subject.
    pub(super) name: String,
    /// Name of the browser in the rules.
    pub(super) browser: Option<String>,
    pub(super) watched: Vec<Target>,
    /// The same as options of the command line.
    pub(super) words: Vec<String>,
    pub(super) package: Option<String>,
}

impl Args {
    /// Reports whether the options say nothing about what to audit.
    pub(super) fn names_nothing(&self) -> bool {
        self.browser.is_none()
            && self.packages.names().is_empty()
            && self.exe.is_empty()
            && self.scenario.is_none()
    }

    /// Asks the operator what to audit, and returns the options that say so.
    pub(super) fn ask(&self, rules: &Rules) -> anyhow::Result<Self> {
        if !self.asks() {
            return Err(Usage(
                "nothing to audit, and no terminal to ask at; give --browser NAME (`tracer browsers` \
                 lists those on this machine), --package or --exe"
                    .into(),
            )
            .into());
        }
        let choices = guide::Choices {
            browsers: crate::cli::browsers::installed(rules, self.packages.list()),
            users: match &self.run_as {
                Some(_) => Vec::new(),
                None => users::with_desktop(),
            },
        };
        let (mut input, mut out) = (io::stdin().lock(), io::stderr());
        let answers = guide::ask(&choices, &mut input, &mut out)?;
        drop(input);
        let mut args = self.clone();
        let mut words = Vec::new();
        if let Some(browser) = choices.browsers.get(answers.browser) {
            match &browser.package {
                Some(package) => {
                    args.packages.set(package);
                    words.push(format!("--package {package}"));
                }
                None => {
                    words.push(format!("--browser \"{}\"", browser.name));
                    args.browser = Some(browser.name.clone());
                }
            }
        }
        if let Some(user) = answers.user {
            words.push(format!("--as {user}"));
            args.run_as = Some(user);
        }
        if let Some(phases) = answers.phases {
            let names: Vec<&str> = phases.iter().map(|phase| phase.name()).collect();
            words.push(format!("--phases {}", names.join(",")));
            args.phases = phases;
        }
        if let Some(out) = answers.out {
            words.push(format!("--out \"{out}\""));
            args.out = Some(out.into());
        }
        message!("the same without questions: tracer audit {}", printable(&words.join(" ")));
        Ok(args)
    }

    pub(super) fn plan(&self, rules: &Rules) -> anyhow::Result<Plan> {
        let package = match self.packages.names() {
            [] => None,
            [one] => Some(one.clone()),
            _ => {
                return Err(Usage(
                    "an audit can cover one package only; give --package once".into(),
                )
                .into());
            }
        };
        let own = self.scenario.as_deref().map(read_scenario).transpose()?;
        let browser = self.browser.clone().or(own.as_ref().and_then(|own| own.browser.clone()));
        let of_package = package.as_deref().and_then(|package| rules.browser(package));
        let browser = browser.or(of_package.map(|browser| browser.name.to_string()));
        let known =
            browser.as_deref().map(|name| crate::cli::rules::browser(rules, name)).transpose()?;
        let ready = match (&package, &browser) {
            (Some(_), _) => Scenario::embedded("android").map(Scenario::parse).transpose()?,
            (None, Some(_)) if self.exe.is_empty() => {
                known.and_then(|browser| Scenario::for_browser(browser.name.as_str()))
            }
            _ => None,
        };
        // A program that the operator names may come with the scenario's first step.
        let is_of_rules = own.is_none() && self.exe.is_empty();
        let is_by_hand = own.is_none() && ready.is_none();
        let mut scenario = own.or(ready).unwrap_or_else(Scenario::by_hand);
        if !self.phases.is_empty() {
            scenario.only(&self.phases);
        }

        let mut words = Vec::new();
        let mut watched = self.packages.targets(Some(rules))?;
        words.extend(package.iter().map(|package| format!("--package {package}")));
        let mut exes = self.exe.clone();
        if watched.is_empty() && exes.is_empty() {
            exes.extend(scenario.executables.iter().cloned());
        }
        if watched.is_empty() && exes.is_empty() {
            let named = known.iter().flat_map(|browser| &browser.executables);
            exes.extend(named.map(|executable| executable.as_str().to_owned()));
        }
        for exe in exes.iter().chain(&self.also_exe) {
            words.push(format!("--exe {exe}"));
            watched.push(crate::cli::watch::exe_target(exe));
        }
        if watched.len() == self.also_exe.len() {
            return Err(nothing_to_watch(known).into());
        }
        if is_by_hand && !self.asks() {
            return Err(Usage(
                "no scenario controls this browser, and there is no operator to ask; run it on a \
                 terminal without --unattended, or give --scenario FILE"
                    .into(),
            )
            .into());
        }
        if let Some(browser) = known
            && package.is_none()
            && is_of_rules
            && !watched.iter().any(is_on_this_machine)
        {
            return Err(Usage(format!(
                "{name} was not found on this machine: no program named {} is installed or running; \
                 `tracer browsers` lists those that are, and --exe takes the path of a program",
                printable(&exes.join(" or ")),
                name = browser.name
            ))
            .into());
        }
        let browser = known.map(|browser| browser.name.to_string()).or(browser);
        let name = browser.clone().or(package.clone()).or(exes.first().cloned());
        Ok(Plan {
            name: name.unwrap_or_else(|| scenario.name.clone()),
            scenario,
            browser,
            watched,
            words,
            package,
        })
    }

    /// Reports whether there is an operator to ask.
    fn asks(&self) -> bool {
        !self.unattended && io::stdin().is_terminal()
    }

    /// Returns the user to run the browser as: under sudo, the user who called it.
    pub(super) fn user(&self) -> anyhow::Result<Option<User>> {
        let name = match &self.run_as {
            Some(name) => name.clone(),
            None => return Ok(users::caller()),
        };
        users::by_name(&name).map(Some).map_err(Into::into)
    }

    pub(super) fn out(&self, name: &str) -> PathBuf {
        self.out.clone().unwrap_or_else(|| {
            let safe = |c: char| if c.is_ascii_alphanumeric() || c == '.' { c } else { '-' };
            let name: String = name.rsplit('/').next().unwrap_or(name).chars().map(safe).collect();
            let time = humantime::format_rfc3339_seconds(SystemTime::now()).to_string();
            format!("audit-{name}-{}", time.replace(':', "")).into()
        })
    }
}

/// Returns the error for options that name nothing to watch.
fn nothing_to_watch(browser: Option<&Browser>) -> Usage {
    Usage(match browser.map(|browser| (&browser.name, &browser.packages[..])) {
        Some((name, [package, ..])) => {
            let package = package.as_str();
            format!(
                "the rules know {name} on Android only, as {package}; to audit it there, give --package \
             {package}, and here --exe with the name of its program"
            )
        }
        _ => "nothing to audit; give --browser, --package or --exe (see `tracer audit --help`)"
            .into(),
    })
}

/// Reports whether a program is installed or running.
fn is_on_this_machine(target: &Target) -> bool {
    Resolved::new(target).is_some_and(|program| program.file.is_some() || program.running > 0)
}

fn read_scenario(path: &Path) -> anyhow::Result<Scenario> {
    let text = crate::files::open_regular(path)
        .and_then(io::read_to_string)
        .with_context(|| format!("cannot read {}", path.display()))?;
    Scenario::parse(&text).with_context(|| format!("cannot parse the scenario {}", path.display()))
}

/// Warns about processes that are already running and would be audited too.
pub(super) fn warn_about_running(plan: &Plan) {
    let Ok(processes) = fs::read_dir("/proc") else {
        return;
    };
    let running = processes.filter_map(|entry| {
        let entry = entry.ok()?;
        let exe = fs::read_link(entry.path().join("exe")).ok()?;
        let is_watched = plan.watched.iter().any(|target| match target {
            Target::ExeName(name) => exe.file_name().is_some_and(|file| file == name.as_str()),
            Target::ExePath(path) => exe == *path,
            _ => false,
        });
        is_watched.then(|| entry.file_name().to_string_lossy().into_owned())
    });
    let running: Vec<String> = running.take(4).collect();
    if !running.is_empty() {
        message!(
            "the browser is already running (pid {}), and what it sends will be part of the audit; \
             close it and start again",
            running.join(", ")
        );
    }
}
