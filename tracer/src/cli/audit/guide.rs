//! The questions of an audit that is started without options on a terminal.
//!
//! Answers are lines on standard input, and an empty line is the default. Nothing has been started
//! when they are asked, so Ctrl-C and the end of the input leave nothing behind.

use std::io::{self, BufRead, Write};

use tracer_audit::phase::Phase;
use tracer_core::alert::printable;

/// Phases of a short audit. Without the experiments, there is no "no" about pages.
const SHORT: [Phase; 6] =
    [Phase::Fresh, Phase::Idle, Phase::Pages, Phase::Typed, Phase::Restart, Phase::Private];

/// Number of invalid answers to one question before it gives up.
const ATTEMPTS: u32 = 5;

/// A browser to choose from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::cli) struct Installed {
    pub(in crate::cli) name: String,
    /// The package, on Android.
    pub(in crate::cli) package: Option<String>,
    /// True if a scenario controls it. Otherwise, the operator does.
    pub(in crate::cli) has_scenario: bool,
    pub(in crate::cli) is_running: bool,
}

/// The choices of each question.
#[derive(Debug, Clone, Default)]
pub(super) struct Choices {
    pub(super) browsers: Vec<Installed>,
    /// Users to run the browser as, the most likely one first. Empty where there is no choice.
    pub(super) users: Vec<String>,
}

/// The answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Answers {
    /// Index of the browser.
    pub(super) browser: usize,
    pub(super) user: Option<String>,
    /// `None` for all of them.
    pub(super) phases: Option<Vec<Phase>>,
    /// `None` for the default.
    pub(super) out: Option<String>,
}

/// The reason for which the questions were not answered.
#[derive(Debug, thiserror::Error)]
pub(super) enum NoAnswer {
    #[error("no known browser is installed; name a program with --exe (see `tracer audit --help`)")]
    NoBrowser,
    #[error("no answer, so nothing was started")]
    Ended,
    #[error("no answer that can be used, so nothing was started")]
    Unusable,
    #[error("cannot ask")]
    Io(#[from] io::Error),
}

/// Asks what to audit, and how.
pub(super) fn ask(
    choices: &Choices,
    input: &mut impl BufRead,
    out: &mut impl Write,
) -> Result<Answers, NoAnswer> {
    if choices.browsers.is_empty() {
        return Err(NoAnswer::NoBrowser);
    }
    writeln!(out, "Press Enter for the answer in brackets. Ctrl-C starts nothing.\n")?;
    for (i, browser) in choices.browsers.iter().enumerate() {
        let by_hand = if browser.has_scenario { "" } else { ", asks you for each step" };
        let running = if browser.is_running { ", running: close it first" } else { "" };
        writeln!(out, "  {}  {}{by_hand}{running}", i + 1, printable(&browser.name))?;
    }
    let browser = until_usable(input, out, "Which browser? [1] ", |answer| {
        choice(answer, choices.browsers.iter().map(|browser| &browser.name[..]))
    })?;
    let user = match &choices.users[..] {
        [] => None,
        users => {
            for (i, user) in users.iter().enumerate() {
                writeln!(out, "  {}  {}", i + 1, printable(user))?;
            }
            let question = "Whose desktop shall it run on? [1] ";
            let at = until_usable(input, out, question, |answer| {
                choice(answer, users.iter().map(String::as_str))
            })?;
            users.get(at).cloned()
        }
    };
    writeln!(
        out,
        "  all    all phases, about seven minutes\n  \
         short  without experiments, about three minutes; it finds reports that can be read, and \
         never answers \"no\"\n  \
         or the names of phases, separated by commas: {}",
        Phase::ALL.map(Phase::name).join(", ")
    )?;
    let phases = until_usable(input, out, "Which phases? [all] ", parse_phases)?;
    write!(out, "Which new folder for the report? [a name with the time] ")?;
    out.flush()?;
    let folder = line(input)?;
    writeln!(out)?;
    Ok(Answers { browser, user, phases, out: Some(folder).filter(|name| !name.is_empty()) })
}

/// Asks until the answer is usable.
fn until_usable<T>(
    input: &mut impl BufRead,
    out: &mut impl Write,
    question: &str,
    usable: impl Fn(&str) -> Result<T, String>,
) -> Result<T, NoAnswer> {
    for _ in 0..ATTEMPTS {
        write!(out, "{question}")?;
        out.flush()?;
        match usable(&line(input)?) {
            Ok(answer) => {
                writeln!(out)?;
                return Ok(answer);
            }
            Err(reason) => writeln!(out, "{reason}")?,
        }
    }
    Err(NoAnswer::Unusable)
}

/// Reads a line of bounded length.
fn line(input: &mut impl BufRead) -> Result<String, NoAnswer> {
    const MAX: u64 = 4096;
    let mut line = String::new();
    match io::Read::take(input, MAX).read_line(&mut line)? {
        0 => Err(NoAnswer::Ended),
        _ => Ok(line.trim().to_owned()),
    }
}

/// Returns the index of the choice: its number or its name, or the first one for an empty line.
fn choice<'a>(answer: &str, names: impl Iterator<Item = &'a str> + Clone) -> Result<usize, String> {
    if answer.is_empty() {
        return Ok(0);
    }
    let count = names.clone().count();
    let number = answer.parse::<usize>().ok().filter(|number| (1..=count).contains(number));
    let at = number.map(|number| number - 1);
    at.or_else(|| names.clone().position(|name| name.eq_ignore_ascii_case(answer)))
        .ok_or_else(|| format!("Give a number from 1 to {count}, or a name from the list."))
}

/// Parses the names of phases. `None` stands for all of them.
fn parse_phases(answer: &str) -> Result<Option<Vec<Phase>>, String> {
    match answer {
        "" | "all" => return Ok(None),
        "short" => return Ok(Some(SHORT.to_vec())),
        _ => {}
    }
    answer.split(',').map(|name| phase(name.trim())).collect::<Result<_, _>>().map(Some)
}

/// Parses the name of a phase.
pub(super) fn phase(name: &str) -> Result<Phase, String> {
    let known = Phase::ALL.into_iter().find(|phase| phase.name() == name);
    known.ok_or_else(|| {
        format!(
            "{} is not a phase; the phases are {}",
            printable(name),
            Phase::ALL.map(Phase::name).join(", ")
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn choices(users: &[&str]) -> Choices {
        let browser = |name: &str, has_scenario| Installed {
            name: name.into(),
            package: None,
            has_scenario,
            is_running: false,
        };
        Choices {
            browsers: vec![browser("Chromium", true), browser("surf", false)],
            users: users.iter().map(|user| (*user).to_owned()).collect(),
        }
    }

    fn asked(choices: &Choices, lines: &str) -> (Result<Answers, NoAnswer>, String) {
        let mut shown = Vec::new();
        let answers = ask(choices, &mut lines.as_bytes(), &mut shown);
        (answers, String::from_utf8(shown).unwrap())
    }

    #[test]
    fn empty_lines_are_the_defaults() {
        let (answers, shown) = asked(&choices(&["alice", "root"]), "\n\n\n\n");
        let user = Some("alice".to_owned());
        assert_eq!(answers.unwrap(), Answers { browser: 0, user, phases: None, out: None });
        assert!(shown.contains("  2  surf, asks you for each step"), "{shown}");
    }

    #[test]
    fn numbers_and_names_are_answers() {
        let (answers, _) = asked(&choices(&["alice", "bob"]), "SURF\n2\nshort\nmy audit\n");
        let answers = answers.unwrap();
        assert_eq!((answers.browser, answers.user.as_deref()), (1, Some("bob")));
        assert_eq!(answers.phases.unwrap(), SHORT);
        assert_eq!(answers.out.as_deref(), Some("my audit"));
        // With a single user, the question is left out.
        let (answers, shown) = asked(&choices(&[]), "2\nfresh, private\n\n");
        assert_eq!(answers.unwrap().phases.unwrap(), [Phase::Fresh, Phase::Private]);
        assert!(!shown.contains("Whose"), "{shown}");
    }

    #[test]
    fn other_answers_are_explained_and_asked_again() {
        let (answers, shown) = asked(&choices(&[]), "7\nnetscape\n1\nnonsense\nall\n\n");
        assert_eq!(answers.unwrap().browser, 0);
        assert_eq!(shown.matches("Give a number from 1 to 2").count(), 2, "{shown}");
        assert!(shown.contains("nonsense is not a phase"), "{shown}");
        let (answers, _) = asked(&choices(&[]), &"x\n".repeat(20));
        assert!(matches!(answers, Err(NoAnswer::Unusable)));
    }

    #[test]
    fn the_end_of_the_input_ends_the_questions() {
        for lines in ["", "1\n", "1\nall\n"] {
            let (answers, _) = asked(&choices(&[]), lines);
            assert!(matches!(answers, Err(NoAnswer::Ended)), "{lines:?}");
        }
        assert!(matches!(asked(&Choices::default(), "").0, Err(NoAnswer::NoBrowser)));
    }
}
