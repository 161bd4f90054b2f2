//! The process that decodes for an audit, and writes its reports, without rights.
//!
//! ```text
//! tracer audit   records, starts ──▶ tracer audit-decode   restricts itself
//! (privileged)   ──── Start ────────▶                       parses the rules
//!                ──── Events, Journal ▶                     decodes
//!                ──── Report, with 4 open files ▶           writes an interim report
//!                ◀─── Written ──────
//!                puts the files in their places
//!                ──── Finish, with 4 open files ▶           writes the report, prints the answers
//!                ◀─── Written ──────                        exits
//! ```
//!
//! It never sees the folder of the audit. If it dies, the audit still records, and `tracer report`
//! makes the report.

use std::{
    io::{self, Write},
    os::{
        fd::{AsFd as _, OwnedFd},
        unix::{net::UnixStream, process::CommandExt as _},
    },
    process::{Child, Command, ExitCode},
    thread::{self, JoinHandle},
};

use anyhow::Context as _;

use super::{
    super::confine,
    channel::{Answer, Answers, Message, Receiver, ReportFiles, Sender},
    output::write_report,
};
use tracer_audit::Gatherer;

/// Hidden subcommand that decodes for an audit.
const SUBCOMMAND: &str = "audit-decode";

/// The process, as the audit sees it.
pub(super) struct Decoder {
    pub(super) channel: Sender,
    child: Option<Child>,
}

impl Decoder {
    /// Starts the process.
    ///
    /// # Errors
    /// If it cannot be started.
    pub(super) fn start() -> anyhow::Result<Self> {
        let (ours, theirs) = UnixStream::pair()?;
        let child = Command::new("/proc/self/exe")
            .arg(SUBCOMMAND)
            .stdin(OwnedFd::from(theirs))
            // Signals of the terminal are for the audit.
            .process_group(0)
            .spawn()
            .context("cannot start the decoding process")?;
        Ok(Self { channel: Sender::new(ours), child: Some(child) })
    }

    /// Creates a decoder at the other end of a socket.
    #[cfg(test)]
    pub(super) fn at(socket: UnixStream) -> Self {
        Self { channel: Sender::new(socket), child: None }
    }

    /// Waits until the process has ended.
    pub(super) fn join(mut self) {
        if let Some(mut child) = self.child.take() {
            drop(self);
            let _ = child.wait();
        }
    }
}

impl Drop for Decoder {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Arguments of the hidden subcommand.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct DecodeArgs {}

/// Decodes for the audit at the other end of standard input.
pub(in crate::cli) fn decode(_: &DecodeArgs) -> anyhow::Result<ExitCode> {
    let socket = io::stdin().as_fd().try_clone_to_owned().map(UnixStream::from)?;
    socket.peer_addr().context("standard input is not a socket; this command is internal")?;
    confine::decoder(false)?;
    serve(socket, &mut io::stdout())?;
    Ok(ExitCode::SUCCESS)
}

/// Decodes for the audit at the other end of a socket, and prints the answers.
pub(super) fn serve(socket: UnixStream, out: &mut impl Write) -> anyhow::Result<()> {
    let mut inbox = Receiver::new(socket);
    let Some(Message::Start(start)) = inbox.next()? else {
        return Ok(());
    };
    let knowledge = start.rules()?.parse()?;
    let show_values = start.show_values;
    let mut gatherer = Gatherer::new(start.journal, &knowledge);
    let mut interim = None;
    while let Some(message) = inbox.next()? {
        match message {
            Message::Events(events) => events.into_iter().for_each(|event| gatherer.push(event)),
            Message::Journal(journal) => gatherer.update_journal(*journal),
            Message::Report(files) => {
                join(interim.take());
                interim = Some(report(&gatherer, files, show_values, inbox.answers()?)?);
            }
            Message::Finish(files) => {
                join(interim);
                let answers = inbox.answers()?;
                let written = write_report(&gatherer.finish(), show_values, &files);
                let report = written.inspect_err(|_| {
                    let _ = answers.send(Answer::Failed);
                })?;
                // The audit waits for the end of this process. Its reader may have closed the output.
                answers.send(Answer::Written)?;
                return Ok(super::print(&report, out)?);
            }
            Message::Start(_) => anyhow::bail!("the audit started twice"),
        }
    }
    Ok(())
}

/// Writes an interim report in a thread of its own, so that decoding goes on.
fn report(
    gatherer: &Gatherer,
    files: ReportFiles,
    show_values: bool,
    answers: Answers,
) -> io::Result<JoinHandle<()>> {
    let observations = gatherer.observations();
    thread::Builder::new().name("tracer-report".into()).spawn(move || {
        let answer = match write_report(&observations, show_values, &files) {
            Ok(_) => Answer::Written,
            Err(err) => {
                message!("cannot write an interim report: {err:#}");
                Answer::Failed
            }
        };
        // The audit may have ended.
        let _ = answers.send(answer);
    })
}

fn join(thread: Option<JoinHandle<()>>) {
    if let Some(thread) = thread {
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    }
}
