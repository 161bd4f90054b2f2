//! `tracer browsers`: the browsers in the rules, and those on this machine.

use std::{
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
    process::ExitCode,
};

use serde_json::json;

use super::{audit::Installed, packages::PACKAGES_LIST};
use tracer_audit::scenario::Scenario;
use tracer_core::{
    alert::printable,
    packages::PackageList,
    rules::{Browser, Role, Rules},
    wording::counted,
};
use tracer_host::hook::{Resolved, Target};

/// List the browsers on this machine, and how to watch and audit each.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  tracer browsers                    browsers that are installed or running
  tracer browsers --all              all browsers in the rules
  sudo tracer run --browsers         watch all of them")]
pub(super) struct Args {
    /// List all browsers in the rules, also those that are not on this machine
    #[arg(long)]
    all: bool,
    /// Print JSON lines
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    rules: super::rules::Folder,
    /// List of installed packages
    #[arg(long, value_name = "FILE", default_value = PACKAGES_LIST, hide = true)]
    packages_list: PathBuf,
}

/// A browser and its traces on this machine.
#[derive(Debug)]
struct Listed<'a> {
    browser: &'a Browser,
    /// Programs with one of its names.
    files: Vec<PathBuf>,
    /// Number of running processes.
    running: usize,
    /// Installed packages.
    packages: Vec<&'a str>,
}

/// Returns the targets of `--browsers`: the programs of all browsers in the rules and, on Android,
/// their packages.
pub(super) fn targets(rules: &Rules, has_packages: bool) -> Vec<Target> {
    let mut targets: Vec<Target> = browsers(rules).flat_map(programs).collect();
    if has_packages {
        let packages = browsers(rules).flat_map(|browser| &browser.packages);
        targets.extend(packages.map(|package| Target::Package(package.as_str().to_owned())));
    }
    targets
}

fn browsers(rules: &Rules) -> impl Iterator<Item = &Browser> {
    rules.browsers().iter().map(|browser| &**browser).filter(|one| one.role == Role::Browser)
}

/// Returns the programs of a browser. A path is one only if it exists.
fn programs(browser: &Browser) -> impl Iterator<Item = Target> {
    browser.executables.iter().filter_map(|executable| match executable.as_str() {
        path if path.contains('/') => {
            let path = PathBuf::from(path);
            path.is_file().then_some(Target::ExePath(path))
        }
        name => Some(Target::ExeName(name.to_owned())),
    })
}

impl<'a> Listed<'a> {
    fn new(browser: &'a Browser, installed: &PackageList) -> Self {
        let mut listed = Self { browser, files: Vec::new(), running: 0, packages: Vec::new() };
        for resolved in programs(browser).filter_map(|target| Resolved::new(&target)) {
            listed.files.extend(resolved.file.map(|file| file.path));
            listed.running += resolved.running;
        }
        let names = browser.packages.iter().map(|package| package.as_str());
        listed.packages = names.filter(|name| installed.id(name).is_some()).collect();
        listed
    }

    fn is_here(&self) -> bool {
        self.running > 0 || !self.files.is_empty() || !self.packages.is_empty()
    }

    /// Reports whether an embedded scenario controls it, so that an audit needs nobody.
    fn has_scenario(&self) -> bool {
        Scenario::for_browser(self.browser.name.as_str()).is_some() || !self.packages.is_empty()
    }

    fn write(&self, out: &mut impl Write) -> io::Result<()> {
        let (name, maker) = (self.browser.name.as_str(), self.browser.maker.as_str());
        writeln!(out, "{}, by {}", printable(name), printable(maker))?;
        for file in &self.files {
            writeln!(out, "    {}", printable(&file.to_string_lossy()))?;
        }
        for package in &self.packages {
            writeln!(out, "    package {}", printable(package))?;
        }
        if self.running > 0 {
            writeln!(out, "    {} running", counted(self.running as u64, "process"))?;
        }
        if self.is_here() {
            let scenario = if self.has_scenario() { "" } else { "   (it asks you for each step)" };
            let subject = match self.packages.first() {
                Some(package) => format!("--package {}", printable(package)),
                None => format!("--browser \"{}\"", printable(name)),
            };
            writeln!(out, "    audit: sudo tracer audit {subject}{scenario}")?;
        }
        Ok(())
    }

    fn json(&self) -> serde_json::Value {
        json!({
            "name": self.browser.name.as_str(),
            "maker": self.browser.maker.as_str(),
            "files": self.files,
            "packages": self.packages,
            "processes": self.running,
            "scenario": self.has_scenario(),
        })
    }
}

/// Returns the browsers on this machine that an audit can ask for. Those that a scenario controls come
/// first.
pub(super) fn installed(rules: &Rules, packages: &Path) -> Vec<Installed> {
    let packages = PackageList::parse(&fs::read(packages).unwrap_or_default());
    let known = browsers(rules).map(|browser| Listed::new(browser, &packages));
    let mut here: Vec<_> = known.filter(Listed::is_here).collect();
    here.sort_by_key(|one| !one.has_scenario());
    let installed = here.into_iter().map(|one| Installed {
        name: one.browser.name.to_string(),
        package: one.packages.first().map(|package| (*package).to_owned()),
        has_scenario: one.has_scenario(),
        is_running: one.running > 0,
    });
    installed.collect()
}

pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let knowledge = args.rules.load()?;
    // Other systems than Android have no such list.
    let installed = PackageList::parse(&fs::read(&args.packages_list).unwrap_or_default());
    let known: Vec<_> =
        browsers(knowledge.rules()).map(|browser| Listed::new(browser, &installed)).collect();
    let here = known.iter().filter(|one| one.is_here()).count();
    let mut out = io::stdout().lock();
    for listed in known.iter().filter(|one| args.all || one.is_here()) {
        if args.json {
            writeln!(out, "{}", listed.json())?;
        } else {
            listed.write(&mut out)?;
        }
    }
    if args.json {
        return Ok(ExitCode::SUCCESS);
    }
    let all = known.len();
    message!("{here} of the {all} browsers in the rules are on this machine");
    if here > 0 {
        message!("to watch them: sudo tracer run --browsers");
    } else {
        message!("for a browser that is not in the rules: sudo tracer run --exe NAME");
    }
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_browsers_are_watched_by_name_or_existing_path() {
        let rules = Rules::with_overrides(&[]).unwrap();
        let desktop = targets(&rules, false);
        assert!(desktop.contains(&Target::ExeName("firefox-esr".into())), "{desktop:?}");
        let is_missing =
            |target: &Target| matches!(target, Target::ExePath(path) if !path.exists());
        assert!(!desktop.iter().any(is_missing), "{desktop:?}");
        let chrome = Target::Package("com.android.chrome".into());
        assert!(!desktop.contains(&chrome));
        assert!(targets(&rules, true).contains(&chrome));
    }

    #[test]
    fn a_browser_is_listed_with_the_command_that_audits_it() {
        let rules = Rules::with_overrides(&[]).unwrap();
        let list =
            PackageList::parse(b"com.android.chrome 10001 0 /data/user/0/c default:t none\n");
        let shown = |listed: &Listed<'_>| {
            let mut out = Vec::new();
            listed.write(&mut out).unwrap();
            String::from_utf8(out).unwrap()
        };
        let chrome = Listed::new(rules.browser_named("chrome").unwrap(), &list);
        assert!(chrome.is_here());
        let text = shown(&chrome);
        assert!(text.contains("    package com.android.chrome\n"), "{text}");
        assert!(
            text.ends_with("    audit: sudo tracer audit --package com.android.chrome\n"),
            "{text}"
        );

        let browser = rules.browser_named("midori").unwrap();
        let files = vec!["/usr/bin/midori".into()];
        let midori = Listed { browser, files, running: 1, packages: Vec::new() };
        assert_eq!(
            shown(&midori),
            "Midori, by Astian\n    /usr/bin/midori\n    1 process running\n    \
             audit: sudo tracer audit --browser \"Midori\"   (it asks you for each step)\n"
        );
    }
}
