//! `tracer doctor`: checks this machine.

use std::{
    io::{self, Write as _},
    process::ExitCode,
};

use super::watch::exe_target;
use tracer_core::alert::printable;
use tracer_host::doctor::{Check, Report};

/// Check whether tracer works on this machine, and show how to fix problems.
///
/// The exit code is 0 if `tracer run` works here, and 1 if not.
#[derive(Debug, clap::Args)]
#[command(after_help = "Run it as root. Without root it cannot try the hooks.

Examples:
  sudo tracer doctor                        this machine, and the browsers that are running
  sudo tracer doctor --exe thunderbird      also whether a running program's traffic can be read")]
pub(super) struct Args {
    /// Also check a running program that is not a browser in the rules, and its descendants. NAME is
    /// the name of the file that it executes; PATH contains a /
    #[arg(long, value_name = "NAME|PATH")]
    exe: Vec<String>,
    /// Print one JSON object (see docs/reference/doctor.md)
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    rules: super::rules::Folder,
}

pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let named: Vec<_> = args.exe.iter().map(|exe| exe_target(exe)).collect();
    let report = Report::collect(args.rules.load()?.rules(), &named);
    let mut out = io::stdout().lock();
    if args.json {
        serde_json::to_writer(&mut out, &report)?;
        writeln!(out)?;
    } else {
        write!(out, "{}", text(&report))?;
    }
    Ok(if report.works { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Formats the report as text: one line for each check, and below it the next step.
fn text(report: &Report) -> String {
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
    fn lines_are_aligned_and_show_the_next_step() {
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
            text(&report),
            "ok       kernel         so it\\u{1b} is\n\
             warning  tls-probes     so it\\u{1b} is\n                        → do that\n\
             \nIt would not see:\n  - much\n\ntracer run does not work here.\n"
        );
    }
}
