//! Shows commands to a person, and runs short ones for their output.

use std::{
    borrow::Cow,
    env,
    ffi::OsStr,
    fmt::Write as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, bail};

/// Formats a command as a line that can be pasted into a shell.
pub(crate) fn shown(command: &Command) -> String {
    let mut line = String::new();
    if let Some(directory) = command.get_current_dir() {
        let _ = write!(line, "cd {} && ", quoted(directory.as_os_str()));
    }
    for (name, value) in command.get_envs() {
        if let Some(value) = value {
            let _ = write!(line, "{}={} ", name.display(), quoted(value));
        }
    }
    line.push_str(&quoted(command.get_program()));
    for argument in command.get_args() {
        line.push(' ');
        line.push_str(&quoted(argument));
    }
    line
}

/// Returns the same command with a low priority, so that it does not slow down tests that
/// run at the same time.
pub(crate) fn niced(command: &Command) -> Command {
    let mut niced = Command::new("nice");
    niced.args(["-n", "10"]).arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => niced.env(name, value),
            None => niced.env_remove(name),
        };
    }
    if let Some(directory) = command.get_current_dir() {
        niced.current_dir(directory);
    }
    niced
}

fn quoted(word: &OsStr) -> Cow<'_, str> {
    let word = word.to_string_lossy();
    let plain = |c: char| c.is_alphanumeric() || "-_./=:,+@%~".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word
    } else {
        Cow::Owned(format!("'{}'", word.replace('\'', r"'\''")))
    }
}

/// Runs a short command in the C locale and returns its standard output.
///
/// # Errors
/// If it cannot be started or fails; the error has its standard error.
pub(crate) fn answer(command: &mut Command) -> Result<String> {
    let output = command
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot run {}", command.get_program().display()))?;
    if !output.status.success() {
        let stderr = String::from_utf8_lossy(&output.stderr);
        bail!("{} ({}): {}", shown(command), output.status, stderr.trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// True if a short command can be started and succeeds.
pub(crate) fn succeeds(command: &mut Command) -> bool {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// Finds the first file with this name in the directories of `PATH`.
pub(crate) fn on_path(program: &str) -> Option<PathBuf> {
    env::split_paths(&env::var_os("PATH")?)
        .filter(|directory| directory.is_absolute())
        .map(|directory| directory.join(program))
        .find(|candidate| Path::is_file(candidate))
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::{answer, shown};

    #[test]
    fn commands_are_shown_as_shell_lines() {
        let mut command = Command::new("cargo");
        command
            .args(["install", "a b", "it's", ""])
            .env("LLVM_PREFIX", "/usr/lib/llvm-22")
            .env_remove("RUSTC")
            .current_dir("/tmp");
        assert_eq!(
            shown(&command),
            r"cd /tmp && LLVM_PREFIX=/usr/lib/llvm-22 cargo install 'a b' 'it'\''s' ''"
        );
    }

    #[test]
    fn errors_of_commands_have_their_output() {
        let error = answer(Command::new("sh").args(["-c", "echo oh no >&2; exit 3"])).unwrap_err();
        assert!(error.to_string().contains("oh no"), "{error}");
        assert!(answer(&mut Command::new("/no/such/program")).is_err());
    }
}
