//! `tracer locate`: finds the TLS functions in files.

use std::{
    io::{self, Write as _},
    os::{
        fd::AsFd as _,
        unix::{net::UnixStream, process::CommandExt as _},
    },
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

use anyhow::Context as _;

use super::confine;
use crate::files::{self, Input};
use tracer_host::{
    locate::{self, Cache, Error, FileSource, Located, Locator},
    sandbox::{self, Sandbox},
};

/// Find the TLS functions in programs, libraries and APKs.
///
/// These are the functions that take plaintext to encrypt. They are found in stripped programs that
/// contain BoringSSL too.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  tracer locate /usr/lib/chromium/chromium
  tracer locate --json base.apk")]
pub(super) struct Args {
    /// Print one line of JSON for each file or library in an APK (see docs/reference/locate.md)
    #[arg(long)]
    json: bool,
    /// ELF files or APKs
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
}

/// Arguments of the hidden subcommand that analyzes files for a run.
#[derive(Debug, clap::Args)]
pub(super) struct ServeArgs {
    /// Start processes that analyze, and start them again if they die
    #[arg(long)]
    supervise: bool,
}

/// Hidden subcommand that analyzes the files at the other end of standard input.
const SERVE: &str = "locate-files";

/// Returns a locator that runs this program, without rights.
///
/// # Errors
/// If it cannot be started.
pub(super) fn locator() -> io::Result<Locator> {
    Locator::elsewhere(analyst().arg("--supervise"))
}

fn analyst() -> Command {
    let mut command = Command::new("/proc/self/exe");
    // Signals of the terminal are not for it.
    command.arg(SERVE).process_group(0);
    command
}

/// Analyzes files until standard input is closed.
pub(super) fn serve(args: &ServeArgs) -> anyhow::Result<ExitCode> {
    let socket = io::stdin().as_fd().try_clone_to_owned().map(UnixStream::from)?;
    socket.peer_addr().context("standard input is not a socket; this command is internal")?;
    if args.supervise {
        sandbox::protect_memory()?;
        sandbox::keep_supervision_capabilities()?;
        locate::supervise(socket, analyst)?;
        return Ok(ExitCode::SUCCESS);
    }
    confine::enter(&Sandbox::new().with_sockets())?;
    locate::serve(socket)?;
    Ok(ExitCode::SUCCESS)
}

pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    files::raise_limit();
    let inputs: Vec<_> = args.files.iter().map(|path| (path, Input::open(path))).collect();
    confine::to_open_files()?;
    let mut cache = Cache::new();
    let mut out = io::stdout().lock();
    let mut failed = false;
    for (path, input) in inputs {
        match input.map_err(Error::from).and_then(|input| file(input, path, &mut cache)) {
            Ok(found) => {
                for located in found {
                    if args.json {
                        serde_json::to_writer(&mut out, &located)?;
                        writeln!(out)?;
                    } else {
                        writeln!(out, "{located}")?;
                    }
                }
            }
            Err(err) => {
                out.flush()?;
                let err = anyhow::Error::from(err);
                message!("{}: {err:#}", path.display());
                failed = true;
            }
        }
    }
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn file(input: Input, path: &Path, cache: &mut Cache) -> Result<Vec<Located>, Error> {
    let source = FileSource::new(input.into_file()?)?;
    locate::locate(&source, &path.to_string_lossy(), cache)
}
