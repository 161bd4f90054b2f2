//! From events to judged requests: stream → protocol → content → findings →
//! judgement.
//!
//! The pipeline takes events and times, and returns outputs. `tracer run`,
//! `tracer decode`, audits and tests drive the same code.

mod hosts;
mod lookups;
mod programs;
mod unfinished;
mod waiting;

use std::{sync::Arc, time::Duration};

use serde::Serialize;

use self::{
    hosts::Hosts, lookups::Lookups, programs::Programs, unfinished::Unfinished, waiting::Waiting,
};
use crate::{
    account::Accounts,
    address::{Site, host_of_authority},
    application::Application,
    detect::{Context, Detector, Memo},
    extensions::Extensions,
    finding::{Finding, Kind, Sender},
    judge::{AlertStatus, DecodedRequest, HostSource, Judge, JudgedRequest, Repetitions, Sighting},
    knowledge::Knowledge,
    proto::{Decoder, Initiator, Message, NameSource, Request, ServerName, Traffic, initiator},
    record::{BootTime, Clock, Event, Loss, Losses, Record},
    rules::{Browser, Rules},
    stream::{self, Pairing, Sent, Streams},
    visits::Page,
};

/// An output of the pipeline.
#[derive(Debug)]
pub enum Output {
    /// A judged request.
    Request(Arc<JudgedRequest>),
    /// An alert was repeated. Repetitions are only counted.
    Repeated {
        /// Number of the alert.
        alert: u64,
        /// Number of repetitions since the last output about this alert.
        count: u64,
        /// Number of occurrences, the first one included.
        total: u64,
        /// Time of the last occurrence, in nanoseconds since 1970-01-01 UTC.
        unix: Option<u64>,
    },
    /// Sends were lost before they could be read.
    Lost {
        /// The reason.
        loss: Loss,
        /// Number of sends lost since the last output about this reason.
        count: u64,
        /// Number of sends lost in total.
        total: u64,
    },
}

/// The numbers of a run, as its summary shows them.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct Totals {
    /// Number of sends captured.
    pub sends: u64,
    /// Number of requests decoded.
    pub requests: u64,
    /// Number of requests whose host is unknown because their connection was opened
    /// before it was watched.
    pub unknown_hosts: u64,
    /// Number of alerts.
    pub alerts: u64,
    /// Number of repetitions of alerts.
    pub repeated: u64,
    /// Number of requests in which a page sent a URL to another site.
    pub by_pages: u64,
    /// Number of bytes of requests that were sent and are not known.
    pub missing_bytes: u64,
    /// Number of bytes of application data in TLS that were read neither on the
    /// socket, where they are encrypted, nor at the TLS library.
    pub tls_bytes: u64,
    /// Number of bytes in other protocols that were not read.
    pub other_bytes: u64,
    /// Number of bytes in requests that could not be decoded.
    pub opaque_bytes: u64,
    /// Number of requests that were not read to the end, because that would have
    /// cost too much.
    pub limited_requests: u64,
    /// Number of connections that were no longer followed to make room for others.
    /// What they sent afterwards was read in part only.
    pub evicted_connections: u64,
}

/// The core with all its state.
pub struct Pipeline {
    rules: Arc<Rules>,
    pairing: Pairing,
    streams: Streams<Decoder>,
    detector: Detector,
    memo: Memo,
    judge: Judge,
    programs: Programs,
    hosts: Hosts,
    extensions: Extensions,
    /// The browser that all requests are judged as, if set.
    assumed: Option<Arc<Browser>>,
    waiting: Waiting,
    unfinished: Unfinished,
    /// Set at the end of the data, when connections end that may still be open.
    is_finishing: bool,
    lookups: Lookups,
    clock: Option<Clock>,
    losses: Losses,
    totals: Totals,
    accounts: Accounts,
    /// Records that were paired; kept to reuse its allocation.
    paired: Vec<Record>,
    /// Server names since the last call of [`Pipeline::take_names`], if they are wanted.
    names: Option<Vec<ServerName>>,
    messages: Vec<Sent<Message>>,
    now: BootTime,
    flushed: BootTime,
}

/// Time between two searches for streams and requests that waited too long.
const FLUSH: Duration = Duration::from_secs(1);

impl Pipeline {
    /// Creates an empty pipeline.
    pub fn new(knowledge: &Knowledge) -> Self {
        let (rules, lexicon) = (knowledge.rules(), knowledge.lexicon());
        Self {
            rules: Arc::clone(rules),
            pairing: Pairing::default(),
            streams: Streams::new(stream::Limits::default(), Default::default()),
            detector: Detector::new(Arc::clone(rules), Arc::clone(lexicon)),
            memo: Memo::default(),
            judge: Judge::new(Arc::clone(rules)),
            programs: Programs::default(),
            hosts: Hosts::default(),
            extensions: Extensions::default(),
            assumed: None,
            waiting: Waiting::default(),
            unfinished: Unfinished::default(),
            is_finishing: false,
            lookups: Lookups::default(),
            clock: None,
            losses: Losses::default(),
            totals: Totals::default(),
            accounts: Accounts::default(),
            paired: Vec::new(),
            names: None,
            messages: Vec::new(),
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
                self.pairing.push(record, &mut self.paired);
                self.follow();
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
            Event::Clock(clock) => {
                self.clock = Some(clock);
                self.accounts.set_clock(clock);
            }
            Event::Executable { tgid, path } => self.programs.executed(tgid, path),
            Event::Arguments { tgid, arguments } => self.programs.set_arguments(tgid, arguments),
            Event::Packages { app, names } => self.programs.set_packages(app, names),
            Event::Extensions { uid, list } => self.extensions.record(uid, list),
        }
    }

    /// Replaces the rules for the requests that follow.
    pub fn set_knowledge(&mut self, knowledge: &Knowledge) {
        let (rules, lexicon) = (knowledge.rules(), knowledge.lexicon());
        self.rules = Arc::clone(rules);
        self.detector = Detector::new(Arc::clone(rules), Arc::clone(lexicon));
        // It holds findings by the rules before.
        self.memo = Memo::default();
        self.judge.set_rules(Arc::clone(rules));
    }

    /// Judges all requests as if this browser had sent them. Returns `false` if the
    /// rules know no browser of that name.
    pub fn assume(&mut self, browser: &str) -> bool {
        self.assumed = self.rules.browser_named(browser).cloned();
        self.assumed.is_some()
    }

    /// Keeps server names for [`Pipeline::take_names`].
    pub fn keep_names(&mut self) {
        self.names = Some(Vec::new());
    }

    /// Returns the names that were looked up or sent to servers since the last call, in order.
    /// Empty unless [`Pipeline::keep_names`] was called.
    pub fn take_names(&mut self) -> Vec<ServerName> {
        self.names.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// Adds the sightings of earlier runs.
    pub fn remember(&mut self, sightings: Vec<Sighting>) {
        self.judge.remember(sightings);
    }

    /// Returns the sightings that changed since the last call.
    pub fn changed_sightings(&mut self) -> Vec<Sighting> {
        self.judge.changed_sightings()
    }

    /// Advances the time, and releases streams and requests that waited too long.
    pub fn tick(&mut self, now: BootTime, out: &mut Vec<Output>) {
        self.now = self.now.max(now);
        if self.now.since(self.flushed) < FLUSH {
            return;
        }
        self.flushed = self.now;
        self.pairing.expire(self.now, &mut self.paired);
        self.follow();
        self.streams.flush_stale(self.now, &mut self.messages);
        self.streams.expire(self.now, &mut self.messages);
        self.deliver(out);
        self.waiting.expire(self.now);
        let due = self.judge.due_repetitions(self.now);
        self.report_repetitions(due, out);
    }

    /// Releases everything after the last event.
    pub fn finish(&mut self, out: &mut Vec<Output>) {
        self.is_finishing = true;
        self.pairing.finish(&mut self.paired);
        self.follow();
        self.streams.finish(&mut self.messages);
        self.deliver(out);
        let rest = self.judge.take_repetitions();
        self.report_repetitions(rest, out);
    }

    fn report_repetitions(&self, repetitions: Vec<Repetitions>, out: &mut Vec<Output>) {
        out.extend(repetitions.into_iter().map(|repeated| Output::Repeated {
            alert: repeated.alert,
            count: repeated.count,
            total: repeated.total,
            unix: self.unix(repeated.time),
        }));
    }

    /// Returns the numbers of the run so far.
    pub fn totals(&self) -> &Totals {
        &self.totals
    }

    /// Returns the account of each application. A connection counts from its end
    /// on, or from [`Pipeline::finish`] on.
    pub fn accounts(&self) -> &Accounts {
        &self.accounts
    }

    /// Returns the accounts as if all connections had ended now. What is not complete yet counts
    /// neither as sent nor as read.
    pub fn accounts_so_far(&mut self) -> Accounts {
        let mut accounts = self.accounts.clone();
        for (connection, process, decoder) in self.streams.open_connections() {
            let application = self.programs.application(process);
            accounts.ended(application, connection, &decoder.traffic_so_far());
        }
        accounts
    }

    /// Returns the number of connections that are open, which the accounts do not contain, and of
    /// the bytes that were sent on them.
    pub fn open_connections(&self) -> (usize, u64) {
        let open = self.streams.parsers().map(|(_, decoder)| decoder.sent());
        open.fold((0, 0), |(count, bytes), sent| (count + 1, bytes + sent))
    }

    /// Takes the accounts out of the pipeline.
    pub fn into_accounts(self) -> Accounts {
        self.accounts
    }

    /// Returns the counters of the streams.
    pub fn stream_counters(&self) -> &stream::Counters {
        self.streams.counters()
    }

    /// Returns the extensions that are known by name.
    pub fn extensions(&self) -> &Extensions {
        &self.extensions
    }

    /// Returns the losses of capture.
    pub fn losses(&self) -> &Losses {
        &self.losses
    }

    /// Adds the paired records to their streams.
    fn follow(&mut self) {
        for record in self.paired.drain(..) {
            self.hosts.sent(&record);
            self.streams.push(&record, &mut self.messages);
        }
        let counters = self.streams.counters();
        let evicted = counters.evicted_for_room + counters.evicted_for_memory;
        self.totals.evicted_connections = evicted;
    }

    fn deliver(&mut self, out: &mut Vec<Output>) {
        let mut messages = std::mem::take(&mut self.messages);
        for sent in messages.drain(..) {
            let Sent { connection, hook, process, message } = sent;
            match message {
                Message::Request(message) => {
                    self.request(Sent { connection, hook, process, message }, out);
                }
                Message::Name(name) => {
                    if name.source != NameSource::Dns {
                        self.hosts.named(&connection, &name.name);
                    }
                    let application = self.programs.application(&process);
                    self.judge.record_lookup(&application, &name.name, name.time);
                    if let Some(names) = &mut self.names {
                        names.push(name.clone());
                    }
                    if name.source == NameSource::Dns {
                        let origin = Sent { connection, hook, process, message: () };
                        self.lookup(&application, origin, &name.name, name.time, out);
                    }
                    self.accounts.named(application, &name);
                }
                Message::Ended(traffic) => {
                    self.count_unread(&traffic);
                    self.hosts.ended(&connection);
                    let at_end = self.is_finishing.then_some(self.now);
                    for request in self.unfinished.ended(&connection, &traffic, at_end) {
                        let application = self.programs.application(&process);
                        self.accounts.unfinished(application, request);
                    }
                    self.accounts.ended(self.programs.application(&process), &connection, &traffic);
                }
            }
        }
        // Back, to reuse its allocation. Nothing above adds messages.
        self.messages = messages;
    }

    /// Searches a name that was looked up. A lookup counts as a request only if its name
    /// discloses a visit.
    fn lookup(
        &mut self,
        application: &Arc<Application>,
        origin: Sent<()>,
        name: &str,
        time: BootTime,
        out: &mut Vec<Output>,
    ) {
        let names = self.lookups.add(application, name, time);
        self.search_names(names, origin, time, out);
    }

    /// Searches the host of a request together with those before it. A page chooses the hosts of
    /// its own requests.
    fn divided_host(&mut self, judged: &JudgedRequest, out: &mut Vec<Output>) {
        let Sent { connection, hook, process, message } = &judged.sent;
        let Some(authority) = message.authority.as_ref().filter(|_| message.never_sent.is_none())
        else {
            return;
        };
        if matches!(judged.sender(), Sender::Page | Sender::Navigation) {
            return;
        }
        let host = host_of_authority(authority);
        let names = self.lookups.add(&judged.application, host, message.time);
        // The host itself was searched with the request.
        if names.len() > 1 {
            let process = process.clone();
            let origin = Sent { connection: *connection, hook: *hook, process, message: () };
            self.search_names(names.into_iter().skip(1), origin, message.time, out);
        }
    }

    /// Searches names that were looked up, up to the first that discloses a visit.
    fn search_names(
        &mut self,
        names: impl IntoIterator<Item = String>,
        origin: Sent<()>,
        time: BootTime,
        out: &mut Vec<Output>,
    ) {
        for name in names {
            let Sent { connection, hook, process, .. } = origin.clone();
            let message = Request::lookup(name, time);
            let decoded = self.decode(Sent { connection, hook, process, message });
            let discloses =
                |finding: &Finding| matches!(finding.kind, Kind::Url | Kind::VisitedUrlHash);
            if decoded.findings.list.iter().any(discloses) {
                let judged = Arc::new(self.judge.judge(decoded));
                self.count(&judged);
                out.push(Output::Request(judged));
                return;
            }
        }
    }

    /// Takes a request that does not come from a trace.
    pub fn request(&mut self, sent: Sent<Request>, out: &mut Vec<Output>) {
        let decoded = self.decode(sent);
        self.unfinished.observe(&decoded.sent);
        let request = &decoded.sent.message;
        if let Some(authority) = &request.authority
            && request.never_sent.is_none()
        {
            let (application, host) = (&decoded.application, host_of_authority(authority));
            self.accounts.requested(Arc::clone(application), host, request.time);
        }
        let judged = Arc::new(self.judge.judge(decoded));
        self.count(&judged);
        self.waiting.add(&judged);
        out.push(Output::Request(Arc::clone(&judged)));
        for name in lookups::over_https(&judged.sent.message) {
            let Sent { connection, hook, process, message } = &judged.sent;
            let process = process.clone();
            let origin = Sent { connection: *connection, hook: *hook, process, message: () };
            self.judge.record_lookup(&judged.application, &name, message.time);
            self.lookup(&judged.application, origin, &name, message.time, out);
        }
        self.divided_host(&judged, out);

        let Sent { connection, message, .. } = &judged.sent;
        let Some(page) = Page::open_in(message, judged.sender(), connection.transport) else {
            return;
        };
        if self.judge.record_visit(&judged.application, &page, message.time) {
            // A request that mentioned the page before it was opened disclosed a
            // visit all the same.
            for early in self.waiting.take(&judged.application, page.address()) {
                if let Some(again) = self.judge.judge_again(Arc::unwrap_or_clone(early)) {
                    self.totals.alerts += u64::from(again.is_alert());
                    out.push(Output::Request(Arc::new(again)));
                }
            }
        }
    }

    fn decode(&mut self, sent: Sent<Request>) -> DecodedRequest {
        let request = &sent.message;
        let application = self.programs.application(&sent.process);
        let arguments = self.programs.arguments(sent.process.tgid);
        let browser = self.browser(&application, arguments);
        let private = browser.as_ref().and_then(|browser| browser.is_private(arguments));
        let initiator = initiator(request);
        let host = request.authority.as_deref().map(host_of_authority);
        let derived_host = match host {
            Some(host) => {
                self.hosts.requested(&sent.connection, host);
                None
            }
            None => self.hosts.derive(&sent.connection),
        };
        // Other hosts at the same address may be of other sites.
        let certain = derived_host.as_ref().filter(|host| host.from == HostSource::ServerName);
        let site = host.or(certain.map(|host| &host.name[..])).and_then(Site::from_host);
        let visits = self.judge.visits(&application);
        let is_browser = browser.is_some();
        let context = Context { initiator, site: site.as_ref(), visits, is_browser };
        let findings = self.detector.find_again(request, &context, &mut self.memo);
        DecodedRequest {
            number: self.totals.requests,
            unix: self.unix(request.time),
            application,
            browser,
            private,
            initiator,
            derived_host,
            site,
            findings,
            sent,
        }
    }

    /// Returns the browser that an application with these arguments is.
    fn browser(&self, application: &Application, arguments: &[String]) -> Option<Arc<Browser>> {
        // On Android the executable is the system's, and the first argument is the
        // application's name, unless it has changed it.
        let names = || {
            let first = arguments.first().map(String::as_str);
            [application.package.as_deref(), application.executable.as_deref(), first]
        };
        let known = || names().into_iter().flatten().find_map(|name| self.rules.browser(name));
        self.assumed.as_ref().or_else(known).cloned()
    }

    fn unix(&self, time: BootTime) -> Option<u64> {
        self.clock.map(|clock| clock.unix(time))
    }

    fn count(&mut self, judged: &JudgedRequest) {
        let opaque = judged.opaque_bytes();
        let totals = &mut self.totals;
        totals.requests += 1;
        totals.unknown_hosts += u64::from(judged.has_unknown_host());
        match judged.alert {
            AlertStatus::New(_) => totals.alerts += 1,
            AlertStatus::Repetition(_) => totals.repeated += 1,
            AlertStatus::None => {}
        }
        let by_page = judged.initiator == Initiator::Page
            && judged.findings().any(|finding| finding.kind == Kind::Url);
        totals.by_pages += u64::from(by_page);
        totals.missing_bytes += judged.sent.message.unread_bytes;
        totals.opaque_bytes += opaque;
        totals.limited_requests += u64::from(judged.report.reached.any());
        if opaque > 0 {
            self.accounts.opaque(Arc::clone(&judged.application), opaque);
        }
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
