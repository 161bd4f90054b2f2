//! Server names, the only information about the destination of encrypted
//! traffic.

use serde::Serialize;

use crate::record::BootTime;

/// The protocol in which a name was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum NameSource {
    /// The ClientHello of a TLS connection (RFC 6066 section 3).
    Tls,
    /// The ClientHello in the Initial packets of a QUIC connection.
    Quic,
    /// A DNS query.
    Dns,
}

/// A server name that a client sent in plaintext.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerName {
    /// Time at which the name was sent.
    pub time: BootTime,
    /// The protocol in which the name was found.
    pub source: NameSource,
    /// The host name in lower case, without a trailing dot.
    pub name: String,
    /// Protocols that the client offered, in order of preference (ALPN, RFC
    /// 7301): `h2`, `http/1.1`, `h3`, ….
    pub alpn: Vec<String>,
    /// Set if the ClientHello contains `encrypted_client_hello` (RFC 9849). The
    /// name may then belong to a fronting server instead of the real one. Most
    /// browsers always send the extension, filled with random data (GREASE),
    /// and only the server can tell the difference.
    pub ech: bool,
}

/// Maximum length of a host name (RFC 1035 section 2.3.4).
const MAX_NAME: usize = 255;

/// Normalises a host name for display and comparison. Returns `None` if the
/// bytes are not a host name.
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
    fn only_host_names_are_accepted() {
        assert_eq!(host_name(b"WWW.Example.org."), Some("www.example.org".into()));
        assert_eq!(host_name(b"xn--bcher-kva.example"), Some("xn--bcher-kva.example".into()));
        for bytes in [&b""[..], b".", b"a b", b"a\0", b"a/b", b"\x1b[0m", &[b'a'; 256]] {
            assert_eq!(host_name(bytes), None, "{bytes:?}");
        }
    }
}
