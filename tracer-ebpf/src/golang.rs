//! Captures plaintext with probes on the function of Go's `crypto/tls` that writes records.
//!
//! ```text
//! func (c *Conn) writeRecordLocked(typ recordType, data []byte) (int, error)
//! ```
//!
//! Every write passes through it once the handshake is complete, so data that a failed
//! handshake held back is not captured. The bytes count as sent when the function is
//! entered: a return probe would replace the return address on the stack, which Go's runtime
//! moves and unwinds. A connection that breaks in between loses what it was about to send.
//!
//! The probe is on the branch of the check of the stack with which the function begins. If it
//! is taken, the stack grows, and the function begins again.

use aya_ebpf::{macros::uprobe, programs::ProbeContext};
use tracer_ebpf::hook;

use crate::{
    kernel::{Memory as _, Task, User},
    key::object_key,
    scope,
    tls::{Call, submit},
};

/// The type of records with application data (`recordTypeApplicationData`).
const APPLICATION_DATA: u64 = 23;

/// The arguments.
struct Arguments {
    connection: u64,
    kind: u64,
    buffer: u64,
    len: u64,
}

/// With arguments in registers (`ABIInternal`).
#[uprobe]
fn go_write_record(ctx: ProbeContext) -> u32 {
    // SAFETY: the kernel passes valid registers.
    let regs = unsafe { &*ctx.regs };
    #[cfg(bpf_target_arch = "aarch64")]
    let arguments = Arguments {
        connection: regs.regs[0],
        kind: regs.regs[1],
        buffer: regs.regs[2],
        len: regs.regs[3],
    };
    #[cfg(not(bpf_target_arch = "aarch64"))]
    let arguments =
        Arguments { connection: regs.rax, kind: regs.rbx, buffer: regs.rcx, len: regs.rdi };
    write(&ctx, &arguments);
    0
}

/// With arguments on the stack (`ABI0`), above the return address.
#[uprobe]
fn go_write_record_stack(ctx: ProbeContext) -> u32 {
    // SAFETY: the kernel passes valid registers.
    #[cfg(bpf_target_arch = "aarch64")]
    let stack = unsafe { (*ctx.regs).sp };
    // SAFETY: as above.
    #[cfg(not(bpf_target_arch = "aarch64"))]
    let stack = unsafe { (*ctx.regs).rsp };
    let Some([connection, kind, buffer, len]) = User::new(stack).value::<[u64; 4]>(8) else {
        return 0;
    };
    write(&ctx, &Arguments { connection, kind, buffer, len });
    0
}

/// Captures the data, if the process is in scope.
#[inline(always)]
fn write(ctx: &ProbeContext, arguments: &Arguments) {
    let Some(process) = scope::watched(Task::current()) else {
        return;
    };
    // A record type is a byte.
    if arguments.kind & 0xff != APPLICATION_DATA || grows(ctx) {
        return;
    }
    // The same address in two processes means two objects.
    let key = object_key(arguments.connection ^ u64::from(process.tgid) << 32);
    let call = Call { key, buffer: arguments.buffer, len: arguments.len, written: 0, hook: 0 };
    submit(hook::GO_TLS, process, &call, arguments.len);
}

/// Returns true if the branch at the probe is taken: `jbe` or `b.ls`.
#[inline(always)]
fn grows(ctx: &ProbeContext) -> bool {
    // SAFETY: the kernel passes valid registers.
    let regs = unsafe { &*ctx.regs };
    #[cfg(bpf_target_arch = "aarch64")]
    {
        const CARRY: u64 = 1 << 29;
        const ZERO: u64 = 1 << 30;
        regs.pstate & CARRY == 0 || regs.pstate & ZERO != 0
    }
    #[cfg(not(bpf_target_arch = "aarch64"))]
    {
        const CARRY: u64 = 1 << 0;
        const ZERO: u64 = 1 << 6;
        regs.eflags & (CARRY | ZERO) != 0
    }
}
