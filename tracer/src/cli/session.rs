//! Everything from the events on, live: the core, and all that is told and
//! kept.

use std::{fs::File, io::BufWriter};

use anyhow::Context as _;

use super::keep;
use crate::{sink::Sink, store::Writer};
use tracer_core::{
    alert::application_line,
    pipeline::{Output, Pipeline, Totals},
    record::{Event, Losses, trace},
};
use tracer_host::hook;

/// A run.
pub(super) struct Session {
    pub(super) pipeline: Pipeline,
    pub(super) sinks: Vec<Box<dyn Sink>>,
    pub(super) store: Option<Writer>,
    pub(super) recording: Option<trace::Writer<BufWriter<File>>>,
    pub(super) outputs: Vec<Output>,
}

impl Session {
    pub(super) fn take(&mut self, batch: Vec<Event>) -> anyhow::Result<()> {
        for event in batch {
            if let Some(recording) = &mut self.recording {
                recording.write(&event).context("cannot write the recording")?;
            }
            self.pipeline.push(event, &mut self.outputs);
        }
        self.deliver()
    }

    /// What is to be done each second.
    pub(super) fn tick(&mut self) -> anyhow::Result<()> {
        self.pipeline.tick(hook::boot_time(), &mut self.outputs);
        self.flush_recording()?;
        self.deliver()?;
        if let Some(store) = &self.store {
            store.sightings(self.pipeline.changed_sightings());
            store.events().for_each(|event| keep::report(&event));
        }
        Ok(())
    }

    pub(super) fn finish(&mut self) -> anyhow::Result<()> {
        self.pipeline.finish(&mut self.outputs);
        self.deliver()?;
        if let Some(store) = &mut self.store {
            store.sightings(self.pipeline.changed_sightings());
            store.finish();
            store.events().for_each(|event| keep::report(&event));
        }
        for sink in &mut self.sinks {
            sink.summary(self.pipeline.totals(), self.pipeline.accounts())?;
            sink.flush()?;
        }
        self.flush_recording()
    }

    fn flush_recording(&mut self) -> anyhow::Result<()> {
        match &mut self.recording {
            Some(recording) => recording.flush().context("cannot write the recording"),
            None => Ok(()),
        }
    }

    fn deliver(&mut self) -> anyhow::Result<()> {
        if self.outputs.is_empty() {
            return Ok(());
        }
        // First of all: a sink that fails ends the run.
        if let Some(store) = &self.store {
            self.outputs.iter().for_each(|output| store.output(output));
        }
        for sink in &mut self.sinks {
            for output in &self.outputs {
                sink.output(output)?;
            }
            sink.flush()?;
        }
        self.outputs.clear();
        Ok(())
    }

    /// What was seen and what was not, for people.
    pub(super) fn summary(&self) {
        print_summary(&self.pipeline);
        let dropped: u64 = self.sinks.iter().map(|sink| sink.dropped()).sum();
        if dropped > 0 {
            message!("{dropped} lines were not taken by the system's log");
        }
        let lost = self.store.as_ref().map_or(0, Writer::lost);
        if lost > 0 {
            message!("{lost} entries are not in the store: it did not keep up, or failed");
        }
    }
}

/// The last words of a run: what was seen, and what was not.
pub(super) fn print_summary(pipeline: &Pipeline) {
    let totals = pipeline.totals();
    message!(
        "{} sends, {} requests read, {} alerts, {} reports by pages (not alerted)",
        totals.sends,
        totals.requests,
        totals.alerts,
        totals.by_pages
    );
    if let Some(unread) = unread(totals) {
        message!("not read: {unread}");
    }
    let applications = pipeline.accounts().applications();
    for (application, account) in applications.iter().take(MAX_LINES) {
        message!("{}", application_line(application, account));
    }
    if let Some(more) = applications.len().checked_sub(MAX_LINES).filter(|&more| more > 0) {
        message!("and {more} applications that sent less (all of them: --json)");
    }
    for (loss, _, total) in pipeline.losses().since(&Losses::default()) {
        message!("{total} {}", loss.explain());
    }
}

/// What was not read; `None` where that is nothing.
pub(super) fn unread(totals: &Totals) -> Option<String> {
    let unread = [
        (totals.tls_bytes, "encrypted (TLS)"),
        (totals.other_bytes, "in protocols that are not read"),
        (totals.missing_bytes, "not captured"),
        (totals.opaque_bytes, "in bodies that could not be read through"),
    ];
    let unread: Vec<String> = unread
        .iter()
        .filter(|(bytes, _)| *bytes > 0)
        .map(|(bytes, what)| format!("{bytes} bytes {what}"))
        .collect();
    (!unread.is_empty()).then(|| unread.join(", "))
}

/// Applications that the last words name.
const MAX_LINES: usize = 20;
