//! A live session: the pipeline, and the outputs of its results.

use std::{fs::File, io::BufWriter};

use anyhow::Context as _;

use super::keep;
use crate::{sink::Sink, store::Writer};
use tracer_core::{
    alert::{Notice, application_line, arrival_lines, printable, redact::Redactor},
    pipeline::{Output, Pipeline, Totals},
    record::{Event, Losses, trace},
};
use tracer_host::hook;

/// The pipeline of a run, and its outputs.
pub(super) struct Session {
    pub(super) pipeline: Pipeline,
    pub(super) redactor: Redactor,
    pub(super) sinks: Vec<Box<dyn Sink>>,
    pub(super) store: Option<Writer>,
    pub(super) recording: Option<trace::Writer<BufWriter<File>>>,
    pub(super) outputs: Vec<Output>,
    /// Set once a request to an unknown host was reported.
    pub(super) says_unknown: bool,
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

    /// Does the periodic work. Called every second.
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
        self.report_unknown_host();
        let notices = self.outputs.drain(..).filter_map(|output| Notice::from_output(&output));
        let notices: Vec<_> = notices.collect();
        // The store comes first, because a sink that fails ends the run.
        if let Some(store) = &self.store {
            notices.iter().for_each(|notice| store.notice(notice));
        }
        for notice in notices {
            // All sinks show the same digests, so that they can be compared.
            let notice = notice.redacted(&self.redactor);
            self.sinks.iter_mut().try_for_each(|sink| sink.notice(&notice))?;
        }
        self.sinks.iter_mut().try_for_each(|sink| sink.flush())?;
        Ok(())
    }

    /// Prints a message at the first request whose host is unknown.
    fn report_unknown_host(&mut self) {
        if self.says_unknown {
            return;
        }
        let unknown = self.outputs.iter().find_map(|output| match output {
            Output::Request(request) if request.has_unknown_host() => Some(request),
            _ => None,
        });
        if let Some(request) = unknown {
            let name = printable(request.application.name());
            message!(
                "{name} sends requests on a connection that it opened before tracer started, so \
                 their host is unknown; restart it to see the hosts"
            );
            self.says_unknown = true;
        }
    }

    /// Prints the summary of the run.
    pub(super) fn summary(&self) {
        print_summary(&self.pipeline);
        let dropped: u64 = self.sinks.iter().map(|sink| sink.dropped()).sum();
        if dropped > 0 {
            message!("the system log did not accept {dropped} lines");
        }
        let lost = self.store.as_ref().map_or(0, Writer::lost);
        if lost > 0 {
            message!("{lost} entries were not stored, because the store was too slow or failed");
        }
    }
}

/// Prints the summary of a pipeline: what it has seen, and what it could not read.
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
    if let Some(unknown) = unknown_hosts(totals) {
        message!("{unknown}");
    }
    let applications = pipeline.accounts().applications();
    for (application, account) in applications.iter().take(MAX_LINES) {
        message!("{}", application_line(application, account));
        if account.arrivals.only_this_machine() {
            message!("  no other machine was reached");
        }
        for line in arrival_lines(account, pipeline.accounts().clock()) {
            message!("  {line}");
        }
    }
    if let Some(more) = applications.len().checked_sub(MAX_LINES).filter(|&more| more > 0) {
        message!("and {more} applications that sent less (--json lists all of them)");
    }
    for (loss, _, total) in pipeline.losses().since(&Losses::default()) {
        message!("{total} {}", loss.explain());
    }
}

/// Describes the bytes that were not read. Returns `None` if all were read.
pub(super) fn unread(totals: &Totals) -> Option<String> {
    let unread = [
        (totals.tls_bytes, "encrypted (TLS)"),
        (totals.other_bytes, "in unsupported protocols"),
        (totals.missing_bytes, "not captured"),
        (totals.opaque_bytes, "in bodies of unknown encoding"),
    ];
    let unread: Vec<String> = unread
        .iter()
        .filter(|(bytes, _)| *bytes > 0)
        .map(|(bytes, what)| format!("{bytes} bytes {what}"))
        .collect();
    (!unread.is_empty()).then(|| unread.join(", "))
}

/// Describes the requests whose host is unknown. Returns `None` if there are none.
pub(super) fn unknown_hosts(totals: &Totals) -> Option<String> {
    let count = totals.unknown_hosts;
    let requests = if count == 1 { "request" } else { "requests" };
    (count > 0).then(|| {
        format!(
            "{count} {requests} to unknown hosts, on connections that were open before the run: \
             restart the browser while tracer runs"
        )
    })
}

/// Maximum number of applications in the summary.
const MAX_LINES: usize = 20;
