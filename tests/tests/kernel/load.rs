//! Under load, all sent data is either captured intact or counted as lost, and
//! captured data is reassembled correctly.

use std::{
    collections::{HashMap, HashSet},
    fs,
    path::Path,
    thread,
    time::Duration,
};

use tracer_core::{
    proto::{Decoder, Message, Request},
    record::{Loss, Record},
    stream::{Counters, Limits, Streams},
};
use tracer_host::hook::{Target, Watch};
use tracer_tests::{
    live::{Live, RING},
    payload::{body, number, payload},
    peer::{self, Udp},
    sender::{Outcome, Running, Sandbox, unused_uid},
    skip,
};

const SENDER: &str = env!("CARGO_BIN_EXE_sender");

fn watch(uid: u32, head_bytes: u32) -> Watch {
    let heads = Watch { head_bytes, ..Watch::default() };
    Watch { targets: vec![Target::Uid(uid)], ..heads }
}

/// Reads records while the senders run, then takes the rest.
fn read_while(live: &mut Live, senders: Vec<Running>) -> (Vec<Outcome>, Vec<Record>) {
    let mut records = Vec::new();
    let ended = thread::scope(|scope| {
        let senders = scope.spawn(|| senders.into_iter().map(Running::end).collect());
        while !senders.is_finished() {
            records.extend(live.records());
            // The daemon also sleeps after it has read something.
            thread::sleep(Duration::from_millis(1));
        }
        senders.join().expect("the senders succeed")
    });
    records.extend(live.records());
    (ended, records)
}

/// Sets a CPU online or offline.
fn set_online(cpu: &Path, online: bool) -> bool {
    fs::write(cpu, if online { "1" } else { "0" }).is_ok()
}

/// Counters and scratch memory belong to CPUs.
#[test]
fn a_cpu_that_is_unplugged_loses_nothing() {
    const SENDS: u32 = 2000;
    if !skip::root() {
        return;
    }
    // Other machines have other work for it.
    let cpu = Path::new("/sys/devices/system/cpu/cpu1/online");
    let is_guest = std::env::var_os("TRACER_TEST_GUEST").is_some();
    if !skip::met(is_guest && cpu.exists(), "a test machine whose CPU can be unplugged") {
        return;
    }
    let uid = unused_uid();
    let to = peer::tcp(false);
    let sandbox = Sandbox::new(SENDER);
    let mut live = Live::start(watch(uid, 1000), RING);
    let sender = || sandbox.sender().uid(uid).then(format!("connect tcp {to}"));
    let senders: Vec<_> =
        (0..2).map(|_| sender().then(format!("repeat {SENDS} write 100")).start()).collect();
    let unplugged = thread::spawn(move || {
        let mut times = 0;
        for _ in 0..5 {
            times += u32::from(set_online(cpu, false));
            thread::sleep(Duration::from_millis(100));
            assert!(set_online(cpu, true), "the CPU stays offline");
            thread::sleep(Duration::from_millis(100));
        }
        times
    });
    let (_, records) = read_while(&mut live, senders);
    assert!(unplugged.join().expect("no panic") > 0, "the CPU was never offline");
    let losses = live.losses();
    let lost: u64 = Loss::ALL.iter().map(|&loss| losses.count(loss)).sum();
    assert_eq!(records.len() as u64 + lost, u64::from(2 * SENDS), "{losses:?}");
    assert_eq!(losses.delivered(), records.len() as u64);
}

/// Parses the records to requests.
fn requests(records: &[Record]) -> (Vec<Request>, Counters) {
    let mut streams = Streams::<Decoder>::new(Limits::default(), Default::default());
    let mut sent = Vec::new();
    for record in records {
        streams.push(record, &mut sent);
    }
    streams.finish(&mut sent);
    let requests = sent.into_iter().filter_map(|sent| match sent.message {
        Message::Request(request) => Some(request),
        _ => None,
    });
    (requests.collect(), *streams.counters())
}

#[test]
fn sends_lost_to_a_full_ring_are_counted_exactly() {
    if !skip::root() {
        return;
    }
    const SENDS: u32 = 2000;
    const SMALL: u32 = 64 << 10;
    let (sandbox, udp, uid) = (Sandbox::new(SENDER), Udp::open(false), unused_uid());
    let mut live = Live::start(watch(uid, 16_384), SMALL);
    let send = |times: u32| {
        let sender = sandbox.sender().uid(uid).then(format!("connect udp {}", udp.address()));
        sender.then(format!("repeat {times} send 200")).run();
    };
    // The ring is not read.
    send(SENDS);
    let losses = live.losses();
    let (delivered, full) = (losses.delivered(), losses.count(Loss::RingFull));
    assert_eq!(delivered + full, u64::from(SENDS));
    // An entry takes 8 bytes of the ring, plus a header and the payload.
    let room = u64::from(SMALL) / 400..=u64::from(SMALL) / 300;
    assert!(room.contains(&delivered), "{delivered}");
    let records = live.records();
    assert_eq!(records.len() as u64, delivered);
    for (n, record) in (0..).zip(&records) {
        assert_eq!(record.payload, payload(n, 200), "send {n}");
    }

    // After reading, the ring has room again.
    send(5);
    assert_eq!(live.records().len(), 5);
    assert_eq!(live.losses().count(Loss::RingFull), full);
    assert_eq!(live.losses().delivered(), delivered + 5);
}

#[test]
fn processors_do_not_mix_their_records() {
    if !skip::root() {
        return;
    }
    const SENDERS: usize = 4;
    const SENDS: u32 = 5000;
    let (sandbox, udp, uid) = (Sandbox::new(SENDER), Udp::open(false), unused_uid());
    // Small enough to lose some records on a busy machine. Losses must be counted.
    let mut live = Live::start(watch(uid, 16_384), 1 << 20);
    let one = |_| {
        let sender = sandbox.sender().uid(uid).then(format!("connect udp {}", udp.address()));
        sender.then(format!("repeat {SENDS} sendmsg 37x5")).start()
    };
    let (ended, records) = read_while(&mut live, (0..SENDERS).map(one).collect());

    let losses = live.losses();
    assert_eq!(records.len() as u64, losses.delivered());
    let all = SENDERS as u64 * u64::from(SENDS);
    let known = losses.delivered() + losses.count(Loss::RingFull);
    // The kernel does not say which process's sends it skipped.
    assert!((known..=known + losses.count(Loss::Missed)).contains(&all), "{losses:?}");
    // The sends of each process are in order and intact.
    let pids: HashSet<u32> = ended.iter().map(|ended| ended.pid).collect();
    let mut last: HashMap<u32, u32> = HashMap::new();
    for record in &records {
        let pid = record.process.tgid;
        assert!(pids.contains(&pid));
        let n = number(&record.payload).expect("a number");
        assert_eq!(record.payload, payload(n, 37 * 5), "send {n} of {pid}");
        assert!(last.insert(pid, n).is_none_or(|before| before < n), "send {n} of {pid}");
    }
}

/// A non-blocking process retries what the kernel did not take. Every record
/// announces all the remaining data, so most of it appears several times.
#[test]
fn partial_writes_are_reassembled() {
    if !skip::root() {
        return;
    }
    const REQUESTS: u32 = 200;
    let (sandbox, to, uid) = (Sandbox::new(SENDER), peer::tcp(false), unused_uid());
    let mut live = Live::start(watch(uid, 65_536), 16 << 20);
    let sender = sandbox.sender().uid(uid).then(format!("connect tcp {to}"));
    let sender = sender.then(format!("pipelined {REQUESTS}")).start();
    let (ended, records) = read_while(&mut live, vec![sender]);
    assert_eq!(live.losses().count(Loss::RingFull), 0, "the test's own ring is too small");
    let writes = ended[0].text.strip_suffix(" writes\n").and_then(|n| n.parse().ok());
    assert_eq!(writes, Some(records.len()));
    assert!(records.len() > 1, "the kernel took everything at once");

    let (requests, counters) = requests(&records);
    assert_eq!(requests.len(), REQUESTS as usize, "{counters:?}");
    for (n, request) in (0..).zip(&requests) {
        assert_eq!(request.target(), format!("/{n}"));
        assert!(request.complete, "/{n}");
        assert_eq!(request.body.data, body(n), "/{n}");
    }
    assert!(counters.repeated_bytes > 0);
    assert_eq!((counters.lost_bytes, counters.cut_bytes, counters.unknown_gaps), (0, 0, 0));
}

/// Every message of a `sendmmsg` is captured before the first is sent.
#[test]
fn messages_of_one_call_have_consecutive_positions() {
    if !skip::root() {
        return;
    }
    let (sandbox, to, uid) = (Sandbox::new(SENDER), peer::tcp(false), unused_uid());
    let mut live = Live::start(watch(uid, 16_384), RING);
    sandbox
        .sender()
        .uid(uid)
        .then(format!("connect tcp {to}"))
        .then("sendmmsg 100 200 300")
        .then("write 50")
        .run();
    let records = live.records();
    let (_, counters) = requests(&records);
    assert_eq!(counters.records, 4);
    assert_eq!((counters.repeated_bytes, counters.lost_bytes, counters.reused), (0, 0, 0));
}

/// The data beyond the head is a gap of known length. The request after it is read.
#[test]
fn requests_after_a_cut_body_are_read() {
    if !skip::root() {
        return;
    }
    const HEAD: usize = 4096;
    let (sandbox, to, uid) = (Sandbox::new(SENDER), peer::tcp(false), unused_uid());
    let request = |path: &str, len: usize| {
        let head = format!("POST {path} HTTP/1.1\r\nHost: a.test\r\nContent-Length: {len}");
        head + "\r\n\r\n" + &"x".repeat(len)
    };
    let (long, short) = (request("/long", 100_000), request("/short", 10));
    let file = |name: &str, text: &str| {
        let path = sandbox.path().join(name);
        fs::write(&path, text).expect("a file");
        format!("file {}", path.display())
    };
    let mut live = Live::start(watch(uid, HEAD as u32), RING);
    sandbox
        .sender()
        .uid(uid)
        .then(format!("connect tcp {to}"))
        .then(file("long", &long))
        .then(file("short", &short))
        .run();
    let (requests, counters) = requests(&live.records());
    let told: Vec<_> = requests
        .iter()
        .map(|request| (request.target(), request.complete, request.unread_bytes))
        .collect();
    let unread = (long.len() - HEAD) as u64;
    assert_eq!(told, [("/long", false, unread), ("/short", true, 0)]);
    assert_eq!((counters.cut_bytes, counters.lost_bytes), (unread, 0));
}
