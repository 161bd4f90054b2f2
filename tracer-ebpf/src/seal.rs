//! Captures QUIC packets with probes on the functions with which BoringSSL and NSS encrypt.
//!
//! QUIC implementations do not call `SSL_write`: they encrypt packets themselves. The
//! additional data of the encryption is then the header of the packet, before header
//! protection (RFC 9001 sections 5.3 and 5.4), so it names the connection in the clear. The
//! plaintext can be encrypted in place and is read at the entry.
//!
//! The same functions encrypt TLS records. They are captured where no probe on `SSL_write` sees
//! their plaintext: a program can write through other functions of the library, or its
//! `SSL_write` may not have been found. The additional data of a record is its header (TLS 1.3),
//! or its sequence number, type, version and length (TLS 1.2). Whatever else a program encrypts
//! is not captured.
//!
//! As in [`tls`](crate::tls), records are assembled in the ring buffer.

use aya_ebpf::{macros::uprobe, programs::ProbeContext};
use tracer_ebpf::{Counter, MAX_HEAD, RecordHeader, SealedHeader, hook, net};

use crate::{
    counters::count,
    kernel::{Memory as _, Task, User},
    key::object_key,
    record::{Bounded, RECORDS, describe_plaintext, wake_up},
    scope::{self, WatchedProcess},
    tls,
};

/// Length of the longest short header: a first byte, a connection id of 20 bytes and a packet
/// number of four (RFC 9000 section 17.3).
const MAX_SHORT: u64 = 25;

/// Length of the shortest long header: without ids, token and length (section 17.2).
const MIN_LONG: u64 = 8;

/// The versions whose packets are captured, as they are in memory (RFC 9000, RFC 9369).
const VERSIONS: [u32; 2] =
    [u32::from_ne_bytes([0, 0, 0, 1]), u32::from_ne_bytes([0x6b, 0x33, 0x43, 0xcf])];

/// The type of TLS records with application data, and the length of the additional data of all
/// records: of TLS 1.3 (RFC 8446 section 5.2) and of TLS 1.2 (RFC 5246 section 6.2.3.3), for
/// older ciphers without the length.
const APPLICATION_DATA: u8 = 23;
const TLS13_HEADER: u64 = 5;
const TLS12_HEADER: u64 = 13;
const TLS12_SHORT_HEADER: u64 = 11;

/// Size of a `CRYPTO_IOVEC`.
const IOVEC: u64 = 24;

/// Number of integer arguments in registers.
const REGISTERS: usize = if cfg!(bpf_target_arch = "aarch64") { 8 } else { 6 };

/// A call that encrypts.
#[derive(Clone, Copy)]
struct Call {
    /// Address of the plaintext.
    buffer: u64,
    /// Length of the plaintext.
    len: u64,
    /// Address of the additional data.
    header: u64,
    /// Length of the additional data.
    header_len: u64,
    /// A second piece of plaintext: the type of a record of TLS 1.3.
    extra: Piece,
}

/// A piece of input (`CRYPTO_IVEC`).
#[derive(Clone, Copy)]
#[repr(C)]
struct Piece {
    address: u64,
    len: u64,
}

impl Piece {
    const NONE: Self = Self { address: 0, len: 0 };
}

/// ```text
/// int EVP_AEAD_CTX_seal(const EVP_AEAD_CTX *ctx, uint8_t *out, size_t *out_len,
///     size_t max_out_len, const uint8_t *nonce, size_t nonce_len,
///     const uint8_t *in, size_t in_len, const uint8_t *ad, size_t ad_len)
/// ```
#[uprobe]
fn aead_seal(ctx: ProbeContext) -> u32 {
    seal(&ctx, hook::AEAD_SEAL, |ctx| {
        Some(Call {
            buffer: argument(ctx, 6)?,
            len: argument(ctx, 7)?,
            header: argument(ctx, 8)?,
            header_len: argument(ctx, 9)?,
            extra: Piece::NONE,
        })
    });
    0
}

/// ```text
/// int EVP_AEAD_CTX_seal_scatter(const EVP_AEAD_CTX *ctx, uint8_t *out, uint8_t *out_tag,
///     size_t *out_tag_len, size_t max_out_tag_len, const uint8_t *nonce, size_t nonce_len,
///     const uint8_t *in, size_t in_len, const uint8_t *extra_in, size_t extra_in_len,
///     const uint8_t *ad, size_t ad_len)
/// ```
#[uprobe]
fn aead_seal_scatter(ctx: ProbeContext) -> u32 {
    seal(&ctx, hook::AEAD_SEAL, |ctx| {
        Some(Call {
            buffer: argument(ctx, 7)?,
            len: argument(ctx, 8)?,
            header: argument(ctx, 11)?,
            header_len: argument(ctx, 12)?,
            extra: Piece { address: argument(ctx, 9)?, len: argument(ctx, 10)? },
        })
    });
    0
}

/// ```text
/// int EVP_AEAD_CTX_sealv(const EVP_AEAD_CTX *ctx, const CRYPTO_IOVEC *iovec, size_t num_iovec,
///     uint8_t *out_tag, size_t *out_tag_len, size_t max_out_tag_len,
///     const uint8_t *nonce, size_t nonce_len, const CRYPTO_IVEC *aadvec, size_t num_aadvec)
/// ```
///
/// A `CRYPTO_IOVEC` is an output followed by a `CRYPTO_IVEC`. A QUIC packet has one of each, and a
/// record of TLS 1.3 has two pieces of plaintext.
#[uprobe]
fn aead_sealv(ctx: ProbeContext) -> u32 {
    seal(&ctx, hook::AEAD_SEAL, |ctx| {
        let pieces = argument(ctx, 2)?;
        if argument(ctx, 9)? != 1 || pieces == 0 || pieces > 2 {
            return None;
        }
        let header: Piece = User::new(argument(ctx, 8)?).read()?;
        let inputs = argument(ctx, 1)?;
        let input: Piece = User::new(inputs).value(8)?;
        let extra = match pieces {
            1 => Piece::NONE,
            _ => User::new(inputs).value(IOVEC + 8)?,
        };
        Some(Call {
            buffer: input.address,
            len: input.len,
            header: header.address,
            header_len: header.len,
            extra,
        })
    });
    0
}

/// ```text
/// SECStatus AES_AEAD(AESContext *cx, unsigned char *output, unsigned int *outputLen,
///     unsigned int maxOutputLen, const unsigned char *input, unsigned int inputLen,
///     void *params, unsigned int paramsLen, const unsigned char *aad, unsigned int aadLen)
/// ```
///
/// It decrypts with other contexts. Where the tag is behind the output, it encrypts: the tag of
/// what is decrypted is behind the input, or copied elsewhere if it is decrypted in place. The
/// parameters are a `CK_GCM_MESSAGE_PARAMS`, whose fifth word is the address of the tag.
#[uprobe]
fn nss_aes_aead(ctx: ProbeContext) -> u32 {
    seal(&ctx, hook::NSS_AEAD, |ctx| {
        let call = nss_call(ctx)?;
        if !is_packet(&call, hook::NSS_AEAD) {
            return None;
        }
        let tag: u64 = User::new(argument(ctx, 6)?).value(32)?;
        let output: u64 = argument(ctx, 1)?;
        (tag == output.wrapping_add(call.len)).then_some(call)
    });
    0
}

/// ```text
/// SECStatus ChaCha20Poly1305_Encrypt(const ChaCha20Poly1305Context *ctx,
///     unsigned char *output, unsigned int *outputLen, unsigned int maxOutputLen,
///     const unsigned char *input, unsigned int inputLen,
///     const unsigned char *nonce, unsigned int nonceLen,
///     const unsigned char *ad, unsigned int adLen, unsigned char *tagOut)
/// ```
#[uprobe]
fn nss_chacha20_encrypt(ctx: ProbeContext) -> u32 {
    seal(&ctx, hook::NSS_AEAD, nss_call);
    0
}

/// Returns the arguments that NSS's functions have in common.
#[inline(always)]
fn nss_call(ctx: &ProbeContext) -> Option<Call> {
    Some(Call {
        buffer: argument(ctx, 4)?,
        len: argument(ctx, 5)? & 0xffff_ffff,
        header: argument(ctx, 8)?,
        header_len: argument(ctx, 9)? & 0xffff_ffff,
        extra: Piece::NONE,
    })
}

/// Returns an integer argument. The stack pointer must be that at the entry.
#[inline(always)]
fn argument(ctx: &ProbeContext, index: usize) -> Option<u64> {
    if index < REGISTERS {
        return ctx.arg(index);
    }
    let words = (index - REGISTERS) as u64;
    // SAFETY: the kernel passes valid registers.
    #[cfg(bpf_target_arch = "aarch64")]
    let first = unsafe { (*ctx.regs).sp };
    // Above the return address.
    // SAFETY: as above.
    #[cfg(not(bpf_target_arch = "aarch64"))]
    let first = unsafe { (*ctx.regs).rsp } + 8;
    User::new(first).value(8 * words)
}

/// Captures the packet that a process in scope encrypts.
#[inline(always)]
fn seal(ctx: &ProbeContext, hook: u8, call: impl Fn(&ProbeContext) -> Option<Call>) {
    let Some(process) = scope::watched(Task::current()) else {
        return;
    };
    let Some(call) = call(ctx) else {
        return;
    };
    let is_packet = is_packet(&call, hook);
    // Firefox's records are captured at PR_Write.
    if !is_packet && (hook != hook::AEAD_SEAL || !is_unseen_record(&call)) {
        return;
    }
    let (Some(object), Some(policy)) = (ctx.arg::<u64>(0), scope::policy(process.slot)) else {
        return count(Counter::Internal);
    };
    // The same address in two processes means two objects.
    let key = object_key(object ^ u64::from(process.tgid) << 32);
    if !is_packet {
        let write = tls::Call { key, buffer: call.buffer, len: call.len, written: 0, hook: 0 };
        return tls::submit(hook::TLS_SEAL, process, &write, call.len);
    }
    let head = call.len.min(u64::from(policy.tls_head_bytes)).min(MAX_HEAD as u64);
    if head <= 192 {
        submit::<192>(hook, process, key, &call, head);
    } else if head <= 2048 {
        submit::<2048>(hook, process, key, &call, head);
    } else {
        submit::<MAX_HEAD>(hook, process, key, &call, head);
    }
}

/// Returns true if the additional data begins like the header of a QUIC packet. That of TLS
/// records does not: it begins with a sequence number or with the type 23.
///
/// Firefox clears the fixed bit of some packets (RFC 9287). Its records of TLS 1.2 could then be
/// packets; they have 13 bytes of additional data, and their sequence numbers begin with 0.
#[inline(always)]
fn is_packet(call: &Call, hook: u8) -> bool {
    let Some(first) = User::new(call.header).read::<u8>() else {
        return false;
    };
    let len = call.header_len;
    // A packet has one piece.
    if call.extra.len != 0 {
        return false;
    }
    let is_fixed = first & 0x40 != 0;
    if !is_fixed && (hook != hook::NSS_AEAD || first == 0 && len == 13) {
        return false;
    }
    if first & 0x80 == 0 {
        // A short header. The reserved bits are zero.
        return first & 0x18 == 0 && (2..=MAX_SHORT).contains(&len);
    }
    let version = User::new(call.header).value::<u32>(1).unwrap_or(0);
    first & 0x0c == 0 && len >= MIN_LONG && VERSIONS.contains(&version)
}

/// Returns true for a record with application data that no probe on `SSL_write` sees: the current
/// thread is not within that function.
#[inline(always)]
fn is_unseen_record(call: &Call) -> bool {
    if tls::current_connection() != 0 {
        return false;
    }
    let header = User::new(call.header);
    match call.header_len {
        TLS13_HEADER => {
            let is_record = header.read() == Some([APPLICATION_DATA, 3, 3]);
            let kind = User::new(call.extra.address);
            is_record && call.extra.len == 1 && kind.read() == Some(APPLICATION_DATA)
        }
        TLS12_HEADER | TLS12_SHORT_HEADER => {
            call.extra.len == 0 && header.value(8) == Some([APPLICATION_DATA, 3, 3])
        }
        _ => false,
    }
}

#[repr(C)]
struct Slot<const N: usize> {
    header: RecordHeader,
    sealed: SealedHeader,
    payload: [u8; N],
}

/// Puts a packet into the ring buffer.
#[inline(always)]
fn submit<const N: usize>(hook: u8, process: WatchedProcess, key: u64, call: &Call, head: u64) {
    const START: u64 = SealedHeader::START as u64;

    let Some(mut entry) = RECORDS.reserve::<Slot<N>>(0) else {
        return count(Counter::RingFull);
    };
    let slot = entry.as_mut_ptr();
    // SAFETY: the entry belongs to this program until it is submitted.
    let header = unsafe { &mut (*slot).header };
    describe_plaintext(header, hook, process, key, net::QUIC);
    let len = call.len.min(u64::from(u32::MAX) - SealedHeader::SIZE as u64);
    header.len = len as u32 + SealedHeader::SIZE as u32;

    // SAFETY: as above.
    let sealed = unsafe { &mut (*slot).sealed };
    *sealed = SealedHeader {
        len: call.header_len.min(u64::from(u16::MAX)) as u16,
        start: [0; SealedHeader::START],
        end: [0; 4],
    };
    if call.header_len > START {
        let end = User::new(call.header.wrapping_add(call.header_len - 4)).read();
        sealed.end = end.unwrap_or_default();
    }
    let want = Bounded::<{ SealedHeader::START }>::new(&mut header.captured, call.header_len);
    let read = want.copy(User::new(call.header), (&raw mut sealed.start).cast());
    let want = Bounded::<N>::new(&mut header.captured, head);
    // SAFETY: as above.
    let payload = unsafe { (&raw mut (*slot).payload).cast() };
    if read && want.copy(User::new(call.buffer), payload) {
        header.captured += SealedHeader::SIZE as u32;
    } else {
        header.captured = SealedHeader::SIZE as u32;
        count(Counter::Unreadable);
    }
    entry.submit(wake_up());
    count(Counter::Delivered);
}
