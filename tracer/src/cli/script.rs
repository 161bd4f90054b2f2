//! Finds the program that a wrapper script starts.
//!
//! Distributions start browsers through scripts for the shell, which end with the program:
//!
//! ```text
//! LIBDIR=/usr/lib/chromium                      assignments of what is known
//! HERE="`dirname "$(readlink -f "$0")"`"        the folder of the script
//! exec -a "$0" "$LIBDIR/chromium" "$@"          the last command that starts a file
//! ```
//!
//! Words with any other syntax are skipped, and the result has to be an existing file.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
};

/// Maximum number of bytes of a script that are read.
pub(super) const MAX_SCRIPT: u64 = 256 << 10;
/// Maximum number of words that are expanded, and of the length of each.
const MAX_WORDS: usize = 20_000;
const MAX_WORD: usize = 4096;
/// Maximum depth of expansions within one another.
const MAX_DEPTH: usize = 4;

/// Folders in which commands without a path are looked up.
const FOLDERS: [&str; 4] = ["/usr/local/bin", "/usr/bin", "/bin", "/usr/games"];
/// Commands that start the command after them.
const PREFIXES: [&str; 5] = ["exec", "env", "nohup", "nice", "setsid"];
/// Commands that only prepare.
const OTHERS: [&str; 6] = ["gdb", "strace", "sed", "grep", "xmessage", "zenity"];

/// Returns the program that the script at `path` starts. `is_file` reports whether a
/// file exists.
pub(super) fn program(
    script: &str,
    path: &Path,
    is_file: &dyn Fn(&Path) -> bool,
) -> Option<PathBuf> {
    let first = script.lines().next()?.strip_prefix("#!")?.trim();
    let mut interpreter = first.split_whitespace();
    let mut shell = interpreter.next()?;
    if shell.ends_with("/env") {
        shell = interpreter.find(|word| !word.starts_with('-'))?;
    }
    let name = shell.rsplit('/').next()?;
    if !["sh", "bash", "dash", "ash", "zsh", "ksh"].contains(&name) {
        return found(shell, is_file);
    }
    let mut shell = Shell { path, variables: HashMap::new(), words: 0 };
    let mut program = None;
    let joined = script.replace("\\\n", " ");
    for line in joined.lines().map(str::trim).filter(|line| !line.starts_with('#')) {
        let words = split(line);
        for (at, word) in words.iter().enumerate() {
            if at > 0 && words.first().is_none_or(|first| *first != "export") {
                break;
            }
            shell.assign(word);
        }
        for start in (0..words.len()).filter(|at| words.get(*at) == Some(&"exec") || *at == 0) {
            let command = words.get(start..).unwrap_or_default();
            if let Some(file) = shell.command(command).and_then(|word| found(&word, is_file))
                && !OTHERS.iter().any(|other| file.ends_with(other))
            {
                // A command without a path is one of many, unless it replaces the script.
                if words.get(start) == Some(&"exec") || program.is_none() && file.is_absolute() {
                    program = Some((words.get(start) == Some(&"exec"), file));
                }
            }
        }
    }
    program.map(|(_, file)| file)
}

/// Returns the file of a command.
fn found(command: &str, is_file: &dyn Fn(&Path) -> bool) -> Option<PathBuf> {
    if command.starts_with('/') {
        return Some(PathBuf::from(command)).filter(|file| is_file(file));
    }
    if command.is_empty() || command.contains('/') {
        return None;
    }
    FOLDERS.iter().map(|folder| Path::new(folder).join(command)).find(|file| is_file(file))
}

/// The state of a script, as far as it is known.
struct Shell<'a> {
    path: &'a Path,
    variables: HashMap<String, String>,
    words: usize,
}

impl Shell<'_> {
    /// Notes an assignment of a known value.
    fn assign(&mut self, word: &str) {
        let Some((name, value)) = word.split_once('=') else {
            return;
        };
        let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
        if name.is_empty() || !name.chars().all(is_name) {
            return;
        }
        match self.expand(value, MAX_DEPTH) {
            Some(value) => self.variables.insert(name.to_owned(), value),
            None => self.variables.remove(name),
        };
    }

    /// Returns the program that a command starts.
    fn command(&mut self, words: &[&str]) -> Option<String> {
        let mut words = words.iter().peekable();
        while let Some(word) = words.next() {
            if *word == "-a" {
                words.next();
            } else if word.starts_with('-') || PREFIXES.contains(word) || word.contains('=') {
                continue;
            } else {
                return self.expand(word, MAX_DEPTH);
            }
        }
        None
    }

    /// Expands the variables and known commands in a word; returns `None` if it has others.
    fn expand(&mut self, word: &str, depth: usize) -> Option<String> {
        self.words += 1;
        if self.words > MAX_WORDS || depth == 0 || word.len() > MAX_WORD {
            return None;
        }
        let mut text = String::new();
        let mut rest = word;
        while let Some(c) = rest.chars().next() {
            let (part, len) = match c {
                '"' | '\'' => (String::new(), 1),
                '$' | '`' => self.substitute(rest, depth)?,
                '\\' | '*' | '?' | ';' | '&' | '|' | '<' | '>' | '(' | ')' => return None,
                other => (other.to_string(), other.len_utf8()),
            };
            text.push_str(&part);
            if text.len() > MAX_WORD {
                return None;
            }
            rest = rest.get(len..)?;
        }
        Some(text)
    }

    /// Expands what begins with `$` or a backtick; returns it and its length in the script.
    fn substitute(&mut self, rest: &str, depth: usize) -> Option<(String, usize)> {
        if let Some(command) = rest.strip_prefix('`') {
            let end = command.find('`')?;
            return Some((self.output(command.get(..end)?, depth)?, end + 2));
        }
        let inner = rest.strip_prefix('$')?;
        if inner.starts_with('(') {
            let end = closing(inner, '(', ')')?;
            return Some((self.output(inner.get(1..end)?, depth)?, end + 2));
        }
        if inner.starts_with('{') {
            let end = closing(inner, '{', '}')?;
            let name = inner.get(1..end)?;
            let value = if name == "0%/*" || name == "BASH_SOURCE%/*" {
                self.folder()
            } else if let Some((name, default)) = name.split_once(":-") {
                match self.variables.get(name) {
                    Some(value) if !value.is_empty() => value.clone(),
                    _ => self.expand(default, depth - 1)?,
                }
            } else {
                self.value(name.trim_end_matches("[0]"))?
            };
            return Some((value, end + 2));
        }
        if inner.starts_with('0') {
            return Some((self.value("0")?, 2));
        }
        let len = inner.find(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        let name = inner.get(..len.unwrap_or(inner.len()))?;
        Some((self.value(name)?, name.len() + 1))
    }

    /// Returns the value of a variable; an unset one is empty in the shell, but unknown here.
    fn value(&self, name: &str) -> Option<String> {
        match name {
            "0" | "BASH_SOURCE" => Some(self.path.to_string_lossy().into_owned()),
            _ => self.variables.get(name).cloned(),
        }
    }

    fn folder(&self) -> String {
        self.path.parent().map(|folder| folder.to_string_lossy().into_owned()).unwrap_or_default()
    }

    /// Returns the output of a command that names the script or a folder.
    fn output(&mut self, command: &str, depth: usize) -> Option<String> {
        let words = split(command.trim());
        let mut arguments = words.iter().skip(1).filter(|word| !word.starts_with('-'));
        match *words.first()? {
            "dirname" => {
                let path = self.expand(arguments.next()?, depth - 1)?;
                let folder = Path::new(&path).parent()?;
                Some(folder.to_string_lossy().into_owned())
            }
            "readlink" | "realpath" | "echo" => self.expand(arguments.next()?, depth - 1),
            // $(cd "$(dirname "$0")" && pwd)
            "cd" if command.trim_end().ends_with("pwd") || command.ends_with("pwd -P") => {
                self.expand(arguments.next()?, depth - 1)
            }
            _ => None,
        }
    }
}

/// Returns the position of the character that closes the one at the beginning of `text`.
fn closing(text: &str, open: char, close: char) -> Option<usize> {
    let mut depth = 0usize;
    for (at, c) in text.char_indices() {
        if c == open {
            depth += 1;
        } else if c == close {
            depth = depth.checked_sub(1)?;
            if depth == 0 {
                return Some(at);
            }
        }
    }
    None
}

/// Splits a line into words at spaces that are not in quotes or commands.
fn split(line: &str) -> Vec<&str> {
    let mut words = Vec::new();
    let (mut start, mut quote, mut backtick, mut depth) = (None, None, false, 0usize);
    for (at, c) in line.char_indices() {
        let is_inside = quote.is_some() || backtick || depth > 0;
        match c {
            '"' | '\'' if depth == 0 && !backtick => match quote {
                None => quote = Some(c),
                Some(open) if open == c => quote = None,
                Some(_) => {}
            },
            '`' if quote != Some('\'') => backtick = !backtick,
            '(' if quote != Some('\'') => depth += 1,
            ')' if quote != Some('\'') => depth = depth.saturating_sub(1),
            ' ' | '\t' | ';' if !is_inside => {
                words.extend(start.take().and_then(|start| line.get(start..at)));
                continue;
            }
            _ => {}
        }
        start = start.or(Some(at));
    }
    words.extend(start.and_then(|start| line.get(start..)));
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    fn started(script: &str, files: &[&str]) -> Option<PathBuf> {
        let is_file = |path: &Path| files.iter().any(|file| Path::new(file) == path);
        program(script, Path::new("/opt/browser/start"), &is_file)
    }

    #[test]
    fn follows_scripts_of_distributions() {
        let files = ["/usr/lib/chromium/chromium", "/opt/browser/chrome", "/usr/bin/gdb"];
        for (script, program) in [
            (
                "#!/bin/sh\nAPPNAME=chromium\nGDB=/usr/bin/gdb\nLIBDIR=/usr/lib/$APPNAME\n\
                 if [ $want_debug -eq 1 ] ; then\n  exec $GDB $LIBDIR/$APPNAME -x $tmpfile\nelse\n\
                 \x20 exec $LIBDIR/$APPNAME $CHROMIUM_FLAGS \"$@\"\nfi\n",
                Some("/usr/lib/chromium/chromium"),
            ),
            (
                "#!/bin/bash\nexport CHROME_WRAPPER=\"`readlink -f \"$0\"`\"\n\
                 HERE=\"`dirname \"$CHROME_WRAPPER\"`\"\nexec -a \"$0\" \"$HERE/chrome\" \"$@\"\n",
                Some("/opt/browser/chrome"),
            ),
            ("#!/usr/bin/env bash\nexec \"${0%/*}/chrome\" \"$@\"\n", Some("/opt/browser/chrome")),
            (
                "#!/bin/sh\nD=$(cd \"$(dirname \"$0\")\" && pwd)\nexec env A=1 \"$D\"/chrome\n",
                Some("/opt/browser/chrome"),
            ),
            (
                "#!/bin/sh\n\"$(dirname \"$(readlink -f \"$0\")\")\"/chrome \"$@\"\n",
                Some("/opt/browser/chrome"),
            ),
            (
                "#!/bin/sh\nexec ${BROWSER:-/opt/browser/chrome} \\\n  \"$@\"\n",
                Some("/opt/browser/chrome"),
            ),
            ("#!/bin/sh\nexec $UNKNOWN/chrome\n", None),
            ("#!/bin/sh\n# exec /opt/browser/chrome\necho hello\n", None),
            ("#!/bin/sh\nexec /opt/browser/missing\n", None),
            ("exec /opt/browser/chrome\n", None),
        ] {
            assert_eq!(started(script, &files), program.map(PathBuf::from), "{script}");
        }
    }

    #[test]
    fn program_of_another_script_is_its_interpreter() {
        let files = ["/usr/bin/python3", "/usr/bin/node"];
        let program = |script| started(script, &files);
        assert_eq!(program("#!/usr/bin/python3 -I\nimport os\n"), Some("/usr/bin/python3".into()));
        assert_eq!(program("#!/usr/bin/env node\n"), Some("/usr/bin/node".into()));
        assert_eq!(program("#!/usr/bin/env -S node --x\n"), Some("/usr/bin/node".into()));
        assert_eq!(program("#!/usr/bin/perl\n"), None);
    }

    #[test]
    fn hostile_script_ends() {
        let mut script = String::from("#!/bin/sh\nA=aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\n");
        for _ in 0..1000 {
            script.push_str("A=$A$A$A$A\n");
        }
        script.push_str(&"exec $A`$(`\n".repeat(1000));
        script.push_str(&"(".repeat(10_000));
        assert_eq!(started(&script, &[]), None);
        for len in 0..200 {
            started(&script[..len], &[]);
        }
    }
}
