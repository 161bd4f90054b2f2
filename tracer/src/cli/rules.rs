//! `tracer rules`: checks rules.

use std::{
    io::{self, Write as _},
    path::PathBuf,
    process::ExitCode,
};

use super::{
    Usage, confine,
    rule_files::{LoadError, RuleTexts},
    terminal,
};
use tracer_core::{
    alert::printable,
    knowledge::Knowledge,
    rules::{Browser, EMBEDDED, Rules, Tables},
};

/// Check files of rules about browsers, their makers and other recipients.
///
/// docs/guides/rules.md describes them.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Parse the embedded rules and those in a folder, and print the number of entries or the
    /// position of each mistake
    Check {
        /// Folder of rules, as for `tracer run --rules`
        folder: Option<PathBuf>,
    },
}

/// The option `--rules` of several commands.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct Folder {
    /// Add the rules in this folder to the embedded ones. Entries replace embedded ones of the same
    /// name (see docs/guides/rules.md)
    #[arg(long, value_name = "DIR")]
    rules: Option<PathBuf>,
}

impl Folder {
    /// Reads the files of rules.
    pub(super) fn read(&self) -> Result<RuleTexts, LoadError> {
        RuleTexts::read(self.rules.as_deref())
    }

    /// Reads and parses the rules.
    pub(super) fn load(&self) -> Result<Knowledge, LoadError> {
        self.read()?.parse()
    }
}

/// Looks up a browser by its name in the rules.
pub(super) fn browser<'a>(rules: &'a Rules, name: &str) -> Result<&'a Browser, Usage> {
    rules.browser_named(name).map(|browser| &**browser).ok_or_else(|| {
        let meant = similar(rules, name).map(|name| format!("; did you mean {name}?"));
        Usage(format!(
            "the rules have no browser named {}{}\n`tracer browsers --all` lists them, and --exe takes \
             the name of any program.",
            printable(name),
            meant.unwrap_or_default()
        ))
    })
}

/// Returns the browser that a name resembles most: by its own name, or that of its program.
fn similar<'a>(rules: &'a Rules, name: &str) -> Option<&'a str> {
    /// One mistake in a name of four letters.
    const MIN_SIMILARITY: f64 = 0.75;
    let similarity = |known: &str| {
        strsim::normalized_damerau_levenshtein(&name.to_lowercase(), &known.to_lowercase())
    };
    let browsers = rules.browsers().iter().map(|browser| {
        let programs = browser.executables.iter().map(|program| program.as_str());
        let names = programs.map(|path| path.rsplit('/').next().unwrap_or(path));
        let best = names.map(similarity).fold(similarity(browser.name.as_str()), f64::max);
        (best, browser.name.as_str())
    });
    let best = browsers.max_by(|one, other| one.0.total_cmp(&other.0))?;
    (best.0 >= MIN_SIMILARITY).then_some(best.1)
}

pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let Command::Check { folder } = &args.command;
    let own = RuleTexts::read(folder.as_deref())?;
    confine::to_open_files()?;
    let files: Vec<_> = EMBEDDED.into_iter().chain(own.files()).collect();

    let mut out = io::stdout().lock();
    let mut failed = false;
    for (at, file) in files.iter().enumerate() {
        // Report the mistakes of all files.
        match Tables::parse(*file) {
            Ok(tables) => {
                let origin = if at < EMBEDDED.len() { " (embedded)" } else { "" };
                let name = printable(file.name);
                writeln!(out, "{name}{origin}: {}", counted(&tables.counts()))?;
            }
            Err(err) => {
                out.flush()?;
                terminal::print_line(format_args!("{}", printable(&err.to_string())));
                failed = true;
            }
        }
    }
    if !failed && let Err(err) = Knowledge::with_overrides(&files[EMBEDDED.len()..]) {
        out.flush()?;
        terminal::print_line(format_args!("{}", printable(&err.to_string())));
        failed = true;
    }
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// Formats counts: `2 makers, 1 browser`.
fn counted(counts: &[(&str, usize)]) -> String {
    if counts.is_empty() {
        return "no entries".to_owned();
    }
    let counted = counts.iter().map(|(what, count)| match (*count, what.strip_suffix('y')) {
        (1, _) => format!("1 {what}"),
        (count, Some(stem)) => format!("{count} {stem}ies"),
        (count, None) => format!("{count} {what}s"),
    });
    counted.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelled_browser_is_recognised() {
        let rules = Rules::with_overrides(&[]).unwrap();
        for (typed, name) in [
            ("falcon", "Falkon"),
            ("Chromum", "Chromium"),
            ("epiphany", "GNOME Web"),
            ("firefox-esr", "Firefox"),
        ] {
            assert_eq!(similar(&rules, typed), Some(name), "{typed}");
        }
        assert_eq!(similar(&rules, "netscape navigator"), None);
        assert!(browser(&rules, "FALKON").is_ok());
        let error = browser(&rules, "falcon").unwrap_err().to_string();
        assert!(error.contains("named falcon; did you mean Falkon?\n"), "{error}");
    }

    #[test]
    fn counts_are_formatted_with_plurals() {
        assert_eq!(counted(&[]), "no entries");
        assert_eq!(
            counted(&[("maker", 2), ("browser", 1), ("vocabulary", 3)]),
            "2 makers, 1 browser, 3 vocabularies"
        );
    }
}
