//! The ClientHello (RFC 8446 section 4.1.2), which a client sends unencrypted.
//!
//! ```text
//! type 1 (8) │ length (24) │ version (16) │ random (256) │ session id <8>
//!   │ cipher suites <16> │ compression methods <8> │ extensions <16>:
//!       type (16) │ data <16>      0       server_name
//!                                  16      ALPN
//!                                  42      early_data
//!                                  0xfe0d  encrypted_client_hello
//! ```
//!
//! `<n>`: preceded by its length in n bits.

use crate::proto::name::{NameSource, ServerName, host_name};
use crate::proto::wire::{ReadError, Reader};
use crate::record::BootTime;

/// Length of the header of a handshake message: its type and its length.
const HEADER: usize = 4;

/// The handshake message type `client_hello`.
const CLIENT_HELLO: u64 = 1;

const SERVER_NAME: u16 = 0;
const ALPN: u16 = 16;
const EARLY_DATA: u16 = 42;
/// RFC 9849 section 5.
const ENCRYPTED_CLIENT_HELLO: u16 = 0xfe0d;

/// Maximum number of protocol names kept. Browsers offer three.
const MAX_ALPN: usize = 16;

/// The known content of a ClientHello.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(in crate::proto) struct ClientHello {
    pub(in crate::proto) server_name: Option<String>,
    pub(in crate::proto) alpn: Vec<String>,
    pub(in crate::proto) ech: bool,
    /// Set if application data may follow immediately (RFC 8446 section
    /// 4.2.10).
    pub(in crate::proto) early_data: bool,
}

impl ClientHello {
    /// Returns the server name, found in `source` at `time`.
    pub(in crate::proto) fn named(self, source: NameSource, time: BootTime) -> Option<ServerName> {
        let Self { server_name, alpn, ech, early_data: _ } = self;
        server_name.map(|name| ServerName { time, source, name, alpn, ech })
    }
}

/// The result of parsing the start of a handshake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::proto) enum Parsed {
    /// A complete ClientHello.
    Complete(ClientHello),
    /// A truncated or partly malformed ClientHello, with its content before
    /// that point.
    Truncated(ClientHello),
    /// Not a ClientHello.
    NotClientHello,
}

impl Parsed {
    /// Returns the known content of a ClientHello, complete or not.
    pub(in crate::proto) fn known(self) -> Option<ClientHello> {
        match self {
            Self::Complete(hello) | Self::Truncated(hello) => Some(hello),
            Self::NotClientHello => None,
        }
    }
}

/// Returns the length of the handshake message at the start of `bytes`,
/// including its header, or `None` if it is not known yet.
pub(in crate::proto) fn message_len(bytes: &[u8]) -> Option<usize> {
    let mut reader = Reader::new(bytes, HEADER);
    reader.u8().ok()?;
    Some(HEADER + reader.number(3).ok()? as usize)
}

/// Parses a ClientHello, or the start of one.
pub(in crate::proto) fn parse(bytes: &[u8]) -> Parsed {
    let mut hello = ClientHello::default();
    match read_prelude(bytes) {
        Ok(extensions) => {
            let outcome = read_extensions(extensions, &mut hello);
            let whole = message_len(bytes).is_some_and(|len| bytes.len() >= len);
            match outcome {
                Ok(()) if whole => Parsed::Complete(hello),
                Ok(()) | Err(ReadError::Cut | ReadError::Malformed) => Parsed::Truncated(hello),
            }
        }
        Err(ReadError::Cut) => Parsed::Truncated(hello),
        Err(ReadError::Malformed) => Parsed::NotClientHello,
    }
}

/// Reads the fields that precede the extensions.
fn read_prelude(bytes: &[u8]) -> Result<Reader<'_>, ReadError> {
    let require = |valid: bool| if valid { Ok(()) } else { Err(ReadError::Malformed) };
    let mut header = Reader::new(bytes, usize::MAX);
    require(header.number(1)? == CLIENT_HELLO)?;
    let mut body = header.vector(3)?;
    require(body.u8()? == 3)?;
    require(body.u8()? <= 4)?;
    body.sub(32)?;
    require(body.vector(1)?.len() <= 32)?;
    let suites = body.vector(2)?.len();
    require(suites >= 2 && suites.is_multiple_of(2))?;
    require(!body.vector(1)?.is_empty())?;
    // Ancient clients send no extensions at all.
    if body.is_empty() { Ok(body) } else { body.vector(2) }
}

fn read_extensions(mut extensions: Reader<'_>, hello: &mut ClientHello) -> Result<(), ReadError> {
    while !extensions.is_empty() {
        let kind = extensions.u16()?;
        let mut data = extensions.vector(2)?;
        match kind {
            SERVER_NAME if hello.server_name.is_none() => {
                let mut names = data.vector(2)?;
                // The only name type ever defined is 0, a host name.
                if names.u8()? == 0 {
                    hello.server_name = host_name(names.vector(2)?.rest()?);
                }
            }
            ALPN if hello.alpn.is_empty() => {
                let mut protocols = data.vector(2)?;
                while !protocols.is_empty() {
                    let protocol = protocols.vector(1)?.rest()?;
                    if hello.alpn.len() < MAX_ALPN {
                        hello.alpn.push(protocol.escape_ascii().to_string());
                    }
                }
            }
            ENCRYPTED_CLIENT_HELLO => hello.ech = true,
            EARLY_DATA => hello.early_data = true,
            _ => {}
        }
    }
    Ok(())
}
