//! Collects records in batches, sends them, and tries again what may succeed later.

use std::{
    collections::VecDeque,
    time::{Duration, SystemTime},
};

use hyper::body::Bytes;
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use prost::Message as _;
use tokio::{
    sync::mpsc::Receiver,
    time::{Instant, sleep_until, timeout_at},
};

use super::{
    Outcome,
    client::{Answer, Client},
    record,
};

/// Maximum number of records that wait, and of their bytes as lines.
const MAX_WAITING: usize = 4096;
const MAX_WAITING_BYTES: usize = 16 << 20;

/// Maximum number of records in a batch, and of their bytes as lines. Collectors accept 4 MiB and more.
const MAX_BATCH: usize = 256;
const MAX_BATCH_BYTES: usize = 1 << 20;

/// Time to wait for more records after the first one.
const DELAY: Duration = Duration::from_millis(500);

/// Pauses before an attempt is repeated: the first one, and the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// Time to send what waits, once the run has ended.
const FAREWELL: Duration = Duration::from_secs(3);

/// Sends lines of the alert stream to a collector.
pub(crate) struct Exporter {
    client: Client,
    host: String,
    waiting: VecDeque<Waiting>,
    waiting_bytes: usize,
    outcome: Outcome,
    /// Called when the collector begins to fail, with the reason, and when it accepts again.
    report: fn(Option<&str>),
    is_failing: bool,
}

struct Waiting {
    record: LogRecord,
    bytes: usize,
}

impl Exporter {
    /// Creates an exporter. `host` is the name of this machine.
    pub(crate) fn new(client: Client, host: String, report: fn(Option<&str>)) -> Self {
        Self {
            client,
            host,
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            outcome: Outcome::default(),
            report,
            is_failing: false,
        }
    }

    /// Sends lines until the channel is closed, and returns the outcome.
    pub(crate) async fn run(mut self, mut lines: Receiver<String>) -> Outcome {
        let mut next = Instant::now();
        let mut pause = FIRST_PAUSE;
        let mut deadline: Option<Instant> = None;
        loop {
            let is_due = !self.waiting.is_empty();
            tokio::select! {
                line = lines.recv(), if deadline.is_none() => match line {
                    Some(line) => {
                        if self.waiting.is_empty() && !self.is_failing {
                            next = Instant::now() + DELAY;
                        }
                        self.add(&line);
                        continue;
                    }
                    None => {
                        deadline = Some(Instant::now() + FAREWELL);
                        next = Instant::now();
                        continue;
                    }
                },
                () = sleep_until(next), if is_due => {}
                else => break,
            }
            let (count, bytes) = self.batch();
            let sent = match deadline {
                None => self.send_while_receiving(bytes, &mut lines).await,
                Some(deadline) => timeout_at(deadline, self.client.send(bytes)).await.ok(),
            };
            let Some(answer) = sent else {
                self.give_up("the run ended before the collector answered");
                break;
            };
            let after = self.take(answer, count);
            pause = match after {
                None => FIRST_PAUSE,
                Some(_) => (pause * 2).min(LONGEST_PAUSE),
            };
            next = Instant::now() + after.map_or(Duration::ZERO, |after| after.unwrap_or(pause));
            if let Some(deadline) = deadline
                && next >= deadline
                && !self.waiting.is_empty()
            {
                self.give_up("the collector did not accept them before the run ended");
                break;
            }
        }
        self.outcome
    }

    /// Adds a line, or counts it as lost if the queue is full.
    fn add(&mut self, line: &str) {
        let Some(record) = record::record(line, SystemTime::now()) else {
            return;
        };
        let bytes = line.len();
        if self.waiting.len() >= MAX_WAITING || self.waiting_bytes + bytes > MAX_WAITING_BYTES {
            self.outcome.lost += 1;
            return;
        }
        self.waiting_bytes += bytes;
        self.waiting.push_back(Waiting { record, bytes });
    }

    /// Encodes the first records that wait. Returns their number.
    fn batch(&self) -> (usize, Bytes) {
        let mut total = 0;
        let fits = |one: &&Waiting| {
            total += one.bytes;
            total <= MAX_BATCH_BYTES
        };
        let records: Vec<_> = self.waiting.iter().take(MAX_BATCH).take_while(fits).collect();
        let first = self.waiting.front().filter(|_| records.is_empty());
        let records: Vec<_> =
            records.into_iter().chain(first).map(|one| one.record.clone()).collect();
        (records.len(), record::request(records, &self.host).encode_to_vec().into())
    }

    /// Sends, and takes lines meanwhile, so that the run does not wait for the collector.
    async fn send_while_receiving(
        &mut self,
        bytes: Bytes,
        lines: &mut Receiver<String>,
    ) -> Option<Answer> {
        let mut arrived = Vec::new();
        let mut has_ended = false;
        let answer = {
            let send = self.client.send(bytes);
            tokio::pin!(send);
            let mut end: Option<Instant> = None;
            loop {
                tokio::select! {
                    answer = &mut send => break Some(answer),
                    line = lines.recv(), if !has_ended => match line {
                        // They are counted below if the queue is full.
                        Some(line) if arrived.len() < MAX_WAITING => arrived.push(line),
                        Some(_) => self.outcome.lost += 1,
                        None => {
                            has_ended = true;
                            end = Some(Instant::now() + FAREWELL);
                        }
                    },
                    () = async {
                        match end {
                            Some(end) => sleep_until(end).await,
                            None => std::future::pending().await,
                        }
                    } => break None,
                }
            }
        };
        arrived.iter().for_each(|line| self.add(line));
        answer
    }

    /// Takes an answer for the first `count` records. Returns `Some` if they have to be sent again,
    /// with the time to wait if the collector says one.
    fn take(&mut self, answer: Answer, count: usize) -> Option<Option<Duration>> {
        match answer {
            Answer::Accepted { refused, reason } => {
                let refused = refused.min(count as u64);
                self.outcome.sent += count as u64 - refused;
                self.outcome.refused += refused;
                if refused > 0 {
                    self.outcome.reason = Some(reason);
                }
                self.forget(count);
                self.say(None);
                None
            }
            Answer::Refused(reason) => {
                self.outcome.refused += count as u64;
                self.outcome.reason = Some(reason.clone());
                self.forget(count);
                self.say(Some(&reason));
                None
            }
            Answer::Later { reason, after } => {
                self.outcome.reason = Some(reason.clone());
                self.say(Some(&reason));
                Some(after.map(|after| after.min(LONGEST_PAUSE)))
            }
        }
    }

    /// Says when sending begins to fail, and when it works again.
    fn say(&mut self, reason: Option<&str>) {
        if self.is_failing != reason.is_some() {
            self.is_failing = reason.is_some();
            (self.report)(reason);
        }
    }

    fn forget(&mut self, count: usize) {
        for one in self.waiting.drain(..count.min(self.waiting.len())) {
            self.waiting_bytes -= one.bytes;
        }
    }

    fn give_up(&mut self, reason: &str) {
        self.outcome.lost += self.waiting.len() as u64;
        self.outcome.reason.get_or_insert_with(|| reason.to_owned());
        self.waiting.clear();
    }
}
