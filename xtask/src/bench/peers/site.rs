//! The load: nginx and wrk in a network namespace.

use std::{
    env, fmt, fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};

use super::processes::Usage;
use crate::shell;

/// Name of the network namespace.
const NAMESPACE: &str = "tracer-bench";

/// UID of the program that sends, and of another one, from the range that systemd reserves for
/// container services.
pub(super) const SENDER: u32 = 65_506;
pub(super) const OTHER: u32 = 65_505;

/// Path of the page in plain requests.
const PAGE: &str = "/page";

/// A load.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Load {
    /// Plain requests over HTTP.
    Http,
    /// Plain requests over TLS.
    Tls,
    /// Recorded requests of SDKs, which raise findings, over HTTP.
    Telemetry,
}

impl Load {
    pub(super) const ALL: [Self; 3] = [Self::Http, Self::Tls, Self::Telemetry];
}

impl fmt::Display for Load {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Http => "GET over HTTP",
            Self::Tls => "GET over TLS",
            Self::Telemetry => "telemetry over HTTP",
        })
    }
}

/// Number of requests of a load, and their cost.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sent {
    pub(super) requests: f64,
    pub(super) seconds: f64,
    /// CPU time of the sender in seconds.
    pub(super) cpu: f64,
}

/// A running nginx. It and its files are removed when this is dropped.
pub(super) struct Site {
    folder: PathBuf,
    nginx: Option<Child>,
    /// A program with OpenSSL under the sender's UID, so that the library is probed before the
    /// sender starts.
    library: Option<Child>,
}

impl Site {
    /// Creates the namespace and starts nginx in it. `corpus` is the folder of recorded requests.
    ///
    /// # Errors
    /// If a program fails.
    pub(super) fn start(corpus: &Path) -> Result<Self> {
        let folder = env::temp_dir().join(format!("tracer-bench-{}", std::process::id()));
        fs::create_dir(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
        let mut site = Self { folder, nginx: None, library: None };
        // From a run that was killed.
        shell::succeeds(Command::new("ip").args(["netns", "delete", NAMESPACE]));
        shell::answer(Command::new("ip").args(["netns", "add", NAMESPACE]))?;
        shell::answer(Command::new("ip").args(["-n", NAMESPACE, "link", "set", "lo", "up"]))?;

        let [key, certificate] = ["key.pem", "certificate.pem"].map(|name| site.folder.join(name));
        let mut openssl = Command::new("openssl");
        openssl.args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]);
        openssl.args(["-nodes", "-days", "2", "-subj", "/CN=localhost", "-keyout"]);
        shell::answer(openssl.arg(&key).arg("-out").arg(&certificate))?;
        let configuration = site.folder.join("nginx.conf");
        fs::write(&configuration, nginx_configuration(&site.folder))?;
        fs::write(site.script(), script(corpus)?)?;

        let mut nginx = site.inside("nginx");
        nginx.arg("-c").arg(&configuration).arg("-e").arg(site.folder.join("error.log"));
        nginx.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        site.nginx = Some(nginx.spawn().context("cannot start nginx")?);
        thread::sleep(Duration::from_secs(1));

        let mut library = site.inside_as_sender("openssl");
        library.args(["s_client", "-quiet", "-connect", "127.0.0.1:8443"]);
        library.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        site.library = Some(library.spawn().context("cannot start openssl")?);
        Ok(site)
    }

    /// Returns the folder for files of the comparison.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    fn script(&self) -> PathBuf {
        self.folder.join("telemetry.lua")
    }

    /// Returns a command that runs in the namespace.
    pub(super) fn inside(&self, program: &str) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", NAMESPACE, program]).current_dir("/");
        command
    }

    fn inside_as_sender(&self, program: &str) -> Command {
        let mut command = self.inside("setpriv");
        let [uid, gid] = ["--reuid", "--regid"].map(|option| format!("{option}={SENDER}"));
        command.args([&uid, &gid, "--clear-groups", program]);
        command
    }

    /// Sends for this long.
    ///
    /// # Errors
    /// If wrk fails.
    pub(super) fn send(&self, load: Load, duration: Duration) -> Result<Sent> {
        let output = self.folder.join("wrk.txt");
        let mut wrk = self.inside_as_sender("wrk");
        wrk.args(["-t1", "-c8"]).arg(format!("-d{}s", duration.as_secs()));
        match load {
            Load::Http => wrk.arg(format!("http://127.0.0.1:8080{PAGE}")),
            Load::Tls => wrk.arg(format!("https://127.0.0.1:8443{PAGE}")),
            Load::Telemetry => wrk.arg("-s").arg(self.script()).arg("http://127.0.0.1:8080/"),
        };
        wrk.stdin(Stdio::null()).stdout(fs::File::create(&output)?).stderr(Stdio::null());
        let mut wrk = wrk.spawn().context("cannot start wrk")?;
        let mut usage = Usage::default();
        usage.observe_to_end(&mut wrk, duration + Duration::from_secs(60))?;
        let text = fs::read_to_string(&output)?;
        let (requests, seconds) =
            requests(&text).with_context(|| format!("wrk sent nothing: {text}"))?;
        ensure!(!text.contains("Non-2xx"), "nginx rejected requests: {text}");
        Ok(Sent { requests, seconds, cpu: usage.seconds() })
    }

    /// Text that each plain request contains once.
    pub(super) fn mark() -> String {
        format!("GET {PAGE} HTTP/1.1")
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        for child in [&mut self.library, &mut self.nginx].into_iter().flatten() {
            // nginx ends its workers, which SIGKILL would leave behind.
            shell::succeeds(Command::new("kill").arg(child.id().to_string()));
            let _ = child.wait();
        }
        shell::succeeds(Command::new("ip").args(["netns", "delete", NAMESPACE]));
        let _ = fs::remove_dir_all(&self.folder);
    }
}

fn nginx_configuration(folder: &Path) -> String {
    let folder = folder.display();
    format!(
        "daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
events {{ worker_connections 256; }}
http {{
    access_log off;
    keepalive_requests 100000000;
    client_body_temp_path {folder}/body;
    server {{
        listen 127.0.0.1:8080;
        listen 127.0.0.1:8443 ssl;
        ssl_certificate {folder}/certificate.pem;
        ssl_certificate_key {folder}/key.pem;
        location / {{ return 200 \"ok\"; }}
    }}
}}
"
    )
}

/// Returns a script for wrk that sends the requests in `corpus` in turn, on connections that stay
/// open, to a name in place of the address at which they were recorded.
fn script(corpus: &Path) -> Result<String> {
    let mut files: Vec<PathBuf> = fs::read_dir(corpus)
        .with_context(|| format!("cannot read {}", corpus.display()))?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<_, _>>()?;
    files.retain(|file| file.extension().is_some_and(|extension| extension == "http"));
    files.sort();
    ensure!(!files.is_empty(), "{} has no requests", corpus.display());
    let mut script = String::from("local all = {}\n");
    for file in files {
        let request = to_name(&fs::read(&file)?);
        let text: String = request.iter().map(|byte| format!("\\{byte:03}")).collect();
        script += &format!("all[#all + 1] = \"{text}\"\n");
    }
    script += "local next = 0\n\
               function request()\n  next = next % #all + 1\n  return all[next]\nend\n";
    Ok(script)
}

/// Replaces the name of the host, and the field that closes the connection.
fn to_name(request: &[u8]) -> Vec<u8> {
    let end = request.windows(4).position(|four| four == b"\r\n\r\n").unwrap_or(request.len());
    let (head, body) = request.split_at(end);
    let head = String::from_utf8_lossy(head);
    let lines = head.split("\r\n").map(|line| {
        match line.split_once(':').map(|(name, _)| name.to_ascii_lowercase()).as_deref() {
            Some("host") => "Host: collector.example",
            Some("connection") => "Connection: keep-alive",
            _ => line,
        }
    });
    let lines: Vec<&str> = lines.collect();
    [lines.join("\r\n").as_bytes(), body].concat()
}

/// Returns the number of requests, and the seconds, in wrk's output.
fn requests(text: &str) -> Option<(f64, f64)> {
    let line = text.lines().find(|line| line.contains(" requests in "))?;
    let (requests, rest) = line.trim().split_once(" requests in ")?;
    let seconds = rest.split(',').next()?;
    let seconds = match seconds.strip_suffix('s') {
        Some(seconds) => seconds.parse().ok()?,
        None => 60.0 * seconds.strip_suffix('m')?.parse::<f64>().ok()?,
    };
    let requests = requests.parse().ok()?;
    (requests > 0.0).then_some((requests, seconds))
}

#[cfg(test)]
mod tests {
    use super::{requests, to_name};

    #[test]
    fn reads_the_output_of_wrk() {
        let text = "  2 threads and 8 connections\n  438291 requests in 3.10s, 70.21MB read\n";
        assert_eq!(requests(text), Some((438_291.0, 3.1)));
        assert_eq!(requests("  0 requests in 3.10s, 0.00B read"), None);
        assert_eq!(requests("unable to connect"), None);
    }

    #[test]
    fn a_recorded_request_names_a_host_and_keeps_its_body() {
        let request =
            b"POST /a HTTP/1.1\r\nhost: 127.0.0.1:1\r\nConnection: close\r\n\r\nHost: x\x80";
        let expected = b"POST /a HTTP/1.1\r\nHost: collector.example\r\nConnection: keep-alive\
                         \r\n\r\nHost: x\x80";
        assert_eq!(to_name(request), expected);
    }
}
