//! Where in a function a uprobe is cheap and still sees the arguments.
//!
//! A uprobe replaces an instruction with a breakpoint. Behind the breakpoint
//! the kernel either emulates the instruction (0.5 µs a hit) or single-steps
//! a copy of it, which costs a second trap (10 µs a hit). On x86_64 it
//! emulates `push r64` (since 4.16), `jmp`, `jcc` and `call` to a relative
//! target, and `nop` (since 3.16); the usual multi-byte forms of `nop` since
//! 6.16, so those only come second. It does not emulate `endbr64`, `sub` or
//! `mov`, which is what functions begin with.
//!
//! So the probe goes to the first emulated instruction on the straight path
//! from the entry. There it sees every call once, with the arguments where the
//! caller put them, since each of these is checked:
//!
//! * no branch, call or return comes before the probed instruction (it may be
//!   one itself: the probe fires before it is executed);
//! * no branch of the function goes to an instruction behind the entry up to
//!   and including the probed one, so nothing passes it twice or skips it
//!   (other functions enter a function at its entry; its own cold part, where
//!   the compiler moved one away, comes back behind the prologue);
//! * no instruction before it writes a register that holds an argument;
//! * the stack pointer has moved by a known number of bytes.
//!
//! A return probe has narrower terms: the kernel takes the return address from
//! the top of the stack, so the stack pointer must not have moved at all.
//!
//! On arm64 the entry is probed. The kernel simulates branches, ADR and ADRP
//! (`nop` since 6.13), none of which functions begin with, and a return probe
//! changes the link register, which has to happen before `paciasp` signs it.
//!
//! Sources: `branch_setup_xol_ops` and `push_setup_xol_ops` in
//! arch/x86/kernel/uprobes.c; `arch_uretprobe_hijack_return_addr` for both
//! machines; arch/arm64/kernel/probes/decode-insn.c.

use iced_x86::{
    Code, Decoder, DecoderOptions, FlowControl, Instruction, InstructionInfoFactory, Mnemonic,
    OpAccess, OpKind, Register,
};
use serde::{Deserialize, Serialize};

use super::code::x86;

/// How many instructions from the entry are considered. What is not found so
/// near is not found: the first call or branch comes before.
const MAX_INSTRUCTIONS: usize = 16;

/// The integer arguments in the order of the System V ABI for x86_64, 3.2.3.
const ARGUMENTS: [Register; 6] =
    [Register::RDI, Register::RSI, Register::RDX, Register::RCX, Register::R8, Register::R9];

/// What a hit costs, as far as the instruction decides it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Cost {
    /// The kernel emulates the instruction: about 0.5 µs.
    Emulated,
    /// Kernels since 6.16 emulate it, older ones single-step it.
    Nop,
    /// The kernel single-steps it: about 10 µs on x86_64.
    Stepped,
}

/// A place for a uprobe, relative to the function's entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Probe {
    /// Bytes behind the function's entry.
    pub delta: u64,
    /// How many bytes lower the stack pointer is there than at the entry: the
    /// return address is at `sp + sp_adjust`, the first stack argument 8
    /// bytes above it (x86_64).
    pub sp_adjust: u64,
    /// What a hit costs.
    pub cost: Cost,
    /// The instruction there; empty where it was not decoded (arm64).
    pub instruction: String,
}

impl Probe {
    /// A probe at the entry, of a function that is not decoded.
    pub(super) fn entry() -> Self {
        Self { delta: 0, sp_adjust: 0, cost: Cost::Stepped, instruction: String::new() }
    }
}

/// Where to probe a function.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Probes {
    /// For the arguments.
    pub arguments: Probe,
    /// For the return value: a place where a uretprobe may stand.
    pub returns: Probe,
}

impl Probes {
    /// Both at the entry.
    pub(super) fn entry() -> Self {
        Self { arguments: Probe::entry(), returns: Probe::entry() }
    }
}

/// Chooses where to probe the x86_64 function whose whole `code` is given,
/// and whose first `arguments` (at most 6) arguments are to be read.
pub(super) fn choose(code: &[u8], arguments: usize) -> Probes {
    let path = straight_path(code, arguments);
    let Some(entry) = path.first() else {
        return Probes::entry();
    };
    // `min_by_key` takes the first of equals, so the nearest to the entry; of
    // places that are all single-stepped, that is the entry.
    let cheapest = |probe: Option<&Probe>| probe.unwrap_or(entry).clone();
    Probes {
        arguments: cheapest(path.iter().min_by_key(|probe| probe.cost)),
        returns: cheapest(
            path.iter().filter(|probe| probe.sp_adjust == 0).min_by_key(|probe| probe.cost),
        ),
    }
}

/// The places on the straight path from the entry at which a probe sees the
/// arguments. The entry itself always is one, if it can be decoded.
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
        // From the first place on that a branch goes to, it is passed by more
        // than the calls.
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
        // A negative sum is above its own frame: no compiler's code.
        match stack_growth(&instruction).and_then(|growth| sp_adjust.checked_add_signed(growth)) {
            Some(sum) => sp_adjust = sum,
            None => break,
        }
    }
    path
}

/// The lowest address behind the entry that a branch of the function goes to.
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

/// How the kernel gets past the breakpoint on `instruction`.
fn cost(instruction: &Instruction, code: &[u8]) -> Cost {
    let start = usize::try_from(instruction.ip()).unwrap_or(usize::MAX);
    let bytes = code.get(start..).unwrap_or_default();
    let bytes = bytes.get(..instruction.len()).unwrap_or_default();
    match bytes {
        // push r64, push r8–r15
        [0x50..=0x57] | [0x41, 0x50..=0x57] => Cost::Emulated,
        // jcc rel8, jcc rel32, jmp rel8, jmp rel32, call rel32, nop. A prefix
        // makes them something else, or refused: none here has one.
        [0x70..=0x7f, _] | [0x0f, 0x80..=0x8f, ..] => Cost::Emulated,
        [0xeb, _] | [0xe9 | 0xe8, _, _, _, _] | [0x90] => Cost::Emulated,
        // The forms that the kernel itself uses (x86_nops), up to 8 bytes.
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

/// By how many bytes `instruction` lowers the stack pointer; `None` where that
/// cannot be told.
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
            // `cmp` and `test` only read it; whatever else names it first
            // writes it.
            Mnemonic::Cmp | Mnemonic::Test => Some(0),
            _ if on_rsp => None,
            _ if instruction.stack_pointer_increment() != 0 => None,
            _ => Some(0),
        },
    }
}

#[cfg(test)]
mod tests;
