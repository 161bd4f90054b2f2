//! Faults around tracer: processes that die or stop, disks, files and limits.

use std::{
    fs,
    os::unix::{fs::MetadataExt as _, process::CommandExt as _},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use rustix::{
    fs::{CWD, Mode, mkfifoat},
    process::{Pid, Signal, kill_process},
};
use serde_json::Value;
use tracer::store::Reader;
use tracer_tests::{
    openssl::{self, Server},
    peer,
    sender::{Sandbox, unused_uid},
    skip,
    tracer_bin::{self, Outcome, Running},
};

const SENDER: &str = env!("CARGO_BIN_EXE_sender");

/// Longest time anything may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// Writes requests that each disclose another page.
fn reports(sandbox: &Sandbox, count: usize) -> PathBuf {
    let request = |number: usize| {
        let body = format!(
            r#"{{"url":"https://news.example.org/story-{number}","device_id":"7f3c2a109b1e4c57"}}"#
        );
        format!(
            "POST /v1/report HTTP/1.1\r\nHost: collector.example\r\nContent-Type: \
             application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
    };
    let file = sandbox.path().join("reports");
    fs::write(&file, (0..count).map(request).collect::<String>()).expect("a file");
    file
}

/// Makes a process of a UID send a file, as root can read it.
fn send(sandbox: &Sandbox, uid: u32, file: &Path) {
    let connect = format!("connect tcp {}", peer::tcp(false));
    sandbox.sender().uid(uid).then(connect).then(format!("file {}", file.display())).run();
}

fn text(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

/// Returns a process and all its descendants.
fn family(process: u32) -> Vec<u32> {
    let mut all = vec![process];
    let mut next = 0;
    while let Some(process) = all.get(next) {
        let tasks = fs::read_dir(format!("/proc/{process}/task")).into_iter().flatten().flatten();
        let children =
            tasks.filter_map(|task| fs::read_to_string(task.path().join("children")).ok());
        let children: String = children.collect();
        all.extend(children.split_whitespace().filter_map(|id| id.parse::<u32>().ok()));
        next += 1;
    }
    all
}

fn wait_until(what: &str, is_so: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "{what}");
        thread::sleep(Duration::from_millis(5));
    }
}

fn signal(process: u32, signal: Signal) {
    let process = i32::try_from(process).ok().and_then(Pid::from_raw).expect("a process id");
    let _ = kill_process(process, signal);
}

/// Time at which a process is killed.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Stage {
    /// As soon as the process exists.
    Starting,
    /// While it decodes.
    Busy,
    /// After a signal to end.
    Ending,
}

#[test]
fn a_kill_at_any_stage_leaves_a_whole_store_and_no_process() {
    if !skip::root() {
        return;
    }
    // An emulated machine takes long to load the programs.
    let is_guest = std::env::var_os("TRACER_TEST_GUEST").is_some();
    for stage in
        [Stage::Busy, Stage::Starting, Stage::Ending].into_iter().take(if is_guest { 1 } else { 3 })
    {
        for of_capture in [false, true] {
            killed(stage, of_capture);
        }
    }
}

fn killed(stage: Stage, of_capture: bool) {
    let (sandbox, uid) = (Sandbox::new(SENDER), unused_uid());
    let reports = reports(&sandbox, 200);
    let store = sandbox.path().join("tracer.db");
    let mut command = tracer_bin::command(["run", "--uid", &uid.to_string(), "--store"]);
    command.arg(&store);
    let run = match stage {
        Stage::Starting => Running::spawn(&mut command),
        _ => Running::start_command(&mut command),
    };
    if of_capture {
        wait_until("there is no capturing process", || family(run.id()).len() > 1);
    }
    if stage != Stage::Starting {
        send(&sandbox, uid, &reports);
    }
    if stage == Stage::Ending {
        run.signal(Signal::INT);
    }
    let family = family(run.id());
    signal(family[usize::from(of_capture && family.len() > 1)], Signal::KILL);
    let ended = run.end();
    for process in family {
        wait_until(&format!("{stage:?}: a process is left"), || {
            fs::read_link(format!("/proc/{process}/exe")).is_err()
        });
    }
    if of_capture && stage == Stage::Busy {
        assert_eq!(ended.code, Some(1), "{}", ended.stderr);
    }
    if store.exists()
        && let Some(reader) = Reader::open(&store).expect("a store")
    {
        assert!(reader.is_intact().expect("a check"), "{stage:?}");
    }
    // The next run uses it.
    if stage == Stage::Busy {
        let mut command = tracer_bin::command(["run", "--uid", &uid.to_string(), "--store"]);
        let run = Running::start_command(command.arg(&store));
        run.signal(Signal::INT);
        let ended = run.end();
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    }
}

/// Returns the number of sends in the summary.
fn sends(ended: &Outcome) -> u64 {
    let summary = ended.stderr.lines().find_map(|line| {
        line.strip_prefix("tracer: ")?.split_once(" sends, ")?.0.parse::<u64>().ok()
    });
    summary.unwrap_or_else(|| panic!("no summary: {}", ended.stderr))
}

/// Returns the number of sends that were lost because the ring was full.
fn lost(ended: &Outcome) -> u64 {
    let line = ended.stderr.lines().find_map(|line| {
        line.strip_prefix("tracer: ")?.split_once(" sends lost: the ring")?.0.parse().ok()
    });
    line.unwrap_or(0)
}

#[test]
fn what_a_stopped_process_misses_is_counted() {
    const SENDS: u64 = 3000;
    if !skip::root() {
        return;
    }
    for of_capture in [false, true] {
        let (sandbox, uid) = (Sandbox::new(SENDER), unused_uid());
        let run = Running::start(&[
            "--uid",
            &uid.to_string(),
            "--ring-mib",
            "1",
            "--head-bytes",
            "65536",
        ]);
        let stopped = if of_capture { run.capturing_process() } else { run.id() };
        signal(stopped, Signal::STOP);
        let connect = format!("connect tcp {}", peer::tcp(false));
        let sender = sandbox.sender().uid(uid).then(connect);
        sender.then(format!("repeat {SENDS} write 20000")).run();
        signal(stopped, Signal::CONT);
        run.signal(Signal::INT);
        let ended = run.end();
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        let (sends, lost) = (sends(&ended), lost(&ended));
        assert_eq!(sends + lost, SENDS, "{of_capture}: {}", ended.stderr);
        assert!(lost > 0, "{of_capture}: the ring was not full, so nothing was tested");
    }
}

/// A file system of its own.
struct Disk(PathBuf);

impl Disk {
    fn mount(sandbox: &Sandbox, size: &str) -> Option<Self> {
        let folder = sandbox.path().join("disk");
        fs::create_dir(&folder).expect("a folder");
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &format!("size={size},mode=700"), "tmpfs"]).arg(&folder);
        let mounted = mount.status().is_ok_and(|status| status.success());
        skip::met(mounted, "permission to mount").then_some(Self(folder))
    }

    fn make_read_only(&self) {
        let mut mount = Command::new("mount");
        let status = mount.args(["-o", "remount,ro"]).arg(&self.0).status().expect("mount");
        assert!(status.success());
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).status();
    }
}

#[test]
fn a_store_on_a_full_disk_is_named_and_the_run_goes_on() {
    if !skip::root() {
        return;
    }
    let (sandbox, uid) = (Sandbox::new(SENDER), unused_uid());
    let Some(disk) = Disk::mount(&sandbox, "256k") else {
        return;
    };
    let store = disk.0.join("tracer.db");
    let uid_text = uid.to_string();
    let arguments =
        ["--uid", &uid_text, "--json", "--head-bytes", "65536", "--store", text(&store)];
    let mut run = Running::start(&arguments);
    send(&sandbox, uid, &reports(&sandbox, 200));
    run.wait_for_line(|line| line.contains("https://news.example.org/story-199"));
    let named = |line: &str| line.contains("cannot write to the store") && line.contains("full");
    run.expect_stderr(named, PATIENCE, "the full disk is not named");
    run.signal(Signal::INT);
    let ended = run.end();
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert!(ended.stderr.contains("entries not stored"), "{}", ended.stderr);
    let reader = Reader::open(&store).expect("a readable store").expect("a store");
    assert!(reader.is_intact().expect("a check"));
}

#[test]
fn a_read_only_store_is_an_error_only_if_it_was_named() {
    if !skip::root() {
        return;
    }
    let (sandbox, uid) = (Sandbox::new(SENDER), unused_uid());
    let Some(disk) = Disk::mount(&sandbox, "1m") else {
        return;
    };
    disk.make_read_only();
    let store = disk.0.join("tracer.db");
    let uid = uid.to_string();
    let command = ["run", "--uid", &uid, "--store", text(&store)];
    let ended = tracer_bin::run(&mut tracer_bin::command(command));
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);
    assert!(ended.stderr.contains("Read-only file system"), "{}", ended.stderr);
    let mut command = tracer_bin::command(["run", "--uid", &uid]);
    let run = Running::start_command(command.env("STATE_DIRECTORY", &disk.0));
    run.signal(Signal::INT);
    let ended = run.end();
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert!(ended.stderr.contains("alerts are not kept"), "{}", ended.stderr);
}

#[test]
fn a_damaged_store_is_noticed() {
    if !skip::root() {
        return;
    }
    let (sandbox, uid) = (Sandbox::new(SENDER), unused_uid());
    let store = sandbox.path().join("tracer.db");
    let uid_text = uid.to_string();
    let arguments =
        ["--uid", &uid_text, "--json", "--head-bytes", "65536", "--store", text(&store)];
    let mut run = Running::start(&arguments);
    send(&sandbox, uid, &reports(&sandbox, 200));
    run.wait_for_line(|line| line.contains("https://news.example.org/story-199"));
    run.signal(Signal::INT);
    assert_eq!(run.end().code, Some(0));
    let mut bytes = fs::read(&store).expect("a store");
    let half = bytes.len() / 2 / 4096 * 4096;
    bytes[half..half + 4096].fill(0xff);
    fs::write(&store, bytes).expect("a damaged store");
    // Not `start`: it can be named before or after the run watches.
    let mut run = Running::spawn(tracer_bin::command(["run"]).args(arguments));
    let named = |line: &str| line.contains("the store is damaged");
    run.expect_stderr(named, PATIENCE, "the damage is not named");
    run.signal(Signal::INT);
    assert_eq!(run.end().code, Some(0));
}

#[test]
fn two_runs_see_the_same() {
    if !skip::root() {
        return;
    }
    let (sandbox, uid) = (Sandbox::new(SENDER), unused_uid());
    let reports = reports(&sandbox, 20);
    let mut runs = [(); 2].map(|()| Running::start(&["--uid", &uid.to_string(), "--json"]));
    send(&sandbox, uid, &reports);
    for run in &mut runs {
        run.wait_for_line(|line| line.contains("https://news.example.org/story-19"));
    }
    for run in runs {
        run.signal(Signal::TERM);
        let ended = run.end();
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        assert!(ended.stderr.contains("1 send, 20 requests read, 20 alerts"), "{}", ended.stderr);
    }
}

#[test]
fn limits_of_files_end_no_run() {
    if !skip::root() {
        return;
    }
    let (sandbox, uid) = (Sandbox::new(SENDER), unused_uid());
    let reports = reports(&sandbox, 60);
    let [alerts, record] = ["alerts", "record"].map(|name| sandbox.path().join(name));
    // Sizes of 8 blocks of 512 or 1024 bytes, and 64 descriptors.
    let mut command = Command::new("sh");
    command.args(["-c", "ulimit -f 8; ulimit -n 64; exec \"$@\"", "sh"]).arg(tracer_bin::path());
    command.args(["run", "--json", "--no-store", "--uid", &uid.to_string()]);
    command.arg("--alerts").arg(&alerts).arg("--record").arg(&record);
    let mut run = Running::start_command(&mut command);
    send(&sandbox, uid, &reports);
    run.wait_for_line(|line| line.contains("https://news.example.org/story-59"));
    let named = |line: &str| line.contains("File too large") && line.contains("goes on");
    run.expect_stderr(named, PATIENCE, "the limit is not named");
    run.signal(Signal::INT);
    let ended = run.end();
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert!(ended.stderr.contains("60 requests read, 60 alerts"), "{}", ended.stderr);
}

#[test]
fn a_fifo_in_place_of_a_file_is_not_waited_for() {
    if !skip::root() {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let fifo = folder.path().join("rules.toml");
    mkfifoat(CWD, &fifo, Mode::RUSR | Mode::WUSR).expect("a FIFO");
    mkfifoat(CWD, folder.path().join("report.json"), Mode::RUSR | Mode::WUSR).expect("a FIFO");
    let uid = unused_uid().to_string();
    let watch = ["run", "--no-store", "--uid", &uid];
    let fifo = text(&fifo);
    let commands: [(&[&str], &[&str]); 8] = [
        (&watch, &["--rules", text(folder.path())]),
        (&watch, &["--alerts", fifo]),
        (&watch, &["--record", fifo, "--force"]),
        (&["run", "--uid", &uid], &["--store", fifo]),
        (&["alerts"], &["--store", fifo]),
        (&["audit", "--unattended", "--exe", "no-such-browser"], &["--scenario", fifo]),
        (&["report"], &[fifo]),
        (&["compare"], &[text(folder.path())]),
    ];
    for (command, arguments) in commands {
        let mut command_line = tracer_bin::command([command, arguments].concat());
        command_line.env("TMPDIR", folder.path());
        // It fails if the command waits.
        let ended = Running::spawn(&mut command_line).end();
        assert!(matches!(ended.code, Some(1 | 2)), "{command:?} {arguments:?}: {ended:?}");
    }
}

#[test]
fn the_decoder_is_the_first_to_end_if_memory_lacks() {
    if !skip::root() {
        return;
    }
    let adjustment = |process: u32| -> i32 {
        let text = fs::read_to_string(format!("/proc/{process}/oom_score_adj"));
        text.expect("a process").trim().parse().expect("a number")
    };
    let run = Running::start(&["--uid", &unused_uid().to_string()]);
    let own = adjustment(std::process::id());
    assert_eq!(adjustment(run.id()), 500.max(own));
    assert_eq!(adjustment(run.capturing_process()), own);
    run.signal(Signal::INT);
    assert_eq!(run.end().code, Some(0));
}

/// Payloads are in the memory of all processes of a run.
#[test]
fn no_process_writes_a_core_dump() {
    if !skip::root() {
        return;
    }
    let run = Running::start(&["--uid", &unused_uid().to_string()]);
    for process in family(run.id()) {
        let limits = fs::read_to_string(format!("/proc/{process}/limits")).expect("a process");
        let core = limits.lines().find_map(|line| line.strip_prefix("Max core file size"));
        let words: Vec<&str> = core.expect("a limit").split_whitespace().collect();
        assert_eq!(words[..2], ["0", "0"], "{limits}");
        let status = fs::read_to_string(format!("/proc/{process}/status")).expect("a process");
        let uid = status.lines().find_map(|line| line.strip_prefix("Uid:\t")).expect("a UID");
        if !uid.starts_with("0\t") {
            // Files in /proc of a process that is not dumpable belong to root (proc(5)).
            let owner = fs::metadata(format!("/proc/{process}/environ")).expect("a file").uid();
            assert_eq!(owner, 0, "{process}");
        }
    }
    run.signal(Signal::INT);
    assert_eq!(run.end().code, Some(0));
}

/// A package manager replaces a library while processes have the old one mapped.
#[test]
fn a_library_that_is_replaced_is_read_before_and_after() {
    let library = Path::new("/usr/lib/x86_64-linux-gnu/libssl.so.3");
    if !skip::root() || !openssl::available() || !skip::met(library.exists(), "libssl.so.3") {
        return;
    }
    let (sandbox, uid) = (Sandbox::new(SENDER), unused_uid());
    let folder = sandbox.path().join("libraries");
    fs::create_dir(&folder).expect("a folder");
    let (used, new) = (folder.join("libssl.so.3"), folder.join("new"));
    fs::copy(library, &used).expect("a copy");
    // Each serves one client at a time.
    let servers = [Server::start(), Server::start()];
    let mut run = Running::start(&["--uid", &uid.to_string(), "--json", "--verbose"]);
    let mut clients = Vec::new();
    for (turn, server) in servers.iter().enumerate() {
        let mut client = Command::new("openssl");
        client.args(["s_client", "-quiet", "-connect", server.address()]);
        client.uid(uid).gid(uid).current_dir("/").env("LD_LIBRARY_PATH", &folder);
        client.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut client = client.spawn().expect("a client");
        let read = |line: &str| line.contains("reading ") && line.contains(text(&folder));
        run.expect_stderr(read, PATIENCE, "the library is not read");
        let body =
            format!(r#"{{"url":"https://news.example.org/turn-{turn}","device_id":"7f3c2a"}}"#);
        let request = format!(
            "POST /v1/report HTTP/1.1\r\nHost: collector.example\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\n\r\n{body}\n",
            body.len()
        );
        let input = client.stdin.as_mut().expect("a pipe");
        std::io::Write::write_all(input, request.as_bytes()).expect("the client reads");
        run.wait_for_json(|line: &Value| {
            line["type"] == "alert" && line.to_string().contains(&format!("turn-{turn}"))
        });
        // The first client keeps the old file mapped.
        clients.push(client);
        fs::copy(library, &new).expect("a copy");
        fs::rename(&new, &used).expect("a replacement");
    }
    for mut client in clients {
        let _ = client.kill();
        let _ = client.wait();
    }
    run.signal(Signal::INT);
    let ended = run.end();
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
}
