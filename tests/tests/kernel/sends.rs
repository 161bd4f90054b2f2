//! Every way of sending, and every field of its record, in the running kernel.

use std::net::SocketAddr;

use tracer_core::record::{Hook, Loss, Record, Transport};
use tracer_host::hook::{SocketHook, Target, Watch};
use tracer_tests::{
    live::{Live, RING, boot_time, hooks},
    payload::payload,
    peer::{self, Udp, ipv4_mapped},
    sender::{Outcome, Sandbox, Sender, unused_uid},
    skip,
};

const SENDER: &str = env!("CARGO_BIN_EXE_sender");

/// A sender under a watched UID.
struct Watched {
    hook: SocketHook,
    sandbox: Sandbox,
    uid: u32,
    live: Live,
}

impl Watched {
    fn start(hook: SocketHook, watch: Watch) -> Self {
        let uid = unused_uid();
        let watch = Watch { targets: vec![Target::Uid(uid)], ..watch };
        Self { hook, sandbox: Sandbox::new(SENDER), uid, live: Live::with_hook(hook, watch, RING) }
    }

    /// Returns one for each hook that the kernel has.
    fn each(watch: &Watch) -> impl Iterator<Item = Self> {
        hooks().iter().map(|&hook| Self::start(hook, watch.clone()))
    }

    /// Reports whether the hook records the arguments of system calls for this
    /// transport. Hooks in the socket layer know more: the total length of a
    /// message, even of parts that cannot be read.
    fn sees_arguments(&self, transport: Transport) -> bool {
        self.hook.record(transport) == Hook::SysEnter
    }

    fn run(&mut self, sender: impl FnOnce(Sender) -> Sender) -> (Outcome, Vec<Record>) {
        let ended = sender(self.sandbox.sender().uid(self.uid)).run();
        (ended, self.live.records())
    }
}

/// Returns the length of each send and the number of bytes that its record
/// contains.
fn lengths(records: &[Record]) -> Vec<(Option<u32>, usize)> {
    records.iter().map(|record| (record.len, record.payload.len())).collect()
}

fn whole(len: u32) -> (Option<u32>, usize) {
    (Some(len), len as usize)
}

/// Checks the record of each system call that sends, on one connected socket.
fn each_call(transport: &str, to: SocketAddr) {
    if !skip::root() {
        return;
    }
    const CALLS: [&str; 7] = [
        "send 100",
        "sendmsg 10x3",
        "sendmmsg 10x2 21",
        "write 31",
        "writev 7x5",
        "pwritev2 9x2",
        "write 1",
    ];
    const LENGTHS: [u32; 8] = [100, 30, 20, 21, 31, 35, 18, 1];

    for mut watched in Watched::each(&Watch::default()) {
        let before = boot_time();
        let (ended, records) = watched.run(|sender| {
            let sender = sender.then(format!("connect {transport} {to}")).then("say");
            CALLS.iter().fold(sender, |sender, &call| sender.then(call))
        });
        let after = boot_time();

        assert_eq!(lengths(&records), LENGTHS.map(whole));
        let said = &ended.identities[0];
        let unmapped = |addr: SocketAddr| SocketAddr::new(addr.ip().to_canonical(), addr.port());
        let key = records[0].connection.key;
        let mut time = before;
        let mut position = records[0].position;
        for (n, record) in (0..).zip(&records) {
            assert_eq!(record.payload, payload(n, record.payload.len()), "send {n}");
            assert_eq!(record.offset, 0);

            assert_eq!(record.process.uid, watched.uid);
            assert_eq!((record.process.tgid, record.process.tid), (ended.pid, said.tid));
            assert_eq!(record.process.comm, "sender");

            let connection = &record.connection;
            assert_eq!(record.hook, watched.hook.record(connection.transport));
            let tcp = transport == "tcp";
            assert_eq!(connection.transport, if tcp { Transport::Tcp } else { Transport::Udp });
            assert_eq!(connection.local, said.local.map(unmapped), "send {n}");
            assert_eq!(connection.remote, Some(unmapped(to)), "send {n}");
            assert_eq!(connection.key, key, "one socket, one key");

            assert!(time <= record.time && record.time <= after, "send {n} at {:?}", record.time);
            time = record.time;
            assert_eq!(record.position.is_some(), tcp);
            assert_eq!(record.position, position, "send {n}");
            position = position.map(|at| at.wrapping_add(LENGTHS[n as usize]));
        }
        let losses = watched.live.losses();
        assert_eq!(losses.delivered(), LENGTHS.len() as u64);
        // The kernel counts missed programs of all tasks. That none was missed for the watched
        // one is shown by the number of records.
        let own = Loss::ALL.iter().filter(|&&loss| loss != Loss::Missed);
        assert!(own.map(|&loss| losses.count(loss)).all(|count| count == 0), "{losses:?}");
    }
}

#[test]
fn tcp_over_ipv4() {
    each_call("tcp", peer::tcp(false));
}

#[test]
fn tcp_over_ipv6() {
    each_call("tcp", peer::tcp(true));
}

#[test]
fn tcp_over_ipv4_on_an_ipv6_socket() {
    each_call("tcp", ipv4_mapped(peer::tcp(false)));
}

#[test]
fn udp_over_ipv4() {
    let udp = Udp::open(false);
    each_call("udp", udp.address());
}

#[test]
fn udp_over_ipv6() {
    let udp = Udp::open(true);
    each_call("udp", udp.address());
}

#[test]
fn udp_over_ipv4_on_an_ipv6_socket() {
    let udp = Udp::open(false);
    each_call("udp", ipv4_mapped(udp.address()));
}

#[test]
fn each_datagram_records_its_destination() {
    if !skip::root() {
        return;
    }
    let (one, other, six) = (Udp::open(false), Udp::open(false), Udp::open(true));
    let (one, other, six) = (one.address(), other.address(), six.address());
    for mut watched in Watched::each(&Watch::default()) {
        let (ended, records) = watched.run(|sender| {
            sender
                .then("open udp4")
                .then(format!("send 10 to {one}"))
                .then("say")
                .then(format!("sendmsg 11 to {other}"))
                .then(format!("sendmmsg 12 13 to {one}"))
                .then("open udp6")
                .then(format!("send 14 to {six}"))
                .then(format!("send 15 to {}", ipv4_mapped(other)))
                // An IPv6 socket accepts an IPv4 address too.
                .then(format!("sendmsg 16 to {one}"))
                // A connected socket can send to another address.
                .then(format!("connect udp {one}"))
                .then(format!("send 17 to {other}"))
        });
        assert_eq!(lengths(&records), [10, 11, 12, 13, 14, 15, 16, 17].map(whole));
        let remotes: Vec<_> = records.iter().map(|record| record.connection.remote).collect();
        assert_eq!(remotes, [one, other, one, one, six, other, one, other].map(Some));

        // The kernel chooses a port during the first send, after sys_enter.
        let local =
            if watched.sees_arguments(Transport::Udp) { None } else { ended.identities[0].local };
        assert_eq!(records[0].connection.local, local);
        for record in &records[1..4] {
            assert_eq!(record.connection.local, ended.identities[0].local);
        }
        let keys: Vec<_> = records.iter().map(|record| record.connection.key).collect();
        assert!(keys[..4].iter().all(|&key| key == keys[0]), "{keys:?}");
        assert!(keys[4..7].iter().all(|&key| key == keys[4]), "{keys:?}");
    }
}

#[test]
fn simultaneous_sockets_have_different_keys() {
    if !skip::root() {
        return;
    }
    let to = peer::tcp(false);
    for mut watched in Watched::each(&Watch::default()) {
        // `run` keeps the first socket open until the second has sent.
        let (_, records) = watched.run(|sender| {
            sender
                .then(format!("connect tcp {to}"))
                .then("send 5")
                .then("run")
                .then(format!("connect tcp {to}"))
                .then("send 5")
        });
        assert_eq!(lengths(&records), [whole(5), whole(5)]);
        assert_ne!(records[0].connection.key, records[1].connection.key);
    }
}

#[test]
fn buffers_are_joined_up_to_the_kernels_limit() {
    if !skip::root() {
        return;
    }
    let to = peer::tcp(false);
    for mut watched in Watched::each(&Watch::default()) {
        for (call, count) in ["sendmsg", "writev", "pwritev2"]
            .iter()
            .flat_map(|&call| [(call, 1), (call, 200), (call, 1024)])
        {
            let (_, records) = watched.run(|sender| {
                sender.then(format!("connect tcp {to}")).then(format!("{call} 13x{count}"))
            });
            assert_eq!(lengths(&records), [whole(13 * count)], "{call}");
            assert_eq!(records[0].payload, payload(0, 13 * count as usize), "{call}");
        }
        let (_, records) = watched.run(|sender| {
            sender
                .then(format!("connect tcp {to}"))
                .then("sendmsg 3x33")
                .then("writev 3x1024")
                .then("write 10")
        });
        assert_eq!(lengths(&records), [whole(99), whole(3072), whole(10)]);
        for (n, record) in (0..).zip(&records) {
            assert_eq!(record.payload, payload(n, record.payload.len()), "send {n}");
        }
        let start = records[0].position.expect("a position");
        let at = |record: &Record| record.position.map(|at| at.wrapping_sub(start));
        let positions: Vec<_> = records.iter().map(at).collect();
        assert_eq!(positions, [0, 99, 3171].map(Some));
        assert_eq!(watched.live.losses().count(Loss::TooManyIovecs), 0);
    }
}

#[test]
fn messages_are_captured_up_to_the_limit() {
    if !skip::root() {
        return;
    }
    let udp = Udp::open(false);
    let sizes = |count: usize| vec!["9x2"; count].join(" ");
    for mut watched in Watched::each(&Watch::default()) {
        let (_, records) = watched.run(|sender| {
            sender
                .then(format!("connect udp {}", udp.address()))
                .then(format!("sendmmsg {}", sizes(128)))
                .then(format!("sendmmsg {}", sizes(140)))
                .then("sendmmsg 5x64 5x65")
        });
        let losses = watched.live.losses();
        let lost = (losses.count(Loss::TooManyMessages), losses.count(Loss::TooManyIovecs));
        if watched.sees_arguments(Transport::Udp) {
            // 128 messages of each call, and at most 64 buffers of each message.
            let mut expected = vec![whole(18); 256];
            expected.extend([whole(320), (None, 320)]);
            // Where the kernel reports lengths after the sends, those of the others are known.
            let others = losses.count(Loss::UnknownIterator);
            expected.splice(256..256, vec![(Some(18), 0); others as usize]);
            assert_eq!(lengths(&records), expected);
            assert_eq!((lost.0 + others, lost.1), (12, 1));
        } else {
            let mut expected = vec![whole(18); 268];
            expected.extend([whole(320), whole(325)]);
            assert_eq!(lengths(&records), expected);
            assert_eq!(lost, (0, 0));
        }
    }
}

/// After a message of unknown length, the position of the next one is unknown too,
/// until the next system call.
#[test]
fn a_message_after_one_of_unknown_length_has_no_position() {
    if !skip::root() {
        return;
    }
    let to = peer::tcp(false);
    for mut watched in Watched::each(&Watch::default()) {
        let (_, records) = watched.run(|sender| {
            sender.then(format!("connect tcp {to}")).then("sendmmsg 10 3x70 7").then("sendmmsg 8 9")
        });
        let asked = watched.sees_arguments(Transport::Tcp);
        let listed = if asked { (None, 192) } else { whole(210) };
        assert_eq!(lengths(&records), [whole(10), listed, whole(7), whole(8), whole(9)]);
        let start = records[0].position.expect("a position");
        let at = |record: &Record| record.position.map(|at| at.wrapping_sub(start));
        let positions: Vec<_> = records.iter().map(at).collect();
        let behind = if asked { None } else { Some(220) };
        assert_eq!(positions, [Some(0), Some(10), behind, Some(227), Some(235)]);
    }
}

#[test]
fn heads_have_the_configured_length() {
    if !skip::root() {
        return;
    }
    let to = peer::tcp(false);
    for head in [1, 256, 16_384, 65_536_u32] {
        for mut watched in Watched::each(&Watch { head_bytes: head, ..Watch::default() }) {
            let (_, records) = watched.run(|sender| {
                sender
                    .then(format!("connect tcp {to}"))
                    .then(format!("send {head}"))
                    .then(format!("write {}", head + 1))
                    .then(format!("writev {}x3", head.div_ceil(2)))
                    .then(format!("sendmsg {}x2", head - head / 3))
                    .then("send 1")
                    .then(format!("send {}", 4 * head + 100_000))
            });
            let cut = |len: u32| (Some(len), len.min(head) as usize);
            assert_eq!(
                lengths(&records),
                [
                    whole(head),
                    cut(head + 1),
                    cut(3 * head.div_ceil(2)),
                    cut(2 * (head - head / 3)),
                    whole(1),
                    cut(4 * head + 100_000)
                ],
                "head {head}"
            );
            for (n, record) in (0..).zip(&records) {
                assert_eq!(
                    record.payload,
                    payload(n, record.payload.len()),
                    "head {head}, send {n}"
                );
            }
        }
    }
}

#[test]
fn writes_outside_ip_are_not_recorded() {
    if !skip::root() {
        return;
    }
    let (to, udp) = (peer::tcp(false), Udp::open(false));
    for mut watched in Watched::each(&Watch::default()) {
        let (_, records) = watched.run(|sender| {
            sender
                .then("open unix")
                .then("send 10")
                .then("writev 5x2")
                .then("open null")
                .then("write 10")
                .then("writev 5x2")
                // These send nothing, or nothing that could be read.
                .then(format!("connect tcp {to}"))
                .then("write 0")
                .then("send 0")
                .then(format!("connect udp {}", udp.address()))
                .then("send 0")
                .then("write 7")
        });
        assert_eq!(lengths(&records), [whole(7)]);
        assert_eq!(watched.live.losses().delivered(), 1);
    }
}

/// The programs run before the kernel reads the sender's memory and cannot fault in
/// a page. They capture the resident part and count the loss.
#[test]
fn unreadable_memory_is_counted() {
    if !skip::root() {
        return;
    }
    // Larger than malloc's heap allocations, so that the pages come directly from
    // the kernel.
    const LEN: u32 = 300_000;
    let to = peer::tcp(false);
    for mut watched in Watched::each(&Watch::default()) {
        let (ended, records) = watched.run(|sender| {
            sender.then(format!("connect tcp {to}")).then(format!("lazy {LEN} 1000")).then("send 5")
        });
        let page = ended.text.lines().find_map(|line| line.strip_prefix("page ends after "));
        let there: usize = page.expect("the sender prints it").parse().expect("a number");
        assert_eq!(lengths(&records), [(Some(LEN), there), whole(5)]);
        let mut expected = payload(0, 1000);
        expected.resize(there, 0);
        assert_eq!(records[0].payload, expected);
        assert_eq!(watched.live.losses().count(Loss::Unreadable), 1);
    }
}

#[test]
fn records_name_the_sending_thread() {
    if !skip::root() {
        return;
    }
    let to = peer::tcp(false);
    for mut watched in Watched::each(&Watch::default()) {
        let (ended, records) = watched.run(|sender| {
            let sender = sender.then(format!("connect tcp {to}"));
            sender.then("say").then("send 1").then("thread").then("say").then("send 2")
        });
        assert_eq!(lengths(&records), [whole(1), whole(2)]);
        let tids: Vec<_> = records.iter().map(|record| record.process.tid).collect();
        assert_eq!(tids, [ended.identities[0].tid, ended.identities[1].tid]);
        assert_ne!(tids[0], tids[1]);
        assert!(records.iter().all(|record| record.process.tgid == ended.pid));
    }
}
