//! The capturing process, as the decoder sees it.

use std::{
    env,
    io::{self, Write as _},
    os::{fd::OwnedFd, unix::net::UnixStream},
    process::{Child, Command, Stdio},
};

use anyhow::{Context as _, anyhow};

use super::{
    SUBCOMMAND,
    channel::{Inbox, Message, Order},
};
use crate::cli::{Usage, rule_files::RuleTexts};
use tracer_core::record::Event;

/// Number of bytes to read at once.
const READ: usize = 256 << 10;

/// Settings of the C library's allocator. Loading takes some 20 MiB for a moment. By default, the
/// allocator keeps large blocks that were freed once.
const ALLOCATOR: (&str, &str) =
    ("GLIBC_TUNABLES", "glibc.malloc.mmap_threshold=131072:glibc.malloc.trim_threshold=1048576");

/// A delivery of the capturing process.
#[derive(Debug)]
pub(in crate::cli) enum Captured {
    /// Events.
    Events(Vec<Event>),
    /// The capture has begun.
    Watching,
    /// Files of rules, after [`Source::reload`].
    Rules(Result<RuleTexts, String>),
}

/// A capturing process that was started.
pub(in crate::cli) struct Started {
    stream: UnixStream,
    child: Child,
}

/// The capturing process.
pub(in crate::cli) struct Source {
    stream: tokio::net::UnixStream,
    /// The same socket, for orders.
    orders: UnixStream,
    inbox: Inbox,
    buffer: Vec<u8>,
    has_ended: bool,
    /// Not waited for: a restricted process could not, and the socket says when it ends.
    _child: Child,
}

impl Source {
    /// Starts the process to capture for a command, with the arguments of this process, and waits
    /// until the programs are attached. `exempt` is another process of this run, which is not
    /// captured.
    ///
    /// # Errors
    /// If that fails, with the error of that process.
    pub(in crate::cli) fn start(command: &str, exempt: Option<u32>) -> anyhow::Result<Started> {
        let (mut stream, theirs) = UnixStream::pair()?;
        let child = Command::new("/proc/self/exe")
            .arg(SUBCOMMAND)
            .arg(command)
            // The first two are the program and the command.
            .args(env::args_os().skip(2))
            .args(exempt.map(|pid| format!("--exempt={pid}")))
            .env(ALLOCATOR.0, ALLOCATOR.1)
            .stdin(OwnedFd::from(theirs))
            .stdout(Stdio::null())
            .spawn()
            .context("cannot start the capturing process")?;
        match Message::read(&mut stream)? {
            Some(Message::Attached) => Ok(Started { stream, child }),
            Some(message) => Err(failure(message)),
            None => Err(died()),
        }
    }
}

impl Started {
    /// Makes the process deliver events. Called within the runtime.
    pub(in crate::cli) fn begin(self) -> io::Result<Source> {
        self.stream.set_nonblocking(true)?;
        let source = Source {
            orders: self.stream.try_clone()?,
            stream: tokio::net::UnixStream::from_std(self.stream)?,
            inbox: Inbox::default(),
            buffer: vec![0; READ],
            has_ended: false,
            _child: self.child,
        };
        source.order(Order::Begin)?;
        Ok(source)
    }
}

impl Source {
    /// Waits for what was captured next. Returns `None` at the end.
    ///
    /// # Errors
    /// If the process has failed or died.
    pub(in crate::cli) async fn next(&mut self) -> anyhow::Result<Option<Captured>> {
        loop {
            match self.inbox.take()? {
                Some(Message::Events(events)) => return Ok(Some(Captured::Events(events))),
                Some(Message::Watching) => return Ok(Some(Captured::Watching)),
                Some(Message::Rules(rules)) => return Ok(Some(Captured::Rules(rules))),
                Some(Message::Ended) => {
                    self.has_ended = true;
                    return Ok(None);
                }
                Some(message) => return Err(failure(message)),
                None => {}
            }
            if !self.read().await? {
                return Err(died());
            }
        }
    }

    /// Reads what has arrived. Returns false if the process has ended.
    async fn read(&mut self) -> io::Result<bool> {
        loop {
            self.stream.readable().await?;
            match self.stream.try_read(&mut self.buffer) {
                Ok(0) => return Ok(false),
                Ok(length) => {
                    self.inbox.extend(&self.buffer[..length]);
                    return Ok(true);
                }
                Err(err) if err.kind() == io::ErrorKind::WouldBlock => {}
                Err(err) if err.kind() == io::ErrorKind::ConnectionReset => return Ok(false),
                Err(err) => return Err(err),
            }
        }
    }

    /// Makes the process stop the capture, and deliver what was captured.
    pub(in crate::cli) fn stop(&self) {
        // If it has died, `next` says so.
        let _ = self.order(Order::Stop);
    }

    /// Makes the process read the files of rules again, which this one cannot.
    pub(in crate::cli) fn reload(&self) {
        let _ = self.order(Order::Reload);
    }

    /// Waits until the process has removed its programs and ended, after [`Source::next`] returned
    /// `None`.
    pub(in crate::cli) async fn finish(&mut self) -> anyhow::Result<()> {
        while self.read().await? {
            while let Some(message) = self.inbox.take()? {
                if let Message::Failed { .. } = message {
                    return Err(failure(message));
                }
            }
        }
        Ok(())
    }

    fn order(&self, order: Order) -> io::Result<()> {
        // The socket has room for the few orders of a run.
        (&self.orders).write_all(&[order as u8])
    }
}

/// Converts a message that was not expected.
fn failure(message: Message) -> anyhow::Error {
    match message {
        Message::Failed { is_usage: true, text } => Usage(text).into(),
        Message::Failed { is_usage: false, text } => anyhow!("{text}"),
        other => anyhow!("the capturing process sent {other:?} out of order"),
    }
}

fn died() -> anyhow::Error {
    anyhow!(
        "the capturing process has died, so nothing is captured any more; start tracer again, and \
         see `dmesg` if it was killed for lack of memory"
    )
}
