//! The sites that browsers visit: a TLS server on loopback that answers for every
//! name, with a certificate of a CA made for the test.

use std::{
    env, fs,
    io::{BufRead as _, BufReader},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::mpsc::{Receiver, channel},
    thread,
    time::{Duration, Instant},
};

use data_encoding::BASE64;
use tempfile::TempDir;

use crate::{leaker::Channel, skip};

/// The site that is read.
pub const NEWS: &str = "news.example.org";
/// The site to which pages report their visitors.
pub const TRACKER: &str = "tracker.example.net";
/// The site to which applications report.
pub const COLLECTOR: &str = "collector.example.com";

/// The site whose frames pages embed.
pub const ADS: &str = "ads.example.edu";

/// Longest time a browser may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(90);

/// The only protocol that the server offers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.1.
    Http1,
    /// HTTP/2.
    Http2,
    /// HTTP/3. The server also offers HTTP/2, over TCP.
    Http3,
}

impl Protocol {
    /// Returns the name of the protocol in ALPN (RFC 7301, section 6), which tracer
    /// uses too.
    pub fn alpn(self) -> &'static str {
        match self {
            Self::Http1 => "http/1.1",
            Self::Http2 => "h2",
            Self::Http3 => "h3",
        }
    }
}

/// The event after which the reader of a page goes on to the next one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reader {
    /// The page has reported to its trackers.
    Hasty,
    /// The collector has received a report of the page as well.
    Reported,
}

impl Reader {
    /// Returns the argument for `site.py`.
    fn argument(self) -> &'static str {
        match self {
            Self::Hasty => "hasty",
            Self::Reported => "reported",
        }
    }
}

/// A request that the server received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// `GET`, `POST`.
    pub method: String,
    /// Host and port.
    pub authority: String,
    /// Path and query.
    pub path: String,
}

/// All sites, on one port with TLS, and on one without.
pub struct Web {
    folder: TempDir,
    server: Child,
    protocol: Protocol,
    port: u16,
    plain_port: u16,
    coming: Receiver<Request>,
    seen: Vec<Request>,
}

impl Web {
    /// Starts the server. Returns `None`, and marks the test as skipped, if a
    /// program is not installed.
    ///
    /// # Panics
    /// Panics if the server does not start.
    pub fn start(protocol: Protocol, reader: Reader) -> Option<Self> {
        let python = python()?;
        if protocol == Protocol::Http3
            && !skip::met(imports(&python, "aioquic"), "aioquic (`cargo xtask setup --tests`)")
        {
            return None;
        }
        if !skip::met(installed("openssl"), "openssl (`cargo xtask setup --tests`)") {
            return None;
        }
        let folder = tempfile::Builder::new().prefix("tracer-web-").tempdir().expect("a folder");
        // Clients of other users read the CA's certificate.
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).expect("permissions");
        certify(folder.path());

        let mut server = Command::new(python)
            .arg(fixture("site.py"))
            .args([folder.path().join("site.pem"), folder.path().join("site.key")])
            .arg(fixture("story.html"))
            .args([protocol.alpn(), reader.argument()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the server");
        let mut lines = BufReader::new(server.stdout.take().expect("a pipe")).lines();
        let ports = lines.next().expect("the ports").expect("a line");
        let (port, plain_port) = ports.split_once(' ').expect("two ports");
        let [port, plain_port] = [port, plain_port].map(|port| port.parse().expect("a number"));
        let (got, coming) = channel();
        thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let mut words = line.split(' ').map(str::to_owned);
                let mut word = || words.next().expect("METHOD AUTHORITY TARGET");
                let request = Request { method: word(), authority: word(), path: word() };
                if got.send(request).is_err() {
                    return;
                }
            }
        });
        Some(Self { folder, server, protocol, port, plain_port, coming, seen: Vec::new() })
    }

    /// Returns the protocol of the sites with TLS.
    pub fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// Returns the port of all sites.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Returns the port of all sites without TLS.
    pub fn plain_port(&self) -> u16 {
        self.plain_port
    }

    /// Returns a site's host and port.
    pub fn authority(&self, host: &str) -> String {
        format!("{host}:{}", self.port)
    }

    /// Returns a URL of a site.
    pub fn url(&self, host: &str, path: &str) -> String {
        format!("https://{host}:{}{path}", self.port)
    }

    /// Returns the path of the CA's certificate (PEM).
    pub fn ca(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    /// Returns the digest of the sites' public key, in base64.
    ///
    /// # Panics
    /// Panics if it cannot be read.
    pub fn key_digest(&self) -> String {
        let digest = fs::read(self.folder.path().join("site.digest")).expect("a digest");
        BASE64.encode(&digest)
    }

    /// Waits until all these requests have arrived, and returns all requests so
    /// far.
    ///
    /// # Panics
    /// Panics if one does not arrive in time.
    pub fn wait_for(&mut self, wanted: &[Request]) -> &[Request] {
        let deadline = Instant::now() + PATIENCE;
        while !wanted.iter().all(|request| self.seen.contains(request)) {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.coming.recv_timeout(left) {
                Ok(request) => self.seen.push(request),
                Err(_) => panic!("requested: {:#?}\nwanted: {wanted:#?}", self.seen),
            }
        }
        self.seen.extend(self.coming.try_iter());
        &self.seen
    }
}

impl Web {
    /// Waits until a request has arrived for each of these parts of `METHOD AUTHORITY PATH`.
    ///
    /// # Panics
    /// Panics if one does not arrive in time.
    pub fn wait_for_parts(&mut self, wanted: &[String]) {
        let deadline = Instant::now() + PATIENCE;
        let line = |request: &Request| {
            let Request { method, authority, path } = request;
            format!("{method} {authority} {path}")
        };
        loop {
            let seen: Vec<String> = self.seen.iter().map(line).collect();
            let mut missing =
                wanted.iter().filter(|part| !seen.iter().any(|line| line.contains(&***part)));
            if missing.next().is_none() {
                return;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            match self.coming.recv_timeout(left) {
                Ok(request) => self.seen.push(request),
                Err(_) => panic!("requested: {seen:#?}\nwanted: {wanted:#?}"),
            }
        }
    }
}

impl Drop for Web {
    fn drop(&mut self) {
        // The server has no state to save.
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

/// Returns the path of a file in the browser fixtures.
pub fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/browsers").join(name)
}

/// Reports whether a program is on the path.
pub fn installed(program: &str) -> bool {
    let paths = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&paths).any(|folder| folder.join(program).is_file())
}

/// Returns the Python that can run the server. Returns `None`, and marks the test
/// as skipped, if there is none.
pub fn python() -> Option<PathBuf> {
    python_with("hypercorn", "hypercorn (`cargo xtask setup --tests`)")
}

/// Returns the Python of the tests, if it has a module. Otherwise marks the test as skipped for lack of
/// `what`.
pub fn python_with(module: &str, what: &str) -> Option<PathBuf> {
    let python = env::var_os("TRACER_TEST_PYTHON").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../.tools/venv/bin/python3"),
        PathBuf::from,
    );
    skip::met(imports(&python, module), what).then_some(python)
}

/// Reports whether a Python has a module.
fn imports(python: &Path, module: &str) -> bool {
    let output = Command::new(python).args(["-c", &format!("import {module}")]).output();
    output.is_ok_and(|output| output.status.success())
}

/// Creates a CA and a certificate for all sites, signed by it.
fn certify(folder: &Path) {
    const KEY: &str = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout";
    let collectors = Channel::all();
    let collectors = collectors.iter().flat_map(|it| [it.host.clone(), format!("*.{}", it.host)]);
    let collectors: String = collectors.map(|name| format!(",DNS:{name}")).collect();
    let names = format!(
        "subjectAltName=DNS:{NEWS},DNS:{TRACKER},DNS:{COLLECTOR},DNS:{ADS},DNS:localhost,\
         IP:127.0.0.1{collectors}\n\
         extendedKeyUsage=serverAuth\n"
    );
    fs::write(folder.join("names"), names).expect("a file");
    let openssl = |arguments: String| {
        let output = Command::new("openssl")
            .args(arguments.split(' '))
            .current_dir(folder)
            .output()
            .expect("openssl");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    openssl(format!(
        "req -x509 {KEY} ca.key -out ca.pem -days 2 -subj /CN=tracer-tests \
         -addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign"
    ));
    openssl(format!("req {KEY} site.key -out site.csr -subj /CN=sites"));
    openssl(
        "x509 -req -in site.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 \
         -extfile names -out site.pem"
            .into(),
    );
    openssl("pkey -in site.key -pubout -outform DER -out site.spki".into());
    openssl("dgst -sha256 -binary -out site.digest site.spki".into());
    let ca = folder.join("ca.pem");
    fs::set_permissions(ca, fs::Permissions::from_mode(0o644)).expect("permissions");
}
