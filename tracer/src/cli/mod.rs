//! The command line: what the binary does, kept in the library so that tests
//! can drive it.

#[macro_use]
mod terminal;

mod alerts;
mod audit;
mod compare;
mod decode;
mod demo;
mod keep;
mod doctor;
mod locate;
mod packages;
mod report;
mod rule_files;
mod rules;
mod run;
mod session;
mod times;
mod users;

use std::{
    io::{self, IsTerminal as _},
    process::ExitCode,
};

use clap::{Parser, Subcommand};

use tracer_core::alert::Style;

/// Catches browsers that report the pages their users visit.
///
/// tracer hooks the kernel's socket sends, decodes what the watched
/// applications transmit, through every encoding, and alerts when one tells
/// somebody about a URL of another site.
#[derive(Debug, Parser)]
#[command(name = "tracer", version, after_help = "Begin with: sudo tracer demo")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Watch applications and alert as they send (needs root)
    Run(run::Args),
    /// Audit a browser: is anybody told of the pages that it opens? (needs root)
    Audit(audit::Args),
    /// Make the report of an audit again, also of one that was killed
    Report(report::Args),
    /// Put the audits of several browsers side by side
    Compare(compare::Args),
    /// Show the alerts that earlier runs kept
    Alerts(alerts::Args),
    /// Decode recorded traces or raw HTTP requests (needs no root)
    Decode(decode::Args),
    /// Find the functions in programs and libraries through which what is
    /// encrypted can be read
    Locate(locate::Args),
    /// Check whether tracer works on this machine, and say what to do where it
    /// does not
    Doctor(doctor::Args),
    /// Check the rules: what is known of browsers, their makers and other
    /// recipients
    Rules(rules::Args),
    /// Show an alert on this machine: a client that reports what it visits,
    /// one that does not, and what tracer says of both (needs root)
    Demo(demo::Args),
    /// One of the demo's clients
    #[command(hide = true)]
    DemoClient(demo::ClientArgs),
    /// Changes the files of an audited browser's user, as that user
    #[command(hide = true)]
    AuditFiles(audit::FilesArgs),
}

/// A mistake in how tracer was called, as opposed to one in what it met.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Usage(String);

/// Runs tracer with the process's arguments. Exit codes: 0 fine, 1 an error,
/// 2 wrong usage.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let result = match cli.command {
        Command::Run(args) => run::run(&args),
        Command::Audit(args) => audit::run(&args),
        Command::Report(args) => report::run(&args),
        Command::Compare(args) => compare::run(&args),
        Command::Alerts(args) => alerts::alerts(&args),
        Command::Decode(args) => decode::decode(&args),
        Command::Locate(args) => locate::run(&args),
        Command::Doctor(args) => doctor::run(&args),
        Command::Rules(args) => rules::run(&args),
        Command::Demo(args) => demo::demo(&args),
        Command::DemoClient(args) => demo::client(&args),
        Command::AuditFiles(args) => audit::files(&args),
    };
    match result {
        Ok(code) => code,
        Err(err) if is_closed_pipe(&err) => ExitCode::SUCCESS,
        Err(err) => {
            message!("{err:#}");
            ExitCode::from(if err.is::<Usage>() { 2 } else { 1 })
        }
    }
}

/// Whoever read the output has seen enough (`tracer … | head`).
fn is_closed_pipe(err: &anyhow::Error) -> bool {
    err.chain()
        .filter_map(|cause| cause.downcast_ref::<io::Error>())
        .any(|err| err.kind() == io::ErrorKind::BrokenPipe)
}

/// Colours for a terminal, unless the user asked for none (no-color.org).
fn style() -> Style {
    let wanted = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    Style { colour: wanted && io::stdout().is_terminal() }
}
