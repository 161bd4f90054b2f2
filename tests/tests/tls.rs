//! What a process gives to its TLS library, in the running kernel: OpenSSL's
//! own client, which is where a whole system is not.

use std::{
    fs::File,
    io::{BufRead as _, BufReader, Write as _},
    os::unix::process::CommandExt as _,
    path::Path,
    process::{Child, ChildStdin, Command, Stdio},
    time::Duration,
};

use rustix::process::Signal;
use tempfile::TempDir;
use tracer_tests::{
    corpus,
    sender::unused_uid,
    skip,
    tracer_bin::Running,
    watched::{is_alert, lines},
    web::installed,
};

/// A recorded request that tells its recipient about [`VISITED`].
const REPORT: &str = "py-sensors-default.http";
const VISITED: &str = "https://news.example.org/politics/story-42?q=private";
const CHAIN: &str = "body > form:data > base64 > gzip > json.properties.url";

/// How long anything may take in an emulated machine on a busy one.
const PATIENCE: Duration = Duration::from_secs(90);

#[test]
fn openssls_client_is_read_before_it_encrypts() {
    if !skip::root() || !skip::met(installed("openssl"), "openssl (`cargo xtask setup --tests`)") {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::start(&folder);
    let uid = unused_uid();
    let mut run =
        Running::start(&["--uid", &uid.to_string(), "--json", "--show-values", "--verbose"]);

    let (mut client, mut input) = client(uid, &server.address);
    // The client waits for what it is to send, so that there is time to find
    // the library it has just mapped.
    let read = |line: &str| line.contains("reads ") && line.contains("libssl");
    assert!(run.notes(read, PATIENCE), "its library is not read");
    let request = std::fs::read(corpus::folder().join(REPORT)).expect("a request");
    input.write_all(&request).expect("the client reads");

    let alert = run.json(is_alert);
    drop(input);
    let _ = client.kill();
    let _ = client.wait();
    run.signal(Signal::INT);
    let ended = run.end();
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);

    assert_eq!(alert["severity"], "high", "{alert:#}");
    assert_eq!(alert["hook"], "ssl_write", "{alert:#}");
    assert_eq!(alert["connection"]["transport"], "tls", "{alert:#}");
    assert_eq!(alert["process"]["uid"].to_string(), uid.to_string());
    assert_eq!(alert["process"]["pid"], client.id());
    assert_eq!(alert["request"]["method"], "POST");
    assert_eq!(alert["complete"], true, "{alert:#}");
    let finding = &alert["findings"][0];
    assert_eq!((&finding["value"], &finding["chain"]), (&VISITED.into(), &CHAIN.into()));
    // Once in plain, and not again as what was sent.
    let alerts = lines(&ended.stdout).iter().filter(|line| is_alert(line)).count();
    assert_eq!(alerts, 1, "{}", ended.stdout);
}

/// OpenSSL's client under a UID, connected, with what it sends still to come.
fn client(uid: u32, server: &str) -> (Child, ChildStdin) {
    let mut client = Command::new("openssl")
        .args(["s_client", "-quiet", "-connect", server])
        .uid(uid)
        .gid(uid)
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("openssl s_client");
    let input = client.stdin.take().expect("a pipe");
    (client, input)
}

/// OpenSSL's server, which reads whatever comes.
struct Server {
    process: Child,
    address: String,
}

impl Server {
    fn start(folder: &TempDir) -> Self {
        let file = |name: &str| folder.path().join(name);
        make_certificate(&file("key"), &file("certificate"));
        let log = File::create(file("log")).expect("a log");
        let mut process = Command::new("openssl")
            .args(["s_server", "-rev", "-accept", "127.0.0.1:0", "-key"])
            .arg(file("key"))
            .arg("-cert")
            .arg(file("certificate"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .expect("openssl s_server");
        let stdout = BufReader::new(process.stdout.take().expect("a pipe"));
        let address = stdout
            .lines()
            .map_while(Result::ok)
            .find_map(|line| line.strip_prefix("ACCEPT ").map(str::to_owned));
        Self { process, address: address.expect("the server accepts") }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn make_certificate(key: &Path, certificate: &Path) {
    let output = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"])
        .args(["-nodes", "-subj", "/CN=server", "-days", "2", "-keyout"])
        .arg(key)
        .arg("-out")
        .arg(certificate)
        .output()
        .expect("openssl req");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
