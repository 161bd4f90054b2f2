//! Servers on loopback that the tests' processes send to.

use std::{
    io::{self, Read as _, Write as _},
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket},
    thread,
};

/// Returns the loopback address of IPv4 or IPv6, with port 0.
fn loopback(v6: bool) -> SocketAddr {
    if v6 { (Ipv6Addr::LOCALHOST, 0).into() } else { (Ipv4Addr::LOCALHOST, 0).into() }
}

/// Starts a server that accepts TCP connections and discards what it reads. Its
/// thread runs until the test's process ends.
///
/// # Panics
/// Panics if the server cannot listen on loopback.
pub fn tcp(v6: bool) -> SocketAddr {
    serve(v6, |stream| io::copy(&mut &stream, &mut io::sink()).map(drop))
}

/// Starts a server that reads HTTP requests and answers each as a collector does.
///
/// # Panics
/// Panics if the server cannot listen on loopback.
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

/// Starts a server that answers one HTTP request per connection and then closes it.
///
/// # Panics
/// Panics if the server cannot listen on loopback.
pub fn one_shot() -> SocketAddr {
    serve(false, |stream| {
        let mut stream = io::BufReader::new(stream);
        if let Some(length) = read_head(&mut stream)? {
            io::copy(&mut stream.by_ref().take(length), &mut io::sink())?;
            stream.get_mut().write_all(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")?;
        }
        Ok(())
    })
}

/// Reads a request's head. Returns the length of the body, or `None` at the end of
/// the stream.
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
            // Errors of a client that disconnects are ignored.
            thread::spawn(move || each(stream));
        }
    });
    address
}

/// A UDP socket that is never read. Datagrams that do not fit into its buffer are
/// dropped on arrival, when their sends have long succeeded.
pub struct Udp(UdpSocket);

impl Udp {
    /// Opens the socket.
    ///
    /// # Panics
    /// Panics if it cannot be bound to loopback.
    pub fn open(v6: bool) -> Self {
        Self(UdpSocket::bind(loopback(v6)).expect("loopback"))
    }

    /// Returns the socket's address.
    ///
    /// # Panics
    /// Never panics in practice: the socket is bound.
    pub fn address(&self) -> SocketAddr {
        self.0.local_addr().expect("an address")
    }
}

/// Converts an IPv4 address to the IPv4-mapped form that IPv6 sockets use.
pub fn ipv4_mapped(address: SocketAddr) -> SocketAddr {
    match address {
        SocketAddr::V4(v4) => (v4.ip().to_ipv6_mapped(), v4.port()).into(),
        v6 @ SocketAddr::V6(_) => v6,
    }
}
