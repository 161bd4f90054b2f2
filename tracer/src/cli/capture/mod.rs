//! The process of `tracer run` and `tracer top` that captures.
//!
//! ```text
//! tracer run      opens outputs, starts ──▶ tracer capture   loads and attaches programs
//! (unprivileged   ◀── Attached ────────────  (privileged)
//!  from here on)  opens the store; restricts itself
//!                 ──── Begin ─────────────▶
//!                 ◀── Watching, Events ────                  probes libraries, follows packages
//!                 ──── Stop ──────────────▶
//!                 ◀── Ended ───────────────                  exits
//! ```
//!
//! If one of the two processes ends, the other one ends as well.

pub(super) mod channel;
mod source;

use std::{
    io,
    os::{fd::AsFd as _, unix::net::UnixStream},
    process::ExitCode,
    time::Duration,
};

use anyhow::Context as _;
use rustix::process::{Signal, set_parent_process_death_signal};
use tokio::{
    net::unix::{OwnedReadHalf, OwnedWriteHalf},
    signal::unix::{SignalKind, signal},
};

use self::channel::{Message, Order};
pub(super) use self::source::{Captured, Source, Started};
use super::{
    Usage, confine, limits,
    locate::locator,
    profiles,
    rule_files::RuleTexts,
    run::{self, diagnostics, follow, report_probe},
    targets, terminal, top,
    watch::WatchArgs,
};
use tracer_core::alert::printable;
use tracer_host::{
    hook::{Capture, Events},
    sandbox,
};

/// Hidden subcommand that captures, with the command that it captures for.
const SUBCOMMAND: &str = "capture";

/// Arguments of the hidden subcommand.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

/// The command to capture for.
#[derive(Debug, clap::Subcommand)]
enum Command {
    Run(Box<run::Args>),
    Top(Box<top::Args>),
}

/// Captures for the process at the other end of standard input.
pub(super) fn capture(args: &Args) -> anyhow::Result<ExitCode> {
    let args = match &args.command {
        Command::Run(args) => &args.watch,
        Command::Top(args) => &args.watch,
    };
    let stream = io::stdin().as_fd().try_clone_to_owned().map(UnixStream::from)?;
    stream
        .peer_addr()
        .context("standard input is not the decoder's socket; this command is internal")?;
    // The decoder closes the socket when it ends, but this process could be busy then.
    set_parent_process_death_signal(Some(Signal::KILL))?;
    sandbox::protect_memory()?;
    sandbox::keep_capture_capabilities()?;
    stream.set_nonblocking(true)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        // The decoder receives the signals of a terminal as well, and stops this process.
        for kind in [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()] {
            let _handled = signal(kind)?;
        }
        let (orders, outbox) = tokio::net::UnixStream::from_std(stream)?.into_split();
        let mut channel = (Orders(orders), Outbox::new(outbox));
        if let Err(err) = serve(args, &mut channel).await {
            let failed =
                Message::Failed { is_usage: err.is::<Usage>(), text: terminal::explained(&err) };
            channel.1.send(&failed).await?;
        }
        Ok(ExitCode::SUCCESS)
    })
}

/// Captures until the decoder says stop.
async fn serve(args: &WatchArgs, (orders, outbox): &mut (Orders, Outbox)) -> anyhow::Result<()> {
    let watch = args.watch()?;
    limits::raise_open_files();
    terminal::start_queue();
    let (capture, choice) = Capture::start_best(args.hooks(), &watch, args.ring_bytes())?;
    if let Some(parent) = rustix::process::getppid() {
        capture.exempt(parent.as_raw_nonzero().get().unsigned_abs())?;
    }
    args.exempt.iter().try_for_each(|pid| capture.exempt(*pid))?;
    if args.verbose {
        for (hook, reason) in &choice.rejected {
            message!("cannot capture sends with {hook}: {}", printable(&reason.to_string()));
        }
        message!("capturing sends with {}", choice.hook);
    }
    // Before the restriction, which forbids to start processes.
    let locator = locator();
    let profiles = profiles::reader()?;
    confine::capture(args.verbose);
    outbox.send(&Message::Attached).await?;
    if orders.next().await? != Some(Order::Begin) {
        return Ok(());
    }
    if args.browsers {
        message!(
            "watching all browsers in the rules; `tracer browsers` lists those on this machine"
        );
    } else {
        targets::describe_all(&watch.targets);
    }
    let mut log = args.verbose.then(|| diagnostics(&capture)).transpose()?;
    let follower = follow(&capture, locator);
    let mut packages = args.packages.follow(&capture, follower.as_ref(), &watch.targets)?;
    outbox.push(&Message::Events(packages.pending()));
    let mut events = Events::start(capture.reader()?, follower.as_ref(), Some(profiles))?;
    outbox.send(&Message::Watching).await?;

    let mut tick = tokio::time::interval(Duration::from_secs(1));
    // However often the decoder asks, one answer waits for it.
    let mut reloads = false;
    loop {
        if reloads && outbox.is_empty() {
            reloads = false;
            let rules = args.rules.read().map_err(|err| err.to_string());
            outbox.push(&Message::Rules(rules.and_then(small_enough)));
        }
        tokio::select! {
            // While the decoder takes nothing, events wait in the ring.
            batch = events.next(), if outbox.is_empty() => match batch {
                Some(batch) => outbox.push(&Message::Events(batch)),
                None => break,
            },
            written = outbox.write(), if !outbox.is_empty() => written?,
            event = packages.next() => {
                let changes: Vec<_> = packages.report(event).into_iter().collect();
                outbox.push(&Message::Events(changes));
            }
            _ = tick.tick() => {
                if let Some(log) = &mut log {
                    log.flush();
                }
                if let Some(follower) = &follower {
                    follower.events().for_each(|event| report_probe(&event, args.verbose));
                }
            }
            order = orders.next() => match order? {
                Some(Order::Stop) => events.stop(),
                Some(Order::Reload) => reloads = true,
                Some(Order::Begin) => {}
                // The decoder has ended.
                None => return Ok(()),
            },
        }
    }
    let has_matched = capture.has_running() || events.has_matched();
    events.join()?;
    if !has_matched && targets::are_all_looked_up(&watch.targets) {
        // With `--browsers`, some names resemble those of programs that are not browsers.
        targets::report_none(if args.browsers { &[] } else { &watch.targets });
    }
    outbox.send(&Message::Ended).await?;
    // It sends to the follower, so it has to be dropped before the follower is joined.
    drop(packages);
    if let Some(follower) = follower {
        follower.events().for_each(|event| report_probe(&event, args.verbose));
        follower.join();
    }
    Ok(())
}

/// Refuses files of rules that are too large for a message.
fn small_enough(rules: RuleTexts) -> Result<RuleTexts, String> {
    const MAX: usize = 32 << 20;
    if rules.to_bytes().len() > MAX { Err("they are larger than 32 MiB".into()) } else { Ok(rules) }
}

/// The orders of the decoder.
struct Orders(OwnedReadHalf);

impl Orders {
    /// Waits for the next order. Returns `None` if the decoder has ended, or sends something else.
    async fn next(&mut self) -> io::Result<Option<Order>> {
        loop {
            self.0.readable().await?;
            let mut byte = [0];
            match self.0.try_read(&mut byte) {
                Ok(0) => return Ok(None),
                Ok(_) => return Ok(Order::from_byte(byte[0])),
                Err(err) if err.kind() == io::ErrorKind::WouldBlock => {}
                Err(err) => return Err(err),
            }
        }
    }
}

/// Messages for the decoder that are not written yet.
struct Outbox {
    to: OwnedWriteHalf,
    bytes: Vec<u8>,
    written: usize,
}

impl Outbox {
    fn new(to: OwnedWriteHalf) -> Self {
        Self { to, bytes: Vec::new(), written: 0 }
    }

    fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    fn push(&mut self, message: &Message) {
        message.write(&mut self.bytes);
    }

    /// Writes as much as the socket takes, and waits until it takes something.
    async fn write(&mut self) -> io::Result<()> {
        self.to.writable().await?;
        match self.to.try_write(&self.bytes[self.written..]) {
            Ok(written) => self.written += written,
            Err(err) if err.kind() == io::ErrorKind::WouldBlock => {}
            Err(err) => return Err(err),
        }
        if self.written == self.bytes.len() {
            self.written = 0;
            self.bytes.clear();
            // A rare large batch should not keep its memory.
            self.bytes.shrink_to(MAX_KEPT);
        }
        Ok(())
    }

    /// Writes a message, and everything before it.
    async fn send(&mut self, message: &Message) -> io::Result<()> {
        self.push(message);
        while !self.is_empty() {
            self.write().await?;
        }
        Ok(())
    }
}

/// Size of the buffer that is kept between two batches.
const MAX_KEPT: usize = 1 << 20;
