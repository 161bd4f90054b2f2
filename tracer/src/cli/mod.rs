//! The command line.

#[macro_use]
mod terminal;

mod alerts;
mod audit;
mod browsers;
mod capture;
mod compare;
mod confine;
mod decode;
mod decoding;
mod demo;
mod doctor;
mod frame;
mod keep;
mod limits;
mod locate;
mod manual;
mod notify;
mod otlp;
mod packages;
mod profiles;
mod purge;
mod report;
mod rule_files;
mod rules;
mod run;
mod script;
mod session;
mod signals;
mod status;
mod targets;
mod times;
mod top;
mod users;
mod watch;

use std::{
    io::{self, IsTerminal as _},
    process::ExitCode,
    time::Duration,
};

use clap::{Parser, Subcommand};

use crate::sink::{Presentation, Terminal};
use tracer_core::alert::Style;

/// Catches browsers that report the pages their users visit.
///
/// tracer captures what the watched applications send, decodes it through every layer of encoding,
/// and alerts when an application reports a URL of one site to another.
#[derive(Debug, Parser)]
#[command(
    name = "tracer",
    version,
    after_help = "To see an alert on this machine, run: sudo tracer demo"
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

/// The commands. Their help texts are the documentation of their arguments.
#[derive(Debug, Subcommand)]
enum Command {
    Run(run::Args),
    Top(top::Args),
    Audit(audit::Args),
    Report(report::Args),
    Compare(compare::Args),
    Browsers(browsers::Args),
    Alerts(alerts::Args),
    Purge(purge::Args),
    Status(status::Args),
    Decode(decode::Args),
    Locate(locate::Args),
    Doctor(doctor::Args),
    Rules(rules::Args),
    Demo(demo::Args),
    Completions(manual::CompletionsArgs),
    /// Writes the manual pages
    #[command(hide = true)]
    ManualPages(manual::PagesArgs),
    /// Runs one of the demo's clients
    #[command(hide = true)]
    DemoClient(demo::ClientArgs),
    /// Analyzes files for `tracer run`
    #[command(hide = true)]
    LocateFiles(locate::ServeArgs),
    /// Parses the profiles of browsers for `tracer run`
    #[command(hide = true)]
    ReadProfiles(profiles::ServeArgs),
    /// Captures for `tracer run` and `tracer top`
    #[command(hide = true)]
    Capture(capture::Args),
    /// Decodes for `tracer top`, and draws
    #[command(hide = true)]
    TopView(top::Args),
    /// Sends alerts for `tracer run --otlp`
    #[command(hide = true)]
    OtlpSend(otlp::SendArgs),
    /// Shows notifications for `tracer run`
    #[command(hide = true)]
    Notify(notify::Args),
    /// Decodes for `tracer audit`
    #[command(hide = true)]
    AuditDecode(audit::DecodeArgs),
    /// Serves the pages of `tracer audit`
    #[command(hide = true)]
    AuditServe(audit::ServeArgs),
    /// Decodes for `tracer demo`
    #[command(hide = true)]
    DemoDecode(demo::DecodeArgs),
    /// Changes the files of an audited browser's user, as that user
    #[command(hide = true)]
    AuditFiles(audit::FilesArgs),
}

/// A wrong use of the command line. Its exit code is 2.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Usage(String);

/// Runs tracer with the arguments of the process. Exit codes: 0 success, 1 error, 2 wrong usage.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let result = match cli.command {
        Command::Run(args) => run::run(&args),
        Command::Top(args) => top::top(&args),
        Command::TopView(args) => top::view(&args),
        Command::Audit(args) => audit::run(&args),
        Command::Report(args) => report::run(&args),
        Command::Compare(args) => compare::run(&args),
        Command::Browsers(args) => browsers::run(&args),
        Command::Alerts(args) => alerts::alerts(&args),
        Command::Purge(args) => purge::purge(&args),
        Command::Status(args) => status::status(&args),
        Command::Decode(args) => decode::decode(&args),
        Command::Locate(args) => locate::run(&args),
        Command::Doctor(args) => doctor::run(&args),
        Command::Rules(args) => rules::run(&args),
        Command::Completions(args) => manual::completions(&args),
        Command::ManualPages(args) => manual::pages(&args),
        Command::Demo(args) => demo::demo(&args),
        Command::DemoClient(args) => demo::client(&args),
        Command::LocateFiles(args) => locate::serve(&args),
        Command::ReadProfiles(args) => profiles::serve(&args),
        Command::Capture(args) => capture::capture(&args),
        Command::OtlpSend(args) => otlp::send(&args),
        Command::Notify(args) => notify::serve(&args),
        Command::AuditDecode(args) => audit::decode(&args),
        Command::AuditServe(args) => audit::serve(&args),
        Command::DemoDecode(args) => demo::decode(&args),
        Command::AuditFiles(args) => audit::files(&args),
    };
    let code = match result {
        Ok(code) => code,
        Err(err) if is_closed_pipe(&err) => ExitCode::SUCCESS,
        Err(err) => {
            message!("{}", terminal::explained(&err));
            ExitCode::from(if err.is::<Usage>() { 2 } else { 1 })
        }
    };
    terminal::finish(Duration::from_secs(1));
    code
}

/// Returns true if the reader of the output has closed it (`tracer … | head`).
fn is_closed_pipe(err: &anyhow::Error) -> bool {
    err.chain()
        .filter_map(|cause| cause.downcast_ref::<io::Error>())
        .any(|err| err.kind() == io::ErrorKind::BrokenPipe)
}

/// Returns the presentation of alerts: in paragraphs on a terminal, unless lines are wanted.
fn presentation(lines: bool) -> Presentation {
    match terminal_of_output() {
        Some(terminal) if !lines => Presentation::Paragraph(terminal),
        _ => Presentation::Line,
    }
}

/// Returns the width and the time zone of the terminal, if standard output is one.
fn terminal_of_output() -> Option<Terminal> {
    let size = rustix::termios::tcgetwinsize(io::stdout()).ok()?;
    // A terminal of unknown size has no columns.
    let columns = if size.ws_col == 0 { 80 } else { size.ws_col.into() };
    Some(Terminal { columns, zone: jiff::tz::TimeZone::system() })
}

/// Enables colours on a terminal, unless NO_COLOR is set (no-color.org).
fn style() -> Style {
    let allowed = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    Style { colour: allowed && io::stdout().is_terminal() }
}
