//! A virtual screen and a message bus for browsers that need them.

use std::{
    io::{BufRead as _, BufReader},
    process::{Child, Command, Stdio},
};

use rustix::process::{Pid, Signal, kill_process};

/// A running X server without a monitor.
pub struct Screen {
    server: Child,
    display: String,
}

impl Screen {
    /// Starts the server.
    ///
    /// # Panics
    /// Panics if the server does not start.
    pub fn start() -> Self {
        let mut server = Command::new("Xvfb")
            // The server chooses a free display number and prints it.
            .args(["-displayfd", "1", "-nolisten", "tcp"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("an X server");
        let mut number = String::new();
        let said = server.stdout.take().expect("a pipe");
        BufReader::new(said).read_line(&mut number).expect("a line");
        assert!(!number.is_empty(), "the X server did not start");
        Self { server, display: format!(":{}", number.trim()) }
    }

    /// Returns the value for `DISPLAY`.
    pub fn display(&self) -> &str {
        &self.display
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // On SIGTERM the server removes its lock file and its socket.
        let _ = kill_process(Pid::from_child(&self.server), Signal::TERM);
        let _ = self.server.wait();
    }
}

/// A running D-Bus daemon. A second Firefox passes its pages to the first one over
/// it.
pub struct Bus {
    daemon: Child,
    address: String,
}

impl Bus {
    /// Starts the daemon.
    ///
    /// # Panics
    /// Panics if the daemon does not start.
    pub fn start() -> Self {
        let mut daemon = Command::new("dbus-daemon")
            .args(["--session", "--nofork", "--print-address=1"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("a message bus");
        let mut address = String::new();
        let said = daemon.stdout.take().expect("a pipe");
        BufReader::new(said).read_line(&mut address).expect("a line");
        assert!(!address.is_empty(), "the message bus did not start");
        Self { daemon, address: address.trim().to_owned() }
    }

    /// Returns the value for `DBUS_SESSION_BUS_ADDRESS`.
    pub fn address(&self) -> &str {
        &self.address
    }
}

impl Drop for Bus {
    fn drop(&mut self) {
        let _ = kill_process(Pid::from_child(&self.daemon), Signal::TERM);
        let _ = self.daemon.wait();
    }
}
