//! The content of the view: applications, their recipients, and recent requests.
//!
//! Its size is bounded. What does not fit is counted.

use std::collections::{BTreeMap, VecDeque};

use tracer_core::{
    account::Accounts,
    alert::{Alert, FindingReport, printable, redact::Redactor, text},
    extensions::Extensions,
    finding::{Severity, Visited},
    judge::{AlertStatus, JudgedRequest},
    pipeline::{Output, Totals},
    wording::counted,
};

/// Maximum number of requests that are kept, the latest ones.
pub(crate) const MAX_REQUESTS: usize = 500;

/// Maximum number of applications.
pub(crate) const MAX_APPLICATIONS: usize = 64;

/// Maximum number of recipients of an application.
pub(crate) const MAX_RECIPIENTS: usize = 64;

/// Maximum number of findings of a request, the most severe ones.
const MAX_FINDINGS: usize = 12;

/// Maximum number of steps that are shown of a chain.
const MAX_STEPS: usize = 32;

/// Maximum number of characters of a name.
const MAX_NAME: usize = 100;

/// The state of the view's source.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) enum Source {
    /// The capture starts.
    #[default]
    Starting,
    /// Applications are watched.
    Watching,
    /// A recording is shown.
    Replaying {
        /// The part that was shown.
        percent: u8,
        /// Set while it is held.
        paused: bool,
    },
    /// The recording was shown to its end.
    Ended,
}

/// Everything that is shown.
#[derive(Debug)]
pub(crate) struct Model {
    redactor: Redactor,
    source: Source,
    totals: Totals,
    lost: u64,
    /// Number of sends that wait to be decoded.
    waiting: u64,
    applications: BTreeMap<Who, Application>,
    /// Applications that were removed for lack of room.
    others: Others,
    requests: VecDeque<Entry>,
    /// Number of requests that are not in the list any more.
    forgotten: u64,
    /// The highest number of a request so far.
    newest: Option<u64>,
    /// Increases with each change.
    version: u64,
    turn: u64,
}

/// The identity of an application.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Who {
    /// Its name.
    pub(crate) name: String,
    /// The user ID.
    pub(crate) uid: u32,
}

/// An application.
#[derive(Debug, Clone, Default)]
pub(crate) struct Application {
    /// Its requests.
    pub(crate) count: Count,
    /// Number of bytes that it sent.
    pub(crate) sent: u64,
    /// Share of the content that was read. `None` if nothing was sent.
    pub(crate) percent_read: Option<u8>,
    recipients: BTreeMap<String, Recipient>,
    /// Recipients that were removed for lack of room.
    pub(crate) others: Others,
    turn: u64,
}

/// A recipient of an application's requests.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Recipient {
    /// The requests to it.
    pub(crate) count: Count,
    /// Number of bytes that were sent to it and not read.
    pub(crate) unread: u64,
    turn: u64,
}

/// Requests, and the alerts among them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Count {
    /// Number of requests that were read.
    pub(crate) requests: u64,
    /// Number of alerts.
    pub(crate) alerts: u64,
    /// Severity of the most severe alert.
    pub(crate) worst: Option<Severity>,
}

/// The rows that were left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Others {
    /// Number of rows that were removed.
    pub(crate) rows: u64,
    /// Their requests.
    pub(crate) count: Count,
}

/// A request.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    /// Number of the request.
    pub(crate) number: u64,
    /// Time in nanoseconds since 1970-01-01 UTC.
    pub(crate) unix: Option<u64>,
    /// The application that sent it.
    pub(crate) who: Who,
    /// The host that received it.
    pub(crate) host: String,
    /// Severity of what it discloses.
    pub(crate) severity: Option<Severity>,
    /// Number of the alert that it raises or repeats.
    pub(crate) alert: Option<u64>,
    /// Set if it raises the alert.
    pub(crate) is_new: bool,
    /// Number of times that the alert occurred.
    pub(crate) occurrences: u64,
    /// The sender: for alerts as precisely as it is known, else the application.
    pub(crate) culprit: String,
    /// The request.
    pub(crate) text: String,
    /// Facts about the request: name and value.
    pub(crate) facts: Vec<(&'static str, String)>,
    /// Its findings.
    pub(crate) findings: Vec<Found>,
    /// Number of findings that are not in the list.
    pub(crate) more_findings: u64,
}

/// A finding in a request.
#[derive(Debug, Clone)]
pub(crate) struct Found {
    /// Severity.
    pub(crate) severity: Severity,
    /// Kind and class.
    pub(crate) kind: String,
    /// The value, redacted.
    pub(crate) value: String,
    /// The visit that it is about, and other remarks.
    pub(crate) remark: Option<String>,
    /// The steps from the request to the value.
    pub(crate) chain: Vec<String>,
}

/// A row of the table of applications and recipients.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Row<'a> {
    /// An application.
    Application(&'a Who, &'a Application),
    /// A recipient of the application above.
    Recipient(&'a Who, &'a str, &'a Recipient),
    /// Rows that were left out, of the application above or of all.
    Others(&'a Others),
}

impl Model {
    /// Creates an empty model that shows values as `redactor` permits.
    pub(crate) fn new(redactor: Redactor) -> Self {
        Self {
            redactor,
            source: Source::default(),
            totals: Totals::default(),
            lost: 0,
            waiting: 0,
            applications: BTreeMap::new(),
            others: Others::default(),
            requests: VecDeque::new(),
            forgotten: 0,
            newest: None,
            version: 0,
            turn: 0,
        }
    }

    /// Takes an output of the pipeline.
    pub(crate) fn output(&mut self, output: &Output, extensions: &Extensions) {
        self.version += 1;
        match output {
            Output::Request(judged) => self.request(judged, extensions),
            Output::Repeated { alert, total, .. } => {
                let raised = |entry: &&mut Entry| entry.is_new && entry.alert == Some(*alert);
                if let Some(entry) = self.requests.iter_mut().rev().find(raised) {
                    entry.occurrences = *total;
                }
            }
            Output::Lost { count, .. } => self.lost += count,
        }
    }

    fn request(&mut self, judged: &JudgedRequest, extensions: &Extensions) {
        let mut alert = Alert::new(judged);
        alert.content.name_extension(judged.extension(extensions));
        let alert = alert.redacted(&self.redactor);
        let entry = Entry::new(judged, &alert);
        let alerts = u64::from(entry.is_new);
        let worst = entry.severity.filter(|_| entry.alert.is_some());
        let known = self.requests.iter().rposition(|known| known.number == entry.number);
        // Numbers ascend, and return when a request is judged again, which was counted before.
        let is_first = self.newest < Some(entry.number);
        self.newest = self.newest.max(Some(entry.number));
        let counted = known.is_some_and(|at| self.requests[at].is_new);
        let alerts = if counted { 0 } else { alerts };
        let count = Count { requests: is_first.into(), alerts, worst };
        self.count(&entry.who, &entry.host, count);
        match known {
            Some(at) => self.requests[at] = entry,
            // It was forgotten.
            None if !is_first => {}
            None => {
                self.requests.push_back(entry);
                if self.requests.len() > MAX_REQUESTS {
                    self.requests.pop_front();
                    self.forgotten += 1;
                }
            }
        }
    }

    fn count(&mut self, who: &Who, host: &str, count: Count) {
        let turn = self.next_turn();
        let application = self.application(who);
        application.turn = turn;
        application.count.add(count);
        let recipient = application.recipient(host);
        recipient.turn = turn;
        recipient.count.add(count);
    }

    fn next_turn(&mut self) -> u64 {
        self.turn += 1;
        self.turn
    }

    /// Returns an application. Removes the least important one if the table is full.
    fn application(&mut self, who: &Who) -> &mut Application {
        if self.applications.len() >= MAX_APPLICATIONS && !self.applications.contains_key(who) {
            let least = self.applications.iter().min_by_key(|(_, it)| (it.count.worst, it.turn));
            if let Some(least) = least.map(|(who, _)| who.clone())
                && let Some(removed) = self.applications.remove(&least)
            {
                self.others.add(removed.count);
            }
        }
        self.applications.entry(who.clone()).or_default()
    }

    /// Takes the accounts of the bytes that were sent so far.
    pub(crate) fn accounts(&mut self, accounts: &Accounts) {
        self.version += 1;
        // The last ones sent the most, and stay.
        let all = accounts.applications();
        for (application, account) in all.into_iter().take(MAX_APPLICATIONS).rev() {
            let who = Who { name: name(application.name()), uid: application.uid };
            let turn = self.next_turn();
            let row = self.application(&who);
            row.turn = row.turn.max(turn);
            row.sent = account.sockets.sent_bytes.max(account.plain.written_bytes);
            row.percent_read = account.percent_read();
            let mut unread = BTreeMap::<String, u64>::new();
            for server in account.servers.list().into_iter().take(MAX_RECIPIENTS) {
                if server.unread_bytes > 0 {
                    *unread.entry(name(&server.name)).or_default() += server.unread_bytes;
                }
            }
            for recipient in row.recipients.values_mut() {
                recipient.unread = 0;
            }
            for (host, bytes) in unread {
                row.recipient(&host).unread = bytes;
            }
        }
    }

    /// Takes the numbers of the run, and the number of sends that wait to be decoded.
    pub(crate) fn progress(&mut self, totals: &Totals, waiting: u64) {
        self.version += 1;
        self.totals = *totals;
        self.waiting = waiting;
    }

    /// Takes the state of the source.
    pub(crate) fn set_source(&mut self, source: Source) {
        if self.source != source {
            self.version += 1;
            self.source = source;
        }
    }

    /// Returns a number that increases with each change.
    pub(crate) fn version(&self) -> u64 {
        self.version
    }

    /// Returns the state of the source.
    pub(crate) fn source(&self) -> &Source {
        &self.source
    }

    /// Returns the numbers of the run.
    pub(crate) fn totals(&self) -> &Totals {
        &self.totals
    }

    /// Returns the number of sends that were lost.
    pub(crate) fn lost(&self) -> u64 {
        self.lost
    }

    /// Returns the number of sends that wait to be decoded.
    pub(crate) fn waiting(&self) -> u64 {
        self.waiting
    }

    /// Returns the recent requests, the latest last.
    pub(crate) fn requests(&self) -> &VecDeque<Entry> {
        &self.requests
    }

    /// Returns the number of requests that are not listed any more.
    pub(crate) fn forgotten(&self) -> u64 {
        self.forgotten
    }

    /// Returns the table of applications and recipients: those with alerts first, then those that
    /// sent the most.
    pub(crate) fn rows(&self) -> Vec<Row<'_>> {
        let mut applications: Vec<_> = self.applications.iter().collect();
        applications.sort_by(|(a, of_a), (b, of_b)| {
            let rank = |it: &Application| (it.count.alerts, it.sent, it.count.requests);
            rank(of_b).cmp(&rank(of_a)).then_with(|| a.cmp(b))
        });
        let mut rows = Vec::new();
        for (who, application) in applications {
            rows.push(Row::Application(who, application));
            let mut recipients: Vec<_> = application.recipients.iter().collect();
            recipients.sort_by(|(a, of_a), (b, of_b)| {
                let rank = |it: &Recipient| (it.count.alerts, it.count.requests, it.unread);
                rank(of_b).cmp(&rank(of_a)).then_with(|| a.cmp(b))
            });
            rows.extend(recipients.into_iter().map(|(host, it)| Row::Recipient(who, host, it)));
            if application.others.rows > 0 {
                rows.push(Row::Others(&application.others));
            }
        }
        if self.others.rows > 0 {
            rows.push(Row::Others(&self.others));
        }
        rows
    }
}

impl Application {
    /// Returns a recipient. Removes the least important one if the table is full.
    fn recipient(&mut self, host: &str) -> &mut Recipient {
        if self.recipients.len() >= MAX_RECIPIENTS && !self.recipients.contains_key(host) {
            let least = self.recipients.iter().min_by_key(|(_, it)| (it.count.worst, it.turn));
            if let Some(least) = least.map(|(host, _)| host.clone())
                && let Some(removed) = self.recipients.remove(&least)
            {
                self.others.add(removed.count);
            }
        }
        self.recipients.entry(host.to_owned()).or_default()
    }
}

impl Count {
    fn add(&mut self, other: Self) {
        self.requests += other.requests;
        self.alerts += other.alerts;
        self.worst = self.worst.max(other.worst);
    }
}

impl Others {
    fn add(&mut self, removed: Count) {
        self.rows += 1;
        self.count.add(removed);
    }
}

impl Entry {
    /// Creates the entry of a request from its alert, whose values are redacted.
    fn new(judged: &JudgedRequest, alert: &Alert) -> Self {
        let (number, is_new) = match judged.alert {
            AlertStatus::New(number) => (Some(number), true),
            AlertStatus::Repetition(number) => (Some(number), false),
            AlertStatus::None => (None, false),
        };
        let content = &alert.content;
        let head = &content.request;
        let host = judged.host().map_or_else(|| alert.host(), str::to_owned);
        let method = printable(head.method.as_deref().unwrap_or("(unknown method)"));
        let target = printable(head.path.as_deref().unwrap_or("(unknown path)"));
        let host = name(&host);
        let culprit = text::culprit(alert);
        let text = match number {
            Some(_) => text::subject(alert, Default::default()),
            None => format!("{method} {target}"),
        };
        let who = Who { name: name(judged.application.name()), uid: alert.process.uid };
        let findings = content.findings.iter().take(MAX_FINDINGS).map(Found::new).collect();
        let left_out = content.findings.len().saturating_sub(MAX_FINDINGS) as u64;
        Self {
            number: judged.number,
            unix: judged.unix,
            culprit: if number.is_some() { culprit.clone() } else { who.name.clone() },
            who,
            severity: alert.severity,
            alert: number,
            is_new,
            occurrences: 1,
            text,
            facts: facts(alert, &culprit, &format!("{method} {host}{target}")),
            findings,
            more_findings: left_out + content.findings_uncounted,
            host,
        }
    }
}

/// Returns facts about a request, as names and values.
fn facts(alert: &Alert, culprit: &str, request: &str) -> Vec<(&'static str, String)> {
    let content = &alert.content;
    let read = match (content.complete, content.opaque_bytes) {
        (true, 0) => "all of it".to_owned(),
        (true, opaque) => format!("all but {}, in an unknown encoding", counted(opaque, "byte")),
        (false, 0) => format!("in part: {} not known", counted(content.unread_bytes, "byte")),
        (false, opaque) => format!(
            "in part: {} not known, {opaque} in an unknown encoding",
            counted(content.unread_bytes, "byte")
        ),
    };
    let facts = [
        ("verdict", alert.reason.as_deref().map(printable)),
        (
            "sender",
            Some(format!("{culprit} (uid {}, pid {})", alert.process.uid, alert.process.pid)),
        ),
        ("because", Some(printable(&content.sender_reason)).filter(|reason| !reason.is_empty())),
        (
            "recipient",
            Some(format!(
                "{}: {}",
                text::addressee(alert),
                printable(&content.recipient.describe())
            )),
        ),
        ("request", Some(request.to_owned())),
        ("format", content.sdk.as_deref().map(printable)),
        (
            "window",
            content
                .private
                .map(|private| if private { "private" } else { "not private" }.to_owned()),
        ),
        ("identifier", text::identifier(alert)),
        ("read", Some(read)),
        ("never sent", content.never_sent.map(|reason| reason.explain().to_owned())),
    ];
    facts.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
}

impl Found {
    fn new(found: &FindingReport) -> Self {
        let class = found.class.as_deref().map(|class| format!(" ({})", printable(class)));
        let visited = match &found.visited {
            Some(Visited::Page { .. }) => Some("a visited page"),
            Some(Visited::Host { .. }) => Some("a visited site"),
            Some(Visited::No | Visited::Unknown) | None => None,
        };
        let cut = found.truncated.then_some("cut");
        let remark: Vec<&str> = [visited, cut].into_iter().flatten().collect();
        Self {
            severity: found.severity,
            kind: found.kind.as_str().replace('_', " ") + &class.unwrap_or_default(),
            value: printable(&found.value),
            remark: (!remark.is_empty()).then(|| remark.join(", ")),
            chain: found.chain.split(" > ").take(MAX_STEPS).map(printable).collect(),
        }
    }
}

/// Makes a name safe and short.
fn name(name: &str) -> String {
    printable(name).chars().take(MAX_NAME).collect()
}
