//! What clients send is counted once: as read if it was captured in plain, and not
//! at all if nothing but a handshake was sent.

use std::{
    io::{Read as _, Write as _},
    net::TcpListener,
    os::unix::process::CommandExt as _,
    process::{Child, Command, Stdio},
    sync::mpsc::{Receiver, channel},
    thread,
    time::Duration,
};

use rustix::process::Signal;
use serde_json::Value;
use tracer_tests::{
    browser::Engine,
    corpus,
    openssl::{self, Server},
    sender::unused_uid,
    skip,
    tracer_bin::{self, Outcome, Running},
    watched::{is_alert, lines},
    web::{self, Protocol, Reader, Web, installed},
};

/// A recorded request that raises an alert.
const REPORT: &str = "py-sensors-default.http";

/// Sends its input to `argv[1]:argv[2]` over TLS, once it has ended. OpenSSL writes
/// into memory, and Node.js sends what is there. `argv[3]` is the version of TLS,
/// and `argv[4]` is `trust` if certificates are not checked.
const NODE: &str = "
const tls = require('tls'), [host, port, version, trust] = process.argv.slice(1);
const chunks = [];
process.stdin.on('data', chunk => chunks.push(chunk)).on('end', () => {
  const versions = {minVersion: version, maxVersion: version};
  const rejectUnauthorized = trust != 'trust';
  const socket = tls.connect({host, port, rejectUnauthorized, ...versions},
    () => socket.write(Buffer.concat(chunks)));
  socket.on('data', () => socket.end()).on('error', () => {});
});";

/// The same with Python's `ssl.MemoryBIO`, as asyncio uses it.
const PYTHON: &str = "
import ssl, socket, sys
host, port, version, trust = sys.argv[1:]
data = sys.stdin.buffer.read()
context = ssl.create_default_context()
context.check_hostname = False
if trust == 'trust':
    context.verify_mode = ssl.CERT_NONE
context.minimum_version = context.maximum_version = ssl.TLSVersion[version.replace('.', '_')]
incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
tls = context.wrap_bio(incoming, outgoing)
connection = socket.create_connection((host, int(port)))
def call(step, *arguments):
    while True:
        try:
            return step(*arguments)
        except ssl.SSLWantReadError:
            connection.sendall(outgoing.read())
            incoming.write(connection.recv(65536))
        finally:
            if outgoing.pending:
                connection.sendall(outgoing.read())
try:
    call(tls.do_handshake)
    call(tls.write, data)
    call(tls.read, 1)
except ssl.SSLError:
    pass
";

const VERSIONS: [&str; 2] = ["TLSv1.2", "TLSv1.3"];

#[test]
fn node_writes_into_memory_and_is_read_once() {
    assert_read_once(node);
}

#[test]
fn python_writes_into_memory_and_is_read_once() {
    assert_read_once(python);
}

#[test]
fn node_leaves_nothing_unread_if_it_refuses_a_certificate() {
    assert_nothing_unread(node);
}

#[test]
fn python_leaves_nothing_unread_if_it_refuses_a_certificate() {
    assert_nothing_unread(python);
}

#[test]
fn curl_leaves_nothing_unread_if_it_refuses_a_certificate() {
    if !skip::root() || !openssl::available() || !skip::met(installed("curl"), "curl") {
        return;
    }
    let (server, uid) = (Server::start(), unused_uid());
    let run = Running::start(&["--uid", &uid.to_string(), "--json"]);
    for version in ["1.2", "1.3"] {
        let url = format!("https://{}/", server.address());
        let mut curl = Command::new("curl");
        curl.args(["-sS", "--tls-max", version, &format!("--tlsv{version}"), &url]);
        let refused = curl.uid(uid).gid(uid).env("HOME", "/").current_dir("/").output();
        // "The peer certificate cannot be authenticated."
        assert_eq!(refused.expect("curl").status.code(), Some(60), "{version}");
    }
    // A process that ends at once is an application of its own, if its executable was not read.
    let summary = summary(&end(run));
    let accounts = summary["applications"].as_array().expect("applications");
    assert!((1..=2).contains(&accounts.len()), "{summary:#}");
    for account in accounts {
        assert_eq!(account["percent_read"], Value::Null, "{account:#}");
        assert_eq!(account["sockets"]["encrypted_unread_bytes"], 0, "{account:#}");
        assert_ne!(account["sockets"]["handshake_bytes"], 0, "{account:#}");
    }
}

/// Firefox puts a layer on each connection, not only on those with TLS.
#[test]
fn firefox_over_plain_http_makes_each_request_once() {
    if !skip::root() {
        return;
    }
    let Some(web) = Web::start(Protocol::Http1, Reader::Hasty) else {
        return;
    };
    let (url, requested) = serve();
    let folder = tempfile::tempdir().expect("a folder");
    let trace = folder.path().join("trace");
    let trace = trace.to_str().expect("a path in UTF-8");
    let exe = Engine::Firefox.exe();
    let mut run = Running::start(&["--exe", exe, "--json", "--verbose", "--record", trace]);
    let Some(browser) = Engine::Firefox.start(&web, &url) else {
        return;
    };
    requested.recv_timeout(PATIENCE).expect("the page is requested");
    run.expect_stderr(|line| line.contains("libnspr4"), PATIENCE, "NSPR is not probed");
    thread::sleep(Duration::from_secs(1));
    drop(browser);
    end(run);

    // Other tests may run Firefox at the same time: only this page's requests count.
    let decode = tracer_bin::run(&mut tracer_bin::command(["decode", "--json", trace]));
    let pages = lines(&decode.stdout).into_iter().filter(|line| line["request"]["path"] == PAGE);
    assert_eq!(pages.count(), 1 + requested.try_iter().count(), "{}", decode.stdout);
}

/// Path of the page that Firefox opens.
const PAGE: &str = "/page?q=private";

/// Serves any path over plain HTTP. Returns the URL of [`PAGE`], and a message for
/// each request for it.
fn serve() -> (String, Receiver<()>) {
    const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello";
    let server = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = server.local_addr().expect("an address");
    let (done, requested) = channel();
    thread::spawn(move || {
        for stream in server.incoming() {
            let mut stream = stream.expect("a connection");
            let mut head = [0; 16 << 10];
            let len = stream.read(&mut head).unwrap_or_default();
            let _ = stream.write_all(ANSWER);
            if head[..len].starts_with(format!("GET {PAGE} ").as_bytes()) {
                let _ = done.send(());
            }
        }
    });
    (format!("http://{address}{PAGE}"), requested)
}

/// Longest time anything may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(90);

/// Checks that a client's report is read where it is written, and that its
/// ciphertext is not counted as unread.
fn assert_read_once(client: fn() -> Option<Command>) {
    let request = std::fs::read(corpus::folder().join(REPORT)).expect("a request");
    for version in VERSIONS {
        let Some((mut run, mut child, _server)) = start(client, version, "trust") else {
            return;
        };
        send(&mut child, &request);
        run.wait_for_json(is_alert);
        let _ = child.wait();
        let ended = end(run);
        let alerts = lines(&ended.stdout).iter().filter(|line| is_alert(line)).count();
        assert_eq!(alerts, 1, "{version} {}", ended.stdout);
        assert_eq!(summary(&ended)["totals"]["requests"], 1, "{version}");
        let account = account(&ended);
        assert_eq!(account["plain"]["decoded_bytes"], request.len(), "{account:#}");
        assert_eq!(account["sockets"]["encrypted_unread_bytes"], 0, "{account:#}");
        assert_ne!(account["sockets"]["read_in_plain_bytes"], 0, "{account:#}");
        assert_eq!(account["percent_read"], 100, "{account:#}");
    }
}

/// Checks that nothing is counted as unread if the client refuses the certificate.
fn assert_nothing_unread(client: fn() -> Option<Command>) {
    for version in VERSIONS {
        let Some((run, mut child, _server)) = start(client, version, "check") else {
            return;
        };
        send(&mut child, b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n");
        let _ = child.wait();
        let account = account(&end(run));
        assert_ne!(account["sockets"]["handshake_bytes"], 0, "{account:#}");
        assert_eq!(account["sockets"]["encrypted_unread_bytes"], 0, "{account:#}");
        assert_eq!(account["percent_read"], Value::Null, "{version} {account:#}");
    }
}

fn node() -> Option<Command> {
    let mut node = Command::new("node");
    node.args(["-e", NODE, "--"]);
    skip::met(installed("node"), "node").then_some(node)
}

fn python() -> Option<Command> {
    let mut python = Command::new(web::python()?);
    python.args(["-c", PYTHON]);
    Some(python)
}

/// Starts a client, which waits for its input, and tracer, which watches it.
fn start(
    client: fn() -> Option<Command>,
    version: &str,
    trust: &str,
) -> Option<(Running, Child, Server)> {
    if !skip::root() || !openssl::available() {
        return None;
    }
    let server = Server::start();
    let (address, port) = server.address_and_port();
    let mut client = client()?;
    client.args([address, port, version, trust]);
    let pipes = client.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    let child = pipes.spawn().expect("a client");
    // Its library is mapped once it reads its input.
    thread::sleep(Duration::from_secs(1));
    let run = Running::start(&["--pid", &child.id().to_string(), "--json", "--show-values"]);
    Some((run, child, server))
}

fn send(child: &mut Child, input: &[u8]) {
    child.stdin.take().expect("a pipe").write_all(input).expect("the client reads");
}

fn end(run: Running) -> Outcome {
    run.signal(Signal::INT);
    let ended = run.end();
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    ended
}

fn summary(ended: &Outcome) -> Value {
    lines(&ended.stdout).pop().expect("a summary")
}

/// Returns the account of the only application.
fn account(ended: &Outcome) -> Value {
    let summary = summary(ended);
    let applications = summary["applications"].as_array().expect("applications");
    let [account] = &applications[..] else { panic!("{summary:#}") };
    account.clone()
}
