//! The programs that tracer runs in the kernel.
//!
//! [`sends`], [`sys_enter`], [`tls`], [`golang`], [`seal`] and [`process`] contain thin entry points
//! over one capture core: [`scope`] decides whether the current process is
//! watched, [`kernel`] finds the socket of a file descriptor, [`sock`] describes
//! the socket, [`message`] gathers the bytes, and [`capture`] fills a record and
//! puts it into the ring buffer. A process that is not watched costs one or two
//! lookups.
//!
//! Imports go one way, from the entry points down: [`capture`], [`sock`],
//! [`message`], [`tls`] and [`seal`], then [`scratch`], [`sending`], [`record`], [`scope`],
//! [`key`] and [`counters`], then [`kernel`].
#![cfg_attr(target_arch = "bpf", no_std, no_main)]

#[cfg(target_arch = "bpf")]
mod capture;
#[cfg(target_arch = "bpf")]
mod counters;
#[cfg(target_arch = "bpf")]
mod golang;
#[cfg(target_arch = "bpf")]
mod kernel;
#[cfg(target_arch = "bpf")]
mod key;
#[cfg(target_arch = "bpf")]
mod message;
#[cfg(target_arch = "bpf")]
mod process;
#[cfg(target_arch = "bpf")]
mod record;
#[cfg(target_arch = "bpf")]
mod scope;
#[cfg(target_arch = "bpf")]
mod scratch;
#[cfg(target_arch = "bpf")]
mod seal;
#[cfg(target_arch = "bpf")]
mod sending;
#[cfg(target_arch = "bpf")]
mod sends;
#[cfg(target_arch = "bpf")]
mod sock;
#[cfg(target_arch = "bpf")]
mod sys_enter;
#[cfg(target_arch = "bpf")]
mod tls;

/// Most helpers are only available to programs with a GPL-compatible license.
#[cfg(target_arch = "bpf")]
#[unsafe(no_mangle)]
#[unsafe(link_section = "license")]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

#[cfg(target_arch = "bpf")]
#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    // The verifier rejects programs that can reach this.
    loop {}
}

/// A placeholder: built for the host (by `cargo test --workspace`), this binary
/// does nothing.
#[cfg(not(target_arch = "bpf"))]
fn main() {}
