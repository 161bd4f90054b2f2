//! From events to alerts: stream → protocol → content → finding → judgement.
//!
//! Pure: events and a time in, outputs out. `tracer run`, `tracer decode` and
//! the tests drive the same code.

use std::{collections::HashMap, time::Duration};

use serde::Serialize;

use crate::{
    account::{Accounts, Application},
    detect::{Detector, Findings},
    judge::{self, ALERT, Disclosure, Recipient, Sender, Verdict},
    proto::{Decoder, Initiator, Message, Request, Traffic, initiator},
    record::{BootTime, Clock, Event, Loss, Losses, Process},
    stream::{self, Sent, Streams},
};

/// What comes out.
#[derive(Debug)]
pub enum Output {
    /// A request, with what was found in it.
    Request(Box<Decoded>),
    /// An alert was sent again, and is only counted.
    Repeated {
        /// The alert's number ([`Decoded::alert`]).
        alert: u64,
        /// How often since it was last said.
        count: u64,
        /// How often in all, the first time included.
        total: u64,
        /// When it was sent last, in nanoseconds since 1970-01-01 UTC.
        unix: Option<u64>,
    },
    /// Sends were lost before they could be read.
    Lost {
        /// Why.
        loss: Loss,
        /// How many since it was last said.
        count: u64,
        /// How many in all.
        total: u64,
    },
}

/// A request, and what is to be said of it.
#[derive(Debug)]
pub struct Decoded {
    /// The request, who sent it, and where to.
    pub sent: Sent<Request>,
    /// The sender's executable, where it is known.
    pub exe: Option<String>,
    /// When it was sent, in nanoseconds since 1970-01-01 UTC; `None` where the
    /// trace holds no clock.
    pub unix: Option<u64>,
    /// Whose process sent it.
    pub application: Application,
    /// The browser that this application is, by its name in the rules.
    pub browser: Option<String>,
    /// In a private window: `None` where nobody can tell.
    pub private: Option<bool>,
    /// Who made it, as its header fields have it.
    pub initiator: Initiator,
    /// Who made it, all in all.
    pub sender: Sender,
    /// Who gets it.
    pub recipient: Recipient,
    /// What was found in it, and what of it could not be read.
    pub findings: Findings,
    /// What it discloses: each finding, in its context.
    pub disclosures: Vec<Disclosure>,
    /// How bad that is; `None` where it discloses nothing.
    pub verdict: Option<Verdict>,
    /// The alert's number in this run, from 1; `None` where it is none.
    pub alert: Option<u64>,
}

impl Decoded {
    /// Whether it deserves an alert.
    pub fn is_alert(&self) -> bool {
        self.verdict.is_some_and(|verdict| verdict.severity >= ALERT)
    }
}

/// What went through, in numbers: the end of every run says it.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct Totals {
    /// Sends captured.
    pub sends: u64,
    /// Requests decoded.
    pub requests: u64,
    /// Requests that were alerts.
    pub alerts: u64,
    /// Requests in which a page told another site about a URL: counted only.
    pub by_pages: u64,
    /// Bytes of requests that were sent and are not known.
    pub missing_bytes: u64,
    /// Bytes of application data in TLS that nobody read: neither on the socket,
    /// where nobody can, nor at the TLS library.
    pub tls_bytes: u64,
    /// Bytes in other protocols that were not read.
    pub other_bytes: u64,
    /// Values inside requests that could not be read through: bytes.
    pub opaque_bytes: u64,
}

/// Applications whose executables are remembered at a time.
const MAX_EXECUTABLES: usize = 4096;

/// The core, with all its state.
pub struct Pipeline {
    streams: Streams<Decoder>,
    detector: Detector,
    clock: Option<Clock>,
    losses: Losses,
    executables: HashMap<u32, String>,
    totals: Totals,
    accounts: Accounts,
    sent: Vec<Sent<Message>>,
    now: BootTime,
    flushed: BootTime,
}

/// How often what waits in vain is looked for.
const FLUSH: Duration = Duration::from_secs(1);

impl Pipeline {
    /// An empty pipeline.
    pub fn new(detector: Detector) -> Self {
        Self {
            streams: Streams::new(stream::Limits::default(), Default::default()),
            detector,
            clock: None,
            losses: Losses::default(),
            executables: HashMap::new(),
            totals: Totals::default(),
            accounts: Accounts::default(),
            sent: Vec::new(),
            now: BootTime::default(),
            flushed: BootTime::default(),
        }
    }

    /// Takes the next event.
    pub fn push(&mut self, event: Event, out: &mut Vec<Output>) {
        match event {
            Event::Sent(record) => {
                self.totals.sends += 1;
                let time = record.time;
                self.streams.push(&record, &mut self.sent);
                self.deliver(out);
                self.tick(time, out);
            }
            Event::Lost(losses) => {
                out.extend(losses.since(&self.losses).map(|(loss, count, total)| Output::Lost {
                    loss,
                    count,
                    total,
                }));
                self.losses = losses;
            }
            Event::Clock(clock) => self.clock = Some(clock),
            Event::Executable { tgid, path } => {
                if self.executables.len() >= MAX_EXECUTABLES {
                    // Process ids wander; a new start costs a name or two.
                    self.executables.clear();
                }
                self.executables.insert(tgid, path);
            }
        }
    }

    /// Tells the time: gives out what waited too long.
    pub fn tick(&mut self, now: BootTime, out: &mut Vec<Output>) {
        self.now = self.now.max(now);
        if self.now.since(self.flushed) < FLUSH {
            return;
        }
        self.flushed = self.now;
        self.streams.flush_stale(self.now, &mut self.sent);
        self.streams.expire(self.now, &mut self.sent);
        self.deliver(out);
    }

    /// There are no more events: gives out everything.
    pub fn finish(&mut self, out: &mut Vec<Output>) {
        self.streams.finish(&mut self.sent);
        self.deliver(out);
    }

    /// What went through so far.
    pub fn totals(&self) -> &Totals {
        &self.totals
    }

    /// What each application sent, and how much of it was read. Connections
    /// count when they end, or at [`Pipeline::finish`].
    pub fn accounts(&self) -> &Accounts {
        &self.accounts
    }

    /// What the connections could not hand on.
    pub fn stream_counters(&self) -> &stream::Counters {
        self.streams.counters()
    }

    /// What the programs did not deliver.
    pub fn losses(&self) -> &Losses {
        &self.losses
    }

    fn deliver(&mut self, out: &mut Vec<Output>) {
        for sent in std::mem::take(&mut self.sent) {
            let Sent { connection, hook, process, message } = sent;
            match message {
                Message::Request(message) => {
                    let sent = Sent { connection, hook, process, message };
                    let decoded = self.decode(sent);
                    out.push(Output::Request(Box::new(decoded)));
                }
                Message::Name(name) => self.accounts.named(self.application(&process), &name),
                Message::Ended(traffic) => {
                    self.count_unread(&traffic);
                    self.accounts.ended(self.application(&process), &connection, &traffic);
                }
            }
        }
    }

    /// A request that comes from no trace.
    pub fn request(&mut self, sent: Sent<Request>) -> Decoded {
        self.decode(sent)
    }

    fn decode(&mut self, sent: Sent<Request>) -> Decoded {
        let initiator = initiator(&sent.message);
        let findings = self.detector.find(&sent.message);
        let verdict = judge::judge(&findings.list, initiator, sent.message.head_cut.is_some());
        let decoded = Decoded {
            application: self.application(&sent.process),
            browser: None,
            private: None,
            sender: initiator,
            recipient: Recipient::Unknown,
            disclosures: Vec::new(),
            alert: None,
            exe: self.executables.get(&sent.process.tgid).cloned(),
            unix: self.clock.map(|clock| clock.unix(sent.message.time)),
            initiator,
            findings,
            verdict,
            sent,
        };
        self.count(&decoded);
        let opaque = decoded.findings.report.opaque;
        if opaque > 0 {
            self.accounts.opaque(self.application(&decoded.sent.process), opaque);
        }
        decoded
    }

    fn application(&self, process: &Process) -> Application {
        let executable = self.executables.get(&process.tgid).map(String::as_str);
        Application::new(process.uid, executable, &process.comm)
    }

    fn count(&mut self, decoded: &Decoded) {
        let totals = &mut self.totals;
        totals.requests += 1;
        totals.alerts += u64::from(decoded.is_alert());
        let page = decoded.initiator == Initiator::Page
            && decoded.findings.list.iter().any(|f| f.kind == crate::detect::Kind::Url);
        totals.by_pages += u64::from(page);
        totals.missing_bytes += decoded.sent.message.unread_bytes;
        totals.opaque_bytes += decoded.findings.report.opaque;
    }

    fn count_unread(&mut self, traffic: &Traffic) {
        let unread = &traffic.unread;
        self.totals.tls_bytes += unread.tls;
        self.totals.other_bytes += unread.bytes() - unread.tls;
        self.totals.missing_bytes += unread.gaps;
    }
}

#[cfg(test)]
mod tests;
