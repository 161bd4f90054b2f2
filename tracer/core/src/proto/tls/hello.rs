//! The ClientHello (RFC 8446, section 4.1.2): what a client says before
//! anything is encrypted.
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
use crate::proto::wire::{Reader, Short};
use crate::record::BootTime;

/// The header of a handshake message: its type, its length.
const HEADER: usize = 4;

/// `client_hello`, among the types of handshake messages.
const CLIENT_HELLO: u64 = 1;

const SERVER_NAME: u16 = 0;
const ALPN: u16 = 16;
const EARLY_DATA: u16 = 42;
/// RFC 9849, section 5.
const ENCRYPTED_CLIENT_HELLO: u16 = 0xfe0d;

/// The most protocol names kept of one ClientHello. Browsers offer three.
const MAX_ALPN: usize = 16;

/// What is known of a ClientHello.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(in crate::proto) struct ClientHello {
    pub(in crate::proto) server_name: Option<String>,
    pub(in crate::proto) alpn: Vec<String>,
    pub(in crate::proto) ech: bool,
    /// Application data can follow at once (RFC 8446, section 4.2.10).
    pub(in crate::proto) early_data: bool,
}

impl ClientHello {
    /// The name in it, read at `source` at that time.
    pub(in crate::proto) fn named(self, source: NameSource, time: BootTime) -> Option<ServerName> {
        let Self { server_name, alpn, ech, early_data: _ } = self;
        server_name.map(|name| ServerName { time, source, name, alpn, ech })
    }
}

/// What the beginning of a handshake is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::proto) enum Parsed {
    /// A ClientHello.
    Complete(ClientHello),
    /// A ClientHello with parts that are not known, or that make no sense:
    /// what stands before the first of them.
    Truncated(ClientHello),
    /// No ClientHello.
    NotMine,
}

impl Parsed {
    /// What is known of a ClientHello, all of it or not.
    pub(in crate::proto) fn known(self) -> Option<ClientHello> {
        match self {
            Self::Complete(hello) | Self::Truncated(hello) => Some(hello),
            Self::NotMine => None,
        }
    }
}

/// How many bytes the handshake message at the beginning of `bytes` has, its
/// header included; `None` where that is not known yet.
pub(in crate::proto) fn message_len(bytes: &[u8]) -> Option<usize> {
    let mut reader = Reader::new(bytes, HEADER);
    reader.u8().ok()?;
    Some(HEADER + reader.number(3).ok()? as usize)
}

/// Reads a ClientHello, or the beginning of one.
pub(in crate::proto) fn parse(bytes: &[u8]) -> Parsed {
    let mut hello = ClientHello::default();
    match read_prelude(bytes) {
        Ok(extensions) => {
            let outcome = read_extensions(extensions, &mut hello);
            let whole = message_len(bytes).is_some_and(|len| bytes.len() >= len);
            match outcome {
                Ok(()) if whole => Parsed::Complete(hello),
                Ok(()) | Err(Short::Cut | Short::Malformed) => Parsed::Truncated(hello),
            }
        }
        Err(Short::Cut) => Parsed::Truncated(hello),
        Err(Short::Malformed) => Parsed::NotMine,
    }
}

/// Reads all that stands before the extensions.
fn read_prelude(bytes: &[u8]) -> Result<Reader<'_>, Short> {
    let must = |it: bool| if it { Ok(()) } else { Err(Short::Malformed) };
    let mut header = Reader::new(bytes, usize::MAX);
    must(header.number(1)? == CLIENT_HELLO)?;
    let mut body = header.vector(3)?;
    must(body.u8()? == 3)?;
    must(body.u8()? <= 4)?;
    body.sub(32)?;
    must(body.vector(1)?.len() <= 32)?;
    let suites = body.vector(2)?.len();
    must(suites >= 2 && suites.is_multiple_of(2))?;
    must(!body.vector(1)?.is_empty())?;
    // Clients of old sent none at all.
    if body.is_empty() { Ok(body) } else { body.vector(2) }
}

fn read_extensions(mut extensions: Reader<'_>, hello: &mut ClientHello) -> Result<(), Short> {
    while !extensions.is_empty() {
        let kind = extensions.u16()?;
        let mut data = extensions.vector(2)?;
        match kind {
            SERVER_NAME if hello.server_name.is_none() => {
                let mut names = data.vector(2)?;
                // Of the types of names, only 0 was ever defined: a host's.
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
