//! Root: whether this process has it, and how to get it.

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

/// How a command can be run as root.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Privilege {
    /// This process is root.
    Root,
    /// `sudo` asks for no password.
    Sudo,
    /// `sudo` will ask for a password, and somebody sits at the terminal.
    SudoAsks,
    /// Not at all.
    No,
}

impl Privilege {
    /// Looks at this process, and for a sudo that answers.
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

    /// A command that runs `program` as root. Asks for the password now, so
    /// that the command itself may run quietly.
    ///
    /// # Errors
    /// When there is no way to be root; with what to run by hand.
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
                "this needs root, and no sudo is to be had here. As root, run:\n  {}",
                shell::shown(&direct(program))
            ),
        }
    }
}

/// Has cargo start what it builds through `sudo`, which must ask for nothing,
/// and run by itself as whoever this is.
///
/// # Errors
/// When rustc does not say what it builds for.
pub(crate) fn run_through_sudo(cargo: &mut Command) -> Result<()> {
    let host = build_cmd::host()?.to_uppercase().replace('-', "_");
    cargo.env(format!("CARGO_TARGET_{host}_RUNNER"), "sudo -n --preserve-env");
    Ok(())
}

/// Whether the second (effective) ID of `/proc/PID/status`' line `Uid:` is 0.
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
