//! Plaintext that a process passes to its TLS library, in the running kernel.
//! OpenSSL's and BoringSSL's clients also run where no browser is installed.

use std::{
    fs::Permissions,
    io::Write as _,
    os::unix::{fs::PermissionsExt as _, process::CommandExt as _},
    process::{Command, Stdio},
    time::Duration,
};

use rustix::process::Signal;
use tracer_tests::{
    boringssl, corpus,
    openssl::{self, Server},
    sender::unused_uid,
    skip,
    tracer_bin::Running,
    watched::{is_alert, lines},
};

/// A recorded request that discloses [`VISITED`].
const REPORT: &str = "py-sensors-default.http";
const VISITED: &str = "https://news.example.org/politics/story-42?q=private";
const CHAIN: &str = "body > form:data > base64 > gzip > json.properties.url";

/// Longest time anything may take in an emulated machine on a busy host.
const PATIENCE: Duration = Duration::from_secs(90);

#[test]
fn plaintext_of_an_openssl_client_is_read() {
    if !skip::root() || !openssl::available() {
        return;
    }
    let server = Server::start();
    let mut client = Command::new("openssl");
    client.args(["s_client", "-quiet", "-connect", server.address()]);
    // On arm64, no function costs less to probe than the exported ones.
    let is_x86_64 = cfg!(target_arch = "x86_64");
    assert_plaintext_is_read(client, if is_x86_64 { "ssl_write_internal" } else { "ssl_write" });
}

/// The library of Android's applications and of Chromium's family.
#[test]
fn plaintext_of_a_boringssl_client_is_read() {
    if !skip::root() || !openssl::available() {
        return;
    }
    let folder = tempfile::Builder::new().permissions(Permissions::from_mode(0o755)).tempdir();
    let folder = folder.expect("a folder");
    let Some(client) = boringssl::client(folder.path()) else {
        return;
    };
    let server = Server::start();
    let (address, port) = server.address_and_port();
    let mut client = Command::new(client);
    client.args([address, port]);
    assert_plaintext_is_read(client, "ssl_write");
}

/// Each client writes as soon as it has loaded the system's library, whose functions are probed
/// before.
#[test]
fn programs_that_write_at_once_are_read() {
    const PROGRAMS: usize = 20;
    if !skip::root() || !openssl::available() {
        return;
    }
    let server = Server::start();
    let uid = unused_uid();
    let run = Running::start(&["--uid", &uid.to_string(), "--json", "--show-values"]);
    for _ in 0..PROGRAMS {
        let request = std::fs::File::open(corpus::folder().join(REPORT)).expect("a request");
        let mut client = Command::new("openssl");
        client.args(["s_client", "-connect", server.address()]);
        client.uid(uid).gid(uid).current_dir("/");
        client.stdin(request).stdout(Stdio::null()).stderr(Stdio::null());
        assert!(client.status().expect("a client").success());
    }
    run.signal(Signal::INT);
    let ended = run.end();
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let output = lines(&ended.stdout);
    let alerts = output.iter().filter(|line| is_alert(line)).count();
    assert_eq!(alerts, PROGRAMS, "{}", ended.stdout);
    let summary = output.last().expect("a summary");
    for account in summary["applications"].as_array().expect("applications") {
        assert_eq!(account["percent_read"], 100, "{summary:#}");
    }
}

/// Runs a client that sends its standard input, and checks the alert, whose request was captured at
/// `hook`.
fn assert_plaintext_is_read(mut client: Command, hook: &str) {
    let uid = unused_uid();
    let mut run =
        Running::start(&["--uid", &uid.to_string(), "--json", "--show-values", "--verbose"]);
    client.uid(uid).gid(uid).current_dir("/");
    client.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut client = client.spawn().expect("a client");
    let mut input = client.stdin.take().expect("a pipe");
    // The client has mapped its library and waits for data, which leaves time to
    // probe the library.
    let read = |line: &str| line.contains("reading ") && line.contains("libssl");
    run.expect_stderr(read, PATIENCE, "libssl is not probed");
    let request = std::fs::read(corpus::folder().join(REPORT)).expect("a request");
    input.write_all(&request).expect("the client reads");
    // One of the clients sends at the end of its input.
    drop(input);

    let alert = run.wait_for_json(is_alert);
    let _ = client.kill();
    let _ = client.wait();
    run.signal(Signal::INT);
    let ended = run.end();
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);

    assert_eq!(alert["severity"], "high", "{alert:#}");
    assert_eq!(alert["hook"], hook, "{alert:#}");
    assert_eq!(alert["connection"]["transport"], "tls", "{alert:#}");
    assert_eq!(alert["process"]["uid"].to_string(), uid.to_string());
    assert_eq!(alert["process"]["pid"], client.id());
    assert_eq!(alert["request"]["method"], "POST");
    assert_eq!(alert["complete"], true, "{alert:#}");
    let finding = &alert["findings"][0];
    assert_eq!((&finding["value"], &finding["chain"]), (&VISITED.into(), &CHAIN.into()));
    // One alert for the plaintext, and none for the encrypted data.
    let alerts = lines(&ended.stdout).iter().filter(|line| is_alert(line)).count();
    assert_eq!(alerts, 1, "{}", ended.stdout);
}
