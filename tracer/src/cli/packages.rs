//! `--package`: applications of Android by name.

use std::{future, path::PathBuf};

use super::{Usage, session::Session};
use tracer_core::{
    alert::printable,
    packages::is_name,
    record::Event,
    rules::{Role, Rules},
};
use tracer_host::hook::{Capture, Follower, HookError, PackageEvent, PackageWatcher, Target};

/// Stands for every browser that the rules know.
const BROWSERS: &str = "browsers";

/// Names that are listed in one line.
const SHOWN: usize = 4;

#[derive(Debug, clap::Args)]
pub(super) struct Wanted {
    /// Watch this Android application, whichever user runs it, also if it is
    /// installed later; `browsers` stands for every browser in the rules
    #[arg(long, value_name = "NAME")]
    package: Vec<String>,
    /// The list of installed packages
    #[arg(long, value_name = "FILE", default_value = "/data/system/packages.list", hide = true)]
    packages_list: PathBuf,
}

impl Wanted {
    /// The names, as they were given.
    pub(super) fn names(&self) -> &[String] {
        &self.package
    }

    /// What to watch.
    pub(super) fn targets(&self, known: &Rules) -> Result<Vec<Target>, Usage> {
        let mut targets = Vec::new();
        for name in &self.package {
            if name == BROWSERS {
                let browsers = known.browsers().iter().filter(|one| one.role == Role::Browser);
                let packages = browsers.flat_map(|browser| &browser.packages);
                targets
                    .extend(packages.map(|package| Target::Package(package.as_str().to_owned())));
            } else if is_name(name) {
                targets.push(Target::Package(name.clone()));
            } else {
                return Err(Usage(format!(
                    "`{}` is no package: write its full name, as in `com.android.chrome` (`pm \
                     list packages` shows them), or `{BROWSERS}`",
                    printable(name)
                )));
            }
        }
        Ok(targets)
    }

    /// Begins to follow the list, if packages are watched.
    pub(super) fn follow(
        &self,
        capture: &Capture,
        follower: Option<&Follower>,
    ) -> Result<Followed, HookError> {
        let wanted = !self.package.is_empty();
        let packages = wanted.then(|| capture.follow_packages(&self.packages_list, follower));
        Ok(Followed { packages: packages.transpose()?, all: self.is_all() })
    }

    /// Whether packages are only named by `browsers`: that most of them are not
    /// installed is no news.
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
    /// The next news; never any if no packages are watched.
    pub(super) async fn next(&mut self) -> PackageEvent {
        if let Some(packages) = &mut self.packages {
            if let Some(news) = packages.next().await {
                return news;
            }
            // Its thread has ended, and has said why.
            self.packages = None;
        }
        future::pending().await
    }

    /// Takes the news that is there already.
    pub(super) fn pending(&mut self, session: &mut Session) -> anyhow::Result<()> {
        let news: Vec<_> = self.packages.iter_mut().flat_map(PackageWatcher::pending).collect();
        if self.packages.is_some()
            && !news.iter().any(|one| matches!(one, PackageEvent::Watched { .. }))
        {
            message!("none of the packages is installed; they are waited for");
        }
        news.into_iter().try_for_each(|one| self.take(one, session))
    }

    /// Hands the names on, and says what is to be said.
    pub(super) fn take(&self, news: PackageEvent, session: &mut Session) -> anyhow::Result<()> {
        if let Some(said) = said(&news, self.all) {
            message!("{}", printable(&said));
        }
        let event = match news {
            PackageEvent::Watched { app, names } => Event::Packages { app, names },
            PackageEvent::Gone { app } => Event::Packages { app, names: Vec::new() },
            _ => return Ok(()),
        };
        session.take(vec![event])
    }
}

/// What is said of news; `all`: every browser was asked for.
fn said(news: &PackageEvent, all: bool) -> Option<String> {
    Some(match news {
        PackageEvent::Watched { app, names } => match names.as_slice() {
            [name] => format!("watches {name} (id {app}, of every user)"),
            names => {
                format!("watches id {app} of every user, which is shared by {}", listed(names))
            }
        },
        PackageEvent::Gone { app } => format!("id {app} is watched no more: its package is gone"),
        PackageEvent::Awaited(names) if names.is_empty() || all => return None,
        PackageEvent::Awaited(names) => {
            format!("not installed, and waited for: {}", listed(names))
        }
        PackageEvent::Malformed(0) => return None,
        PackageEvent::Malformed(lines) => format!(
            "{lines} lines of the list of packages were not understood; packages in them are not \
             watched (give their UIDs by --uid)"
        ),
        PackageEvent::Failed(reason) => {
            format!("packages that are installed from now on are not watched: {reason}")
        }
    })
}

/// Names in one line.
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

    fn args(names: &[&str]) -> Wanted {
        let package = names.iter().map(|name| (*name).to_owned()).collect();
        Wanted { package, packages_list: PathBuf::new() }
    }

    #[test]
    fn browsers_are_those_of_the_rules_and_no_parts_of_the_system() {
        let targets = args(&[BROWSERS]).targets(&Rules::default()).unwrap();
        let has = |name: &str| targets.contains(&Target::Package(name.to_owned()));
        assert!(has("com.android.chrome") && has("com.mi.globalbrowser"));
        assert!(!has("com.miui.home"), "a launcher");
        assert!(args(&["chrome or so"]).targets(&Rules::default()).is_err());
    }

    #[test]
    fn what_is_shared_and_what_is_missing_is_said() {
        let names = |count: usize| (0..count).map(|at| format!("p.n{at}")).collect::<Vec<_>>();
        let watched = |count| PackageEvent::Watched { app: 10001, names: names(count) };
        assert!(said(&watched(1), false).unwrap().starts_with("watches p.n0 (id 10001"));
        assert!(said(&watched(6), false).unwrap().ends_with("p.n3 and 2 more"));
        let awaited = PackageEvent::Awaited(names(1));
        assert!(said(&awaited, false).unwrap().contains("waited for: p.n0"));
        assert_eq!(said(&awaited, true), None);
    }
}
