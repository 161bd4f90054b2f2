//! A live session: the pipeline, and the outputs of its results.

use std::{
    fs::File,
    io::{self, Write as _},
    time::{Duration, Instant},
};

use super::{
    decoding::Work,
    keep, notify,
    status::{Backlog, StatusFile},
};
use crate::{
    queue::Queue,
    sink::{Human, Json, Sink, SystemLog, Text},
    store::Writer,
};
use tracer_core::{
    account::Accounts,
    alert::{Notice, application_line, arrival_lines, printable, redact::Redactor},
    knowledge::Knowledge,
    pipeline::{Output, Pipeline, Totals},
    record::{BootTime, Event, Losses, trace},
    wording::counted,
};

/// The pipeline of a run, and its outputs. A failing output is named once, and the others go on.
pub(super) struct Session {
    pub(super) pipeline: Pipeline,
    pub(super) redactor: Redactor,
    pub(super) lines: Vec<Lines>,
    pub(super) log: Option<SystemLog>,
    pub(super) store: Option<Writer>,
    /// Set if the events are recorded as well.
    pub(super) is_recorded: bool,
    /// Shows the state to `tracer status`.
    pub(super) status: Option<StatusFile>,
    pub(super) outputs: Vec<Output>,
    /// Set once a request to an unknown host was reported.
    pub(super) says_unknown: bool,
}

/// An output of lines.
pub(super) struct Lines {
    pub(super) queue: Queue,
    pub(super) format: Format,
}

/// The format of lines.
#[derive(Debug)]
pub(super) enum Format {
    /// Text.
    Human(Text),
    /// JSON lines.
    Json,
    /// Words for the process that notifies a user.
    Notifications,
}

/// Maximum number of bytes that wait for an output of lines.
pub(super) const MAX_LINES_WAITING: usize = 16 << 20;

/// Time that the outputs have in all to take what waits at the end of a run.
const PATIENCE: Duration = Duration::from_secs(2);

impl Lines {
    fn notice(&mut self, notice: &Notice) -> io::Result<()> {
        match &mut self.format {
            Format::Human(text) => Human::new(&mut self.queue, text).notice(notice)?,
            Format::Json => Json::new(&mut self.queue).notice(notice)?,
            Format::Notifications => notify::write(notice, &mut self.queue)?,
        }
        self.queue.flush()
    }

    fn summary(&mut self, totals: &Totals, accounts: &Accounts) -> io::Result<()> {
        match &mut self.format {
            Format::Human(text) => Human::new(&mut self.queue, text).summary(totals, accounts)?,
            Format::Json => Json::new(&mut self.queue).summary(totals, accounts)?,
            Format::Notifications => {}
        }
        self.queue.flush()
    }
}

/// Says that an output fails, unless that was said.
fn report_failure(queue: &mut Queue) {
    if let Some(reason) = queue.failure() {
        message!("cannot write to {}: {reason}; the run goes on without it", queue.name());
    }
}

/// Says how much an output did not take.
fn report_lost(queue: &Queue, what: &str) {
    let lost = queue.lost();
    if lost > 0 {
        let lost = counted(lost, what);
        message!("{} lacks {lost}, because it failed or was too slow", queue.name());
    }
}

impl Work for Session {
    fn take(&mut self, event: Event) {
        self.pipeline.push(event, &mut self.outputs);
        self.deliver();
    }

    fn tick(&mut self, now: BootTime, backlog: &Backlog) {
        self.pipeline.tick(now, &mut self.outputs);
        self.deliver();
        if let Some(status) = &self.status {
            status.write(&self.pipeline, backlog, false);
        }
        self.lines.iter_mut().for_each(|lines| report_failure(&mut lines.queue));
        if let Some(store) = &self.store {
            store.sightings(self.pipeline.changed_sightings());
            store.events().for_each(|event| keep::report(&event));
        }
    }

    fn reload(&mut self, knowledge: &Knowledge) {
        self.pipeline.set_knowledge(knowledge);
        message!("the rules were loaded again");
    }

    fn is_useless(&self) -> bool {
        let is_closed = self.lines.iter().all(|lines| lines.queue.is_closed());
        is_closed && self.log.is_none() && self.store.is_none() && !self.is_recorded
    }

    fn finish(&mut self) {
        self.pipeline.finish(&mut self.outputs);
        self.deliver();
        if let Some(status) = &self.status {
            status.write(&self.pipeline, &Backlog::default(), true);
        }
        if let Some(store) = &mut self.store {
            store.sightings(self.pipeline.changed_sightings());
            store.finish();
            store.events().for_each(|event| keep::report(&event));
        }
        let deadline = Instant::now() + PATIENCE;
        for lines in &mut self.lines {
            // A queue takes everything; what it cannot write is counted.
            let _ = lines.summary(self.pipeline.totals(), self.pipeline.accounts());
            lines.queue.finish(deadline.saturating_duration_since(Instant::now()));
            report_failure(&mut lines.queue);
        }
    }
}

impl Session {
    fn deliver(&mut self) {
        self.report_unknown_host();
        for output in self.outputs.drain(..) {
            let Some(notice) = Notice::from_output(&output) else {
                continue;
            };
            let notice = notice.naming(self.pipeline.extensions());
            if let Some(store) = &self.store {
                store.notice(&notice);
            }
            // All sinks show the same digests, so that they can be compared.
            let notice = notice.redacted(&self.redactor);
            for lines in &mut self.lines {
                let _ = lines.notice(&notice);
            }
            if let Some(log) = &mut self.log {
                // It counts what it cannot send.
                let _ = log.notice(&notice);
            }
        }
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
        self.lines.iter().for_each(|lines| report_lost(&lines.queue, "line"));
        let dropped = self.log.as_ref().map_or(0, Sink::dropped);
        if dropped > 0 {
            message!("the system log did not accept {}", counted(dropped, "line"));
        }
        let lost = self.store.as_ref().map_or(0, Writer::lost);
        if lost > 0 {
            message!(
                "{} not stored, because the store was too slow or failed",
                counted(lost, "entry")
            );
        }
    }
}

/// Prints the summary of a pipeline: what it has seen, and what it could not read.
pub(super) fn print_summary(pipeline: &Pipeline) {
    let totals = pipeline.totals();
    message!(
        "{}, {} read, {}, {} by pages (not alerted)",
        counted(totals.sends, "send"),
        counted(totals.requests, "request"),
        counted(totals.alerts, "alert"),
        counted(totals.by_pages, "report")
    );
    if let Some(unread) = unread(totals) {
        message!("not read: {unread}");
    }
    if let Some(unknown) = unknown_hosts(totals) {
        message!("{unknown}");
    }
    if totals.limited_requests > 0 {
        message!(
            "{} not read to the end, because that would have cost too much",
            counted(totals.limited_requests, "request")
        );
    }
    if totals.evicted_connections > 0 {
        message!(
            "{} no longer followed to make room for others; what was sent on them afterwards was \
             read in part only",
            counted(totals.evicted_connections, "connection")
        );
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
        message!(
            "and {} that sent less (--json lists all of them)",
            counted(more as u64, "application")
        );
    }
    for (loss, _, total) in pipeline.losses().since(&Losses::default()) {
        message!("{}", loss.explain(total));
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
        .map(|(bytes, what)| format!("{} {what}", counted(*bytes, "byte")))
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

/// The recording of a run.
pub(super) struct Recording(trace::Writer<Queue>);

/// Maximum number of bytes that wait for the recording.
const MAX_RECORDING_WAITING: usize = 64 << 20;

impl Recording {
    /// Writes the beginning of a recording to an empty file.
    pub(super) fn begin(file: &mut File) -> io::Result<()> {
        trace::Writer::new(file).map(drop)
    }

    /// Starts to record in a file that has the beginning.
    pub(super) fn new(file: File) -> io::Result<Self> {
        let queue = Queue::to_file("the recording", file, MAX_RECORDING_WAITING)?;
        Ok(Self(trace::Writer::resume(queue)))
    }

    /// Records an event.
    pub(super) fn write(&mut self, event: &Event) {
        // The queue counts what it cannot write.
        let _ = self.0.write(event).and_then(|()| self.0.flush());
    }

    /// Says that the recording fails, unless that was said.
    pub(super) fn report(&mut self) {
        report_failure(self.0.get_mut());
    }

    /// Waits for the file.
    pub(super) fn finish(&mut self) {
        let queue = self.0.get_mut();
        queue.finish(PATIENCE);
        report_failure(queue);
        report_lost(queue, "events");
    }
}
