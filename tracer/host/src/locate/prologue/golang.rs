//! The check of the stack with which functions of Go begin.
//!
//! ```text
//! x86_64, arguments on the stack          x86_64, in registers (since 1.17)
//! mov rcx, fs:[-8]                        (lea r12, [rsp-n])
//! (lea rax, [rsp-n])                      cmp rsp or r12, [r14+16]
//! cmp rsp or rax, [rcx+16]                jbe grow
//! jbe grow
//!
//! arm64                                   arm64, in registers (since 1.18)
//! ldr x1, [x28, #16]                      ldr x16, [x28, #16]
//! (sub x2, sp, #n) or mov x2, sp          (sub x17, sp, #n)
//! cmp x2, x1                              cmp sp or x17, x16
//! b.ls grow                               b.ls grow
//! ```
//!
//! What grows the stack then jumps to the entry again, so a probe at the entry sees such calls
//! twice. The branch is passed twice as well, but the kernel emulates it, and a program sees by
//! the flags whether it is taken. The arguments are where they were at the entry.
//!
//! Source: `stacksplit` in src/cmd/internal/obj/x86/obj6.go and arm64/obj7.go of Go 1.12 to 1.26.

use super::{Cost, Probe, Probes};
use crate::locate::{Arch, source::Fields as _};

/// A check of the stack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::locate) struct StackCheck {
    /// Distance of the branch from the entry.
    branch: u64,
    /// True for the registers that are used where arguments are in registers.
    pub(in crate::locate) is_new: bool,
}

impl StackCheck {
    /// Returns the probes of the function. Its return is not probed, since Go moves stacks.
    pub(in crate::locate) fn probes(self, arch: Arch) -> Probes {
        let instruction = match arch {
            Arch::X86_64 => "jbe",
            Arch::Arm64 => "b.ls",
        };
        let probe = Probe {
            delta: self.branch,
            sp_adjust: 0,
            cost: Cost::Emulated,
            instruction: instruction.into(),
        };
        Probes { arguments: probe.clone(), returns: probe }
    }
}

/// Returns the check of the stack with which a function begins.
pub(in crate::locate) fn stack_check(arch: Arch, code: &[u8]) -> Option<StackCheck> {
    match arch {
        Arch::X86_64 => x86_64(code),
        Arch::Arm64 => arm64(code),
    }
}

fn x86_64(code: &[u8]) -> Option<StackCheck> {
    // mov rcx, fs:[-8]
    const LOAD: [u8; 9] = [0x64, 0x48, 0x8b, 0x0c, 0x25, 0xf8, 0xff, 0xff, 0xff];
    let (is_new, rest) = match code.strip_prefix(&LOAD) {
        Some(rest) => (false, rest),
        None => (true, code),
    };
    let rest = match (is_new, rest) {
        // lea r12, [rsp-n]; cmp r12, [r14+16]
        (true, [0x4c, 0x8d, 0x64, 0x24, _, 0x4d, 0x3b, 0x66, 0x10, rest @ ..])
        | (true, [0x4c, 0x8d, 0xa4, 0x24, _, _, _, _, 0x4d, 0x3b, 0x66, 0x10, rest @ ..])
        // cmp rsp, [r14+16]
        | (true, [0x49, 0x3b, 0x66, 0x10, rest @ ..])
        // lea rax, [rsp-n]; cmp rax, [rcx+16]
        | (false, [0x48, 0x8d, 0x44, 0x24, _, 0x48, 0x3b, 0x41, 0x10, rest @ ..])
        | (false, [0x48, 0x8d, 0x84, 0x24, _, _, _, _, 0x48, 0x3b, 0x41, 0x10, rest @ ..])
        // cmp rsp, [rcx+16]
        | (false, [0x48, 0x3b, 0x61, 0x10, rest @ ..]) => rest,
        _ => return None,
    };
    let is_branch = matches!(rest, [0x76, _, ..] | [0x0f, 0x86, _, _, _, _, ..]);
    let branch = (code.len() - rest.len()) as u64;
    is_branch.then_some(StackCheck { branch, is_new })
}

fn arm64(code: &[u8]) -> Option<StackCheck> {
    let word = |index: usize| code.u32(4 * index);
    let is_new = match word(0)? {
        0xf940_0b90 => true,  // ldr x16, [x28, #16]
        0xf940_0b81 => false, // ldr x1, [x28, #16]
        _ => return None,
    };
    // cmp sp, x16
    if is_new && word(1)? == 0xeb30_63ff {
        return is_branch(word(2)?).then_some(StackCheck { branch: 8, is_new });
    }
    // The register that gets the address: x17 or x2.
    let (scratch, compare) = if is_new { (17, 0xeb10_023f) } else { (2, 0xeb01_005f) };
    // sub xN, sp, #n (shifted by 12 or not); mov xN, sp
    let second = word(1)?;
    let is_address =
        second & 0xff80_03ff == 0xd100_03e0 | scratch || second == 0x9100_03e0 | scratch;
    let is_check = is_address && word(2)? == compare && is_branch(word(3)?);
    is_check.then_some(StackCheck { branch: 12, is_new })
}

/// Reports whether an instruction is `b.ls`.
fn is_branch(word: u32) -> bool {
    word & 0xff00_001f == 0x5400_0009
}
