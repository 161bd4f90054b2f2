//! The order in which waiting events are decoded, so that an application that floods tracer
//! delays only itself.
//!
//! Each application has a lane. While few events wait, they are taken in the order in which they
//! came. Beyond that, the lane that has cost the least decoding time comes first:
//!
//! ```text
//! push ──▶ lane of the sender ──┐
//! push ──▶ lane of another   ───┼──▶ pop: the lane that has cost the least
//! clocks, packages, losses ─────┘        (these first)
//! ```
//!
//! All lanes together hold a bounded number of bytes. When there is no room, the lane that holds
//! the most loses its latest send, which is counted ([`Loss::Undecoded`]).
//!
//! [`Loss::Undecoded`]: crate::record::Loss::Undecoded

use std::{
    collections::{HashMap, VecDeque},
    hash::{DefaultHasher, Hash as _, Hasher as _},
    mem::discriminant,
    time::Duration,
};

use tracer_ebpf::Counter;

use crate::record::{BootTime, Event, Extension, Losses, Record};

/// Maximum number of bytes that wait.
const MAX_BYTES: usize = 64 << 20;

/// Number of bytes up to which events are taken in the order in which they came: a few batches.
const IN_ORDER: usize = 1 << 20;

/// Approximate size of an event apart from its texts.
const EVENT: usize = 256;

/// Number of waiting events for which an empty lane keeps its memory: some batches.
const KEPT: usize = 1024;

/// Maximum number of lanes. Applications beyond it share them.
const MAX_LANES: u64 = 256;

/// Maximum number of processes whose lane is remembered.
const MAX_PROCESSES: usize = 1 << 16;

/// Maximum number of processes that are described and have not sent anything yet: a description
/// comes directly before a send, and takes some KiB.
const MAX_DESCRIBED: usize = 1024;

/// The number of a lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Lane(u64);

/// Events that wait to be decoded.
#[derive(Debug)]
pub struct Schedule {
    max_bytes: usize,
    /// Events that concern all applications.
    common: VecDeque<Event>,
    lanes: HashMap<Lane, Waiting>,
    /// The lane of each process, with its program. A process keeps its lane while events of it
    /// wait, so that they stay in order.
    processes: HashMap<u32, Lane>,
    /// What is known about processes whose next send determines their lane.
    described: HashMap<u32, Vec<Event>>,
    bytes: usize,
    /// Number of sends that wait.
    sends: u64,
    next: u64,
    losses: Losses,
    undecoded: u64,
    is_loss_new: bool,
}

/// The events of a lane.
#[derive(Debug, Default)]
struct Waiting {
    events: VecDeque<(u64, Event)>,
    bytes: usize,
    /// Decoding time that the lane has cost. A lane that was empty begins with the cost of the
    /// cheapest other one, so that it cannot save up time.
    cost: Duration,
    last: Option<Sender>,
}

/// An application whose events wait.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sender {
    /// User ID.
    pub uid: u32,
    /// Name of the thread that sent.
    pub comm: String,
}

impl Default for Schedule {
    fn default() -> Self {
        Self::new(MAX_BYTES)
    }
}

impl Schedule {
    /// Creates an empty schedule that holds up to `max_bytes`.
    pub fn new(max_bytes: usize) -> Self {
        Self {
            max_bytes,
            common: VecDeque::new(),
            lanes: HashMap::new(),
            processes: HashMap::new(),
            described: HashMap::new(),
            bytes: 0,
            sends: 0,
            next: 0,
            losses: Losses::default(),
            undecoded: 0,
            is_loss_new: false,
        }
    }

    /// Adds an event.
    pub fn push(&mut self, event: Event) {
        match event {
            Event::Sent(record) => self.push_sent(record),
            Event::Executable { tgid, .. } | Event::Arguments { tgid, .. } => {
                if self.described.len() >= MAX_DESCRIBED {
                    self.described.clear();
                }
                let known = self.described.entry(tgid).or_default();
                let is_same = |other: &Event| discriminant(other) == discriminant(&event);
                known.retain(|other| !is_same(other));
                known.push(event);
            }
            Event::Lost(losses) => {
                self.losses = losses;
                self.is_loss_new = true;
            }
            Event::Clock(_) | Event::Packages { .. } | Event::Extensions { .. } => {
                self.common.push_back(event);
            }
        }
    }

    fn push_sent(&mut self, record: Record) {
        let tgid = record.process.tgid;
        let described = self.described.remove(&tgid).unwrap_or_default();
        let lane = self.lane(&record, &described);
        let least = self.lanes.values().filter(|lane| !lane.events.is_empty());
        let least = least.map(|lane| lane.cost).min().unwrap_or_default();
        let waiting = self.lanes.entry(lane).or_default();
        if waiting.events.is_empty() {
            waiting.cost = waiting.cost.max(least);
        }
        let (uid, comm) = (record.process.uid, &record.process.comm);
        if waiting.last.as_ref().is_none_or(|last| last.uid != uid || last.comm != *comm) {
            waiting.last = Some(Sender { uid, comm: comm.clone() });
        }
        self.sends += 1;
        for event in described.into_iter().chain([Event::Sent(record)]) {
            let size = size(&event);
            waiting.bytes += size;
            self.bytes += size;
            waiting.events.push_back((self.next, event));
            self.next += 1;
        }
        while self.bytes > self.max_bytes && self.drop_one() {}
    }

    /// Returns the lane of a record's process.
    fn lane(&mut self, record: &Record, described: &[Event]) -> Lane {
        let tgid = record.process.tgid;
        let known = self.processes.get(&tgid).copied();
        let waits = |lane: &Lane| self.lanes.get(lane).is_some_and(|it| !it.events.is_empty());
        if let Some(known) = known
            && (described.is_empty() || waits(&known))
        {
            return known;
        }
        let mut hasher = DefaultHasher::new();
        record.process.uid.hash(&mut hasher);
        let path = described.iter().find_map(|event| match event {
            Event::Executable { path, .. } => Some(path),
            _ => None,
        });
        path.hash(&mut hasher);
        let lane = Lane(hasher.finish() % MAX_LANES);
        if self.processes.len() >= MAX_PROCESSES {
            self.processes.clear();
        }
        self.processes.insert(tgid, lane);
        lane
    }

    /// Drops the latest send of the lane that holds the most. Returns `false` if there is none.
    /// Descriptions of processes are kept, because they are not repeated.
    fn drop_one(&mut self) -> bool {
        let fullest = self.lanes.values_mut().max_by_key(|lane| lane.bytes);
        let Some(lane) = fullest else {
            return false;
        };
        let is_send = |(_, event): &(u64, Event)| matches!(event, Event::Sent(_));
        let latest = lane.events.iter().rposition(is_send);
        let Some((_, event)) = latest.and_then(|at| lane.events.remove(at)) else {
            return false;
        };
        let size = size(&event);
        lane.bytes -= size;
        self.bytes -= size;
        self.sends -= 1;
        self.undecoded += 1;
        self.is_loss_new = true;
        true
    }

    /// Takes the next event, with the lane to [charge](Schedule::charge) for it.
    pub fn pop(&mut self) -> Option<(Option<Lane>, Event)> {
        if let Some(event) = self.common.pop_front() {
            return Some((None, event));
        }
        if std::mem::take(&mut self.is_loss_new) {
            let mut losses = self.losses;
            losses.set(Counter::Undecoded, self.undecoded);
            return Some((None, Event::Lost(losses)));
        }
        let in_order = self.bytes <= IN_ORDER;
        let waiting = self.lanes.iter_mut().filter(|(_, lane)| !lane.events.is_empty());
        let (&number, lane) = waiting.min_by_key(|(_, lane)| {
            let first = lane.events.front().map_or(u64::MAX, |(number, _)| *number);
            (if in_order { Duration::ZERO } else { lane.cost }, first)
        })?;
        let (_, event) = lane.events.pop_front()?;
        let size = size(&event);
        lane.bytes -= size;
        self.bytes -= size;
        self.sends -= u64::from(matches!(event, Event::Sent(_)));
        // A flood is over: its memory would otherwise stay for the rest of the run.
        if lane.events.len() <= KEPT / 4 && lane.events.capacity() > KEPT {
            lane.events.shrink_to(KEPT);
        }
        Some((Some(number), event))
    }

    /// Charges the time that the last event of a lane took.
    pub fn charge(&mut self, lane: Lane, time: Duration) {
        if let Some(lane) = self.lanes.get_mut(&lane) {
            lane.cost += time;
        }
    }

    /// Drops all sends that wait, and counts them.
    pub fn abandon(&mut self) {
        self.undecoded += self.sends;
        self.is_loss_new |= self.sends > 0;
        (self.sends, self.bytes) = (0, 0);
        self.lanes.clear();
    }

    /// Reports whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.sends == 0 && self.common.is_empty() && !self.is_loss_new
    }

    /// Returns the number of sends that wait.
    pub fn sends(&self) -> u64 {
        self.sends
    }

    /// Returns the time of the oldest send that waits, and its application.
    pub fn oldest(&self) -> Option<(BootTime, &Sender)> {
        let first = |lane: &Waiting| {
            lane.events.iter().find_map(|(_, event)| match event {
                Event::Sent(record) => Some(record.time),
                _ => None,
            })
        };
        let lanes = self.lanes.values();
        let oldest = lanes.filter_map(|lane| Some((first(lane)?, lane.last.as_ref()?)));
        oldest.min_by_key(|(time, _)| *time)
    }
}

/// Returns the approximate size of an event in memory.
fn size(event: &Event) -> usize {
    let texts = |texts: &[String]| texts.iter().map(|text| text.len() + EVENT / 8).sum();
    let held = match event {
        Event::Sent(record) => record.payload.len(),
        Event::Executable { path, .. } => path.len(),
        Event::Arguments { arguments, .. } => texts(arguments),
        Event::Packages { names, .. } => texts(names),
        Event::Extensions { list, .. } => {
            let held = |it: &Extension| it.id.len() + it.name.len() + EVENT / 4;
            list.iter().map(held).sum()
        }
        Event::Lost(_) | Event::Clock(_) => 0,
    };
    held + EVENT
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Clock, Loss, sample};

    const MS: Duration = Duration::from_millis(1);

    fn sent(uid: u32, tgid: u32, time: u64, len: usize) -> Event {
        let mut record = sample();
        (record.process.uid, record.process.tgid) = (uid, tgid);
        record.time = BootTime(time);
        record.payload = vec![0; len].into();
        Event::Sent(record)
    }

    fn executable(tgid: u32, path: &str) -> Event {
        Event::Executable { tgid, path: path.into() }
    }

    /// Takes all events, each of which costs the time that `cost` returns for its UID.
    fn uids(schedule: &mut Schedule, cost: impl Fn(u32) -> Duration) -> Vec<u32> {
        let mut order = Vec::new();
        while let Some((lane, event)) = schedule.pop() {
            if let Event::Sent(record) = event {
                order.push(record.process.uid);
                schedule.charge(lane.unwrap(), cost(record.process.uid));
            }
        }
        order
    }

    #[test]
    fn few_events_keep_their_order() {
        let mut schedule = Schedule::default();
        for time in 0..30 {
            schedule.push(sent(time % 3, time % 3, time.into(), 100));
        }
        let order = uids(&mut schedule, |uid| MS * uid);
        assert_eq!(order, (0..30).map(|time| time % 3).collect::<Vec<_>>());
        assert!(schedule.is_empty());
    }

    #[test]
    fn a_flood_delays_only_its_application() {
        let mut schedule = Schedule::default();
        for time in 0..2000 {
            schedule.push(sent(1, 10, time, 16 << 10));
        }
        for time in 2000..2010 {
            schedule.push(sent(2, 20, time, 100));
        }
        let order = uids(&mut schedule, |_| MS);
        assert_eq!(order.len(), 2010);
        let last = order.iter().rposition(|&uid| uid == 2).unwrap();
        assert!(last < 25, "the other application waits for {last} sends");
    }

    #[test]
    fn costly_sends_have_fewer_turns() {
        let mut schedule = Schedule::default();
        for time in 0..1000 {
            schedule.push(sent(1, 10, time, 10_000));
            schedule.push(sent(2, 20, time, 10_000));
        }
        let order = uids(&mut schedule, |uid| if uid == 1 { MS * 100 } else { MS });
        let costly = order[..500].iter().filter(|&&uid| uid == 1).count();
        assert!(costly <= 6, "{costly}");
    }

    #[test]
    fn an_idle_application_saves_up_nothing() {
        let mut schedule = Schedule::default();
        for time in 0..400 {
            schedule.push(sent(1, 10, time, 10_000));
        }
        for _ in 0..200 {
            let (lane, _) = schedule.pop().unwrap();
            schedule.charge(lane.unwrap(), MS * 100);
        }
        for time in 400..800 {
            schedule.push(sent(2, 20, time, 10_000));
        }
        let order = uids(&mut schedule, |_| MS);
        let first = order[..100].iter().filter(|&&uid| uid == 1).count();
        assert!((40..=60).contains(&first), "{first}");
    }

    #[test]
    fn the_lane_that_holds_the_most_loses_its_latest_sends() {
        let mut schedule = Schedule::new(100_000);
        for time in 0..10 {
            schedule.push(sent(2, 20, time, 1000));
        }
        for time in 10..1000 {
            schedule.push(sent(1, 10, time, 1000));
        }
        for time in 1000..1010 {
            schedule.push(sent(2, 20, time, 1000));
        }
        let waiting = schedule.sends();
        let mut lost = 0;
        let (mut flooding, mut other) = (Vec::new(), 0);
        while let Some((_, event)) = schedule.pop() {
            match event {
                Event::Sent(record) if record.process.uid == 2 => other += 1,
                Event::Sent(record) => flooding.push(record.time.0),
                Event::Lost(losses) => lost = losses.count(Loss::Undecoded),
                _ => {}
            }
        }
        assert_eq!((other, flooding[0]), (20, 10));
        assert!(flooding.is_sorted());
        assert_eq!((flooding.len() + other) as u64, waiting);
        assert_eq!(waiting + lost, 1010);
    }

    #[test]
    fn what_describes_a_process_comes_before_its_sends() {
        let mut schedule = Schedule::default();
        let clock = Clock { boot: BootTime(1), unix: 2 };
        schedule.push(executable(7, "/a"));
        schedule.push(Event::Arguments { tgid: 7, arguments: vec!["a".into()] });
        schedule.push(sent(1, 7, 5, 10));
        schedule.push(Event::Clock(clock));
        // Another program in the same process: its description stays behind earlier sends.
        schedule.push(executable(7, "/b"));
        schedule.push(sent(1, 7, 6, 10));
        let mut order = Vec::new();
        while let Some((_, event)) = schedule.pop() {
            order.push(event);
        }
        let path = |event: &Event| matches!(event, Event::Executable { path, .. } if path == "/b");
        assert_eq!(order[0], Event::Clock(clock));
        assert_eq!(order[1], executable(7, "/a"));
        assert_eq!(order[3], sent(1, 7, 5, 10));
        assert!(path(&order[4]));
        assert_eq!(order.len(), 6);
    }

    #[test]
    fn the_memory_of_a_flood_is_returned() {
        let mut schedule = Schedule::default();
        for time in 0..100_000 {
            schedule.push(sent(1, 10, time, 10));
        }
        while schedule.pop().is_some() {}
        let capacity: usize = schedule.lanes.values().map(|lane| lane.events.capacity()).sum();
        assert!(capacity <= 2 * KEPT, "{capacity}");
    }

    #[test]
    fn descriptions_of_processes_that_send_nothing_are_bounded() {
        let mut schedule = Schedule::default();
        for number in 0..5000 {
            schedule.push(executable(7, &number.to_string()));
            schedule.push(executable(number, "/a"));
        }
        assert!(schedule.described.len() <= MAX_DESCRIBED);
        assert!(schedule.described.values().all(|events| events.len() == 1));
    }

    #[test]
    fn abandoned_sends_are_counted() {
        let mut schedule = Schedule::default();
        let mut kernel = Losses::default();
        kernel.set(Counter::RingFull, 3);
        schedule.push(Event::Lost(kernel));
        for time in 0..5 {
            schedule.push(sent(1, 10, time, 10));
        }
        assert_eq!(schedule.oldest().unwrap().0, BootTime(0));
        schedule.abandon();
        assert!(schedule.oldest().is_none());
        let Some((None, Event::Lost(losses))) = schedule.pop() else {
            panic!("losses");
        };
        assert_eq!((losses.count(Loss::RingFull), losses.count(Loss::Undecoded)), (3, 5));
        assert!(schedule.pop().is_none() && schedule.is_empty());
    }
}
