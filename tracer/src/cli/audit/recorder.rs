//! Records what an audit captures, and passes it to the decoder, in a thread of its own.
//!
//! ```text
//! ring ─▶ Events ─▶ capture loop ─┐ batches                ┌─▶ trace, run.json
//!                                 ├─▶ queue ─▶ recorder ───┤
//!                   Driver ───────┘ journal                └─▶ decoder: Gatherer, reports
//! ```
//!
//! A slow disk or decoder does not stop the capture loop: the queue takes what comes meanwhile. Once the queue is full, batches wait in [`Events`](tracer_host::hook::Events) and then
//! in the ring, whose losses are counted.
//!
//! Journal and batches share the queue. A new stage or visit is queued before it is acted on, so it
//! reaches the disk and the decoder before the requests that it causes.

use std::{
    fs::File,
    io::{self, Write as _},
    sync::{
        Arc,
        mpsc::{self, RecvTimeoutError},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use anyhow::Context as _;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{
    channel::{Answer, Start},
    decoder::Decoder,
    output::{Folder, TRACE},
};
use tracer_audit::journal::Journal;
use tracer_core::record::{Event, trace};

/// Number of events in the queue. With heads of 16 KiB they take up to 256 MiB, but usually far less.
const MAX_QUEUED: usize = 1 << 14;

/// Interval at which the decoder's answers are looked at.
const POLL: Duration = Duration::from_millis(200);

/// Passes events and journals to the recorder's thread.
pub(super) struct Recorder {
    queue: mpsc::Sender<Message>,
    room: Arc<Semaphore>,
    thread: JoinHandle<anyhow::Result<()>>,
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
        start: &Start,
        decoder: Decoder,
    ) -> anyhow::Result<Self> {
        folder.write_journal(&start.journal)?;
        let cannot = || format!("cannot write {}", folder.file(TRACE).display());
        let mut trace = folder.create(TRACE).with_context(cannot)?;
        trace::Writer::new(&mut trace).map(drop).with_context(cannot)?;
        // An error of the decoder is found by the first message that follows.
        let _ = decoder.channel.start(start);
        let (queue, messages) = mpsc::channel();
        let worker = Worker { folder, trace, decoder: Some(decoder), is_writing: false };
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

    /// Waits until everything is recorded, and the report is written.
    pub(super) fn finish(self) -> anyhow::Result<()> {
        drop(self.queue);
        self.thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }
}

struct Worker {
    folder: Arc<Folder>,
    trace: File,
    /// `None` once it has died.
    decoder: Option<Decoder>,
    /// Set while the decoder writes a report.
    is_writing: bool,
}

impl Worker {
    fn run(mut self, messages: &mpsc::Receiver<Message>) -> anyhow::Result<()> {
        loop {
            match messages.recv_timeout(POLL) {
                Ok(message) => self.handle(message)?,
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            self.publish_interim()?;
        }
        self.finish()
    }

    fn handle(&mut self, message: Message) -> anyhow::Result<()> {
        match message {
            Message::Events(batch, _room) => {
                let mut entries = trace::Writer::resume(Vec::new());
                batch.iter().try_for_each(|event| entries.write(event)).context(CANNOT_RECORD)?;
                self.trace.write_all(entries.get_mut()).context(CANNOT_RECORD)?;
                self.pass(|decoder| decoder.channel.events(entries.get_mut()));
            }
            Message::Journal(journal) => {
                self.folder.write_journal(&journal)?;
                self.pass(|decoder| decoder.channel.journal(&journal));
            }
            Message::Report if self.is_writing => {}
            Message::Report => {
                let files = self.folder.begin_report()?;
                self.is_writing = true;
                self.pass(|decoder| decoder.channel.report(&files));
            }
        }
        Ok(())
    }

    /// Passes something to the decoder, if it lives.
    fn pass(&mut self, send: impl FnOnce(&Decoder) -> io::Result<()>) {
        if let Some(decoder) = &self.decoder
            && send(decoder).is_err()
        {
            self.mourn();
        }
    }

    /// Notes that the decoder has died.
    fn mourn(&mut self) {
        message!("the decoding process has died; the audit goes on, and records what is sent");
        self.decoder = None;
        self.is_writing = false;
        self.folder.discard_report();
    }

    /// Puts an interim report in its place, if one was finished.
    fn publish_interim(&mut self) -> anyhow::Result<()> {
        let Some(decoder) = self.decoder.as_ref().filter(|_| self.is_writing) else {
            return Ok(());
        };
        match decoder.channel.poll() {
            Ok(None) => Ok(()),
            Ok(Some(answer)) => self.end_report(answer),
            Err(_) => {
                self.mourn();
                Ok(())
            }
        }
    }

    fn end_report(&mut self, answer: Answer) -> anyhow::Result<()> {
        self.is_writing = false;
        match answer {
            Answer::Written => self.folder.publish_report(),
            Answer::Failed => {
                self.folder.discard_report();
                Ok(())
            }
        }
    }

    /// Makes the decoder write the report.
    fn finish(mut self) -> anyhow::Result<()> {
        if self.is_writing
            && let Some(decoder) = &self.decoder
        {
            match decoder.channel.wait() {
                Some(answer) => self.end_report(answer)?,
                None => self.mourn(),
            }
        }
        let answer = match &self.decoder {
            Some(decoder) => {
                let files = self.folder.begin_report()?;
                decoder.channel.finish(&files).ok().and_then(|()| decoder.channel.wait())
            }
            None => None,
        };
        if let Some(decoder) = self.decoder.take() {
            decoder.join();
        }
        if answer == Some(Answer::Written) {
            return self.folder.publish_report();
        }
        self.folder.discard_report();
        anyhow::bail!(
            "the decoding process did not write the report; make it with `tracer report {}`, and \
             see `dmesg` if the process was killed for lack of memory",
            self.folder.path().display()
        )
    }
}

const CANNOT_RECORD: &str = "cannot write the trace";

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;

    use tracer_audit::{
        canary::{Canary, Hosting, SEED},
        journal::{JOURNAL_SCHEMA, OpenMethod, Outcome, Stage, Subject, Visit},
        phase::Phase,
        report::{Answer, Question, Report},
    };
    use tracer_core::knowledge::Knowledge;
    use tracer_core::record::{BootTime, Clock, Connection, Hook, Process, Record, Transport};

    use super::*;
    use crate::cli::{audit::decoder, rule_files::RuleTexts};

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
        let start = Start::new(journal.clone(), &RuleTexts::default(), true);
        let (ours, theirs) = UnixStream::pair().unwrap();
        let decoder = thread::spawn(move || {
            let mut printed = Vec::new();
            decoder::serve(theirs, &mut printed).map(|()| printed)
        });
        let recorder = Recorder::start(Arc::clone(&folder), &start, Decoder::at(ours)).unwrap();
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
        // An interim report.
        while !folder.file("report.json").exists() {
            thread::sleep(Duration::from_millis(1));
        }
        recorder.finish().unwrap();
        let printed = decoder.join().unwrap().unwrap();
        assert!(String::from_utf8(printed).unwrap().contains("\nYES "));
        let file = |name: &str| std::fs::read(folder.file(name)).unwrap();
        let live = Report::from_json(&file("report.json")).unwrap();
        assert!(!live.complete);
        assert_eq!(live.verdict(Question::Urls).unwrap().answer, Answer::Yes);
        assert_eq!(live.disclosures.len(), 2);
        let names = ["report.json", "report.html", "evidence.har", "evidence.pcapng", "SHA256SUMS"];
        let written = names.map(file);
        let remade = folder.remake_report(&Knowledge::default(), true).unwrap();
        assert_eq!(remade, live);
        assert_eq!(names.map(file), written);
    }

    #[test]
    fn without_a_decoder_everything_is_recorded() {
        let place = tempfile::tempdir().unwrap();
        let folder = Arc::new(Folder::new(&place.path().join("audit")).unwrap());
        let start = Start::new(journal(), &RuleTexts::default(), true);
        let (ours, theirs) = UnixStream::pair().unwrap();
        drop(theirs);
        let recorder = Recorder::start(Arc::clone(&folder), &start, Decoder::at(ours)).unwrap();
        recorder.record_one(post(2, "{}")).unwrap();
        recorder.report().unwrap();
        recorder.record_one(post(3, "{}")).unwrap();
        let err = recorder.finish().unwrap_err();
        assert!(err.to_string().contains("tracer report"), "{err}");
        let trace = std::fs::read(folder.file(TRACE)).unwrap();
        let mut trace = trace::Reader::new(&trace[..]).unwrap();
        let events: Vec<_> = std::iter::from_fn(|| trace.event().unwrap()).collect();
        assert_eq!(events, [post(2, "{}"), post(3, "{}")]);
        let names = std::fs::read_dir(folder.path()).unwrap();
        assert_eq!(names.count(), 2, "a part of a report is left");
    }
}
