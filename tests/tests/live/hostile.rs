//! Applications that try to exhaust tracer, or to hide among many.

use std::{
    fs,
    os::unix::process::CommandExt as _,
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use rustix::process::Signal;
use tracer_core::{
    knowledge::Knowledge,
    pipeline::{Output, Pipeline},
    record::{BootTime, Connection, Event, Hook, Process, Record, Transport},
};
use tracer_tests::{
    openssl::{self, Server},
    peer,
    sender::{Sandbox, unused_uid},
    skip,
    tracer_bin::Running,
};

const SENDER: &str = env!("CARGO_BIN_EXE_sender");

/// Longest time anything may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// Returns a field of a process's status in KiB.
fn memory(process: u32, field: &str) -> u64 {
    let text = fs::read_to_string(format!("/proc/{process}/status")).expect("a process");
    let line = text.lines().find_map(|line| line.strip_prefix(field)).expect("the field");
    line.trim_start_matches(':').split_whitespace().next().expect("a value").parse().expect("KiB")
}

/// The arguments of each process were kept: 1,000 of them cost a gigabyte, and a recording of them
/// 4.8 GB.
#[test]
fn short_processes_with_long_arguments_cost_little() {
    const ARGUMENTS: usize = 8150;
    if !skip::root() {
        return;
    }
    // An emulated machine takes long to start processes.
    let is_guest = std::env::var_os("TRACER_TEST_GUEST").is_some();
    let processes: u64 = if is_guest { 20 } else { 200 };
    let (sandbox, uid) = (Sandbox::new(SENDER), unused_uid());
    let record = sandbox.path().join("record");
    let run =
        Running::start(&["--uid", &uid.to_string(), "--record", record.to_str().expect("UTF-8")]);
    let before = memory(run.id(), "VmRSS") + memory(run.capturing_process(), "VmRSS");
    let to = peer::tcp(false);
    for _ in 0..processes {
        let mut sender = sandbox.sender().uid(uid);
        sender = sender.then(format!("connect tcp {to}")).then("send 10");
        for _ in 0..ARGUMENTS {
            sender = sender.then("padding");
        }
        // So that it still runs when its arguments are read.
        let mut sender = sender.then("say").then("await").start();
        sender.wait_for_line();
        std::thread::sleep(Duration::from_millis(5));
        sender.end();
    }
    let after = memory(run.id(), "VmRSS") + memory(run.capturing_process(), "VmRSS");
    run.signal(Signal::INT);
    let ended = run.end();
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert!(ended.stderr.contains(&format!("{processes} sends, ")), "{}", ended.stderr);
    // All arguments together: 13 MB in the recording, and more in memory.
    assert!(after < before + 20_000, "{before} KiB before, {after} KiB after");
    let recorded = fs::metadata(&record).expect("a recording").len();
    assert!(recorded < processes * 4000, "{recorded} bytes");
}

/// An application that maps many libraries used up the descriptors of the run.
#[test]
fn many_libraries_of_one_application_do_not_hide_another() {
    // With two probes in each.
    const COPIES: usize = 80;
    let library = Path::new("/usr/lib/x86_64-linux-gnu/libssl.so.3");
    if !skip::root() || !openssl::available() || !skip::met(library.exists(), "libssl.so.3") {
        return;
    }
    let (sandbox, hostile, other) = (Sandbox::new(SENDER), unused_uid(), unused_uid());
    let mut flood = sandbox.sender().uid(hostile);
    for number in 0..COPIES {
        let copy = sandbox.path().join(format!("libssl.so.{number}"));
        fs::copy(library, &copy).expect("a copy");
        flood = flood.then(format!("map {}", copy.display()));
    }
    let (one, two) = (hostile.to_string(), other.to_string());
    let mut run = Running::start(&["--uid", &one, "--uid", &two, "--verbose"]);
    let mut flood = flood.then("say").then("await").start();
    flood.wait_for_line();
    let refused = |line: &str| line.contains("probes already; its further libraries are not read");
    run.expect_stderr(refused, PATIENCE, "the limit is not said");

    let server = Server::start();
    let mut client = Command::new("openssl");
    client.args(["s_client", "-quiet", "-connect", server.address()]);
    client.uid(other).gid(other).current_dir("/");
    client.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut client = client.spawn().expect("a client");
    let read = |line: &str| line.contains("reading ") && line.contains("x86_64-linux-gnu/libssl");
    run.expect_stderr(read, PATIENCE, "the library of the other application is not read");
    let _ = client.kill();
    let _ = client.wait();
    flood.end();

    let began = Instant::now();
    run.signal(Signal::INT);
    let ended = run.end();
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert!(began.elapsed() < PATIENCE / 3, "ending took {:?}", began.elapsed());
}

/// A send of a request that discloses a page.
fn report(key: u64, uid: u32) -> Event {
    let body =
        format!(r#"{{"url":"https://news.example.org/story-{key}","device_id":"7f3c2a10"}}"#);
    let request = format!(
        "POST /v1/report HTTP/1.1\r\nHost: collector.example\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    );
    Event::Sent(sent(key, uid, 0, request.as_bytes()))
}

fn sent(key: u64, uid: u32, position: u32, bytes: &[u8]) -> Record {
    Record {
        hook: Hook::Fentry,
        time: BootTime(key),
        process: Process { uid, tgid: uid, tid: uid, comm: "application".into() },
        connection: Connection {
            key,
            transport: Transport::Tcp,
            local: None,
            remote: Some("192.0.2.1:80".parse().expect("an address")),
        },
        within_tls: None,
        position: Some(position),
        offset: 0,
        len: Some(bytes.len() as u32),
        payload: bytes.to_vec().into(),
    }
}

/// Beyond the number of connections that are followed, the oldest of the user with the most are
/// dropped. That was not said, and cost the alerts of other users.
#[test]
fn thousands_of_connections_hide_neither_others_nor_themselves() {
    const MANY: u64 = 6000;
    let (hostile, other) = (1000, 1001);
    let mut pipeline = Pipeline::new(&Knowledge::default());
    let mut outputs = Vec::new();
    // The other user's connection was opened first, and its request is not complete yet.
    let Event::Sent(whole) = report(1, other) else { unreachable!() };
    let (first, rest) = whole.payload.split_at(100);
    pipeline.push(Event::Sent(sent(1, other, 0, first)), &mut outputs);
    for key in 2..MANY {
        let innocent = b"GET / HTTP/1.1\r\nHost: site.example\r\n\r\n";
        pipeline.push(Event::Sent(sent(key, hostile, 0, innocent)), &mut outputs);
    }
    pipeline.push(Event::Sent(sent(1, other, 100, rest)), &mut outputs);
    for key in MANY..MANY + 20 {
        pipeline.push(report(key, hostile), &mut outputs);
    }
    pipeline.finish(&mut outputs);
    let alerts_of = |uid: u32| {
        let is_alert = |output: &&Output| {
            matches!(output, Output::Request(request)
                if request.is_alert() && request.sent.process.uid == uid)
        };
        outputs.iter().filter(is_alert).count()
    };
    assert_eq!((alerts_of(other), alerts_of(hostile)), (1, 20));
    let evicted = pipeline.totals().evicted_connections;
    assert!((MANY - 4096..MANY).contains(&evicted), "{evicted}");
}
