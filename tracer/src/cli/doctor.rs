//! `tracer doctor`: what works on this machine.

use std::{
    io::{self, Write as _},
    process::ExitCode,
};

use tracer_core::alert::printable;
use tracer_host::doctor::{Check, Report};

/// Check whether tracer works on this machine, and say what to do where it does
/// not. Exit codes: 0 `tracer run` would work, 1 it would not.
#[derive(Debug, clap::Args)]
#[command(after_help = "Run it as root: without, it cannot try the hooks.")]
pub(super) struct Args {
    /// Print one JSON object (docs/reference/doctor.md describes it)
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    rules: super::rules::Folder,
}

pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let report = Report::collect(args.rules.load()?.rules());
    let mut out = io::stdout().lock();
    if args.json {
        serde_json::to_writer(&mut out, &report)?;
        writeln!(out)?;
    } else {
        write!(out, "{}", shown(&report))?;
    }
    Ok(if report.works { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The report for people: a line a check, below it what to do next.
fn shown(report: &Report) -> String {
    let checks = report.checks.iter().map(line).collect::<String>();
    let list = |title: &str, entries: &[String]| {
        let entries = entries.iter().map(|entry| format!("  - {}\n", printable(entry)));
        let entries = entries.collect::<String>();
        if entries.is_empty() { entries } else { format!("\n{title}:\n{entries}") }
    };
    let verdict =
        if report.works { "tracer run works here." } else { "tracer run does not work here." };
    format!(
        "{checks}{}{}\n{verdict}\n",
        list("A run would see", &report.sees),
        list("It would not see", &report.misses)
    )
}

fn line(check: &Check) -> String {
    let Check { check, state, message, next } = check;
    let mut line = format!("{:<8} {check:<14} {}\n", state.name(), printable(message));
    if let Some(next) = next {
        line += &format!("{:23} → {}\n", "", printable(next));
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use tracer_host::doctor::{SCHEMA, State};

    #[test]
    fn lines_are_aligned_and_say_what_is_next() {
        let check = |check, state, next: Option<&str>| Check {
            check,
            state,
            message: "so it\x1b is".into(),
            next: next.map(str::to_owned),
        };
        let report = Report {
            schema: SCHEMA,
            tracer: "0",
            works: false,
            checks: vec![
                check("kernel", State::Ok, None),
                check("tls-probes", State::Warning, Some("do that")),
            ],
            sees: Vec::new(),
            misses: vec!["much".into()],
        };
        assert_eq!(
            shown(&report),
            "ok       kernel         so it\\u{1b} is\n\
             warning  tls-probes     so it\\u{1b} is\n                        → do that\n\
             \nIt would not see:\n  - much\n\ntracer run does not work here.\n"
        );
    }
}
