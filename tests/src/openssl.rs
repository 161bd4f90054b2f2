//! OpenSSL's test server, as a peer for TLS clients.

use std::{
    fs::File,
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
};

use tempfile::TempDir;

use crate::{skip, web::installed};

/// Reports whether the `openssl` program is installed. If not, marks the test as
/// skipped.
pub fn available() -> bool {
    skip::met(installed("openssl"), "openssl (`cargo xtask setup --tests`)")
}

/// A running `openssl s_server`, which reads all data that it receives.
pub struct Server {
    process: Child,
    address: String,
    _folder: TempDir,
}

impl Server {
    /// Starts the server and waits until it accepts connections.
    ///
    /// # Panics
    /// Panics if the server does not start.
    pub fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
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
        Self { process, address: address.expect("the server accepts"), _folder: folder }
    }

    /// Returns the address on which the server listens, as `ADDRESS:PORT`.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Returns the address and the port separately.
    ///
    /// # Panics
    /// Never panics: the address has a port.
    pub fn address_and_port(&self) -> (&str, &str) {
        self.address.rsplit_once(':').expect("an address and a port")
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
