//! Runs `tracer run` under a stated load, and prints what its processes use.
//!
//! `soak MINUTES [WARM-UP]`. Each second, a new process opens ten connections and sends one request
//! on each, one of which reports a page, and then 40 requests on the last connection. Every ten
//! seconds, another process sends 2,000 times as fast as it can. docs/measurements/soak.md has
//! results.

use std::{
    collections::BTreeMap,
    env, fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use rustix::process::Signal;
use serde_json::Value;
use tracer_tests::{
    peer,
    sender::{Sandbox, Sender, unused_uid},
    tracer_bin::{self, Running},
};

/// Number of different pages that are reported.
const PAGES: u64 = 500;

/// Number of connections of each process.
const CONNECTIONS: u64 = 10;

/// Number of further requests on the last of them.
const REQUESTS: u64 = 40;

/// Number of sends in a burst.
const BURST: u64 = 2000;

/// Seconds between two bursts.
const PAUSE: u64 = 10;

fn main() {
    let mut arguments = env::args().skip(1).map(|word| word.parse::<u64>().expect("minutes"));
    let minutes = arguments.next().expect("usage: soak MINUTES [WARM-UP]");
    let warm_up = arguments.next().unwrap_or(minutes / 6);

    let own = env::current_exe().expect("a path");
    let sandbox = Sandbox::new(own.with_file_name("sender").to_str().expect("UTF-8"));
    let store = sandbox.path().join("store/tracer.db");
    fs::create_dir(store.parent().expect("a folder")).expect("a folder");
    let uid = unused_uid();
    let mut command = tracer_bin::command(["run", "--json", "--uid", &uid.to_string(), "--store"]);
    let mut run = Running::start_command(command.arg(&store));
    let load = Load { sandbox, server: peer::tcp(false), uid };

    let began = Instant::now();
    let mut sent = 0;
    let mut usage = Vec::new();
    println!("| minute | process | resident KiB | of it own | descriptors | maps | threads |");
    println!("|---|---|---|---|---|---|---|");
    for second in 0..minutes * 60 {
        sent += load.second(second);
        if second % 60 == 59 {
            let minute = second / 60 + 1;
            let now = Usage::of_run(run.id());
            for (role, usage) in &now {
                println!(
                    "| {minute} | {role} | {} | {} | {} | {} | {} |",
                    usage.resident, usage.own, usage.descriptors, usage.maps, usage.threads
                );
            }
            if minute > warm_up {
                usage.push(now);
            }
        }
        if run.has_ended() {
            let ended = run.end();
            panic!("tracer has ended with code {:?}:\n{}", ended.code, ended.stderr);
        }
        let due = Duration::from_secs(second + 1);
        thread::sleep(due.saturating_sub(began.elapsed()));
    }
    println!("\nAfter {warm_up} minutes:\n");
    summarize(&usage);

    run.signal(Signal::INT);
    let ended = run.end();
    println!("\n{sent} sends in {} seconds; exit code {:?}", began.elapsed().as_secs(), ended.code);
    let summary = ended.stdout.lines().rev().find_map(|line| {
        let line: Value = serde_json::from_str(line).ok()?;
        (line["type"] == "summary").then_some(line)
    });
    let summary = summary.expect("a summary");
    println!("totals: {}", summary["totals"]);
    println!("applications: {}", summary["applications"]);
    println!("messages:\n{}", ended.stderr);
}

struct Load {
    sandbox: Sandbox,
    server: std::net::SocketAddr,
    uid: u32,
}

impl Load {
    /// Sends what is sent in a second, and returns the number of sends.
    fn second(&self, second: u64) -> u64 {
        let page = second % PAGES;
        let report = self.request(&format!(
            "{{\"url\":\"https://news.example.org/story-{page}\",\"device_id\":\"7f3c2a109b1e4c57\"}}"
        ));
        let innocent = self.request(&format!(
            "{{\"event\":\"heartbeat\",\"count\":{second},\"padding\":\"{}\"}}",
            "abcdefghij ".repeat(100)
        ));
        let report = self.file("report", &report);
        let innocent = self.file("innocent", &innocent);
        let mut sender = self.sender();
        for number in 0..CONNECTIONS {
            let file = if number == 0 { &report } else { &innocent };
            sender = sender
                .then(format!("connect tcp {}", self.server))
                .then(format!("file {}", file.display()));
        }
        for _ in 0..REQUESTS {
            sender = sender.then(format!("file {}", innocent.display()));
        }
        sender.run();
        let mut sent = CONNECTIONS + REQUESTS;
        if second.is_multiple_of(PAUSE) {
            self.sender()
                .then(format!("connect tcp {}", self.server))
                .then(format!("repeat {BURST} send 1024"))
                .run();
            sent += BURST;
        }
        sent
    }

    fn sender(&self) -> Sender {
        self.sandbox.sender().uid(self.uid)
    }

    fn request(&self, body: &str) -> String {
        format!(
            "POST /v1/events HTTP/1.1\r\nHost: collector.example\r\nContent-Type: \
             application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
    }

    fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.sandbox.path().join(name);
        fs::write(&path, text).expect("a file");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).expect("permissions");
        path
    }
}

/// The resources that a process uses.
#[derive(Clone, Copy)]
struct Usage {
    resident: u64,
    /// The part of `resident` that does not belong to mapped files.
    own: u64,
    descriptors: u64,
    maps: u64,
    threads: u64,
}

impl Usage {
    /// Returns what each process of a run uses, by its name.
    fn of_run(id: u32) -> BTreeMap<String, Self> {
        let mut all = BTreeMap::new();
        let mut waiting = vec![id];
        while let Some(id) = waiting.pop() {
            let process = Path::new("/proc").join(id.to_string());
            if let Some(usage) = Self::of(&process) {
                let line = fs::read(process.join("cmdline")).unwrap_or_default();
                let words = String::from_utf8_lossy(&line).replace('\0', " ");
                let is_supervisor = words.contains("--supervise");
                let role = words.split(' ').nth(1).unwrap_or_default().to_owned();
                let role = if is_supervisor { format!("{role} --supervise") } else { role };
                all.insert(role, usage);
            }
            for task in fs::read_dir(process.join("task")).into_iter().flatten().flatten() {
                let children = fs::read_to_string(task.path().join("children"));
                let children = children.unwrap_or_default();
                waiting.extend(children.split(' ').filter_map(|id| id.parse::<u32>().ok()));
            }
        }
        all
    }

    fn of(process: &Path) -> Option<Self> {
        let status = fs::read_to_string(process.join("status")).ok()?;
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name))?;
            line.split_whitespace().next()?.parse().ok()
        };
        Some(Self {
            resident: field("VmRSS:")?,
            own: field("RssAnon:")?,
            threads: field("Threads:")?,
            descriptors: fs::read_dir(process.join("fd")).ok()?.count() as u64,
            maps: fs::read_to_string(process.join("maps")).ok()?.lines().count() as u64,
        })
    }
}

/// Prints the lowest and the highest values.
fn summarize(all: &[BTreeMap<String, Usage>]) {
    println!("| process | resident KiB | of it own | descriptors | maps | threads |");
    println!("|---|---|---|---|---|---|");
    let roles: Vec<&String> = all.last().into_iter().flat_map(BTreeMap::keys).collect();
    for role in roles {
        let range = |value: fn(&Usage) -> u64| {
            let values: Vec<u64> = all.iter().filter_map(|now| now.get(role)).map(value).collect();
            let lowest = values.iter().min().copied().unwrap_or_default();
            let highest = values.iter().max().copied().unwrap_or_default();
            match lowest == highest {
                true => lowest.to_string(),
                false => format!("{lowest} to {highest}"),
            }
        };
        println!(
            "| {role} | {} | {} | {} | {} | {} |",
            range(|usage| usage.resident),
            range(|usage| usage.own),
            range(|usage| usage.descriptors),
            range(|usage| usage.maps),
            range(|usage| usage.threads)
        );
    }
}
