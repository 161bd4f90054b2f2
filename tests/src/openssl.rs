//! OpenSSL's own server, for clients that want to talk TLS.

use std::{
    fs::File,
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
};

use tempfile::TempDir;

use crate::{skip, web::installed};

/// Whether OpenSSL's program is here; where it is not, the test is skipped.
pub fn is_here() -> bool {
    skip::met(installed("openssl"), "openssl (`cargo xtask setup --tests`)")
}

/// OpenSSL's server, which reads whatever comes.
pub struct Server {
    process: Child,
    address: String,
    _folder: TempDir,
}

impl Server {
    /// Starts it, and waits until it accepts connections.
    ///
    /// # Panics
    /// When it does not.
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

    /// Where it accepts: `ADDRESS:PORT`.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The same, apart.
    ///
    /// # Panics
    /// Never: it is an address with a port.
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
