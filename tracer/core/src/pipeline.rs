//! From events to alerts: stream → protocol → content → finding → judgement.
//!
//! Pure: events and a time in, outputs out. `tracer run`, `tracer decode` and
//! the tests drive the same code.

mod programs;
mod waiting;

use std::{sync::Arc, time::Duration};

use serde::Serialize;

use self::{
    programs::{Program, Programs},
    waiting::Waiting,
};
use crate::{
    account::Accounts,
    address::Address,
    application::Application,
    detect::{Detector, Findings},
    finding::{ALERT, Recipient, Sender, Verdict},
    judge::{Disclosure, Judge, Judged, News, Origin, Repeats, Sighting},
    knowledge::Knowledge,
    proto::{Decoder, Initiator, Message, Request, Traffic, initiator},
    record::{BootTime, Clock, Event, Loss, Losses, Transport},
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
#[derive(Debug, Clone)]
pub struct Decoded {
    /// The request, who sent it, and where to.
    pub sent: Sent<Request>,
    /// Its number in this run, from 0. When it is judged again, it keeps it.
    pub number: u64,
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
    /// The number of the alert that this repeats.
    pub repeats: Option<u64>,
}

impl Decoded {
    /// Whether it is an alert, and not only the repetition of one.
    pub fn is_alert(&self) -> bool {
        self.alert.is_some()
    }

    /// Whether its findings are grave enough for an alert.
    fn alarms(&self) -> bool {
        self.verdict.as_ref().is_some_and(|verdict| verdict.severity >= ALERT)
    }

    /// What tells one alert from another: who told whom what, in which way.
    fn news(&self) -> impl std::hash::Hash + use<> {
        let request = &self.sent.message;
        let path = request.target().split('?').next().unwrap_or_default().to_owned();
        let told: Vec<_> = self
            .disclosures
            .iter()
            .filter(|one| one.verdict.severity >= ALERT)
            .map(|one| (one.finding.kind, one.finding.value.clone(), one.finding.chain.clone()))
            .collect();
        let severity = self.verdict.as_ref().map(|verdict| verdict.severity);
        let process = self.sent.process.tgid;
        (self.application.clone(), process, request.authority.clone(), path, told, severity)
    }
}

/// What went through, in numbers: the end of every run says it.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct Totals {
    /// Sends captured.
    pub sends: u64,
    /// Requests decoded.
    pub requests: u64,
    /// Alerts.
    pub alerts: u64,
    /// Repetitions of alerts.
    pub repeated: u64,
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

/// The core, with all its state.
pub struct Pipeline {
    streams: Streams<Decoder>,
    detector: Detector,
    clock: Option<Clock>,
    losses: Losses,
    programs: Programs,
    /// The browser that all requests are judged as, whatever sent them.
    assumed: Option<String>,
    judge: Judge,
    repeats: Repeats,
    waiting: Waiting,
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
    pub fn new(knowledge: &Knowledge) -> Self {
        let rules = knowledge.rules();
        Self {
            streams: Streams::new(stream::Limits::default(), Default::default()),
            detector: Detector::new(Arc::clone(rules), Arc::clone(knowledge.lexicon())),
            judge: Judge::new(Arc::clone(rules)),
            assumed: None,
            repeats: Repeats::default(),
            waiting: Waiting::default(),
            clock: None,
            losses: Losses::default(),
            programs: Programs::default(),
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
                // Another program has other arguments; they come next.
                *self.programs.of_mut(tgid) = Program { path: Some(path), arguments: Vec::new() };
            }
            Event::Arguments { tgid, arguments } => {
                self.programs.of_mut(tgid).arguments = arguments;
            }
            Event::Packages { app, names } => self.programs.installed(app, names),
        }
    }

    /// Judges everything as if this browser had sent it. Says whether the rules
    /// know one of that name.
    pub fn assume(&mut self, browser: &str) -> bool {
        let rules = Arc::clone(self.judge.rules());
        let known = rules.browser_named(browser);
        self.assumed = known.map(|known| known.name.to_string());
        known.is_some()
    }

    /// Takes the identifiers that earlier runs saw.
    pub fn remember(&mut self, sightings: Vec<Sighting>) {
        self.judge.remember(sightings);
    }

    /// The identifiers that were seen since this was last asked.
    pub fn changed_sightings(&mut self) -> Vec<Sighting> {
        self.judge.changed_sightings()
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
        self.waiting.expire(self.now);
        let due = self.repeats.due(self.now);
        self.say(due, out);
    }

    /// There are no more events: gives out everything.
    pub fn finish(&mut self, out: &mut Vec<Output>) {
        self.streams.finish(&mut self.sent);
        self.deliver(out);
        let rest = self.repeats.all();
        self.say(rest, out);
    }

    /// Says how often alerts came again.
    fn say(&self, counts: Vec<crate::judge::Count>, out: &mut Vec<Output>) {
        let unix = |time| self.clock.map(|clock| clock.unix(time));
        out.extend(counts.into_iter().map(|again| Output::Repeated {
            alert: again.alert,
            count: again.count,
            total: again.total,
            unix: unix(again.time),
        }));
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

    /// The same, kept.
    pub fn into_accounts(self) -> Accounts {
        self.accounts
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
                    self.request(sent, out);
                }
                Message::Name(name) => {
                    let application = self.programs.application(&process);
                    self.judge.asked_for(&application, &name.name, name.time);
                    self.accounts.named(application, &name);
                }
                Message::Ended(traffic) => {
                    self.count_unread(&traffic);
                    self.accounts.ended(self.programs.application(&process), &connection, &traffic);
                }
            }
        }
    }

    /// Takes a request that comes from no trace.
    pub fn request(&mut self, sent: Sent<Request>, out: &mut Vec<Output>) {
        let decoded = self.decode(sent);
        let page = page(&decoded);
        let application = decoded.application.clone();
        let time = decoded.sent.message.time;
        out.push(Output::Request(Box::new(decoded)));
        let Some(page) = page else {
            return;
        };
        if self.judge.opened(&application, &page, time) {
            // Who was told of the page before it was opened was told of a visit
            // all the same.
            for early in self.waiting.take(&application, &page) {
                self.judge_again(early, out);
            }
        }
    }

    fn decode(&mut self, sent: Sent<Request>) -> Decoded {
        let application = self.programs.application(&sent.process);
        let initiator = initiator(&sent.message);
        let findings = self.detector.find_among(&sent.message, self.judge.visits(&application));
        let program = self.programs.of(sent.process.tgid);
        let decoded = Decoded {
            number: self.totals.requests,
            exe: program.and_then(|program| program.path.clone()),
            unix: self.clock.map(|clock| clock.unix(sent.message.time)),
            application,
            browser: None,
            private: None,
            initiator,
            sender: initiator,
            recipient: Recipient::Unknown,
            findings,
            disclosures: Vec::new(),
            verdict: None,
            alert: None,
            repeats: None,
            sent,
        };
        let decoded = self.judged(decoded);
        self.count(&decoded);
        let opaque = decoded.findings.report.unread();
        if opaque > 0 {
            self.accounts.opaque(decoded.application.clone(), opaque);
        }
        self.waiting.add(&decoded);
        decoded
    }

    /// Judges a request by what is known now.
    fn judged(&mut self, mut decoded: Decoded) -> Decoded {
        let rules = Arc::clone(self.judge.rules());
        let program = self.programs.of(decoded.sent.process.tgid);
        let arguments = program.map_or(&[][..], |program| &program.arguments);
        let browser = match &self.assumed {
            Some(name) => rules.browser_named(name),
            // On Android the executable is the system's, and the first argument
            // the application's name, unless it has changed it.
            None => [
                decoded.application.package.as_deref(),
                decoded.exe.as_deref(),
                arguments.first().map(String::as_str),
            ]
            .into_iter()
            .flatten()
            .find_map(|name| rules.browser(name)),
        };
        let private = browser.and_then(|browser| browser.is_private(arguments));
        let origin = Origin {
            application: &decoded.application,
            browser,
            private,
            request: decoded.number,
            process: decoded.sent.process.tgid,
            connection: decoded.sent.connection.key,
            unix: decoded.unix.unwrap_or_default(),
            initiator: decoded.initiator,
        };
        let judged = self.judge.judge(&decoded.sent.message, &mut decoded.findings, &origin);
        let Judged { sender, recipient, disclosures, verdict } = judged;
        decoded.browser = browser.map(|browser| browser.name.to_string());
        decoded.private = private;
        Decoded { sender, recipient, disclosures, verdict, ..decoded }.numbered(&mut self.repeats)
    }

    /// Judges a request again that told of a page before it was opened. It is
    /// given out only where that makes it worse.
    fn judge_again(&mut self, early: Decoded, out: &mut Vec<Output>) {
        let before = early.verdict.as_ref().map(|verdict| verdict.severity);
        let mut again = self.judged(Decoded { alert: None, repeats: None, ..early });
        if again.verdict.as_ref().map(|verdict| verdict.severity) > before && again.alarms() {
            again.sent.message.update = true;
            self.totals.alerts += u64::from(again.is_alert());
            out.push(Output::Request(Box::new(again)));
        }
    }

    fn count(&mut self, decoded: &Decoded) {
        let totals = &mut self.totals;
        totals.requests += 1;
        totals.alerts += u64::from(decoded.is_alert());
        totals.repeated += u64::from(decoded.repeats.is_some());
        let page = decoded.initiator == Initiator::Page
            && decoded.findings.list.iter().any(|f| f.kind == crate::finding::Kind::Url);
        totals.by_pages += u64::from(page);
        totals.missing_bytes += decoded.sent.message.unread_bytes;
        totals.opaque_bytes += decoded.findings.report.unread();
    }

    fn count_unread(&mut self, traffic: &Traffic) {
        let unread = &traffic.unread;
        self.totals.tls_bytes += unread.tls;
        self.totals.other_bytes += unread.bytes() - unread.tls;
        self.totals.missing_bytes += unread.gaps;
    }
}

impl Decoded {
    /// With its number, if it is an alert, or that of the one it repeats.
    fn numbered(mut self, repeats: &mut Repeats) -> Self {
        if self.alarms() {
            match repeats.observe(self.news(), self.sent.message.time) {
                News::New(number) => self.alert = Some(number),
                News::Again(number) => self.repeats = Some(number),
            }
        }
        self
    }
}

/// The page that a request says is open: the one it navigates to, or the one
/// that it comes from.
fn page(decoded: &Decoded) -> Option<String> {
    let request = &decoded.sent.message;
    match decoded.sender {
        Sender::Navigation if !request.path_is_cut() => {
            let scheme = match decoded.sent.connection.transport {
                Transport::Tls => "https",
                Transport::Tcp | Transport::Udp => "http",
            };
            let authority = request.authority.as_deref()?;
            Some(format!("{scheme}://{authority}{}", request.path.as_deref()?))
        }
        // A referrer that policy has cut to its origin names no page.
        Sender::Page if request.head_cut.is_none() => {
            let referer = std::str::from_utf8(request.header("referer")?).ok()?;
            let address = Address::parse(referer)?;
            (referer.starts_with("http") && !address.is_host()).then(|| referer.to_owned())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests;
