//! Chooses the instruction of a function at which a uprobe is cheap and sees the arguments.
//!
//! A uprobe replaces an instruction with a breakpoint. When it is hit, the kernel either
//! emulates the instruction (0.5 µs per hit) or single-steps a copy of it, which costs a second
//! trap (10 µs per hit). On x86_64 it emulates `push r64` (since 4.16), relative `jmp`, `jcc`
//! and `call`, and `nop` (since 3.16). The usual multi-byte forms of `nop` are emulated since
//! 6.16, so they are the second choice. `endbr64`, `sub` and `mov`, with which functions begin,
//! are not emulated.
//!
//! So the probe is placed at the first emulated instruction on the straight path from the
//! entry. These conditions ensure that it sees every call exactly once, with the arguments in
//! their original registers:
//!
//! * there is no branch, call or return before the probed instruction (the instruction itself
//!   may be one, because the probe fires before it executes);
//! * no branch in the function targets an instruction after the entry, up to and including the
//!   probed one, so no path reaches it twice or skips it (other functions jump to the entry,
//!   and a cold part that the compiler moved away returns to a point after the prologue);
//! * no instruction before it writes a register that contains an argument;
//! * the change of the stack pointer is known.
//!
//! A return probe has a stricter condition: the kernel takes the return address from the top of
//! the stack, so the stack pointer must be unchanged.
//!
//! On arm64 the probe is always at the entry. The kernel simulates branches, ADR and ADRP
//! (`nop` since 6.13), but functions do not begin with these, and a return probe replaces the
//! link register, which must happen before `paciasp` signs it.
//!
//! Sources: `branch_setup_xol_ops` and `push_setup_xol_ops` in
//! arch/x86/kernel/uprobes.c; `arch_uretprobe_hijack_return_addr` for both
//! machines; arch/arm64/kernel/probes/decode-insn.c.

use std::fmt;

use iced_x86::{
    Code, Decoder, DecoderOptions, FlowControl, Instruction, InstructionInfoFactory, Mnemonic,
    OpAccess, OpKind, Register,
};
use serde::{Deserialize, Serialize};

use super::code::x86;

/// Maximum number of instructions considered. The first call or branch is usually earlier.
const MAX_INSTRUCTIONS: usize = 16;

/// Registers of the integer arguments, in order (System V ABI for x86_64, 3.2.3).
const ARGUMENTS: [Register; 6] =
    [Register::RDI, Register::RSI, Register::RDX, Register::RCX, Register::R8, Register::R9];

/// The cost of a hit, which depends on the probed instruction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Cost {
    /// The kernel emulates the instruction: about 0.5 µs.
    Emulated,
    /// The kernel emulates the instruction since 6.16, and single-steps it before.
    Nop,
    /// The kernel single-steps the instruction: about 10 µs on x86_64.
    Stepped,
}

impl fmt::Display for Cost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Emulated => "emulated",
            Self::Nop => "emulated since Linux 6.16",
            Self::Stepped => "single-stepped",
        })
    }
}

/// The position of a uprobe, relative to the entry of the function.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Probe {
    /// Distance from the entry in bytes.
    pub delta: u64,
    /// Number of bytes by which the stack pointer is lower than at the entry. The return
    /// address is at `sp + sp_adjust`, and the first stack argument is 8 bytes above it
    /// (x86_64).
    pub sp_adjust: u64,
    /// Cost of a hit.
    pub cost: Cost,
    /// The probed instruction; empty if it was not decoded (arm64).
    pub instruction: String,
}

impl Probe {
    /// Creates a probe at the entry of a function that is not decoded.
    pub(super) fn entry() -> Self {
        Self { delta: 0, sp_adjust: 0, cost: Cost::Stepped, instruction: String::new() }
    }
}

/// The positions of the probes of a function.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Probes {
    /// The uprobe, which reads the arguments.
    pub arguments: Probe,
    /// The uretprobe, which reads the return value.
    pub returns: Probe,
}

impl Probes {
    /// Creates probes at the entry.
    pub(crate) fn entry() -> Self {
        Self { arguments: Probe::entry(), returns: Probe::entry() }
    }

    /// Returns the higher cost of the two.
    pub(super) fn dearest(&self) -> Cost {
        self.arguments.cost.max(self.returns.cost)
    }
}

/// Chooses the probes of an x86_64 function. `code` is the whole function, and `arguments` the
/// number of arguments to read (at most 6).
pub(super) fn choose(code: &[u8], arguments: usize) -> Probes {
    let path = straight_path(code, arguments);
    let Some(entry) = path.first() else {
        return Probes::entry();
    };
    // `min_by_key` returns the first of several minima, which is the nearest to the entry. If
    // all are single-stepped, this is the entry.
    let cheapest = |probe: Option<&Probe>| probe.unwrap_or(entry).clone();
    Probes {
        arguments: cheapest(path.iter().min_by_key(|probe| probe.cost)),
        returns: cheapest(
            path.iter().filter(|probe| probe.sp_adjust == 0).min_by_key(|probe| probe.cost),
        ),
    }
}

/// Returns the positions on the straight path from the entry at which a probe sees the
/// arguments. The first is the entry itself, if it can be decoded.
fn straight_path(code: &[u8], arguments: usize) -> Vec<Probe> {
    let held = ARGUMENTS.get(..arguments).unwrap_or(&ARGUMENTS);
    let first_target = first_branch_target(code);
    let mut path = Vec::new();
    let mut factory = InstructionInfoFactory::new();
    let mut sp_adjust = 0u64;
    // Addresses are relative to the entry.
    let mut decoder = Decoder::with_ip(64, code, 0, DecoderOptions::NONE);
    while decoder.can_decode() && path.len() < MAX_INSTRUCTIONS {
        let instruction = decoder.decode();
        // From the first branch target on, more than the calls pass.
        if instruction.is_invalid() || first_target.is_some_and(|at| instruction.ip() >= at) {
            break;
        }
        path.push(Probe {
            delta: instruction.ip(),
            sp_adjust,
            cost: cost(&instruction, code),
            instruction: x86::describe(&instruction),
        });
        if instruction.flow_control() != FlowControl::Next {
            break;
        }
        let overwrites = factory.info(&instruction).used_registers().iter().any(|used| {
            held.contains(&used.register().full_register())
                && !matches!(used.access(), OpAccess::Read | OpAccess::CondRead)
        });
        if overwrites {
            break;
        }
        // A negative sum is above the function's own frame, which compilers do not generate.
        match stack_growth(&instruction).and_then(|growth| sp_adjust.checked_add_signed(growth)) {
            Some(sum) => sp_adjust = sum,
            None => break,
        }
    }
    path
}

/// Returns the lowest address after the entry that a branch in the function targets.
fn first_branch_target(code: &[u8]) -> Option<u64> {
    Decoder::with_ip(64, code, 0, DecoderOptions::NONE)
        .into_iter()
        .filter(|instruction| {
            let flow = instruction.flow_control();
            matches!(flow, FlowControl::ConditionalBranch | FlowControl::UnconditionalBranch)
        })
        .map(|branch| branch.near_branch_target())
        .filter(|target| *target > 0)
        .min()
}

/// Returns the cost of a probe at `instruction`.
fn cost(instruction: &Instruction, code: &[u8]) -> Cost {
    let start = usize::try_from(instruction.ip()).unwrap_or(usize::MAX);
    let bytes = code.get(start..).unwrap_or_default();
    let bytes = bytes.get(..instruction.len()).unwrap_or_default();
    match bytes {
        // push r64, push r8–r15
        [0x50..=0x57] | [0x41, 0x50..=0x57] => Cost::Emulated,
        // jcc rel8, jcc rel32, jmp rel8, jmp rel32, call rel32, nop. With a prefix they are
        // other instructions, or the kernel does not emulate them.
        [0x70..=0x7f, _] | [0x0f, 0x80..=0x8f, ..] => Cost::Emulated,
        [0xeb, _] | [0xe9 | 0xe8, _, _, _, _] | [0x90] => Cost::Emulated,
        // The forms in the kernel's x86_nops, up to 8 bytes.
        [0x66, 0x90]
        | [0x0f, 0x1f, 0x00]
        | [0x0f, 0x1f, 0x40, 0]
        | [0x0f, 0x1f, 0x44, 0, 0]
        | [0x66, 0x0f, 0x1f, 0x44, 0, 0]
        | [0x0f, 0x1f, 0x80, 0, 0, 0, 0]
        | [0x0f, 0x1f, 0x84, 0, 0, 0, 0, 0] => Cost::Nop,
        _ => Cost::Stepped,
    }
}

/// Returns the number of bytes by which `instruction` lowers the stack pointer; `None` if it
/// is unknown.
fn stack_growth(instruction: &Instruction) -> Option<i64> {
    let on_rsp = instruction.op_count() > 0
        && instruction.op0_kind() == OpKind::Register
        && instruction.op0_register().full_register() == Register::RSP;
    match instruction.code() {
        Code::Sub_rm64_imm8 | Code::Sub_rm64_imm32 if on_rsp => {
            Some(instruction.immediate64().cast_signed())
        }
        Code::Lea_r64_m
            if on_rsp
                && instruction.memory_base() == Register::RSP
                && instruction.memory_index() == Register::None =>
        {
            instruction.memory_displacement64().cast_signed().checked_neg()
        }
        _ => match instruction.mnemonic() {
            Mnemonic::Push | Mnemonic::Pop => {
                Some(-i64::from(instruction.stack_pointer_increment()))
            }
            // `cmp` and `test` only read it. Any other instruction with it as the first
            // operand writes it.
            Mnemonic::Cmp | Mnemonic::Test => Some(0),
            _ if on_rsp => None,
            _ if instruction.stack_pointer_increment() != 0 => None,
            _ => Some(0),
        },
    }
}

pub(super) mod golang;
#[cfg(test)]
mod tests;
