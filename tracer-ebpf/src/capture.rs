//! The capture core: takes a socket and a message, and puts a record into the
//! ring buffer.
//!
//! Every socket hook calls it, never from an interrupt. Some kernels may preempt
//! a program and then run another one on the same CPU, but none runs one program
//! twice on a CPU at the same time. So each entry point has its own [`Scratch`].

use aya_ebpf::helpers::generated::bpf_get_smp_processor_id;
use tracer_ebpf::{CIPHERTEXT_HEAD, Counter, flag};

use crate::{
    counters::count,
    kernel::{Kernel, Memory, setting},
    message::{Data, Message},
    record::{RECORDS, describe_sender, wake_up},
    scope::{self, WatchedProcess},
    scratch::Scratch,
    sock, tls,
};

/// A program that captures.
#[derive(Clone, Copy)]
pub(crate) struct EntryPoint {
    /// One of [`tracer_ebpf::hook`].
    pub(crate) hook: u8,
    /// Index of its scratch among those of a CPU; distinct for programs that
    /// are attached together.
    pub(crate) scratch: u32,
}

/// Captures the head of `message`, which `process` sends on `sk`. Does nothing
/// on sockets whose sends stay in this machine.
///
/// Walks at most `IOVECS` buffers, each of which costs a read.
#[inline(always)]
pub(crate) fn capture<const IOVECS: u32>(
    entry: EntryPoint,
    process: WatchedProcess,
    sk: Kernel,
    message: Message<impl Data, impl Memory>,
) {
    // SAFETY: has no preconditions.
    let cpu = unsafe { bpf_get_smp_processor_id() };
    let slot = entry.scratch * setting!(cpus) + cpu;
    let (Some(mut scratch), Some(policy)) = (Scratch::get(slot), scope::policy(process.slot))
    else {
        return count(Counter::Internal);
    };
    let ahead = scratch.bytes_ahead(message.first);
    let header = scratch.header();
    if sock::describe(header, sk, &message, ahead.known()).is_none() {
        return;
    }
    describe_sender(header, entry.hook, process);
    header.tls_key = tls::current_connection();
    let head = if header.tls_key == 0 {
        policy.head_bytes
    } else {
        policy.head_bytes.min(CIPHERTEXT_HEAD)
    };
    scratch.begin(head);
    message.data.gather::<IOVECS>(&mut scratch);
    submit(&mut scratch);
    scratch.finish(ahead);
}

/// Copies the record, without the unused rest of the scratch, into the ring
/// buffer.
#[inline(always)]
fn submit(scratch: &mut Scratch) {
    let len = scratch.len();
    if scratch.is_unreadable() {
        count(Counter::Unreadable);
    }
    if len == 0 && scratch.header().flags & flag::LEN_UNKNOWN == 0 {
        return;
    }
    scratch.header().len = len.min(u64::from(u32::MAX)) as u32;
    scratch.header().captured = scratch.captured() as u32;
    match RECORDS.output::<[u8]>(scratch.record(), wake_up()) {
        Ok(()) => count(Counter::Delivered),
        Err(_) => count(Counter::RingFull),
    }
}
