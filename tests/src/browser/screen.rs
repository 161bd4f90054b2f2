//! A screen that nobody looks at, for browsers that want one.

use std::{
    io::{BufRead as _, BufReader},
    process::{Child, Command, Stdio},
};

use rustix::process::{Pid, Signal, kill_process};

/// An X server of its own.
pub(super) struct Screen {
    server: Child,
    display: String,
}

impl Screen {
    /// Starts it.
    pub(super) fn start() -> Self {
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
    pub(super) fn display(&self) -> &str {
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
