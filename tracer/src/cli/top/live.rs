//! Shows what is captured now.

use std::{os::unix::net::UnixStream, process::ExitCode, time::Duration};

use anyhow::Context as _;
use tokio::time::timeout;
use tracer_core::{
    alert::redact::Redactor,
    knowledge::Knowledge,
    pipeline::{Output, Pipeline},
    record::{BootTime, Event},
};
use tracer_host::sandbox;

use super::{
    Args, COMMAND,
    draw::{self, End, Shared},
};
use crate::{
    cli::{
        capture::{Captured, Source as Capturing},
        confine,
        decoding::{Decoding, Work},
        session::print_summary,
        status::Backlog,
    },
    top::{
        model::{Model, Source},
        view::Look,
    },
};

/// Time for the capture to end, and for the decoder to decode what was captured.
const PATIENCE: Duration = Duration::from_secs(2);

/// Decodes, and updates the model.
pub(super) struct Watcher {
    pub(super) pipeline: Pipeline,
    shared: Shared,
    outputs: Vec<Output>,
}

impl Watcher {
    pub(super) fn new(knowledge: &Knowledge, shared: Shared) -> Self {
        Self { pipeline: Pipeline::new(knowledge), shared, outputs: Vec::new() }
    }

    fn deliver(&mut self) {
        if !self.outputs.is_empty() {
            let mut model = self.shared.model();
            for output in self.outputs.drain(..) {
                model.output(&output, self.pipeline.extensions());
            }
        }
    }

    /// Updates the accounts and the numbers.
    pub(super) fn update(&mut self, waiting: u64) {
        let accounts = self.pipeline.accounts_so_far();
        let mut model = self.shared.model();
        model.accounts(&accounts);
        model.progress(self.pipeline.totals(), waiting);
    }
}

impl Work for Watcher {
    fn take(&mut self, event: Event) {
        self.pipeline.push(event, &mut self.outputs);
        self.deliver();
    }

    fn tick(&mut self, now: BootTime, backlog: &Backlog) {
        self.pipeline.tick(now, &mut self.outputs);
        self.deliver();
        self.update(backlog.sends);
    }

    fn reload(&mut self, knowledge: &Knowledge) {
        self.pipeline.set_knowledge(knowledge);
    }

    fn is_useless(&self) -> bool {
        false
    }

    fn finish(&mut self) {
        self.pipeline.finish(&mut self.outputs);
        self.deliver();
        self.update(0);
    }
}

/// Captures, decodes and draws until the user ends it.
pub(super) fn view(
    args: &Args,
    redactor: Redactor,
    look: Look,
    control: UnixStream,
) -> anyhow::Result<ExitCode> {
    sandbox::protect_memory()?;
    let rules = args.watch.rules.read()?;
    let started = Capturing::start(COMMAND, None)?;
    confine::decoder(args.watch.verbose)?;
    let knowledge = rules.parse()?;
    let shared = Shared::new(Model::new(redactor));
    let watcher = Watcher::new(&knowledge, shared.clone());
    let mut ends = draw::start(shared.clone(), look, control).context("cannot draw")?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let (decoding, mut ended) = Decoding::start(watcher)?;
        let mut source = started.begin()?;
        let mut end = End::Wanted;
        let mut is_stopping = false;
        let captured = async {
            loop {
                tokio::select! {
                    next = source.next() => match next? {
                        Some(Captured::Events(events)) => decoding.push(events),
                        Some(Captured::Watching) => shared.model().set_source(Source::Watching),
                        // It was not asked for.
                        Some(Captured::Rules(_)) => {}
                        None => return anyhow::Ok(()),
                    },
                    reason = ends.recv(), if !is_stopping => {
                        end = reason.unwrap_or(End::Wanted);
                        is_stopping = true;
                        source.stop();
                    }
                    // It ends before the stop only if it panics.
                    _ = &mut ended => anyhow::bail!("the decoder has failed; please report this"),
                    () = tokio::time::sleep(PATIENCE), if is_stopping => return Ok(()),
                }
            }
        };
        let captured = captured.await;
        decoding.close();
        if !ended.is_terminated()
            // Without a summary, if that takes long.
            && let Ok(Ok(watcher)) = timeout(PATIENCE, ended).await
        {
            print_summary(&watcher.pipeline);
        }
        captured?;
        anyhow::ensure!(end == End::Wanted, "cannot draw on the terminal any more");
        Ok(ExitCode::SUCCESS)
    })
}
