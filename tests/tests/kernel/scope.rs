//! The scope of a capture in the running kernel: watched processes, and all others.

use std::{
    fs,
    io::Write as _,
    net::{TcpStream, UdpSocket},
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use tracer_core::record::Record;
use tracer_host::hook::Target;
use tracer_tests::{
    live::{self, Live},
    peer::{self, Udp},
    sender::{Sandbox, Sender, unused_uid},
    skip,
};

const SENDER: &str = env!("CARGO_BIN_EXE_sender");

/// Creates a folder with the sender, and a socket that receives.
fn setup() -> (Sandbox, Udp) {
    (Sandbox::new(SENDER), Udp::open(false))
}

/// Makes a process send `len` bytes to `udp`. The length identifies the send.
trait SendStatement {
    fn then_send(self, len: u32, udp: &Udp) -> Self;
}

impl SendStatement for Sender {
    fn then_send(self, len: u32, udp: &Udp) -> Self {
        self.then("open udp4").then(format!("send {len} to {}", udp.address()))
    }
}

/// Returns the lengths of the captured sends. No test sends the same length twice.
fn lengths(records: &[Record]) -> Vec<u32> {
    records.iter().map(|record| record.len.expect("a length")).collect()
}

#[test]
fn only_the_watched_uid_is_captured() {
    if !skip::root() {
        return;
    }
    let (sandbox, udp) = setup();
    let (watched, other) = (unused_uid(), unused_uid());
    // Uses the same slot of the programs' filter as the watched UID.
    let alike = watched ^ 0x8000_0000;
    let mut live = Live::watch([Target::Uid(watched)]);
    for (len, uid) in [(1, other), (2, alike), (3, 0), (4, watched), (5, other)] {
        sandbox.sender().uid(uid).then_send(len, &udp).run();
    }
    let records = live.records();
    assert_eq!(lengths(&records), [4]);
    assert_eq!(records[0].process.uid, watched);
    // Sends out of scope are not counted either.
    assert_eq!(live.losses().delivered(), 1);
}

#[test]
fn a_process_is_watched_if_any_target_matches() {
    if !skip::root() {
        return;
    }
    let (sandbox, udp) = setup();
    let (one, two, other) = (unused_uid(), unused_uid(), unused_uid());
    let name = sandbox.unused_name();
    let program = sandbox.copy(&name);
    let mut live = Live::watch([Target::Uid(one), Target::ExeName(name), Target::Uid(two)]);
    for (len, uid) in [(1, one), (2, other), (3, two)] {
        sandbox.sender().uid(uid).then_send(len, &udp).run();
    }
    Sender::new(&program).uid(other).then_send(4, &udp).run();
    Sender::new(&program).uid(one).then_send(5, &udp).run();
    assert_eq!(lengths(&live.records()), [1, 3, 4, 5]);
}

#[test]
fn earlier_and_later_children_of_a_process_are_watched() {
    if !skip::root() {
        return;
    }
    let (sandbox, udp) = setup();
    // The first child exists before the capture, in a `run`, and starts another one
    // after it.
    let parent = sandbox.sender().then("run").then("say").then("await").then_send(1, &udp);
    let mut parent = parent.then("run").then_send(2, &udp).start();
    let stranger = sandbox.sender().then("await").then_send(3, &udp).start();
    parent.wait_for_line();

    let mut live = Live::watch([Target::Pid(parent.pid())]);
    stranger.end();
    let parent = parent.end();
    let records = live.records();
    assert_eq!(lengths(&records), [1, 2]);
    let tgids: Vec<_> = records.iter().map(|record| record.process.tgid).collect();
    assert_eq!(tgids[0], parent.identities[0].pid);
    assert!(!tgids.contains(&parent.pid) && tgids[0] != tgids[1], "{tgids:?}");
}

#[test]
fn watching_an_ended_process_is_an_error() {
    if !skip::root() {
        return;
    }
    let sandbox = Sandbox::new(SENDER);
    let gone = sandbox.sender().run().pid;
    let watch = tracer_host::hook::Watch { targets: vec![Target::Pid(gone)], ..Default::default() };
    let options = tracer_host::hook::Options { watch, ring: 1 << 16, hook: live::best() };
    let error = tracer_host::hook::Capture::start(&options).err().expect("the process has ended");
    assert!(error.to_string().contains(&gone.to_string()), "{error}");
}

#[test]
fn an_executable_is_watched_by_name() {
    if !skip::root() {
        return;
    }
    let (sandbox, udp) = setup();
    let name = sandbox.unused_name();
    let program = sandbox.copy(&name);
    let longer = sandbox.copy(&format!("{name}y"));
    let shorter = sandbox.copy(&name[..name.len() - 1]);
    let mut live = Live::watch([Target::ExeName(name)]);
    sandbox.sender().then_send(1, &udp).run();
    Sender::new(&longer).then_send(2, &udp).run();
    Sender::new(&shorter).then_send(3, &udp).run();
    Sender::new(&program).then_send(4, &udp).run();
    // The name is that of the file, however it is executed.
    let fd = fs::File::open(&program).expect("the program");
    let link = format!("/proc/{}/fd/{}", std::process::id(), std::os::fd::AsRawFd::as_raw_fd(&fd));
    Sender::new(Path::new(&link)).then_send(5, &udp).run();
    assert_eq!(lengths(&live.records()), [4, 5]);
}

#[test]
fn an_executable_is_watched_by_path() {
    if !skip::root() {
        return;
    }
    let (sandbox, udp) = setup();
    let program = sandbox.copy("program");
    let same_name = sandbox.path().join("elsewhere");
    fs::create_dir(&same_name).expect("a folder");
    let same_name = sandbox.copy("elsewhere/program");
    let link = sandbox.path().join("link");
    fs::hard_link(&program, &link).expect("a link");

    let mut live = Live::watch([Target::ExePath(program.clone())]);
    sandbox.sender().then_send(1, &udp).run();
    Sender::new(&same_name).then_send(2, &udp).run();
    Sender::new(&program).then_send(3, &udp).run();
    // The same file by another name.
    Sender::new(&link).then_send(4, &udp).run();
    // Another file by the same path, as after an update.
    fs::remove_file(&program).expect("the file exists");
    sandbox.copy("program");
    Sender::new(&program).then_send(5, &udp).run();
    assert_eq!(lengths(&live.records()), [3, 4, 5]);
}

#[test]
fn a_link_is_watched_by_its_own_name() {
    if !skip::root() {
        return;
    }
    let (sandbox, udp) = setup();
    let name = sandbox.unused_name();
    let link = sandbox.link(&name);
    let mut live = Live::watch([Target::ExeName(name)]);
    sandbox.sender().then_send(1, &udp).run();
    Sender::new(&link).then_send(2, &udp).run();
    assert_eq!(lengths(&live.records()), [2]);
}

/// The target of the link is watched, under any name.
#[test]
fn a_link_is_watched_by_its_path() {
    if !skip::root() {
        return;
    }
    let (sandbox, udp) = setup();
    let link = sandbox.link("link");
    let stranger = sandbox.copy("stranger");
    let mut live = Live::watch([Target::ExePath(link.clone())]);
    Sender::new(&stranger).then_send(1, &udp).run();
    Sender::new(&link).then_send(2, &udp).run();
    sandbox.sender().then_send(3, &udp).run();
    assert_eq!(lengths(&live.records()), [2, 3]);
}

#[test]
fn a_script_is_watched_by_its_own_name_and_path() {
    if !skip::root() {
        return;
    }
    let (sandbox, udp) = setup();
    let send = |len: u32| format!("send {len} to {}", udp.address());
    let script = |name: &str, len: u32| sandbox.script(name, &["open udp4", &send(len)]);
    let name = sandbox.unused_name();
    let (named, with_path, stranger) = (script(&name, 1), script("path", 2), script("other", 3));
    let mut live = Live::watch([Target::ExeName(name), Target::ExePath(with_path.clone())]);
    for script in [named, stranger, with_path] {
        Sender::new(&script).run();
    }
    assert_eq!(lengths(&live.records()), [1, 2]);
}

/// Processes that already run are matched like those that start later.
#[test]
fn running_processes_are_watched() {
    if !skip::root() {
        return;
    }
    let (sandbox, udp) = setup();
    let name = sandbox.unused_name();
    let link_name = sandbox.unused_name();
    let script_name = sandbox.unused_name();
    let program = sandbox.copy(&name);
    let by_path = sandbox.copy("by-path");
    let link = sandbox.link(&link_name);
    let send = format!("send 5 to {}", udp.address());
    let script = sandbox.script(&script_name, &["await", "open udp4", &send]);
    let waiting = |path: &Path, len| Sender::new(path).then("await").then_send(len, &udp).start();
    let running = [
        sandbox.sender().then("await").then_send(1, &udp).start(),
        waiting(&program, 2),
        waiting(&by_path, 3),
        waiting(&link, 4),
        Sender::new(&script).start(),
    ];
    let mut live = Live::watch([
        Target::ExeName(name),
        Target::ExePath(by_path),
        Target::ExeName(link_name),
        Target::ExeName(script_name),
    ]);
    for sender in running {
        sender.end();
    }
    assert_eq!(lengths(&live.records()), [2, 3, 4, 5]);
}

#[test]
fn scope_survives_exec() {
    if !skip::root() {
        return;
    }
    let (sandbox, udp) = setup();
    let name = sandbox.unused_name();
    let program = sandbox.copy(&name);
    let other = sandbox.copy("other");
    let mut live = Live::watch([Target::ExeName(name)]);
    let sender = Sender::new(&program).then_send(1, &udp).then(format!("exec {}", other.display()));
    let ended = sender.then_send(2, &udp).run();
    let records = live.records();
    assert_eq!(lengths(&records), [1, 2]);
    assert!(records.iter().all(|record| record.process.tgid == ended.pid));
    assert_eq!(records[1].process.comm, "other");
}

/// Its parent ends first, and the process that adopts it is not watched.
#[test]
fn an_orphan_stays_watched() {
    if !skip::root() {
        return;
    }
    let (sandbox, udp) = setup();
    let name = sandbox.unused_name();
    let program = sandbox.copy(&name);
    let mut live = Live::watch([Target::ExeName(name)]);
    let other = sandbox.path().join("sender");
    Sender::new(&program)
        .then(format!("run {}", other.display()))
        .then("spawn")
        .then("orphaned")
        .then_send(1, &udp)
        .run();
    assert_eq!(lengths(&live.records()), [1]);
}

/// A fork without exec, as in a shell's subshells.
#[test]
fn a_forked_child_without_exec_is_watched() {
    let Some(bash) = bash() else {
        return;
    };
    let (to, udp) = (peer::tcp(false), Udp::open(false));
    let sandbox = Sandbox::new(SENDER);
    let name = sandbox.unused_name();
    let shell = sandbox.path().join(&name);
    std::os::unix::fs::symlink(bash, &shell).expect("a link");
    let script = format!(
        "exec 3<>/dev/tcp/{}/{}; echo a >&3; (echo bb >&3; (echo ccc >&3)) & wait; echo dddd >&3",
        to.ip(),
        to.port()
    );
    let mut live = Live::watch([Target::ExeName(name)]);
    let shell = Command::new(shell).arg("-c").arg(script).spawn().expect("bash");
    let pid = shell.id();
    assert!(shell.wait_with_output().expect("an exit status").status.success());
    sandbox.sender().then_send(7, &udp).run();
    let records = live.records();
    assert_eq!(lengths(&records), [2, 3, 4, 5]);
    let own: Vec<_> = records.iter().map(|record| record.process.tgid == pid).collect();
    assert_eq!(own, [true, false, false, true]);
    // They share one connection, although several processes send on it.
    assert!(records.iter().all(|record| record.connection == records[0].connection));
}

/// Nothing in user space could react between the exec of a program and its first
/// send. The scope is decided during the exec.
#[test]
fn the_first_send_after_exec_is_captured() {
    if !skip::root() {
        return;
    }
    const CHILDREN: u32 = 200;
    let (sandbox, udp) = setup();
    let name = sandbox.unused_name();
    let program = sandbox.copy(&name);
    let mut live = Live::watch([Target::ExeName(name)]);
    for pair in (1..=CHILDREN).collect::<Vec<_>>().chunks(2) {
        // Two at a time: one for each processor of a small machine.
        let both: Vec<_> =
            pair.iter().map(|&len| Sender::new(&program).then_send(len, &udp).start()).collect();
        both.into_iter().for_each(|child| drop(child.end()));
    }
    let mut lengths = lengths(&live.records());
    lengths.sort_unstable();
    assert_eq!(lengths, (1..=CHILDREN).collect::<Vec<_>>());
    assert_eq!(live.losses().delivered(), u64::from(CHILDREN));
}

/// A process ID that is reused does not inherit the scope of its previous process.
#[test]
fn scope_ends_with_the_process() {
    if !skip::root() {
        return;
    }
    const LAST: &str = "/proc/sys/kernel/ns_last_pid";
    if !skip::met(Path::new(LAST).exists(), "CONFIG_CHECKPOINT_RESTORE, to choose process ids") {
        return;
    }
    let (sandbox, udp) = setup();
    let watched = sandbox.sender().then("await").then_send(1, &udp).start();
    let pid = watched.pid();
    let mut live = Live::watch([Target::Pid(pid)]);
    watched.end();
    assert_eq!(lengths(&live.records()), [1]);

    let deadline = Instant::now() + Duration::from_secs(15);
    loop {
        // If another process gets the number first, the next one cannot have it
        // either, so try again.
        fs::write(LAST, (pid - 1).to_string()).expect("as root");
        let next = sandbox.sender().then_send(2, &udp).run();
        if next.pid == pid {
            break;
        }
        if !skip::met(Instant::now() < deadline, "a process id to be given out again") {
            return;
        }
    }
    assert_eq!(lengths(&live.records()), [0; 0]);
}

#[test]
fn everyone_excludes_the_capturing_process() {
    if !skip::root() {
        return;
    }
    let (sandbox, udp) = setup();
    let to = peer::tcp(false);
    let mut live = Live::watch([Target::Everyone]);
    let one = sandbox.sender().uid(unused_uid()).then_send(1, &udp).run();
    let mut stream = TcpStream::connect(to).expect("loopback");
    stream.write_all(b"by the test itself").expect("loopback");
    let socket = UdpSocket::bind("127.0.0.1:0").expect("loopback");
    socket.send_to(b"so is this", udp.address()).expect("loopback");
    let two = sandbox.sender().then_send(2, &udp).run();

    // Other processes on this machine send as well.
    let records = live.records();
    let of = |pid| -> Vec<u32> {
        records
            .iter()
            .filter(|record| record.process.tgid == pid)
            .map(|record| record.len.expect("a length"))
            .collect()
    };
    assert_eq!(of(one.pid), [1]);
    assert_eq!(of(two.pid), [2]);
    assert_eq!(of(std::process::id()), [0; 0]);
}

#[test]
fn captures_are_independent() {
    if !skip::root() {
        return;
    }
    let (sandbox, udp) = setup();
    let (one, two) = (unused_uid(), unused_uid());
    let mut first = Live::watch([Target::Uid(one)]);
    let mut second = Live::watch([Target::Uid(one), Target::Uid(two)]);
    sandbox.sender().uid(one).then_send(1, &udp).run();
    drop(second.records());
    sandbox.sender().uid(two).then_send(2, &udp).run();
    assert_eq!(lengths(&first.records()), [1]);
    assert_eq!(lengths(&second.records()), [2]);
    second.detach();
    sandbox.sender().uid(one).then_send(3, &udp).run();
    assert_eq!(lengths(&first.records()), [3]);
}

/// Returns the path of bash, which can send without an exec, or `None` if the test
/// is skipped.
fn bash() -> Option<PathBuf> {
    if !skip::root() {
        return None;
    }
    let path = ["/bin/bash", "/usr/bin/bash"].into_iter().map(PathBuf::from).find(|p| p.exists());
    skip::met(path.is_some(), "bash").then_some(path)?
}
