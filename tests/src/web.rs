//! The sites that browsers visit: a server on loopback that answers for every
//! name, over TLS, with a certificate of a CA that nobody else has.

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

use tempfile::TempDir;

use crate::skip;

/// Where people read.
pub const NEWS: &str = "news.example.org";
/// Whom pages tell that somebody reads them.
pub const TRACKER: &str = "tracker.example.net";
/// Whom applications tell.
pub const COLLECTOR: &str = "collector.example.com";

/// How long a browser may take on a machine that has other things to do.
const PATIENCE: Duration = Duration::from_secs(90);

/// What the server speaks, and nothing else: there is nothing to negotiate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.1.
    Http1,
    /// HTTP/2.
    Http2,
}

impl Protocol {
    /// Its name in ALPN (RFC 7301, section 6), which tracer calls it by too.
    pub fn alpn(self) -> &'static str {
        match self {
            Self::Http1 => "http/1.1",
            Self::Http2 => "h2",
        }
    }
}

/// When the reader of a page goes on to the next one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reader {
    /// When the page has told its trackers.
    Hasty,
    /// When the collector has been told of the page, too.
    Reported,
}

impl Reader {
    /// As `site.py` takes it.
    fn argument(self) -> &'static str {
        match self {
            Self::Hasty => "hasty",
            Self::Reported => "reported",
        }
    }
}

/// A request as the server got it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// `GET`, `POST`.
    pub method: String,
    /// Host and port.
    pub authority: String,
    /// Path and query.
    pub path: String,
}

/// All the sites, on one port.
pub struct Web {
    folder: TempDir,
    server: Child,
    port: u16,
    coming: Receiver<Request>,
    seen: Vec<Request>,
}

impl Web {
    /// Starts the server; `None`, and the test is skipped, where something is
    /// not installed.
    ///
    /// # Panics
    /// When it does not start.
    pub fn start(protocol: Protocol, reader: Reader) -> Option<Self> {
        let python = python()?;
        if !skip::met(installed("openssl"), "openssl (`cargo xtask setup --tests`)") {
            return None;
        }
        let folder = tempfile::Builder::new().prefix("tracer-web-").tempdir().expect("a folder");
        // Clients of other users read the CA's certificate.
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).expect("its mode");
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
        let port = lines.next().expect("the port").expect("a line").parse().expect("a number");
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
        Some(Self { folder, server, port, coming, seen: Vec::new() })
    }

    /// The port of every site.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// A site's host and port.
    pub fn authority(&self, host: &str) -> String {
        format!("{host}:{}", self.port)
    }

    /// A URL of a site.
    pub fn url(&self, host: &str, path: &str) -> String {
        format!("https://{host}:{}{path}", self.port)
    }

    /// The CA's certificate, PEM.
    pub fn ca(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    /// Waits until all these have been requested; returns all that was.
    ///
    /// # Panics
    /// When something does not come.
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

impl Drop for Web {
    fn drop(&mut self) {
        // It holds nothing that a clean end would save.
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

/// A file among the fixtures.
pub fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/browsers").join(name)
}

/// Whether a program is on the path.
pub fn installed(program: &str) -> bool {
    let paths = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&paths).any(|folder| folder.join(program).is_file())
}

/// The Python that has the server; `None`, and the test is skipped, without.
pub fn python() -> Option<PathBuf> {
    let python = env::var_os("TRACER_TEST_PYTHON").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../.tools/venv/bin/python3"),
        PathBuf::from,
    );
    let serves = Command::new(&python).args(["-c", "import hypercorn"]).output();
    let serves = serves.is_ok_and(|output| output.status.success());
    skip::met(serves, "hypercorn (`cargo xtask setup --tests`)").then_some(python)
}

/// Makes a CA and has it sign a certificate for every site.
fn certify(folder: &Path) {
    const KEY: &str = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout";
    let names = format!(
        "subjectAltName=DNS:{NEWS},DNS:{TRACKER},DNS:{COLLECTOR},DNS:localhost,IP:127.0.0.1\n\
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
    let ca = folder.join("ca.pem");
    fs::set_permissions(ca, fs::Permissions::from_mode(0o644)).expect("its mode");
}
