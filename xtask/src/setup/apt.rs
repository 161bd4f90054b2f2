//! Installs packages with apt.

use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use crate::{privilege::Privilege, shell, ui::Ui, version::Version};

/// Time to wait for another apt to finish.
const LOCK_TIMEOUT: &str = "DPkg::Lock::Timeout=120";

/// Installs without questions, recommended packages or removals.
pub(super) const INSTALL: [&str; 5] =
    ["install", "-q", "-y", "--no-install-recommends", "--no-remove"];

/// Versions of a package according to `apt-cache policy`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Policy {
    pub(super) installed: Option<String>,
    pub(super) candidate: Option<String>,
}

impl Policy {
    /// Parses the output of `apt-cache policy`.
    pub(super) fn parse(text: &str) -> Self {
        let field = |name: &str| {
            text.lines()
                .find_map(|line| line.trim_start().strip_prefix(name))
                .map(str::trim)
                .filter(|version| *version != "(none)")
                .map(str::to_owned)
        };
        Self { installed: field("Installed:"), candidate: field("Candidate:") }
    }
}

/// The system's apt.
pub(super) struct Apt<'a> {
    ui: &'a Ui,
    updated: bool,
}

impl<'a> Apt<'a> {
    /// # Errors
    /// If this system has no apt.
    pub(super) fn new(ui: &'a Ui) -> Result<Self> {
        let here = shell::on_path("apt-get").is_some() && shell::on_path("apt-cache").is_some();
        ensure!(here, "this system has no apt");
        Ok(Self { ui, updated: false })
    }

    /// Looks up a package in apt's lists.
    ///
    /// # Errors
    /// If apt-cache fails.
    pub(super) fn policy(&self, package: &str) -> Result<Policy> {
        let text = shell::answer(Command::new("apt-cache").args(["policy", package]))?;
        Ok(Policy::parse(&text))
    }

    /// True if every package is installed in this version or a newer one.
    pub(super) fn has(&self, packages: &[&str], minimum: Option<Version>) -> bool {
        packages.iter().all(|package| {
            let installed = self.policy(package).ok().and_then(|policy| policy.installed);
            installed
                .is_some_and(|version| minimum.is_none_or(|m| Version::parse(&version) >= Some(m)))
        })
    }

    /// Checks that apt can install this version or a newer one of every package.
    ///
    /// # Errors
    /// If it cannot, with the first reason.
    pub(super) fn offers(&self, packages: &[&str], minimum: Option<Version>) -> Result<()> {
        for package in packages {
            let candidate = self.policy(package)?.candidate;
            let candidate = candidate.with_context(|| format!("apt has no {package}"))?;
            if let Some(minimum) = minimum {
                ensure!(
                    Version::parse(&candidate) >= Some(minimum),
                    "apt has {package} {candidate}, older than {minimum}"
                );
            }
        }
        // Another package may conflict.
        let mut simulation = Command::new("apt-get");
        simulation.arg("--simulate").args(INSTALL).args(packages);
        shell::answer(&mut simulation).map(drop)
    }

    /// Does the same, and fetches the lists if the present ones do not have it.
    ///
    /// # Errors
    /// As [`Self::offers`].
    pub(super) fn offers_after_update(
        &mut self,
        packages: &[&str],
        minimum: Option<Version>,
    ) -> Result<()> {
        let Err(why) = self.offers(packages, minimum) else {
            return Ok(());
        };
        self.ui.say(&format!("{why}: its lists may be missing or old"));
        // The update fails if one source of many is broken; the others may be enough.
        if let Err(why) = self.update() {
            self.ui.say(&format!("{why:#}"));
        }
        self.offers(packages, minimum)
    }

    /// Installs packages without removing any.
    ///
    /// # Errors
    /// If apt fails, with the end of its output and the command.
    pub(super) fn install(&mut self, why: &str, packages: &[&str]) -> Result<()> {
        let label = format!("apt-get install {} ({why})", packages.join(" "));
        let first = self.ui.step(&label, &mut install_command(packages)?);
        if first.is_ok() || self.updated {
            return first;
        }
        // Old lists name files that the archive no longer has.
        self.update()?;
        self.ui.step(&label, &mut install_command(packages)?)
    }

    fn update(&mut self) -> Result<()> {
        if !self.updated {
            self.ui.step("apt-get update", &mut apt_get(&["update", "-q"])?)?;
            self.updated = true;
        }
        Ok(())
    }
}

fn install_command(packages: &[&str]) -> Result<Command> {
    let mut arguments = INSTALL.to_vec();
    arguments.extend_from_slice(packages);
    apt_get(&arguments)
}

fn apt_get(arguments: &[&str]) -> Result<Command> {
    // `env`, because sudo drops variables.
    let mut all = vec!["DEBIAN_FRONTEND=noninteractive", "apt-get", "-o", LOCK_TIMEOUT];
    all.extend_from_slice(arguments);
    Privilege::of_this_process().command("env", &all)
}

/// The command that installs packages, for messages.
pub(super) fn shown_install(packages: &[&str]) -> String {
    format!("apt-get {} {}", INSTALL.join(" "), packages.join(" "))
}

#[cfg(test)]
mod tests {
    use super::Policy;

    #[test]
    fn reads_a_policy() {
        let text = "rustc-web:\n  Installed: (none)\n  Candidate: 1.96.0+dfsg1-1~deb12u2\n  \
                    Version table:\n     1.96.0+dfsg1-1~deb12u2 500\n        500 http://x main\n";
        let policy = Policy::parse(text);
        assert_eq!(policy.installed, None);
        assert_eq!(policy.candidate.as_deref(), Some("1.96.0+dfsg1-1~deb12u2"));
    }

    #[test]
    fn a_package_that_apt_does_not_know_has_no_policy() {
        assert_eq!(Policy::parse(""), Policy::default());
        let virtual_only = "libstd:\n  Installed: (none)\n  Candidate: (none)\n  Version table:\n";
        assert_eq!(Policy::parse(virtual_only), Policy::default());
    }
}
