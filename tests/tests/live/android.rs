//! `tracer run` on a simulated Android device: its list of packages at its usual
//! path, UIDs of two users, its log, a library mapped from an APK, `netd` on the
//! hooks of control groups, and a kernel without type information.

use std::{
    env::consts::ARCH,
    fs::{self, File},
    io::{BufRead as _, BufReader, Write as _},
    os::unix::net::UnixDatagram,
    process::{Command, Stdio},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use rustix::process::Signal;
use serde_json::Value;
use tracer_tests::{
    apk::Archive,
    boringssl, corpus,
    device::Device,
    openssl::{self, Server},
    peer, skip,
    tracer_bin::{self, Running},
    watched::{is_alert, lines},
};

const DEVICE: &str = env!("CARGO_BIN_EXE_device");
const NETD: &str = env!("CARGO_BIN_EXE_netd");

/// The browser that started this project.
const BROWSER: &str = "com.mi.globalbrowser";
/// UID of `u0_a123`.
const APP: u32 = 10_123;
/// First UID of the second user, whose number is 10; the first user's is 0.
const USER: u32 = 10 * 100_000;
/// UID of an isolated process, as used by renderers. It is in no list.
const ISOLATED: u32 = 99_123;
/// UID of another application.
const OTHER: u32 = 10_124;

/// A recorded request that discloses a page.
const REPORT: &str = "py-sensors-default.http";

/// Longest time anything may take in an emulated machine on a busy host.
const PATIENCE: Duration = Duration::from_secs(90);

/// A list of packages as Android writes it. Older releases write fewer columns.
const LIST: &str = "\
android 1000 0 /data/system platform:privapp:targetSdkVersion=34 1065,3002,3003 0 34 1 @system
com.android.settings 1000 0 /data/user_de/0/com.android.settings platform:privapp:targetSdkVersion=34 1065,3002,3003 0 34 1 @system
com.mi.globalbrowser 10123 0 /data/user/0/com.mi.globalbrowser default:targetSdkVersion=33 3003 0 130700 1 com.android.vending
org.example.old 10124 0 /data/user/0/org.example.old default:targetSdkVersion=28 none
org.example.older 10125 1 /data/user/0/org.example.older default 3003
";

/// A device with that list. Only one exists at a time on this machine: UIDs mean
/// the same on every device, so the processes of one test would be in the scope of
/// another.
struct Phone {
    device: Device,
    _alone: (MutexGuard<'static, ()>, File),
}

impl Phone {
    /// Creates the device. Returns `None`, and marks the test as skipped, without
    /// root.
    fn new() -> Option<Self> {
        static ONE: Mutex<()> = Mutex::new(());
        if !skip::root() {
            return None;
        }
        let alone = ONE.lock().unwrap_or_else(PoisonError::into_inner);
        let lock = File::create(std::env::temp_dir().join("tracer-tests-android.lock"));
        let lock = lock.expect("a file");
        lock.lock().expect("a lock");
        let device = Device::new(DEVICE);
        device.replace_package_list(LIST);
        Some(Self { device, _alone: (alone, lock) })
    }

    fn run(&self, arguments: &[&str]) -> Running {
        let mut command = self.device.root_command(tracer_bin::path());
        command.args(["run", "--json", "--no-store"]).args(arguments);
        Running::start_command(&mut command)
    }

    /// Runs the demo's client that reports each page as that browser did.
    fn report_pages(&self, name: &str, uid: u32) {
        self.demo_client(name, uid, "tattling");
    }

    /// Runs the demo's client that reports only the number of opened pages.
    fn report_counts(&self, name: &str, uid: u32) {
        self.demo_client(name, uid, "discreet");
    }

    fn demo_client(&self, name: &str, uid: u32, manners: &str) {
        // `package:process`, as in the application's manifest.
        let package = name.split(':').next().unwrap_or(name);
        let program = self.device.copy_program(package, tracer_bin::path());
        let server = peer::one_shot().to_string();
        let mut client = self.device.app_command(name, uid, &program);
        client.args(["demo-client", "--manners", manners, "--server", &server]);
        assert!(client.status().expect("a client").success());
    }
}

fn alerts_of(run: &mut Running, uid: u32, count: usize) -> Vec<Value> {
    (0..count)
        .map(|_| run.wait_for_json(|line| is_alert(line) && line["process"]["uid"] == uid))
        .collect()
}

/// Ends tracer. Returns its number of alerts and its standard error.
fn end(run: Running) -> (usize, String) {
    run.signal(Signal::INT);
    let ended = run.end();
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let alerts = lines(&ended.stdout).iter().filter(|line| is_alert(line)).count();
    (alerts, ended.stderr)
}

/// The browser's package is watched for both users and no other application is. The
/// alerts appear in the device's log.
#[test]
fn reports_of_a_watched_package_raise_alerts() {
    let Some(phone) = Phone::new() else {
        return;
    };
    let log = UnixDatagram::bind(phone.device.socket("logdw")).expect("logd's socket");
    log.set_read_timeout(Some(PATIENCE)).expect("a limit");
    let mut run = phone.run(&["--package", BROWSER, "--log", "logcat", "--show-values"]);
    // Unwatched applications come first: if they were watched, their alerts would
    // precede the browser's.
    phone.report_pages("org.example.old", OTHER);
    phone.report_pages("org.example.old", USER + OTHER);
    phone.report_pages("com.mi.globalbrowser:sandboxed_process0", ISOLATED);
    phone.report_counts(BROWSER, APP);
    for uid in [APP, USER + APP] {
        // The browser names its processes like this.
        phone.report_pages("com.mi.globalbrowser:privileged_process0", uid);
        for alert in alerts_of(&mut run, uid, 3) {
            assert_eq!(alert["application"], BROWSER, "{alert:#}");
            assert_eq!(alert["browser"], "Mi Browser", "{alert:#}");
            assert_eq!(alert["severity"], "critical", "{alert:#}");
        }
    }
    for _ in 0..6 {
        let entry = received(&log);
        // The main log, level error, tag tracer (liblog's README.protocol.md).
        assert_eq!((entry[0], entry[11]), (0, 6));
        let text = String::from_utf8_lossy(&entry[12..]).into_owned();
        assert!(text.starts_with("tracer\0") && text.ends_with('\0'), "{text}");
        assert!(text.contains(BROWSER) && text.contains("told collector.example"), "{text}");
    }
    let (alerts, said) = end(run);
    assert_eq!(alerts, 6, "{said}");
    assert!(said.contains("watching com.mi.globalbrowser (app id 10123 of all users)"), "{said}");
    assert!(!said.contains("cannot be parsed"), "{said}");
}

#[test]
fn a_newly_installed_browser_is_watched_at_once() {
    let Some(phone) = Phone::new() else {
        return;
    };
    phone.device.replace_package_list("android 1000 0 /data/system platform 3003 0 34 1 @system\n");
    let mut run = phone.run(&["--package", "browsers"]);
    // tracer does not poll the list: it must notice the change.
    phone.device.replace_package_list(LIST);
    run.expect_stderr(
        |line| line.contains("watching com.mi.globalbrowser"),
        PATIENCE,
        "the package is not watched",
    );
    phone.report_pages(BROWSER, APP);
    alerts_of(&mut run, APP, 3);
    assert_eq!(end(run).0, 3);
}

/// Android's linker maps libraries of WebView, Chrome and many applications from
/// APKs.
#[test]
fn a_tls_library_mapped_from_an_apk_is_probed() {
    let Some(phone) = Phone::new() else {
        return;
    };
    if !openssl::available() {
        return;
    }
    let (there, here) = phone.device.app_folder(BROWSER);
    let Some(client) = boringssl::client(&here) else {
        return;
    };
    let libssl = fs::read(here.join(boringssl::LIBSSL)).expect("a library");
    let mut apk = Archive::apk();
    let position = apk.store(&format!("lib/{ARCH}/libssl.so"), &libssl);
    apk.write(&here.join("base.apk"));
    let apk = there.join("base.apk");
    let apk = apk.to_str().expect("a path in UTF-8");

    let server = Server::start();
    let mut run = phone.run(&["--package", BROWSER, "--verbose"]);
    let program = there.join(client.file_name().expect("a name"));
    let mut client = phone.device.app_command(BROWSER, APP, &program);
    let (address, port) = server.address_and_port();
    client.args([address, port, apk, &position.to_string()]);
    let mut client = client.stdin(Stdio::piped()).spawn().expect("a client");
    let read = |line: &str| line.contains(&format!("reading SSL_write in {apk}"));
    run.expect_stderr(read, PATIENCE, "libssl is not probed");
    let request = fs::read(corpus::folder().join(REPORT)).expect("a request");
    let mut input = client.stdin.take().expect("a pipe");
    input.write_all(&request).expect("the client reads");
    drop(input);

    let alerts = alerts_of(&mut run, APP, 1);
    assert_eq!(alerts[0]["hook"], "ssl_write", "{alerts:#?}");
    assert_eq!(alerts[0]["connection"]["transport"], "tls", "{alerts:#?}");
    assert_eq!(alerts[0]["application"], BROWSER, "{alerts:#?}");
    assert_eq!(alerts[0]["complete"], true, "{alerts:#?}");
    assert!(client.wait().expect("an exit status").success());
    let (alerts, said) = end(run);
    assert_eq!(alerts, 1, "{said}");
}

/// tracer needs none of the hooks that netd reserves for itself.
#[test]
fn tracer_works_while_netd_holds_the_control_groups() {
    const GROUPS: &str = "/sys/fs/cgroup";

    let Some(phone) = Phone::new() else {
        return;
    };
    // The hooks apply to all processes of the machine.
    let own = std::env::var_os("TRACER_TEST_GUEST").is_some();
    if !skip::met(own, "a machine of its own (`cargo xtask vm`)") {
        return;
    }
    let mut netd = Command::new(NETD)
        .arg(GROUPS)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("netd");
    let mut said = String::new();
    let mut output = BufReader::new(netd.stdout.take().expect("a pipe"));
    output.read_line(&mut said).expect("the output");
    assert_eq!(said, "holds 7 hooks\n");

    let doctor = tracer_bin::run(phone.device.root_command(tracer_bin::path()).arg("doctor"));
    assert_eq!(doctor.code, Some(0), "{}", doctor.stdout);
    let mut run = phone.run(&["--package", BROWSER]);
    phone.report_pages(BROWSER, APP);
    alerts_of(&mut run, APP, 3);
    assert_eq!(end(run).0, 3);

    drop(netd.stdin.take());
    assert!(netd.wait().expect("an exit status").success(), "netd lost a hook");
}

/// Kernels of android12-5.10 have no type information. If their layouts are
/// unknown, tracer says so and does not guess.
#[test]
fn a_kernel_without_type_information_is_refused() {
    let Some(phone) = Phone::new() else {
        return;
    };
    let mut command = phone.device.root_command_without_btf(tracer_bin::path());
    command.args(["run", "--no-store", "--package", BROWSER]);
    let ended = tracer_bin::run(&mut command);
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").expect("a release");
    let said = format!("this kernel ({}, {ARCH}) has no type information", release.trim());
    assert!(ended.stderr.contains(&said), "{}", ended.stderr);
    assert!(ended.stderr.contains("5.10.*-android12-9-* (aarch64)"), "{}", ended.stderr);
    assert!(!ended.stderr.contains("watching"), "{}", ended.stderr);

    let mut command = phone.device.root_command_without_btf(tracer_bin::path());
    let ended = tracer_bin::run(command.args(["doctor", "--json"]));
    let report: Value = serde_json::from_str(&ended.stdout).expect("an object");
    assert_eq!((ended.code, &report["works"]), (Some(1), &Value::Bool(false)), "{report:#}");
    let checks = report["checks"].as_array().expect("a list");
    let state = |name: &str| {
        let check = checks.iter().find(|check| check["check"] == name);
        check.map(|check| check["state"].clone())
    };
    assert_eq!(state("btf"), Some("warning".into()), "{report:#}");
    // The list makes the machine an Android device.
    assert_eq!(state("packages"), Some("ok".into()), "{report:#}");
}

fn received(socket: &UnixDatagram) -> Vec<u8> {
    let mut buffer = vec![0; 1 << 16];
    let len = socket.recv(&mut buffer).expect("an entry");
    buffer.truncate(len);
    buffer
}
