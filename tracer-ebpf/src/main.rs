//! tracer's programs in the kernel.
//!
//! Thin entry points (in [`sends`], [`sys_enter`], [`tls`] and [`process`]) over
//! one capture core: [`scope`] decides whether the current process is watched,
//! [`kernel`] walks from a file descriptor to its socket, [`sock`] describes
//! the socket, [`message`] gathers the bytes, [`capture`] fills a record and
//! puts it into the ring buffer. What is out of scope costs a look-up or two and
//! nothing else.
#![cfg_attr(target_arch = "bpf", no_std, no_main)]

#[cfg(target_arch = "bpf")]
mod capture;
#[cfg(target_arch = "bpf")]
mod kernel;
#[cfg(target_arch = "bpf")]
mod message;
#[cfg(target_arch = "bpf")]
mod process;
#[cfg(target_arch = "bpf")]
mod scope;
#[cfg(target_arch = "bpf")]
mod sends;
#[cfg(target_arch = "bpf")]
mod sock;
#[cfg(target_arch = "bpf")]
mod sys_enter;
#[cfg(target_arch = "bpf")]
mod tls;

/// The kernel runs GPL-compatible programs only with most of its helpers.
#[cfg(target_arch = "bpf")]
#[unsafe(no_mangle)]
#[unsafe(link_section = "license")]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

#[cfg(target_arch = "bpf")]
#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    // The verifier refuses programs that could reach this.
    loop {}
}

/// Built for the machine itself (by `cargo test --workspace`) it is nothing.
#[cfg(not(target_arch = "bpf"))]
fn main() {}
