//! Records of what processes sent: one [`Record`] per send, owned and
//! serialisable.
//!
//! Records are the boundary between the part of tracer that interacts with the
//! kernel and the part that decodes. [`trace`] writes them to a file and reads
//! them back, so that `tracer decode` processes exactly what `tracer run`
//! captured.

mod kernel;
mod losses;
pub mod trace;

use std::{net::SocketAddr, time::Duration};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tracer_ebpf::hook;

#[cfg(test)]
pub(crate) use self::kernel::tests::sample;
pub use self::{
    kernel::Malformed,
    losses::{Loss, Losses},
};

/// An event that crosses the boundary between capturing and decoding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A process sent data.
    Sent(Record),
    /// The total number of losses so far.
    Lost(Losses),
    /// A simultaneous reading of both clocks.
    Clock(Clock),
    /// The executable that a process currently runs.
    Executable {
        /// The process.
        tgid: u32,
        /// Path of the executable file (`/proc/PID/exe`).
        path: String,
    },
    /// The start of the command line of a process.
    Arguments {
        /// The process.
        tgid: u32,
        /// The arguments, including the program name.
        arguments: Vec<String>,
    },
    /// The packages that an Android application currently consists of; empty
    /// once it was removed.
    Packages {
        /// The id of the application, which [`crate::packages::id_of`] derives
        /// from a UID.
        app: u32,
        /// The names of the packages.
        names: Vec<String>,
    },
    /// Extensions in the browser profiles of a user.
    Extensions {
        /// The UID of the browser's processes.
        uid: u32,
        /// The extensions.
        list: Vec<Extension>,
    },
}

/// An extension, as the profile of its browser describes it. The user, or whoever writes to
/// the profile, chooses all of it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Extension {
    /// The ID in the extension's origin, by which requests name it.
    pub id: String,
    /// Its name, as its manifest gives it.
    pub name: String,
    /// The ID by which Firefox's users know it. Its origin has another one, chosen anew in each
    /// profile.
    pub addon: Option<String>,
}

/// Maximum number of arguments that are kept of a process. Options are at the beginning.
pub const MAX_ARGUMENTS: usize = 128;

/// Maximum number of bytes that are kept of an argument. No option that matters is longer.
pub const MAX_ARGUMENT: usize = 256;

/// Maximum number of bytes that are kept of the arguments of a process.
const MAX_ARGUMENT_BYTES: usize = 4 << 10;

/// Returns the beginning of a command line, which a process can make as long as it likes.
pub fn bounded_arguments<'a>(all: impl IntoIterator<Item = &'a [u8]>) -> Vec<String> {
    let mut left = MAX_ARGUMENT_BYTES;
    let mut kept = Vec::new();
    for argument in all.into_iter().take(MAX_ARGUMENTS) {
        let argument = &argument[..argument.len().min(MAX_ARGUMENT).min(left)];
        left -= argument.len();
        kept.push(String::from_utf8_lossy(argument).into_owned());
        if left == 0 {
            break;
        }
    }
    kept
}

/// Relates kernel timestamps to the time of day.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Clock {
    /// Time since boot.
    pub boot: BootTime,
    /// Nanoseconds since 1970-01-01 UTC, at the same moment.
    pub unix: u64,
}

impl Clock {
    /// Returns the time of day of a record, in nanoseconds since 1970-01-01
    /// UTC.
    pub fn unix(&self, time: BootTime) -> u64 {
        self.unix.saturating_add(time.0).saturating_sub(self.boot.0)
    }
}

/// Nanoseconds since boot, including suspend (`CLOCK_BOOTTIME`).
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct BootTime(pub u64);

impl BootTime {
    /// Returns the time elapsed since `earlier`, or zero if that is later.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

/// The point at which a record was captured, which determines what it proves.
/// At the socket hooks, the process *requested* to send the bytes, and could
/// still change them until the kernel copied them. At the library hooks, the
/// TLS library accepted them. A packet that was encrypted may still not be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
pub enum Hook {
    /// The `sys_enter` raw tracepoint.
    SysEnter = hook::SYS_ENTER,
    /// The entry of a protocol's `sendmsg`, by fentry.
    Fentry = hook::FENTRY,
    /// The same by kprobe.
    Kprobe = hook::KPROBE,
    /// The raw tracepoint `tcp_sendmsg_locked`.
    TcpTracepoint = hook::TCP_TRACEPOINT,
    /// OpenSSL's or BoringSSL's `SSL_write`, after success.
    SslWrite = hook::SSL_WRITE,
    /// OpenSSL's `SSL_write_ex`, after success.
    SslWriteEx = hook::SSL_WRITE_EX,
    /// The function to which both pass their arguments in OpenSSL, after success.
    SslWriteInternal = hook::SSL_WRITE_INTERNAL,
    /// GnuTLS's `gnutls_record_send`, after success.
    GnutlsRecordSend = hook::GNUTLS_RECORD_SEND,
    /// NSPR's `PR_Write`, after success.
    PrWrite = hook::PR_WRITE,
    /// BoringSSL's functions that encrypt QUIC packets, before they do.
    AeadSeal = hook::AEAD_SEAL,
    /// NSS's functions that encrypt QUIC packets, before they do.
    NssAead = hook::NSS_AEAD,
    /// The function of Go's `crypto/tls` that writes records, when it is entered.
    GoTls = hook::GO_TLS,
    /// BoringSSL's functions that encrypt TLS records, before they do, outside `SSL_write`.
    TlsSeal = hook::TLS_SEAL,
}

impl Hook {
    /// All hooks.
    pub const ALL: [Self; 13] = [
        Self::SysEnter,
        Self::Fentry,
        Self::Kprobe,
        Self::TcpTracepoint,
        Self::SslWrite,
        Self::SslWriteEx,
        Self::SslWriteInternal,
        Self::GnutlsRecordSend,
        Self::PrWrite,
        Self::AeadSeal,
        Self::NssAead,
        Self::GoTls,
        Self::TlsSeal,
    ];

    /// Returns the hook with this number in the ABI of the programs.
    fn from_number(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|&hook| hook as u8 == number)
    }
}

/// The transport protocol of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Transport {
    /// A byte stream, including Multipath TCP.
    Tcp,
    /// Datagrams, each in a record of its own.
    Udp,
    /// Plaintext passed to a TLS library as a byte stream. The addresses are
    /// those of the underlying socket, which is unknown.
    Tls,
    /// The frames of QUIC packets before encryption, each packet in a record of its
    /// own. The addresses can change during a connection.
    Quic,
    /// Data of raw, packet and XDP sockets, and of protocols other than TCP and UDP: each send in a
    /// record of its own, without addresses. It is not read.
    Raw,
}

impl Transport {
    /// Reports whether the records hold packets, rather than parts of a byte stream.
    pub fn is_packets(self) -> bool {
        matches!(self, Self::Udp | Self::Quic | Self::Raw)
    }

    /// Reports whether what the records hold is encrypted before it is sent.
    pub fn is_before_encryption(self) -> bool {
        matches!(self, Self::Tls | Self::Quic)
    }
}

/// Identifies the connection of a record. The key is unique while the socket
/// lives; the addresses distinguish sockets that had the same key one after the
/// other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
pub struct Connection {
    /// A number that identifies the socket, or the object of the TLS library
    /// within its process, while it lives.
    pub key: u64,
    /// The transport protocol.
    pub transport: Transport,
    /// The local endpoint; `None` if the kernel has not chosen one yet.
    pub local: Option<SocketAddr>,
    /// The remote endpoint; `None` for an unconnected socket without a
    /// destination.
    pub remote: Option<SocketAddr>,
}

/// The sending process, as identified by the kernel.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
pub struct Process {
    /// The UID in the initial user namespace.
    pub uid: u32,
    /// The process id (thread group id in the kernel).
    pub tgid: u32,
    /// The thread id.
    pub tid: u32,
    /// The thread name, of at most 15 bytes. The process chooses it, so it is
    /// no proof of identity.
    pub comm: String,
}

/// The captured start of a send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// The hook that captured the record.
    pub hook: Hook,
    /// Time of the send.
    pub time: BootTime,
    /// The sending process.
    pub process: Process,
    /// The connection.
    pub connection: Connection,
    /// For a send on a socket within a write to a TLS library, the
    /// [`Connection::key`] of that TLS connection, whose plaintext is recorded
    /// separately. For a datagram, that of the QUIC connection whose frames in it
    /// are recorded separately.
    pub within_tls: Option<u64>,
    /// TCP's `write_seq` before the send: the position modulo 2³² of its first
    /// byte in the byte stream. It reveals the length of gaps (lost records,
    /// truncated heads) and bytes that are sent again because the kernel had
    /// not accepted them. `None` for datagrams.
    pub position: Option<u32>,
    /// Position of the payload within the send. Not 0 if a hook fires more than
    /// once per send.
    pub offset: u32,
    /// Number of bytes that the process requested to send in total; `None` if
    /// they could not all be counted.
    pub len: Option<u32>,
    /// The bytes captured from `offset` on: the complete send, or a prefix.
    pub payload: Bytes,
}
