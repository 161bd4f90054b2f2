//! The other ends: what a process of ours sends to, on loopback.

use std::{
    io::{self, Read as _, Write as _},
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket},
    thread,
};

/// The loopback address of IPv4, or of IPv6, with a port for the kernel to
/// choose.
fn loopback(v6: bool) -> SocketAddr {
    if v6 { (Ipv6Addr::LOCALHOST, 0).into() } else { (Ipv4Addr::LOCALHOST, 0).into() }
}

/// Accepts TCP connections and reads them to their ends. Its thread lives as
/// long as the test's process.
///
/// # Panics
/// When loopback cannot be listened on.
pub fn tcp(v6: bool) -> SocketAddr {
    serve(v6, |stream| io::copy(&mut &stream, &mut io::sink()).map(drop))
}

/// Answers every HTTP request as a collector does, and reads its body.
///
/// # Panics
/// When loopback cannot be listened on.
pub fn collector() -> SocketAddr {
    serve(false, |stream| {
        let mut stream = io::BufReader::new(stream);
        while let Some(length) = read_head(&mut stream)? {
            io::copy(&mut stream.by_ref().take(length), &mut io::sink())?;
            stream.get_mut().write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")?;
        }
        Ok(())
    })
}

/// Answers one HTTP request a connection, and closes it.
///
/// # Panics
/// When loopback cannot be listened on.
pub fn hasty() -> SocketAddr {
    serve(false, |stream| {
        let mut stream = io::BufReader::new(stream);
        if let Some(length) = read_head(&mut stream)? {
            io::copy(&mut stream.by_ref().take(length), &mut io::sink())?;
            stream.get_mut().write_all(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")?;
        }
        Ok(())
    })
}

/// Reads a request's head; the length of its body, or `None` at the end.
fn read_head(stream: &mut impl io::BufRead) -> io::Result<Option<u64>> {
    let mut length = 0;
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line)? == 0 {
            return Ok(None);
        }
        if line == "\r\n" {
            return Ok(Some(length));
        }
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap_or(0);
        }
    }
}

fn serve(
    v6: bool,
    each: impl Fn(TcpStream) -> io::Result<()> + Clone + Send + 'static,
) -> SocketAddr {
    let listener = TcpListener::bind(loopback(v6)).expect("loopback");
    let address = listener.local_addr().expect("an address");
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let each = each.clone();
            // A client that goes away is no concern of the server's.
            thread::spawn(move || each(stream));
        }
    });
    address
}

/// A place for datagrams. Nobody reads them: those that find no room are
/// dropped where they arrive, long after they were sent.
pub struct Udp(UdpSocket);

impl Udp {
    /// Opens it.
    ///
    /// # Panics
    /// When loopback cannot be bound to.
    pub fn open(v6: bool) -> Self {
        Self(UdpSocket::bind(loopback(v6)).expect("loopback"))
    }

    /// Where it is.
    ///
    /// # Panics
    /// Never in practice: it is bound.
    pub fn address(&self) -> SocketAddr {
        self.0.local_addr().expect("an address")
    }
}

/// An IPv4 address as IPv6 sockets write it.
pub fn mapped(address: SocketAddr) -> SocketAddr {
    match address {
        SocketAddr::V4(v4) => (v4.ip().to_ipv6_mapped(), v4.port()).into(),
        v6 @ SocketAddr::V6(_) => v6,
    }
}
