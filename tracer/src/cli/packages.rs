//! The option `--package`, which names Android applications.

use std::{future, path::PathBuf};

use super::Usage;
use tracer_core::{
    alert::printable,
    packages::is_name,
    record::Event,
    rules::{Role, Rules},
    wording::counted,
};
use tracer_host::hook::{Capture, Follower, HookError, PackageEvent, PackageWatcher, Target};

/// Android's list of installed packages.
pub(super) const PACKAGES_LIST: &str = "/data/system/packages.list";

/// Stands for all browsers in the rules.
const BROWSERS: &str = "browsers";

/// Maximum number of names in a message.
const SHOWN: usize = 4;

/// The option `--package`.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct PackageArgs {
    /// Watch this Android application for all users, even if it is installed later. `browsers`
    /// stands for all browsers in the rules
    #[arg(long, value_name = "NAME")]
    package: Vec<String>,
    /// List of installed packages
    #[arg(long, value_name = "FILE", default_value = PACKAGES_LIST, hide = true)]
    packages_list: PathBuf,
}

impl PackageArgs {
    /// Returns the path of the list of packages.
    pub(super) fn list(&self) -> &std::path::Path {
        &self.packages_list
    }

    /// Names a package, as if the command line did.
    pub(super) fn set(&mut self, package: &str) {
        self.package = vec![package.to_owned()];
    }

    /// Returns the names on the command line.
    pub(super) fn names(&self) -> &[String] {
        &self.package
    }

    /// Reports whether the rules are needed to know the packages.
    pub(super) fn needs_rules(&self) -> bool {
        self.package.iter().any(|name| name == BROWSERS)
    }

    /// Reports whether this system has a list of packages.
    pub(super) fn has_list(&self) -> bool {
        self.packages_list.is_file()
    }

    /// Returns the packages to watch.
    pub(super) fn targets(&self, known: Option<&Rules>) -> Result<Vec<Target>, Usage> {
        let mut targets = Vec::new();
        for name in &self.package {
            if name == BROWSERS {
                let browsers = known.into_iter().flat_map(Rules::browsers);
                let browsers = browsers.filter(|one| one.role == Role::Browser);
                let packages = browsers.flat_map(|browser| &browser.packages);
                targets
                    .extend(packages.map(|package| Target::Package(package.as_str().to_owned())));
            } else if is_name(name) {
                targets.push(Target::Package(name.clone()));
            } else {
                return Err(Usage(format!(
                    "`{}` is not a package name; write its full name, for example `com.android.chrome` \
                     (`pm list packages` lists them), or `{BROWSERS}`",
                    printable(name)
                )));
            }
        }
        Ok(targets)
    }

    /// Starts to follow the list of packages, if packages are watched.
    pub(super) fn follow(
        &self,
        capture: &Capture,
        follower: Option<&Follower>,
        watched: &[Target],
    ) -> Result<Followed, HookError> {
        let has_packages = watched.iter().any(|target| matches!(target, Target::Package(_)));
        let packages = has_packages.then(|| capture.follow_packages(&self.packages_list, follower));
        Ok(Followed { packages: packages.transpose()?, all: self.is_all() })
    }

    /// Returns true if `browsers` is the only name. Packages that are not installed are not
    /// reported then.
    fn is_all(&self) -> bool {
        self.package.iter().all(|name| name == BROWSERS)
    }
}

/// The packages that a run watches.
pub(super) struct Followed {
    packages: Option<PackageWatcher>,
    all: bool,
}

impl Followed {
    /// Waits for the next event. Waits forever if no packages are watched.
    pub(super) async fn next(&mut self) -> PackageEvent {
        if let Some(packages) = &mut self.packages {
            if let Some(event) = packages.next().await {
                return event;
            }
            // The thread has ended, after an event with the reason.
            self.packages = None;
        }
        future::pending().await
    }

    /// Reports the events that have already arrived, and returns them for the pipeline.
    pub(super) fn pending(&mut self) -> Vec<Event> {
        let events: Vec<_> = self.packages.iter_mut().flat_map(PackageWatcher::pending).collect();
        if self.packages.is_some()
            && !events.iter().any(|event| matches!(event, PackageEvent::Watched { .. }))
        {
            message!("none of the packages is installed yet; waiting for them");
        }
        events.into_iter().filter_map(|event| self.report(event)).collect()
    }

    /// Reports an event, and returns it for the pipeline if it changes names.
    pub(super) fn report(&self, event: PackageEvent) -> Option<Event> {
        if let Some(text) = describe(&event, self.all) {
            message!("{}", printable(&text));
        }
        match event {
            PackageEvent::Watched { app, names } => Some(Event::Packages { app, names }),
            PackageEvent::Gone { app } => Some(Event::Packages { app, names: Vec::new() }),
            _ => None,
        }
    }
}

/// Describes an event. `all` is set if all browsers are watched.
fn describe(event: &PackageEvent, all: bool) -> Option<String> {
    Some(match event {
        PackageEvent::Watched { app, names } => match names.as_slice() {
            [name] => format!("watching {name} (app id {app} of all users)"),
            names => {
                format!("watching app id {app} of all users, which is shared by {}", listed(names))
            }
        },
        PackageEvent::Gone { app } => {
            format!("stopped watching app id {app}: its package was removed")
        }
        PackageEvent::Awaited(names) if names.is_empty() || all => return None,
        PackageEvent::Awaited(names) => {
            format!("waiting for packages that are not installed yet: {}", listed(names))
        }
        PackageEvent::Malformed(0) => return None,
        PackageEvent::Malformed(lines) => format!(
            "cannot parse {} of the list of packages; to watch their packages, give UIDs with --uid",
            counted(*lines as u64, "line")
        ),
        PackageEvent::Failed(reason) => {
            format!("packages that are installed from now on will not be watched: {reason}")
        }
    })
}

/// Lists names in one line.
fn listed(names: &[String]) -> String {
    let shown = names.iter().take(SHOWN).cloned().collect::<Vec<_>>().join(", ");
    match names.len().saturating_sub(SHOWN) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(names: &[&str]) -> PackageArgs {
        let package = names.iter().map(|name| (*name).to_owned()).collect();
        PackageArgs { package, packages_list: PathBuf::new() }
    }

    #[test]
    fn browsers_exclude_other_packages_of_the_makers() {
        let targets = args(&[BROWSERS]).targets(Some(&Rules::default())).unwrap();
        let has = |name: &str| targets.contains(&Target::Package(name.to_owned()));
        assert!(has("com.android.chrome") && has("com.mi.globalbrowser"));
        assert!(!has("com.miui.home"), "a launcher");
        assert!(args(&["chrome or so"]).targets(None).is_err());
    }

    #[test]
    fn shared_and_missing_packages_are_described() {
        let names = |count: usize| (0..count).map(|at| format!("p.n{at}")).collect::<Vec<_>>();
        let watched = |count| PackageEvent::Watched { app: 10001, names: names(count) };
        assert!(describe(&watched(1), false).unwrap().starts_with("watching p.n0 (app id 10001"));
        assert!(describe(&watched(6), false).unwrap().ends_with("p.n3 and 2 more"));
        let awaited = PackageEvent::Awaited(names(1));
        assert!(describe(&awaited, false).unwrap().contains("not installed yet: p.n0"));
        assert_eq!(describe(&awaited, true), None);
    }
}
