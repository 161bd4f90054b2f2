//! Records and decodes what an audit captures, in a thread of its own.
//!
//! ```text
//! ring ─▶ Events ─▶ capture loop ─┐ batches
//!                                 ├─▶ queue ─▶ recorder ─▶ trace, run.json, Gatherer
//!                   Driver ───────┘ journal                    └─▶ thread: interim reports
//! ```
//!
//! A slow disk or a long report does not stop the capture loop: the queue takes what comes
//! meanwhile. Once the queue is full, batches wait in [`Events`](tracer_host::hook::Events) and then
//! in the ring, whose losses are counted.
//!
//! Journal and batches share the queue. A new stage or visit is queued before it is acted on, so it
//! reaches the gatherer and the disk before the requests that it causes.

use std::{
    fs::File,
    io::BufWriter,
    sync::{
        Arc,
        mpsc::{self, RecvTimeoutError},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::Context as _;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::output::{Folder, TRACE};
use tracer_audit::{Gatherer, journal::Journal};
use tracer_core::{
    knowledge::Knowledge,
    record::{Event, trace},
};

/// Number of events in the queue. With heads of 16 KiB they take up to 256 MiB, but usually far less.
const MAX_QUEUED: usize = 1 << 14;

/// Longest time that events stay in the buffer of the trace file.
const FLUSH: Duration = Duration::from_millis(200);

/// Passes events and journals to the recorder's thread.
pub(super) struct Recorder {
    queue: mpsc::Sender<Message>,
    room: Arc<Semaphore>,
    thread: JoinHandle<anyhow::Result<Gatherer>>,
}

enum Message {
    /// Events, and their room in the queue, which is given back when they have been recorded.
    Events(Vec<Event>, Option<OwnedSemaphorePermit>),
    Journal(Box<Journal>),
    Report,
}

impl Recorder {
    /// Writes the journal, and starts the thread.
    pub(super) fn start(
        folder: Arc<Folder>,
        journal: Journal,
        knowledge: &Knowledge,
        show_values: bool,
    ) -> anyhow::Result<Self> {
        folder.write_journal(&journal)?;
        let trace = folder
            .create(TRACE)
            .and_then(|file| trace::Writer::new(BufWriter::new(file)))
            .with_context(|| format!("cannot write {}", folder.file(TRACE).display()))?;
        let (queue, messages) = mpsc::channel();
        let gatherer = Gatherer::new(journal, knowledge);
        let worker = Worker { folder, trace, gatherer, show_values, report: None };
        let thread = thread::Builder::new()
            .name("tracer-recorder".into())
            .spawn(move || worker.run(&messages))?;
        Ok(Self { queue, room: Arc::new(Semaphore::new(MAX_QUEUED)), thread })
    }

    /// Adds a batch of events, as soon as the queue has room for it.
    pub(super) async fn record(&self, batch: Vec<Event>) -> anyhow::Result<()> {
        let count = batch.len().min(MAX_QUEUED) as u32;
        let room = Arc::clone(&self.room).acquire_many_owned(count).await?;
        self.send(Message::Events(batch, Some(room)))
    }

    /// Adds an event that does not come from the ring. There are few of them.
    pub(super) fn record_one(&self, event: Event) -> anyhow::Result<()> {
        self.send(Message::Events(vec![event], None))
    }

    /// Replaces the journal.
    pub(super) fn journal(&self, journal: &Journal) -> anyhow::Result<()> {
        self.send(Message::Journal(Box::new(journal.clone())))
    }

    /// Starts an interim report, unless the last one is still being written.
    pub(super) fn report(&self) -> anyhow::Result<()> {
        self.send(Message::Report)
    }

    fn send(&self, message: Message) -> anyhow::Result<()> {
        // `finish` returns the error that ended the thread.
        self.queue.send(message).context("the recording has ended")
    }

    /// Waits until everything is recorded.
    pub(super) fn finish(self) -> anyhow::Result<Gatherer> {
        drop(self.queue);
        self.thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }
}

struct Worker {
    folder: Arc<Folder>,
    trace: trace::Writer<BufWriter<File>>,
    gatherer: Gatherer,
    show_values: bool,
    /// The interim report that was started last.
    report: Option<JoinHandle<()>>,
}

impl Worker {
    fn run(mut self, messages: &mpsc::Receiver<Message>) -> anyhow::Result<Gatherer> {
        let mut flushed = Instant::now();
        loop {
            match messages.recv_timeout(FLUSH) {
                Ok(message) => self.handle(message)?,
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            if flushed.elapsed() >= FLUSH {
                self.trace.flush().context(CANNOT_RECORD)?;
                flushed = Instant::now();
            }
        }
        self.trace.flush().context(CANNOT_RECORD)?;
        // It would overwrite the final report.
        if let Some(report) = self.report.take() {
            report.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        }
        Ok(self.gatherer)
    }

    fn handle(&mut self, message: Message) -> anyhow::Result<()> {
        match message {
            Message::Events(batch, _room) => {
                for event in batch {
                    self.trace.write(&event).context(CANNOT_RECORD)?;
                    self.gatherer.push(event);
                }
            }
            Message::Journal(journal) => {
                self.folder.write_journal(&journal)?;
                self.gatherer.update_journal(*journal);
            }
            Message::Report => self.start_report(),
        }
        Ok(())
    }

    /// Writes a report in a thread of its own, so that decoding goes on.
    fn start_report(&mut self) {
        if self.report.as_ref().is_some_and(|thread| !thread.is_finished()) {
            return;
        }
        let observations = self.gatherer.observations();
        let (folder, show_values) = (Arc::clone(&self.folder), self.show_values);
        let started = thread::Builder::new().name("tracer-report".into()).spawn(move || {
            if let Err(err) = folder.write_report(&observations, show_values) {
                message!("cannot write an interim report: {err:#}");
            }
        });
        match started {
            Ok(thread) => self.report = Some(thread),
            Err(err) => message!("cannot write an interim report: {err}"),
        }
    }
}

const CANNOT_RECORD: &str = "cannot write the trace";

#[cfg(test)]
mod tests {
    use tracer_audit::{
        canary::{Canary, Hosting, SEED},
        journal::{JOURNAL_SCHEMA, OpenMethod, Outcome, Stage, Subject, Visit},
        phase::Phase,
        report::{Answer, Question, Report},
    };
    use tracer_core::record::{BootTime, Clock, Connection, Hook, Process, Record, Transport};

    use super::*;

    fn journal() -> Journal {
        Journal {
            schema: JOURNAL_SCHEMA,
            run: "1".into(),
            redaction_key: "00".repeat(16),
            subject: Subject { name: "a browser".into(), ..Subject::default() },
            clock: Clock { boot: BootTime(0), unix: 1_795_341_600_000_000_000 },
            began: BootTime(1),
            ended: None,
            interrupted: false,
            stages: Vec::new(),
        }
    }

    fn post(time: u64, body: &str) -> Event {
        let request = format!(
            "POST /r HTTP/1.1\r\nHost: collector.example\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        Event::Sent(Record {
            hook: Hook::SslWrite,
            time: BootTime(time),
            process: Process { uid: 1000, tgid: 7, tid: 7, comm: "browser".into() },
            connection: Connection {
                key: time,
                transport: Transport::Tls,
                local: None,
                remote: None,
            },
            within_tls: None,
            position: None,
            offset: 0,
            len: Some(request.len() as u32),
            payload: request.into_bytes().into(),
        })
    }

    #[test]
    fn the_live_report_equals_the_one_that_is_made_again() {
        let place = tempfile::tempdir().unwrap();
        let folder = Arc::new(Folder::new(&place.path().join("audit")).unwrap());
        let mut journal = journal();
        let knowledge = Knowledge::default();
        let recorder =
            Recorder::start(Arc::clone(&folder), journal.clone(), &knowledge, true).unwrap();
        let hosting = Hosting::Below("https://pages.example".into());
        for (i, phase) in [Phase::Pages, Phase::Restart].into_iter().enumerate() {
            let at = 100 * (i as u64 + 1);
            let canary = Canary::new(i as u64 + 1, &hosting, &[i as u8; SEED]);
            let body = format!(r#"{{"client_id":"7f3c2a10-9b1e-4c57","u":"{}"}}"#, canary.url);
            let (how, served) = (OpenMethod::Opened, None);
            journal.stages.push(Stage {
                phase,
                began: BootTime(at),
                ended: None,
                outcome: Outcome::Done,
                visits: vec![Visit { canary, how, at: BootTime(at + 1), served }],
                idle: Vec::new(),
            });
            recorder.journal(&journal).unwrap();
            recorder.record_one(post(at + 2, &body)).unwrap();
            recorder.report().unwrap();
        }
        let gatherer = recorder.finish().unwrap();
        let interim = std::fs::read(folder.file("report.json")).unwrap();
        assert!(!Report::from_json(&interim).unwrap().complete);

        let live = folder.write_report(&gatherer.finish(), true).unwrap();
        assert_eq!(live.verdict(Question::Urls).unwrap().answer, Answer::Yes);
        assert_eq!(live.disclosures.len(), 2);
        let file = |name: &str| std::fs::read(folder.file(name)).unwrap();
        let names = ["report.json", "report.html", "evidence.har", "evidence.pcapng", "SHA256SUMS"];
        let written = names.map(file);
        assert_eq!(folder.remake_report(&knowledge, true).unwrap(), live);
        assert_eq!(names.map(file), written);
    }
}
