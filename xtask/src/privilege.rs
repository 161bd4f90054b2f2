//! Running commands as root.

use std::{
    ffi::OsStr,
    fs,
    io::{self, IsTerminal as _},
    process::Command,
};

use anyhow::{Result, bail};

use crate::{build_cmd, shell};

/// Folder of the package whose tests and benchmarks load programs into the kernel.
pub(crate) const NEEDS_ROOT: &str = "tests";

/// The way in which this process can run commands as root.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Privilege {
    /// This process is root.
    Root,
    /// `sudo` works without a password.
    Sudo,
    /// `sudo` asks for a password on the terminal.
    SudoAsks,
    /// No way.
    No,
}

impl Privilege {
    /// Checks the user of this process, and whether sudo works.
    pub(crate) fn of_this_process() -> Self {
        if fs::read_to_string("/proc/self/status").is_ok_and(|status| is_root(&status)) {
            Self::Root
        } else if shell::succeeds(Command::new("sudo").args(["-n", "true"])) {
            Self::Sudo
        } else if shell::on_path("sudo").is_some() && io::stdin().is_terminal() {
            Self::SudoAsks
        } else {
            Self::No
        }
    }

    /// Returns a command that runs `program` as root. Asks for the password now, so that
    /// the command can run without a terminal.
    ///
    /// # Errors
    /// If there is no way to become root; the error has the command to run by hand.
    pub(crate) fn command(self, program: &str, arguments: &[&str]) -> Result<Command> {
        let direct = |program: &str| {
            let mut command = Command::new(program);
            command.args(arguments);
            command
        };
        match self {
            Self::Root => Ok(direct(program)),
            Self::Sudo | Self::SudoAsks => {
                if self == Self::SudoAsks {
                    eprintln!("  {program} needs root: sudo may ask for your password");
                    if !Command::new("sudo").arg("-v").status()?.success() {
                        bail!("sudo refused. As root, run:\n  {}", shell::shown(&direct(program)));
                    }
                }
                let mut command = Command::new("sudo");
                command.arg(OsStr::new(program)).args(arguments);
                Ok(command)
            }
            Self::No => bail!(
                "this needs root, and sudo is not available. As root, run:\n  {}",
                shell::shown(&direct(program))
            ),
        }
    }
}

/// Makes cargo run the programs that it builds through `sudo`, which must work without
/// a password. Cargo itself keeps running as this user.
///
/// # Errors
/// If rustc does not print its target.
pub(crate) fn run_through_sudo(cargo: &mut Command) -> Result<()> {
    let host = build_cmd::host()?.to_uppercase().replace('-', "_");
    cargo.env(format!("CARGO_TARGET_{host}_RUNNER"), "sudo -n --preserve-env");
    Ok(())
}

/// True if the effective UID is 0: the second number in the line `Uid:` of
/// `/proc/PID/status`.
fn is_root(status: &str) -> bool {
    status
        .lines()
        .find_map(|line| line.strip_prefix("Uid:"))
        .and_then(|ids| ids.split_whitespace().nth(1))
        == Some("0")
}

#[cfg(test)]
mod tests {
    use super::{Privilege, is_root};

    #[test]
    fn the_effective_uid_decides() {
        assert!(is_root("Name:\tx\nUid:\t1000\t0\t0\t0\nGid:\t0\t0\t0\t0\n"));
        assert!(!is_root("Uid:\t0\t1000\t1000\t1000\nGid:\t0\t0\t0\t0\n"));
        assert!(!is_root(""));
    }

    #[test]
    fn without_root_the_error_is_the_command() {
        let error = Privilege::No.command("apt-get", &["install", "gcc"]).unwrap_err();
        assert!(error.to_string().ends_with("\n  apt-get install gcc"), "{error}");
    }
}
