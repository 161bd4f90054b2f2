//! The ABI between tracer's programs in the kernel and its daemon.
//!
//! The programs write one ring buffer entry of variable length for each send, a
//! [`RecordHeader`] followed by the payload:
//!
//! ```text
//! 0                          120                     120 + captured
//! +--------------------------+-----------------------+
//! | RecordHeader             | payload               |
//! +--------------------------+-----------------------+
//! ```
//!
//! All numbers are in native byte order, since both sides run on one machine.
#![cfg_attr(target_arch = "bpf", no_std)]

mod offsets;

pub use offsets::{
    ExecOffsets, FileOffsets, MsgOffsets, NO_KIND, Offsets, SockOffsets, TaskOffsets,
};

/// Version of everything in this crate. The daemon rejects other versions.
pub const ABI_VERSION: u16 = 1;

/// Maximum number of bytes of one send that can be captured.
///
/// A power of two, so that the verifier can follow a masked offset. The head of a
/// real request with a long URL was a single write of 20 730 bytes.
pub const MAX_HEAD: usize = 64 * 1024;

/// Default number of bytes captured of one send.
pub const DEFAULT_HEAD: u32 = 16 * 1024;

/// Default number of bytes captured of each write to a TLS library.
pub const DEFAULT_TLS_HEAD: u32 = 32 * 1024;

/// Number of bytes captured of a socket send within a write to a TLS library. It
/// is the ciphertext of that write, and its first bytes are enough to verify that.
pub const CIPHERTEXT_HEAD: u32 = 256;

/// Maximum length of an executable name or path that exec is matched against,
/// including the terminating NUL.
pub const EXE_NAME_LEN: usize = 128;

/// Number of TGIDs that one page of the scope map covers.
pub const TGIDS_PER_PAGE: u32 = 4096;

/// Number of slots in the UID filter. The slot of a UID is its low 16 bits.
pub const UID_SLOTS: u32 = 65536;

/// Number of UIDs of each user of an Android device. The UID of an application is
/// the user's number times this, plus the application's id (`AID_USER_OFFSET` in
/// Android's `android_filesystem_config.h`).
pub const UIDS_PER_USER: u32 = 100_000;

/// Number of bytes of `struct sock` that are read at once. Must cover the fields
/// of [`Offsets::sock`] that are not read separately.
pub const SOCK_HEAD: usize = 160;

/// Number of bytes of `struct msghdr` that are read at once. Must cover every
/// field of [`Offsets::msg`].
pub const MSG_HEAD: usize = 64;

/// Address families, protocols and socket states, numbered as in the kernel.
pub mod net {
    /// IPv4 (`AF_INET`).
    pub const AF_INET: u16 = 2;
    /// IPv6 (`AF_INET6`).
    pub const AF_INET6: u16 = 10;
    /// `IPPROTO_TCP`.
    pub const TCP: u16 = 6;
    /// `IPPROTO_UDP`.
    pub const UDP: u16 = 17;
    /// `IPPROTO_MPTCP` (Linux 5.6): a stream whose socket is not a `tcp_sock`.
    pub const MPTCP: u16 = 262;
    /// Plaintext that a TLS library accepted. Not a protocol number of the kernel.
    pub const TLS: u16 = 0xffff;
    /// Frames of a QUIC packet before encryption. Not a protocol number of the kernel.
    pub const QUIC: u16 = 0xfffe;
    /// Sends that belong to no connection that is read: of raw, packet and XDP sockets, and of
    /// protocols other than TCP and UDP. Not a protocol number of the kernel.
    pub const RAW: u16 = 0xfffd;
    /// `AF_UNIX`, whose sends stay in this machine, as those of the next two.
    pub const AF_UNIX: u16 = 1;
    /// `AF_NETLINK`.
    pub const AF_NETLINK: u16 = 16;
    /// `AF_ALG`.
    pub const AF_ALG: u16 = 38;
    /// `AF_XDP`: the system call only says that packets are in memory.
    pub const AF_XDP: u16 = 44;
    /// `SOCK_RAW`.
    pub const SOCK_RAW: u16 = 3;
    /// The socket state before `connect` (`TCP_CLOSE`), in which `write_seq` is
    /// not a position yet.
    pub const STATE_CLOSE: u8 = 7;
    /// The socket state during `connect` (`TCP_SYN_SENT`). If the SYN is held back until there is
    /// data for it, its own position is not counted yet.
    pub const STATE_SYN_SENT: u8 = 2;
}

/// Hooks at which records are captured.
pub mod hook {
    /// The `sys_enter` raw tracepoint.
    pub const SYS_ENTER: u8 = 1;
    /// fentry on the protocols' `sendmsg` functions.
    pub const FENTRY: u8 = 2;
    /// kprobe on the protocols' `sendmsg` functions.
    pub const KPROBE: u8 = 3;
    /// The raw tracepoint `tcp_sendmsg_locked`.
    pub const TCP_TRACEPOINT: u8 = 4;
    /// OpenSSL's or BoringSSL's `SSL_write`.
    pub const SSL_WRITE: u8 = 16;
    /// OpenSSL's `SSL_write_ex`.
    pub const SSL_WRITE_EX: u8 = 17;
    /// GnuTLS's `gnutls_record_send`.
    pub const GNUTLS_RECORD_SEND: u8 = 18;
    /// NSPR's `PR_Write`, on a layered descriptor.
    pub const PR_WRITE: u8 = 19;
    /// BoringSSL's `EVP_AEAD_CTX_seal`, `_seal_scatter` or `_sealv`, for a QUIC packet.
    /// The payload begins with a [`SealedHeader`](super::SealedHeader).
    pub const AEAD_SEAL: u8 = 20;
    /// NSS's `AES_AEAD`, which encrypts and decrypts, or `ChaCha20Poly1305_Encrypt`, for a QUIC
    /// packet. The payload begins with a [`SealedHeader`](super::SealedHeader).
    pub const NSS_AEAD: u8 = 21;
    /// `writeRecordLocked` of Go's `crypto/tls`, for application data.
    pub const GO_TLS: u8 = 22;
    /// OpenSSL's `ssl_write_internal`, to which `SSL_write` and `SSL_write_ex` pass their arguments.
    pub const SSL_WRITE_INTERNAL: u8 = 23;
    /// BoringSSL's functions as in [`AEAD_SEAL`], for a TLS record that no probe on `SSL_write`
    /// sees.
    pub const TLS_SEAL: u8 = 24;
}

/// Flags in [`RecordHeader::flags`].
pub mod flag {
    /// `position` holds TCP's `write_seq`.
    pub const POSITION: u8 = 1;
    /// `len` counts only a part of the send.
    pub const LEN_UNKNOWN: u8 = 2;
}

/// The header of each record in the ring buffer.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RecordHeader {
    /// [`ABI_VERSION`].
    pub version: u16,
    /// One of [`hook`].
    pub hook: u8,
    /// A combination of [`flag`].
    pub flags: u8,
    /// Slot of the [`Policy`] that put the sender in scope.
    pub policy: u32,
    /// Nanoseconds since boot, including suspend (`bpf_ktime_get_boot_ns`).
    pub time: u64,
    /// Identifies the socket while it exists: its address, hashed with
    /// [`Settings::key_seed`]. The socket cookie is unsuitable: the kernel assigns
    /// it only on request (by `ss`, for example), so it could change in the middle
    /// of a connection.
    pub key: u64,
    /// For a send on a socket within a write to a TLS library: the `key` of the TLS
    /// connection, whose plaintext is recorded separately. Otherwise 0.
    pub tls_key: u64,
    /// TCP's `write_seq` at the start of the send, if [`flag::POSITION`] is set.
    pub position: u32,
    /// The sender's UID in the initial user namespace.
    pub uid: u32,
    /// The sender's process id (thread group id).
    pub tgid: u32,
    /// The sender's thread id.
    pub tid: u32,
    /// The sender's thread name, NUL-padded.
    pub comm: [u8; 16],
    /// [`net::AF_INET`] or [`net::AF_INET6`]; 0 if there are no addresses.
    pub family: u16,
    /// [`net::TCP`], [`net::UDP`] or [`net::MPTCP`], or one of the numbers that are not the
    /// kernel's.
    pub protocol: u16,
    /// Local port in host order; 0 if the kernel has not chosen one yet.
    pub local_port: u16,
    /// Remote port in host order; 0 if unknown.
    pub remote_port: u16,
    /// Local address; IPv4 in the first four bytes.
    pub local_addr: [u8; 16],
    /// Remote address; IPv4 in the first four bytes.
    pub remote_addr: [u8; 16],
    /// Offset of the payload in the send.
    pub offset: u32,
    /// Number of bytes that the process asked to send.
    pub len: u32,
    /// Number of payload bytes after this header.
    pub captured: u32,
    /// Zero.
    pub reserved: u32,
}

/// The start of the payload of [`hook::AEAD_SEAL`] and [`hook::NSS_AEAD`]: the header of the QUIC packet, which
/// is the additional data of its encryption. The frames of the packet follow.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SealedHeader {
    /// Length of the packet's header.
    pub len: u16,
    /// The first bytes of the packet's header.
    pub start: [u8; Self::START],
    /// The last bytes of a header that is longer than [`SealedHeader::START`]: a packet
    /// number of any length. Otherwise zero.
    pub end: [u8; 4],
}

impl SealedHeader {
    /// Size in bytes.
    pub const SIZE: usize = 64;

    /// Number of bytes kept of the start of a header: a version and two connection ids of
    /// any length, and more than any short header.
    pub const START: usize = 58;

    /// Reads it from the start of a payload; returns it and the captured frames.
    #[cfg(not(target_arch = "bpf"))]
    pub fn split(payload: &[u8]) -> Option<(Self, &[u8])> {
        let (len, rest) = payload.split_first_chunk()?;
        let (start, rest) = rest.split_first_chunk()?;
        let (end, frames) = rest.split_first_chunk()?;
        Some((Self { len: u16::from_ne_bytes(*len), start: *start, end: *end }, frames))
    }
}

/// A notification in the ring buffer that a process in scope may have mapped
/// another TLS library. The daemon then inspects the process.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mapped {
    /// [`ABI_VERSION`].
    pub version: u16,
    /// [`MAPPED`], at the position of [`RecordHeader::hook`].
    pub kind: u8,
    /// Zero.
    pub reserved: u8,
    /// The process id (thread group id).
    pub tgid: u32,
}

/// The value of [`Mapped::kind`].
pub const MAPPED: u8 = 255;

/// Limits for capturing the sends of a process in scope.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// Number of bytes to capture of each send, at most [`MAX_HEAD`].
    pub head_bytes: u32,
    /// Number of bytes to capture of each write to a TLS library, at most
    /// [`MAX_HEAD`].
    pub tls_head_bytes: u32,
    /// 1 if children of a process in scope are in scope too.
    pub inherit: u32,
}

/// Number of slots in the policy table. Slot 0 means out of scope.
pub const MAX_POLICIES: u32 = 256;

/// Slot of a process that is never in scope, whichever rule it meets: tracer
/// itself. The slot holds no policy, so children do not inherit it.
pub const EXEMPT_SLOT: u32 = MAX_POLICIES - 1;

/// Identifies an executable file.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Inode {
    /// Device number of the file system in the kernel's format (20-bit minor).
    pub dev: u64,
    /// Inode number.
    pub ino: u64,
}

/// Name or absolute path of an executable, NUL-padded.
pub type ExeName = [u8; EXE_NAME_LEN];

/// Settings of the whole run.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// Random seed for keys, which keeps kernel addresses out of records.
    pub key_seed: u64,
    /// Policy slot for processes that have no other policy, or 0.
    pub everyone: u32,
    /// 1 if `bpf_get_current_task_btf` is available (Linux 5.11, with BTF). The
    /// scope check then reads fields without calling helpers.
    pub task_btf: u32,
    /// Number of possible CPUs, which is the number of scratch slots of each
    /// program that captures.
    pub cpus: u32,
    /// 1 if `sys_enter` ignores TCP sockets because another hook captures them.
    pub tcp_elsewhere: u32,
}

/// Index of a per-CPU counter: delivered sends, and the reasons for which sends in
/// scope were lost or cut.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Counter {
    /// Delivered into the ring buffer.
    Delivered,
    /// Lost: the ring buffer was full.
    RingFull,
    /// Lost or cut: the sender's memory could not be read, because it was not
    /// present or the address was invalid.
    Unreadable,
    /// Cut: more iovecs than are walked.
    TooManyIovecs,
    /// Lost: a message of a `sendmmsg` beyond those that are walked.
    TooManyMessages,
    /// Only the length is recorded: sent from pages, which cannot be read
    /// (sendfile, splice, registered buffers of io_uring).
    UnknownIterator,
    /// Lost: a system call of a 32-bit process.
    Compat,
    /// Lost: an internal limit (no scratch slot for this CPU, unknown policy).
    Internal,
    /// A process could not be followed: its id is beyond the scope map, or the ring
    /// buffer had no room for a [`Mapped`] notification.
    Unfollowed,
    /// The kernel skipped a program because another task was inside the same program
    /// on this CPU. The kernel counts these (`recursion_misses`).
    Missed,
    /// Captured and not decoded: the sender sent more than there was time to decode.
    /// User space counts these.
    Undecoded,
    /// The process that reads the profiles of browsers has ended, so the names of extensions are
    /// not known. User space sets it.
    ProfilesUnread,
}

impl Counter {
    /// Number of counters.
    pub const COUNT: u32 = 12;

    /// All counters, in the order of their numbers.
    pub const ALL: [Self; Self::COUNT as usize] = [
        Self::Delivered,
        Self::RingFull,
        Self::Unreadable,
        Self::TooManyIovecs,
        Self::TooManyMessages,
        Self::UnknownIterator,
        Self::Compat,
        Self::Internal,
        Self::Unfollowed,
        Self::Missed,
        Self::Undecoded,
        Self::ProfilesUnread,
    ];
}

#[cfg(all(feature = "pod", not(target_arch = "bpf")))]
mod pod {
    //! Types that the daemon copies into the kernel's maps byte by byte.

    use super::{Inode, Offsets, Policy, Settings};

    // SAFETY: `repr(C)`, only integers, and no padding (checked below).
    unsafe impl aya::Pod for Policy {}
    // SAFETY: as above.
    unsafe impl aya::Pod for Inode {}
    // SAFETY: as above.
    unsafe impl aya::Pod for Settings {}
    // SAFETY: as above.
    unsafe impl aya::Pod for Offsets {}
}

// A size equal to the sum of the fields' sizes means that there is no padding.
const _: () = {
    assert!(size_of::<Policy>() == 12);
    assert!(size_of::<Inode>() == 16);
    assert!(size_of::<Settings>() == 24);
    assert!(size_of::<Offsets>() == 4 * (8 + 10 + 11 + 4 + 11));
    assert!(size_of::<RecordHeader>() == RecordHeader::SIZE);
    assert!(size_of::<SealedHeader>() == SealedHeader::SIZE);
};

impl RecordHeader {
    /// Size in bytes.
    pub const SIZE: usize = 120;
}

#[cfg(not(target_arch = "bpf"))]
impl RecordHeader {
    /// Reads a header from the beginning of a ring buffer entry; returns `None` if
    /// the entry is shorter than a header.
    pub fn read(entry: &[u8]) -> Option<Self> {
        let mut fields = Fields(entry.get(..Self::SIZE)?);
        Some(Self {
            version: u16::from_ne_bytes(fields.take()),
            hook: u8::from_ne_bytes(fields.take()),
            flags: u8::from_ne_bytes(fields.take()),
            policy: u32::from_ne_bytes(fields.take()),
            time: u64::from_ne_bytes(fields.take()),
            key: u64::from_ne_bytes(fields.take()),
            tls_key: u64::from_ne_bytes(fields.take()),
            position: u32::from_ne_bytes(fields.take()),
            uid: u32::from_ne_bytes(fields.take()),
            tgid: u32::from_ne_bytes(fields.take()),
            tid: u32::from_ne_bytes(fields.take()),
            comm: fields.take(),
            family: u16::from_ne_bytes(fields.take()),
            protocol: u16::from_ne_bytes(fields.take()),
            local_port: u16::from_ne_bytes(fields.take()),
            remote_port: u16::from_ne_bytes(fields.take()),
            local_addr: fields.take(),
            remote_addr: fields.take(),
            offset: u32::from_ne_bytes(fields.take()),
            len: u32::from_ne_bytes(fields.take()),
            captured: u32::from_ne_bytes(fields.take()),
            reserved: u32::from_ne_bytes(fields.take()),
        })
    }

    /// Encodes the header; the inverse of [`RecordHeader::read`].
    pub fn bytes(&self) -> [u8; Self::SIZE] {
        let mut bytes = [0; Self::SIZE];
        let mut at = 0;
        let mut put = |field: &[u8]| {
            bytes[at..at + field.len()].copy_from_slice(field);
            at += field.len();
        };
        put(&self.version.to_ne_bytes());
        put(&[self.hook, self.flags]);
        put(&self.policy.to_ne_bytes());
        put(&self.time.to_ne_bytes());
        put(&self.key.to_ne_bytes());
        put(&self.tls_key.to_ne_bytes());
        for word in [self.position, self.uid, self.tgid, self.tid] {
            put(&word.to_ne_bytes());
        }
        put(&self.comm);
        for word in [self.family, self.protocol, self.local_port, self.remote_port] {
            put(&word.to_ne_bytes());
        }
        put(&self.local_addr);
        put(&self.remote_addr);
        for word in [self.offset, self.len, self.captured, self.reserved] {
            put(&word.to_ne_bytes());
        }
        bytes
    }
}

/// The unread bytes of a header.
#[cfg(not(target_arch = "bpf"))]
struct Fields<'a>(&'a [u8]);

#[cfg(not(target_arch = "bpf"))]
impl Fields<'_> {
    /// Reads the next `N` bytes. `RecordHeader::read` reads exactly `SIZE` in total.
    fn take<const N: usize>(&mut self) -> [u8; N] {
        let (head, rest) = self.0.split_first_chunk().expect("a whole header");
        self.0 = rest;
        *head
    }
}
