//! `tracer run --package` with a simulated list of Android's packages.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use rustix::process::Signal;
use serde_json::Value;
use tracer_tests::{
    corpus, peer,
    sender::{Sandbox, Sender},
    skip,
    tracer_bin::{self, Running},
};

const SENDER: &str = env!("CARGO_BIN_EXE_sender");

/// A recorded request that discloses a page.
const REPORT: &str = "py-sensors-default.http";

/// Longest time anything may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(90);

/// First UID of a second user, whose number is 10.
const USER: u32 = 10 * 100_000;

/// Returns the ID of an application that no other process of this machine has, for
/// any user. Other tests and other checkouts use other IDs.
fn unused_id(nth: u32) -> u32 {
    10_000 + (std::process::id() * 7 + nth) % 9_000
}

/// A folder with a list of packages and the recorded request.
struct Device {
    sandbox: Sandbox,
    system: PathBuf,
}

impl Device {
    fn new(packages: &[(&str, u32)]) -> Self {
        let sandbox = Sandbox::new(SENDER);
        let copied = sandbox.path().join(REPORT);
        fs::copy(corpus::folder().join(REPORT), &copied).expect("a copy");
        fs::set_permissions(&copied, fs::Permissions::from_mode(0o644)).expect("permissions");
        let system = sandbox.path().join("system");
        fs::create_dir(&system).expect("a folder");
        let device = Self { sandbox, system };
        device.replace_package_list(packages);
        device
    }

    fn list(&self) -> PathBuf {
        self.system.join("packages.list")
    }

    /// Replaces the list as Android does.
    fn replace_package_list(&self, packages: &[(&str, u32)]) {
        let line = |(name, id): &(&str, u32)| {
            format!(
                "{name} {id} 0 /data/user/0/{name} default:targetSdkVersion=34 none 0 1 1 @null\n"
            )
        };
        let draft = self.system.join("packages.list.tmp");
        fs::write(&draft, packages.iter().map(line).collect::<String>()).expect("a list");
        fs::rename(&draft, self.list()).expect("a renamed file");
    }

    fn run(&self, packages: &[&str]) -> Running {
        let list = self.list();
        let mut arguments = vec!["--json", "--packages-list", text(&list)];
        arguments.extend(packages.iter().flat_map(|package| ["--package", package]));
        Running::start(&arguments)
    }

    /// Returns a process under this UID that sends the recorded request.
    fn reporter(&self, uid: u32) -> Sender {
        let request = self.sandbox.path().join(REPORT);
        let sender = self.sandbox.sender().uid(uid);
        let to = peer::tcp(false);
        sender.then(format!("connect tcp {to}")).then(format!("file {}", request.display()))
    }
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a path in UTF-8")
}

fn alert_of(run: &mut Running, uid: u32) -> Value {
    run.wait_for_json(|line| line["type"] == "alert" && line["process"]["uid"] == uid)
}

#[test]
fn only_the_named_package_is_watched_for_every_user() {
    if !skip::root() {
        return;
    }
    let (watched, other) = (unused_id(0), unused_id(1));
    let device = Device::new(&[("com.android.chrome", watched), ("org.example.other", other)]);
    let mut run = device.run(&["com.android.chrome"]);
    // The other package comes first: if it were watched, its alerts would precede
    // the others.
    for uid in [other, USER + other] {
        device.reporter(uid).run();
    }
    // The first user, the second user, and their SDK sandboxes.
    for uid in [watched, USER + watched, watched + 10_000, USER + watched + 10_000] {
        device.reporter(uid).run();
        let alert = alert_of(&mut run, uid);
        assert_eq!(alert["application"], "com.android.chrome", "{alert}");
        assert_eq!(alert["browser"], "Chrome", "{alert}");
    }
    run.signal(Signal::INT);
    let ended = run.end();
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert!(
        ended.stderr.contains("tracer: 4 sends, 4 requests read, 4 alerts"),
        "{}",
        ended.stderr
    );
}

#[test]
fn scope_follows_installed_and_removed_packages() {
    if !skip::root() {
        return;
    }
    let (first, later) = (unused_id(2), unused_id(3));
    let device = Device::new(&[("org.example.first", first)]);
    let mut run = device.run(&["org.example.first", "org.example.later"]);

    // tracer does not poll the list: it must notice the change.
    device.replace_package_list(&[("org.example.later", later)]);
    let said = |line: &str| line.contains("watching org.example.later");
    run.expect_stderr(said, PATIENCE, "the package is not watched");
    // Android may assign the ID to another package.
    device.reporter(first).run();
    device.reporter(USER + later).run();
    let alert = alert_of(&mut run, USER + later);
    assert_eq!(alert["application"], "org.example.later");
    run.signal(Signal::INT);
    let ended = run.end();
    assert!(ended.stderr.contains("not installed yet: org.example.later"), "{}", ended.stderr);
    assert!(ended.stderr.contains("tracer: 1 send, 1 request read"), "{}", ended.stderr);
}

#[test]
fn packages_that_share_an_id_are_named() {
    if !skip::root() {
        return;
    }
    let shared = unused_id(4);
    let device = Device::new(&[("org.example.one", shared), ("org.example.two", shared)]);
    let mut run = device.run(&["org.example.two"]);
    device.reporter(shared).run();
    alert_of(&mut run, shared);
    run.signal(Signal::INT);
    let said = format!(
        "app id {shared} of all users, which is shared by org.example.one, org.example.two"
    );
    let ended = run.end();
    assert!(ended.stderr.contains(&said), "{}", ended.stderr);
}

#[test]
fn unwatchable_packages_are_explained() {
    let run = |arguments: &[&str]| tracer_bin::run(&mut tracer_bin::command(arguments));
    let ended = run(&["run", "--package", "not a package"]);
    assert_eq!(ended.code, Some(2));
    assert!(
        ended.stderr.contains("is not a package name; write its full name"),
        "{}",
        ended.stderr
    );
    if !skip::root() {
        return;
    }
    let ended =
        run(&["run", "--no-store", "--package", "browsers", "--packages-list", "/none/here"]);
    assert_eq!(ended.code, Some(1));
    assert!(ended.stderr.contains("cannot watch /none for packages"), "{}", ended.stderr);
    assert!(ended.stderr.contains("--package is for Android"), "{}", ended.stderr);
}
