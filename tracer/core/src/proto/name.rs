//! Names of servers: all that encrypted traffic says of where it goes.

use serde::Serialize;

use crate::record::BootTime;

/// Where a name was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum NameSource {
    /// The ClientHello of a TLS connection (RFC 6066, section 3).
    Tls,
    /// The ClientHello in a QUIC connection's Initial packets.
    Quic,
    /// A question to the domain name system.
    Dns,
}

/// A server that a client named in the clear.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerName {
    /// When.
    pub time: BootTime,
    /// Where it was read.
    pub source: NameSource,
    /// The host's name, in lower case, without a dot at its end.
    pub name: String,
    /// The protocols that the client offered, most wanted first (ALPN,
    /// RFC 7301): `h2`, `http/1.1`, `h3`, ….
    pub alpn: Vec<String>,
    /// The ClientHello carries an `encrypted_client_hello` (RFC 9849): the name
    /// may be that of a server which fronts for the real one. It need not: most
    /// browsers always send the extension, filled with noise (GREASE), and
    /// nobody but the server can tell.
    pub ech: bool,
}

/// The longest host name (RFC 1035, section 2.3.4).
const MAX_NAME: usize = 255;

/// A host's name as clients send it, fit to be shown and compared; `None` for
/// bytes that are none.
pub(super) fn host_name(bytes: &[u8]) -> Option<String> {
    let bytes = bytes.strip_suffix(b".").unwrap_or(bytes);
    let fits = |b: &u8| b.is_ascii_alphanumeric() || b"-_.:".contains(b);
    let is_name = (1..=MAX_NAME).contains(&bytes.len()) && bytes.iter().all(fits);
    is_name.then(|| String::from_utf8_lossy(bytes).to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_are_names() {
        assert_eq!(host_name(b"WWW.Example.org."), Some("www.example.org".into()));
        assert_eq!(host_name(b"xn--bcher-kva.example"), Some("xn--bcher-kva.example".into()));
        for bytes in [&b""[..], b".", b"a b", b"a\0", b"a/b", b"\x1b[0m", &[b'a'; 256]] {
            assert_eq!(host_name(bytes), None, "{bytes:?}");
        }
    }
}
