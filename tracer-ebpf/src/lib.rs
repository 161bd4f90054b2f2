//! What tracer's programs in the kernel and its daemon agree on.
//!
//! The programs write a [`RecordHeader`] and the payload behind it into the
//! ring buffer, one entry a send, as long as it needs to be:
//!
//! ```text
//! 0                          120                     120 + captured
//! +--------------------------+-----------------------+
//! | RecordHeader             | payload               |
//! +--------------------------+-----------------------+
//! ```
//!
//! All numbers are in the machine's byte order: both sides run on it.
#![cfg_attr(target_arch = "bpf", no_std)]

mod offsets;

pub use offsets::{
    ExecOffsets, FileOffsets, MsgOffsets, NO_KIND, Offsets, SockOffsets, TaskOffsets,
};

/// The version of everything in this crate. The daemon refuses other versions.
pub const ABI_VERSION: u16 = 1;

/// The most bytes of one send that can be captured.
///
/// A power of two, so that the verifier can follow a masked offset. A real
/// request head with a long URL was one write of 20 730 bytes.
pub const MAX_HEAD: usize = 64 * 1024;

/// Bytes of one send captured unless the user says otherwise.
pub const DEFAULT_HEAD: u32 = 16 * 1024;

/// Bytes of each write to a TLS library captured unless the user says otherwise.
pub const DEFAULT_TLS_HEAD: u32 = 32 * 1024;

/// Bytes captured of a send that happens within a write to a TLS library: it
/// is the same in ciphertext, but only its beginning can show that.
pub const CIPHERTEXT_HEAD: u32 = 256;

/// The longest executable name or path that exec is matched against, the NUL
/// that ends it included.
pub const EXE_NAME_LEN: usize = 128;

/// TGIDs that one page of the scope map covers.
pub const TGIDS_PER_PAGE: u32 = 4096;

/// Slots of the UID filter; a UID's slot is its low 16 bits.
pub const UID_SLOTS: u32 = 65536;

/// UIDs that each user of an Android device has: the UID of an application is
/// the user's number times this, plus the application's id (`AID_USER_OFFSET` in
/// Android's `android_filesystem_config.h`).
pub const UIDS_PER_USER: u32 = 100_000;

/// How much of `struct sock` is read at once. Every field of
/// [`Offsets::sock`] has to lie in it.
pub const SOCK_HEAD: usize = 160;

/// How much of `struct msghdr` is read at once. Every field of
/// [`Offsets::msg`] has to lie in it.
pub const MSG_HEAD: usize = 64;

/// Families, protocols and socket states as the kernel's headers number them.
pub mod net {
    /// IPv4 (`AF_INET`).
    pub const AF_INET: u16 = 2;
    /// IPv6 (`AF_INET6`).
    pub const AF_INET6: u16 = 10;
    /// `IPPROTO_TCP`.
    pub const TCP: u16 = 6;
    /// `IPPROTO_UDP`.
    pub const UDP: u16 = 17;
    /// `IPPROTO_MPTCP` (Linux 5.6): a stream whose socket is no `tcp_sock`.
    pub const MPTCP: u16 = 262;
    /// No protocol of the kernel's: plaintext that a TLS library accepted.
    pub const TLS: u16 = 0xffff;
    /// The socket state before `connect` (`TCP_CLOSE`), where `write_seq` is
    /// not yet a position.
    pub const STATE_CLOSE: u8 = 7;
}

/// Where a record was taken.
pub mod hook {
    /// The `sys_enter` raw tracepoint.
    pub const SYS_ENTER: u8 = 1;
    /// The entry of the protocols' `sendmsg` functions, by fentry.
    pub const FENTRY: u8 = 2;
    /// The same, by kprobe.
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
}

/// [`RecordHeader::flags`].
pub mod flag {
    /// `position` holds TCP's `write_seq`.
    pub const POSITION: u8 = 1;
    /// `len` counts only the part of the send that could be added up.
    pub const LEN_UNKNOWN: u8 = 2;
}

/// What precedes each payload in the ring buffer.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RecordHeader {
    /// [`ABI_VERSION`].
    pub version: u16,
    /// [`hook`].
    pub hook: u8,
    /// [`flag`].
    pub flags: u8,
    /// The [`Policy`] that put the sender in scope.
    pub policy: u32,
    /// Nanoseconds since boot, suspend included (`bpf_ktime_get_boot_ns`).
    pub time: u64,
    /// A number that stands for the socket while it lives: its address, hashed
    /// with [`Settings::key_seed`]. The socket cookie will not do: the kernel
    /// gives one only when somebody asks (`ss` does), so that it would change
    /// in the middle of a connection.
    pub key: u64,
    /// On a socket: the `key` of the TLS connection in whose write this send
    /// happened, or 0. What is sent here is then known in plain.
    pub tls_key: u64,
    /// TCP's `write_seq` when the send began, where [`flag::POSITION`] is set.
    pub position: u32,
    /// The sender's UID in the initial user namespace.
    pub uid: u32,
    /// The sender's process id (thread group id).
    pub tgid: u32,
    /// The sender's thread id.
    pub tid: u32,
    /// The sender's thread name, NUL-padded.
    pub comm: [u8; 16],
    /// [`net::AF_INET`] or [`net::AF_INET6`].
    pub family: u16,
    /// [`net::TCP`], [`net::UDP`] or [`net::MPTCP`].
    pub protocol: u16,
    /// The local port, in host order; 0 where the kernel has chosen none yet.
    pub local_port: u16,
    /// The remote port, in host order; 0 where it is not known.
    pub remote_port: u16,
    /// The local address; IPv4 in the first four bytes.
    pub local_addr: [u8; 16],
    /// The remote address; IPv4 in the first four bytes.
    pub remote_addr: [u8; 16],
    /// Where in the send the payload begins.
    pub offset: u32,
    /// Bytes the process asked to send.
    pub len: u32,
    /// Bytes of payload behind this header.
    pub captured: u32,
    /// Zero.
    pub reserved: u32,
}

/// What stands in the ring buffer instead of a record when a process in scope
/// may have mapped another TLS library: the daemon looks.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mapped {
    /// [`ABI_VERSION`].
    pub version: u16,
    /// [`MAPPED`], where a record has its hook.
    pub kind: u8,
    /// Zero.
    pub reserved: u8,
    /// The process.
    pub tgid: u32,
}

/// [`Mapped::kind`].
pub const MAPPED: u8 = 255;

/// What to do with the sends of those a rule put in scope.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// Bytes of each send to capture, at most [`MAX_HEAD`].
    pub head_bytes: u32,
    /// Bytes of each write to a TLS library to capture, likewise. More: an
    /// HTTP/2 request with a long URL was one write of 20 730 bytes.
    pub tls_head_bytes: u32,
    /// 1: processes forked by a process in scope are in scope too.
    pub inherit: u32,
}

/// Slots in the policy table. Slot 0 means out of scope.
pub const MAX_POLICIES: u32 = 256;

/// An executable file, named by its inode.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Inode {
    /// The file system's device number, as the kernel packs it (20-bit minor).
    pub dev: u64,
    /// The inode number.
    pub ino: u64,
}

/// An executable's name or absolute path, NUL-padded.
pub type ExeName = [u8; EXE_NAME_LEN];

/// What is the same for the whole run.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// Random: keeps kernel addresses out of records.
    pub key_seed: u64,
    /// tracer's own process: never in scope.
    pub own_tgid: u32,
    /// A policy that everyone is under who is under no other, or 0.
    pub everyone: u32,
    /// 1: `bpf_get_current_task_btf` is there (Linux 5.11, with BTF), and
    /// the scope check costs no helper.
    pub task_btf: u32,
    /// Possible CPUs, hence slots of the scratch map for each program that
    /// captures.
    pub cpus: u32,
    /// 1: another hook takes what is sent on TCP sockets; `sys_enter` does not.
    pub tcp_elsewhere: u32,
    /// Zero.
    pub reserved: u32,
}

/// Why a send in scope was not delivered, or not whole. Index into the
/// per-CPU counters.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Counter {
    /// Delivered into the ring buffer.
    Delivered,
    /// Lost: the ring buffer was full.
    RingFull,
    /// Lost or cut: the sender's memory could not be read (not mapped in, or
    /// an address that is not its own).
    Unreadable,
    /// Cut: more iovecs than are walked.
    TooManyIovecs,
    /// Lost: messages of one `sendmmsg` beyond those that are walked.
    TooManyMessages,
    /// Lost but for its length: sent from memory of a kind that is not read
    /// (pages: sendfile, splice, io_uring's registered buffers).
    UnknownIterator,
    /// Lost: a 32-bit process's system call.
    Compat,
    /// Lost: an internal limit (no scratch slot for this CPU, no such policy).
    Internal,
    /// A process could not be followed: its id lies beyond the scope map.
    Unfollowed,
    /// The kernel did not run a program, because another task was within the
    /// same one on this CPU. The kernel counts these (`recursion_misses`).
    Missed,
}

impl Counter {
    /// How many there are.
    pub const COUNT: u32 = 10;

    /// All of them, in the order of their numbers.
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
    assert!(size_of::<Settings>() == 32);
    assert!(size_of::<Offsets>() == 4 * (8 + 10 + 10 + 4 + 11));
    assert!(size_of::<RecordHeader>() == RecordHeader::SIZE);
};

impl RecordHeader {
    /// Its size in bytes.
    pub const SIZE: usize = 120;
}

#[cfg(not(target_arch = "bpf"))]
impl RecordHeader {
    /// Reads a header from the beginning of a ring buffer entry; `None` where
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

    /// The bytes that [`RecordHeader::read`] reads it from.
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

/// The rest of a header's bytes.
#[cfg(not(target_arch = "bpf"))]
struct Fields<'a>(&'a [u8]);

#[cfg(not(target_arch = "bpf"))]
impl Fields<'_> {
    /// The next `N` bytes. `RecordHeader::read` takes exactly `SIZE` in all.
    fn take<const N: usize>(&mut self) -> [u8; N] {
        let (head, rest) = self.0.split_first_chunk().expect("a whole header");
        self.0 = rest;
        *head
    }
}
