//! A screen that nobody looks at, and a bus, for browsers that want them.

use std::{
    io::{BufRead as _, BufReader},
    process::{Child, Command, Stdio},
};

use rustix::process::{Pid, Signal, kill_process};

/// An X server of its own.
pub struct Screen {
    server: Child,
    display: String,
}

impl Screen {
    /// Starts it.
    ///
    /// # Panics
    /// When it does not start.
    pub fn start() -> Self {
        let mut server = Command::new("Xvfb")
            // It takes a free number and says which.
            .args(["-displayfd", "1", "-nolisten", "tcp"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("an X server");
        let mut number = String::new();
        let said = server.stdout.take().expect("a pipe");
        BufReader::new(said).read_line(&mut number).expect("a line");
        assert!(!number.is_empty(), "the X server does not start");
        Self { server, display: format!(":{}", number.trim()) }
    }

    /// What `DISPLAY` is to hold.
    pub fn display(&self) -> &str {
        &self.display
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // By TERM: it then removes its lock and its socket.
        let _ = kill_process(Pid::from_child(&self.server), Signal::TERM);
        let _ = self.server.wait();
    }
}

/// A message bus of its own: a second Firefox hands its pages to the first by
/// it.
pub struct Bus {
    daemon: Child,
    address: String,
}

impl Bus {
    /// Starts it.
    ///
    /// # Panics
    /// When it does not start.
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
        assert!(!address.is_empty(), "the message bus does not start");
        Self { daemon, address: address.trim().to_owned() }
    }

    /// What `DBUS_SESSION_BUS_ADDRESS` is to hold.
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
