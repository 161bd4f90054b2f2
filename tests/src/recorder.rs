//! Other tools that record traffic, and helpers to control them.

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{Ipv4Addr, Shutdown, TcpListener, TcpStream, UdpSocket},
    path::Path,
    process::{Child, ChildStderr, Command, Output, Stdio},
    thread,
    time::{Duration, Instant},
};

use rustix::{
    process::{Pid, Signal, kill_process},
    thread::UnshareFlags,
};
use tracer_core::proto::parse_http1;

/// Longest time anything may take on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Runs a test in a new network namespace that has only a loopback interface. The
/// namespace applies to one thread and to the processes that it starts.
///
/// # Panics
/// Panics if `test` panics or this process is not root.
pub fn in_network_namespace(test: impl FnOnce() + Send) {
    let name = thread::current().name().unwrap_or_default().to_owned();
    let test = || {
        // SAFETY: no file descriptors are unshared.
        unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWNET) }.expect("a network");
        run_to_end(Command::new("ip").args(["link", "set", "lo", "up"]));
        test();
    };
    thread::scope(|scope| {
        let thread = thread::Builder::new().name(name).spawn_scoped(scope, test);
        thread.expect("a thread").join().expect("the test passes");
    });
}

/// A running tool that records until it is interrupted.
pub struct Tool {
    child: Child,
    said: BufReader<ChildStderr>,
}

impl Tool {
    /// Starts the tool.
    ///
    /// # Panics
    /// Panics if the tool does not start.
    pub fn start(command: &mut Command) -> Self {
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("a tool");
        let said = BufReader::new(child.stderr.take().expect("its stderr"));
        Self { child, said }
    }

    /// Waits for a line that contains this text.
    ///
    /// # Panics
    /// Panics if the tool ends first.
    pub fn wait_for_line(&mut self, text: &str) {
        let mut line = String::new();
        while !line.contains(text) {
            line.clear();
            let read = self.said.read_line(&mut line).expect("a line");
            assert!(read > 0, "it ended before printing {text}");
        }
    }

    /// Waits until the tool listens on a port.
    ///
    /// # Panics
    /// Panics if the tool ends or does not listen in time.
    pub fn wait_until_listening(&mut self, port: u16) {
        let deadline = Instant::now() + PATIENCE;
        while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
            assert!(self.child.try_wait().expect("the state of the process").is_none(), "it ended");
            assert!(Instant::now() < deadline, "the tool does not listen");
            thread::sleep(Duration::from_millis(100));
        }
    }

    /// Interrupts the tool and waits until it ends.
    ///
    /// # Panics
    /// Panics if the tool fails.
    pub fn end(mut self) {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, Signal::INT).expect("a signal");
        let mut rest = String::new();
        let _ = self.said.read_to_string(&mut rest);
        let status = self.child.wait().expect("an exit status");
        assert!(status.success(), "{status}: {rest}");
    }
}

impl Drop for Tool {
    fn drop(&mut self) {
        // Still running if a test has failed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A server that answers one request per connection.
pub struct Server(u16);

impl Server {
    /// Starts the server on this port of loopback, or on a free one for 0, in the
    /// network namespace of the current thread.
    ///
    /// # Panics
    /// Panics if the port is taken.
    pub fn start(port: u16) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).expect("a port");
        let port = listener.local_addr().expect("its address").port();
        thread::spawn(move || {
            for connection in listener.incoming().flatten() {
                thread::spawn(move || answer(connection));
            }
        });
        Self(port)
    }

    /// Returns the server's port.
    pub fn port(&self) -> u16 {
        self.0
    }
}

/// Reads one request, whose framing marks the end, and answers it.
fn answer(mut connection: TcpStream) {
    let mut request = Vec::new();
    let mut buffer = [0; 16 << 10];
    connection.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    loop {
        match connection.read(&mut buffer) {
            Ok(read) if read > 0 => request.extend_from_slice(&buffer[..read]),
            _ => return,
        }
        let (requests, _) = parse_http1(&request);
        if requests.first().is_some_and(|request| request.complete) {
            break;
        }
    }
    let _ = connection.write_all(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n");
    let _ = connection.shutdown(Shutdown::Write);
    // Closing a socket with unread data would reset the connection, so read until
    // the client closes it.
    while connection.read(&mut buffer).is_ok_and(|read| read > 0) {}
}

/// Sends a datagram repeatedly until it appears in a recorded file. The tool then
/// records, and has written everything before it.
///
/// A tool's own messages prove neither: it prints them before the first packet, and
/// buffers packets.
///
/// # Panics
/// Panics if the datagram does not appear. `mark` must be different each time.
pub fn wait_until_recorded(file: &Path, mark: &str) {
    /// A port that has no listener.
    const DISCARD: (Ipv4Addr, u16) = (Ipv4Addr::LOCALHOST, 9);
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let deadline = Instant::now() + PATIENCE;
    while !holds(file, mark.as_bytes()) {
        assert!(Instant::now() < deadline, "{mark} is not recorded");
        // Datagrams sent before the tool records are lost.
        socket.send_to(mark.as_bytes(), DISCARD).expect("a datagram");
        thread::sleep(Duration::from_millis(200));
    }
}

/// Reports whether a file contains this text.
fn holds(file: &Path, text: &[u8]) -> bool {
    fs::read(file).is_ok_and(|bytes| bytes.windows(text.len()).any(|window| window == text))
}

/// Returns a port that has no listener.
///
/// # Panics
/// Panics if there is none.
pub fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    listener.local_addr().expect("its address").port()
}

/// Runs a tool to its end and returns its output.
///
/// # Panics
/// Panics if the tool fails.
pub fn run_to_end(command: &mut Command) -> Output {
    let output = command.stdin(Stdio::null()).output().expect("a tool");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {said}");
    output
}
