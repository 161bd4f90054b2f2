//! Tools that record what others send, and what they record.

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

/// How long anything may take on a machine that has other things to do.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Runs in a network that has nothing but loopback: it is that of a thread, and
/// of what that starts.
///
/// # Panics
/// As `test`, and when this is not root.
pub fn in_own_network(test: impl FnOnce() + Send) {
    let name = thread::current().name().unwrap_or_default().to_owned();
    let test = || {
        // SAFETY: no file descriptors are unshared.
        unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWNET) }.expect("a network");
        ran(Command::new("ip").args(["link", "set", "lo", "up"]));
        test();
    };
    thread::scope(|scope| {
        let thread = thread::Builder::new().name(name).spawn_scoped(scope, test);
        thread.expect("a thread").join().expect("a recording that is read");
    });
}

/// A tool that records until it is interrupted.
pub struct Tool {
    child: Child,
    said: BufReader<ChildStderr>,
}

impl Tool {
    /// Starts it.
    ///
    /// # Panics
    /// When it does not start.
    pub fn start(command: &mut Command) -> Self {
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("a tool");
        let said = BufReader::new(child.stderr.take().expect("what it says"));
        Self { child, said }
    }

    /// Waits for a line with this text in it.
    ///
    /// # Panics
    /// When it ends first.
    pub fn says(&mut self, text: &str) {
        let mut line = String::new();
        while !line.contains(text) {
            line.clear();
            let read = self.said.read_line(&mut line).expect("a line");
            assert!(read > 0, "it ended without saying {text}");
        }
    }

    /// Waits until it takes connections.
    ///
    /// # Panics
    /// When it does not.
    pub fn listens(&mut self, port: u16) {
        let deadline = Instant::now() + PATIENCE;
        while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
            assert!(self.child.try_wait().expect("its state").is_none(), "it ended");
            assert!(Instant::now() < deadline, "it does not listen");
            thread::sleep(Duration::from_millis(100));
        }
    }

    /// Interrupts it, and waits for its end.
    ///
    /// # Panics
    /// When it fails.
    pub fn end(mut self) {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, Signal::INT).expect("a signal");
        let mut rest = String::new();
        let _ = self.said.read_to_string(&mut rest);
        let status = self.child.wait().expect("its end");
        assert!(status.success(), "{status}: {rest}");
    }
}

impl Drop for Tool {
    fn drop(&mut self) {
        // A test that failed has not ended it.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A server that answers every request, and closes.
pub struct Server(u16);

impl Server {
    /// On this port of loopback, or a free one; in the network of this thread.
    ///
    /// # Panics
    /// When the port is taken.
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

    /// Its port.
    pub fn port(&self) -> u16 {
        self.0
    }
}

/// Reads one request to its end, which its framing tells, and answers.
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
    // Until the client closes: what is unread would reset the connection.
    while connection.read(&mut buffer).is_ok_and(|read| read > 0) {}
}

/// Waits until a file that is recorded to holds a datagram which is sent here:
/// the tool records by then, and has written what came before.
///
/// What a tool says of itself proves neither: it comes before the first packet,
/// and packets wait in buffers.
///
/// # Panics
/// When it does not come; `mark` must be another each time.
pub fn records(file: &Path, mark: &str) {
    /// Where nobody listens.
    const DISCARD: (Ipv4Addr, u16) = (Ipv4Addr::LOCALHOST, 9);
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let deadline = Instant::now() + PATIENCE;
    while !holds(file, mark.as_bytes()) {
        assert!(Instant::now() < deadline, "{mark} is not recorded");
        // Until it does: what is sent before it records is lost.
        socket.send_to(mark.as_bytes(), DISCARD).expect("a datagram");
        thread::sleep(Duration::from_millis(200));
    }
}

/// Whether a file holds this text.
fn holds(file: &Path, text: &[u8]) -> bool {
    fs::read(file).is_ok_and(|bytes| bytes.windows(text.len()).any(|window| window == text))
}

/// A port that nobody listens on.
///
/// # Panics
/// When there is none.
pub fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    listener.local_addr().expect("its address").port()
}

/// Runs a tool to its end.
///
/// # Panics
/// When it fails.
pub fn ran(command: &mut Command) -> Output {
    let output = command.stdin(Stdio::null()).output().expect("a tool");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {said}");
    output
}
