//! The process that reads the names of extensions, for `tracer run` and `tracer audit`.

use std::{
    io,
    os::{
        fd::AsFd as _,
        unix::{net::UnixStream, process::CommandExt as _},
    },
    process::{Command, ExitCode},
};

use anyhow::Context as _;

use super::confine;
use tracer_host::{
    extensions::{self, Reader},
    sandbox::Sandbox,
};

/// Hidden subcommand that parses the profiles of browsers.
const SUBCOMMAND: &str = "read-profiles";

/// Arguments of the hidden subcommand.
#[derive(Debug, clap::Args)]
pub(super) struct ServeArgs {}

/// Starts the process.
pub(super) fn reader() -> anyhow::Result<Reader> {
    let mut command = Command::new("/proc/self/exe");
    // Signals of the terminal are not for it.
    command.arg(SUBCOMMAND).process_group(0);
    Reader::start(&mut command).context("cannot start the process that reads profiles")
}

/// Parses what the process at the other end of standard input opens.
pub(super) fn serve(_: &ServeArgs) -> anyhow::Result<ExitCode> {
    let socket = io::stdin().as_fd().try_clone_to_owned().map(UnixStream::from)?;
    socket.peer_addr().context("standard input is not a socket; this command is internal")?;
    confine::enter(&Sandbox::new().with_sockets())?;
    extensions::serve(&socket)?;
    Ok(ExitCode::SUCCESS)
}
