//! What the kernel saw: one [`Record`] a send, owned and serialisable.
//!
//! Records are the boundary between the part of tracer that touches the kernel
//! and the part that decodes. [`trace`] writes them to a file and reads them
//! back, so that `tracer decode` sees exactly what `tracer run` saw.

mod kernel;
mod losses;
pub mod trace;

use std::{net::SocketAddr, time::Duration};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

pub use self::{
    kernel::Malformed,
    losses::{Loss, Losses},
};

/// What crosses the boundary between capturing and decoding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// Somebody sent.
    Sent(Record),
    /// What was not delivered so far, in all.
    Lost(Losses),
    /// The two clocks, read at once.
    Clock(Clock),
    /// What a process runs, as of now.
    Executable {
        /// The process.
        tgid: u32,
        /// Its executable file (`/proc/PID/exe`).
        path: String,
    },
    /// How a process was started: the beginning of its command line.
    Arguments {
        /// The process.
        tgid: u32,
        /// Its arguments, its own name first.
        arguments: Vec<String>,
    },
    /// Which packages an application of Android is, as of now; none when it was
    /// removed.
    Packages {
        /// The application's id: [`crate::packages::id_of`] has it of a UID.
        app: u32,
        /// Their names.
        names: Vec<String>,
    },
}

/// What ties the kernel's timestamps to the time of day.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Clock {
    /// Time since boot.
    pub boot: BootTime,
    /// Nanoseconds since 1970-01-01 UTC, at that moment.
    pub unix: u64,
}

impl Clock {
    /// The time of day of a record, in nanoseconds since 1970-01-01 UTC.
    pub fn unix(&self, time: BootTime) -> u64 {
        self.unix.saturating_add(time.0).saturating_sub(self.boot.0)
    }
}

/// Nanoseconds since boot, suspend included (`CLOCK_BOOTTIME`).
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct BootTime(pub u64);

impl BootTime {
    /// How long ago `earlier` was; nothing if it was later.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

/// Where in the kernel a record was taken. It says what the record proves: at
/// the sockets' hooks the process *asked* to send these bytes, and could still
/// change them until the kernel copied them; what a TLS library accepted, it
/// accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Hook {
    /// The `sys_enter` raw tracepoint.
    SysEnter,
    /// The entry of a protocol's `sendmsg`, by fentry.
    Fentry,
    /// The same, by kprobe.
    Kprobe,
    /// The raw tracepoint `tcp_sendmsg_locked`.
    TcpTracepoint,
    /// OpenSSL's or BoringSSL's `SSL_write`, accepted.
    SslWrite,
    /// OpenSSL's `SSL_write_ex`, accepted.
    SslWriteEx,
    /// GnuTLS's `gnutls_record_send`, accepted.
    GnutlsRecordSend,
    /// NSPR's `PR_Write`, accepted.
    PrWrite,
}

/// The transport protocol of the socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Transport {
    /// A byte stream (also Multipath TCP).
    Tcp,
    /// Datagrams: every record stands for itself.
    Udp,
    /// A byte stream in plain, as a TLS library was given it. Its addresses
    /// are those of the socket beneath, which is not known.
    Tls,
}

/// Which connection a record belongs to. Unique while the socket lives; the
/// addresses tell two sockets apart that had the same key one after the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
pub struct Connection {
    /// A number that stands for the socket, or for the TLS library's object
    /// in its process, while it lives.
    pub key: u64,
    /// The transport.
    pub transport: Transport,
    /// This machine's end; `None` where the kernel has not chosen one yet.
    pub local: Option<SocketAddr>,
    /// The other end; `None` on an unconnected socket sent to without a name.
    pub remote: Option<SocketAddr>,
}

/// Which process sent, as the kernel names it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
pub struct Process {
    /// The UID, in the initial user namespace.
    pub uid: u32,
    /// The process id (the kernel's thread group id).
    pub tgid: u32,
    /// The thread id.
    pub tid: u32,
    /// The thread's name: at most 15 bytes, chosen by the process itself, so
    /// never proof of who it is.
    pub comm: String,
}

/// The head of one send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Where it was taken.
    pub hook: Hook,
    /// When.
    pub time: BootTime,
    /// By whom.
    pub process: Process,
    /// On which connection.
    pub connection: Connection,
    /// On a socket: the [`Connection::key`] of the TLS connection in whose
    /// write this send happened. Its plaintext has records of its own.
    pub within_tls: Option<u64>,
    /// TCP's `write_seq` before this send: the position, modulo 2³², of its
    /// first byte in the connection's byte stream. It makes gaps countable
    /// (lost records, cut heads) and shows bytes that are sent again because
    /// the kernel had not accepted them. `None` for datagrams.
    pub position: Option<u32>,
    /// Where in the send the payload begins. Not 0 where a hook fires more
    /// than once a send.
    pub offset: u32,
    /// How many bytes the process asked to send, from the send's beginning;
    /// `None` where they could not all be counted.
    pub len: Option<u32>,
    /// The bytes captured from `offset` on: all of the send, or its head.
    pub payload: Bytes,
}
