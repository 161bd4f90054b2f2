//! A decoder for x86_64 code.

use iced_x86::{
    Code, Decoder, DecoderOptions, FlowControl, Instruction, InstructionInfoFactory, Mnemonic,
    OpAccess, OpKind, Register,
};

use super::{End, MAX_FUNCTION, Reference, Site, Targets, Walk};
use crate::locate::source::Fields;

/// The alignment of functions in code that is optimized for speed.
pub(in crate::locate) const FUNCTION_ALIGNMENT: u64 = 16;

/// `int3`, the padding between functions.
const INT3: u8 = 0xcc;
/// `endbr64`
const ENDBR64: &[u8] = &[0xf3, 0x0f, 0x1e, 0xfa];
/// `push rbp; mov rbp, rsp`, in its two encodings.
const FRAMES: [&[u8]; 2] = [&[0x55, 0x48, 0x89, 0xe5], &[0x55, 0x48, 0x8b, 0xec]];

/// Returns the index of the argument that a register holds (System V ABI for x86_64, 3.2.3), by
/// the number of the register in instructions.
pub(super) fn argument(register: u8) -> Option<usize> {
    // rdi, rsi, rdx, rcx, r8, r9
    [7, 6, 2, 1, 8, 9].iter().position(|number| *number == register)
}

/// Finds every `lea r64, [rip+disp32]` (`48|4c 8d /r`, modrm & c7 = 05) of one of `targets`.
/// Searching for the opcode is about twenty times as fast as decoding. Callers decode the
/// function that contains a match.
pub(super) fn references(
    code: &[u8],
    address: u64,
    targets: &Targets,
    mut found: impl FnMut(Reference),
) {
    for opcode in memchr::memchr_iter(0x8d, code) {
        let Some(rex_at) = opcode.checked_sub(1) else {
            continue;
        };
        let (Some(rex @ (0x48 | 0x4c)), Some(modrm)) = (code.get(rex_at), code.get(opcode + 1))
        else {
            continue;
        };
        if modrm & 0xc7 != 0x05 {
            continue;
        }
        let Some(displacement) = code.i32(opcode + 2) else {
            continue;
        };
        let next = address.wrapping_add(opcode as u64 + 6);
        let target = next.wrapping_add_signed(i64::from(displacement));
        if targets.contains(target) {
            let at = address.wrapping_add(rex_at as u64);
            let argument = argument((modrm >> 3) & 7 | (rex & 4) << 1);
            found(Reference { at, target, argument });
        }
    }
}

/// Finds every `mov r32, imm32` (`b8+r`, with `41` for the upper registers) of one of `targets`.
pub(super) fn absolute_references(
    code: &[u8],
    address: u64,
    targets: &Targets,
    mut found: impl FnMut(Reference),
) {
    for target in targets.single() {
        let Ok(low) = u32::try_from(target) else {
            continue;
        };
        for immediate in memchr::memmem::find_iter(code, &low.to_le_bytes()) {
            let opcode = immediate.checked_sub(1);
            let Some((opcode, byte @ 0xb8..=0xbf)) =
                opcode.and_then(|at| Some((at, *code.get(at)?)))
            else {
                continue;
            };
            let rex = opcode.checked_sub(1).filter(|at| code.get(*at) == Some(&0x41));
            // The prefix can also be the end of another instruction.
            let at = |at: usize| address.wrapping_add(at as u64);
            if let Some(rex) = rex {
                found(Reference { at: at(rex), target, argument: argument(byte & 7 | 8) });
            }
            found(Reference { at: at(opcode), target, argument: argument(byte & 7) });
        }
    }
}

/// Finds the targets of `call rel32` (`e8`).
///
/// `jmp rel32` is ignored, because jumps also target the middle of functions.
pub(super) fn calls(code: &[u8], address: u64, mut found: impl FnMut(u64)) {
    for opcode in memchr::memchr_iter(0xe8, code) {
        let Some(displacement) = code.i32(opcode + 1) else {
            continue;
        };
        let next = address.wrapping_add(opcode as u64 + 5);
        found(next.wrapping_add_signed(i64::from(displacement)));
    }
}

/// Finds the calls of `target`, and the jumps to it.
pub(super) fn calls_of(code: &[u8], address: u64, target: u64, mut found: impl FnMut(u64)) {
    for opcode in memchr::memchr2_iter(0xe8, 0xe9, code) {
        let next = address.wrapping_add(opcode as u64 + 5);
        let to = code.i32(opcode + 1).map(|by| next.wrapping_add_signed(i64::from(by)));
        if to == Some(target) {
            found(address.wrapping_add(opcode as u64));
        }
    }
}

/// Reports whether control cannot pass from the end of `before` to what follows: it ends with a
/// return, an unconditional jump or padding.
fn ends_with_stop(before: &[u8]) -> bool {
    is_after_padding(before)
        || matches!(
            before,
            [.., 0xc3 | 0xf4]
                | [.., 0x0f, 0x0b]
                | [.., 0xff, 0xe0..=0xe7]
                | [.., 0xeb, _]
                | [.., 0xe9, _, _, _, _]
        )
}

/// Reports whether `before` ends with `int3`, `nop` or one of its multi-byte forms.
fn is_after_padding(before: &[u8]) -> bool {
    matches!(
        before,
        [.., INT3 | 0x90]
            | [.., 0x0f, 0x1f, 0x00]
            | [.., 0x0f, 0x1f, 0x40, 0x00]
            | [.., 0x0f, 0x1f, 0x44, 0x00, 0x00]
            | [.., 0x0f, 0x1f, 0x80, 0, 0, 0, 0]
            | [.., 0x0f, 0x1f, 0x84, 0, 0, 0, 0, 0]
    )
}

/// Reports whether `code` saves registers or makes room on the stack, as functions do that call
/// others.
fn begins_with_prologue(code: &[u8]) -> bool {
    let code = code.strip_prefix(ENDBR64).unwrap_or(code);
    matches!(code, [0x53 | 0x55, ..] | [0x41, 0x54..=0x57, ..] | [0x48, 0x83 | 0x81, 0xec, ..])
}

/// Reports whether `code` begins like a function with a frame pointer.
pub(in crate::locate) fn begins_with_frame(code: &[u8]) -> bool {
    let code = code.strip_prefix(ENDBR64).unwrap_or(code);
    FRAMES.iter().any(|frame| code.starts_with(frame))
}

/// Reports whether a function can begin between `before` and `after`, without alignment.
pub(in crate::locate) fn is_packed_start(before: &[u8], after: &[u8]) -> bool {
    ends_with_stop(before) && begins_with_prologue(after)
}

/// Reports whether a function can begin at `start`, between `before` and `after`: the address is
/// aligned by padding, which cold parts of functions are not.
pub(in crate::locate) fn is_padded_start(before: &[u8], start: u64, after: &[u8]) -> bool {
    start.is_multiple_of(FUNCTION_ALIGNMENT)
        && is_after_padding(before)
        && begins_with_prologue(after)
}

/// Returns the aligned addresses in `code` that follow padding and begin like a function with
/// a frame pointer, the last one first.
pub(in crate::locate) fn padded_starts(
    code: &[u8],
    address: u64,
) -> impl Iterator<Item = u64> + '_ {
    let end = address.saturating_add(code.len() as u64);
    let last = end - end % FUNCTION_ALIGNMENT;
    let steps = (0..).map(move |step| last.checked_sub(step * FUNCTION_ALIGNMENT));
    steps.map_while(move |start| start.filter(|start| *start > address)).filter(move |start| {
        let at = usize::try_from(start - address).unwrap_or(usize::MAX);
        code.get(at - 1) == Some(&INT3) && code.get(at..).is_some_and(begins_with_frame)
    })
}

pub(super) fn walk(code: &[u8], start: u64, end: End<'_>) -> Option<Walk> {
    let mut walk = Walk { end: start, ..Walk::default() };
    let mut registers =
        Registers { constants: Site::default(), pushed: None, info: InstructionInfoFactory::new() };
    // The highest target of a branch so far. A `ret` before it is not the end of the function.
    let mut reach = start;
    // After a jump through a table, whose targets are not known, only a boundary is the end.
    let mut has_table = false;
    let mut added = None;
    let mut decoder = Decoder::with_ip(64, code, start, DecoderOptions::NONE);
    while decoder.can_decode() {
        let instruction = decoder.decode();
        if instruction.is_invalid() {
            return None;
        }
        walk.end = instruction.next_ip();
        let flow = instruction.flow_control();
        let target = match flow {
            FlowControl::ConditionalBranch | FlowControl::UnconditionalBranch => {
                instruction.near_branch_target()
            }
            _ => start,
        };
        registers.record(&instruction, &mut walk);
        if walk.is_excessive() {
            return None;
        }
        if target.saturating_sub(start) < MAX_FUNCTION {
            reach = reach.max(target);
        }
        let is_table = flow == FlowControl::IndirectBranch && is_table_jump(&instruction, added);
        has_table |= is_table;
        added = (instruction.code() == Code::Add_r64_rm64
            || instruction.code() == Code::Add_rm64_r64)
            .then(|| instruction.op0_register());
        let last = match flow {
            _ if is_table => false,
            FlowControl::UnconditionalBranch
            | FlowControl::IndirectBranch
            | FlowControl::Return
            | FlowControl::Interrupt
            | FlowControl::Exception => true,
            // A function can end with a call of one that does not return.
            FlowControl::Call => is_boundary(code, start, walk.end, end),
            _ => false,
        };
        let ends = match end {
            End::Known(end) => walk.end >= end,
            // The target of a tail call is beyond the end, so `reach` alone would continue
            // into the next function.
            End::Unknown(_) => {
                last && (walk.end > reach && !has_table
                    || is_boundary(code, start, walk.end, end)
                    || has_table && is_padded(code, start, walk.end))
            }
        };
        if ends {
            return Some(walk);
        }
    }
    None
}

/// Reports whether a jump is one of a `switch`: through a table of addresses, or to the sum of the
/// address of a table and an offset in it. `added` is the register that the previous instruction
/// added to.
fn is_table_jump(jump: &Instruction, added: Option<Register>) -> bool {
    match jump.op0_kind() {
        OpKind::Register => added == Some(jump.op0_register()),
        _ => jump.memory_index() != Register::None,
    }
}

/// The constants in the argument registers, as far as the instructions in a row put them there.
struct Registers {
    constants: Site,
    /// The constant that the previous instruction pushed.
    pushed: Option<u32>,
    info: InstructionInfoFactory,
}

impl Registers {
    /// Records the constants, references and calls of an instruction in `walk`.
    fn record(&mut self, instruction: &Instruction, walk: &mut Walk) {
        let pushed = self.pushed.take();
        let constant = match instruction.code() {
            Code::Mov_r32_imm32 => {
                walk.references.insert(instruction.ip());
                Some(instruction.immediate32())
            }
            Code::Lea_r64_m if instruction.is_ip_rel_memory_operand() => {
                walk.references.insert(instruction.ip());
                None
            }
            // Code that is optimized for size: push 68; pop rdx.
            Code::Pushq_imm8 | Code::Pushq_imm32 => {
                self.pushed = u32::try_from(instruction.immediate(0)).ok();
                None
            }
            Code::Pop_r64 => pushed,
            Code::Xor_r32_rm32 | Code::Xor_rm32_r32
                if instruction.op1_kind() == OpKind::Register
                    && instruction.op0_register() == instruction.op1_register() =>
            {
                Some(0)
            }
            _ => None,
        };
        self.note_call(instruction, walk);
        if matches!(instruction.code(), Code::Mov_r32_imm32 | Code::Pop_r64 | Code::Xor_r32_rm32)
            || constant.is_some()
        {
            let register = instruction.op0_register().full_register().number();
            if let Some(argument) = u8::try_from(register).ok().and_then(argument) {
                self.constants[argument] = constant;
                walk.constants[argument].extend(constant);
            }
            return;
        }
        for used in self.info.info(instruction).used_registers() {
            if !matches!(used.access(), OpAccess::Read | OpAccess::CondRead)
                && used.register().is_gpr()
                && let Ok(register) = u8::try_from(used.register().full_register().number())
                && let Some(argument) = argument(register)
            {
                self.constants[argument] = None;
            }
        }
    }

    /// Records a call or a jump with its constant arguments.
    fn note_call(&mut self, instruction: &Instruction, walk: &mut Walk) {
        let flow = instruction.flow_control();
        let (call, jump) = (
            matches!(flow, FlowControl::Call | FlowControl::IndirectCall),
            matches!(flow, FlowControl::UnconditionalBranch | FlowControl::IndirectBranch),
        );
        if flow == FlowControl::Call || flow == FlowControl::UnconditionalBranch {
            walk.references.insert(instruction.ip());
        }
        if call || jump {
            if self.constants.iter().any(Option::is_some) {
                walk.sites.insert(self.constants);
            }
            self.constants = Site::default();
        }
    }
}

/// Reports whether a function starts at `address`, or after padding at the next aligned
/// address.
fn is_boundary(code: &[u8], start: u64, address: u64, end: End<'_>) -> bool {
    let Some(aligned) = address.checked_next_multiple_of(FUNCTION_ALIGNMENT) else {
        return true;
    };
    if end.is_start(address) || end.is_start(aligned) && is_padded(code, start, address) {
        return true;
    }
    let offset = |address: u64| usize::try_from(address - start).ok();
    let (Some(from), Some(to)) = (offset(address), offset(aligned)) else {
        return false;
    };
    let (Some(padding), Some(next)) = (code.get(from..to), code.get(to..)) else {
        return false;
    };
    padding.iter().all(|byte| *byte == INT3) && (!padding.is_empty() || begins_with_frame(next))
}

/// Reports whether only padding follows up to the next aligned address, where a function, but
/// after `nop` also a loop, can begin.
fn is_padded(code: &[u8], start: u64, address: u64) -> bool {
    let offset = |address: u64| usize::try_from(address - start).ok();
    let aligned = address.checked_next_multiple_of(FUNCTION_ALIGNMENT).and_then(offset);
    let padding = offset(address).zip(aligned).and_then(|(from, to)| code.get(from..to));
    let is_padding =
        |instruction: Instruction| matches!(instruction.mnemonic(), Mnemonic::Nop | Mnemonic::Int3);
    padding.is_some_and(|padding| {
        !padding.is_empty()
            && Decoder::new(64, padding, DecoderOptions::NONE).into_iter().all(is_padding)
    })
}

/// Formats an instruction so that a reader can find it in a disassembly: `push rbp`, `js`.
pub(in crate::locate) fn describe(instruction: &Instruction) -> String {
    let mnemonic = format!("{:?}", instruction.mnemonic()).to_lowercase();
    match instruction.mnemonic() {
        Mnemonic::Push if instruction.op0_kind() == OpKind::Register => {
            format!("{mnemonic} {:?}", instruction.op0_register()).to_lowercase()
        }
        _ => mnemonic,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn end_of(code: &[u8]) -> Option<u64> {
        walk(code, 0x1000, End::Unknown(&[])).map(|walk| walk.end - 0x1000)
    }

    #[test]
    fn references_finds_lea_relative_to_rip() {
        let found = |code: &[u8]| {
            let mut all = Vec::new();
            let targets = Targets::new(std::iter::once(0x1010..0x1011));
            references(code, 0x1000, &targets, |r| all.push((r.at, r.argument)));
            all
        };
        assert_eq!(found(&[0x90, 0x48, 0x8d, 0x0d, 8, 0, 0, 0]), [(0x1001, Some(3))]); // lea rcx
        assert_eq!(found(&[0x4c, 0x8d, 0x05, 9, 0, 0, 0]), [(0x1000, Some(4))]); // lea r8
        assert_eq!(found(&[0x4c, 0x8d, 0x3d, 9, 0, 0, 0]), [(0x1000, None)]); // lea r15
        assert_eq!(found(&[0x8d, 0x0d, 9, 0, 0, 0]), []); // lea ecx
        assert_eq!(found(&[0x48, 0x8d, 0x4d, 9, 0, 0, 0]), []); // lea rcx, [rbp+9]
        assert_eq!(found(&[0x48, 0x8b, 0x0d, 9, 0, 0, 0]), []); // mov rcx, [rip+9]
        assert_eq!(found(&[0x48, 0x8d, 0x0d, 9, 0, 0]), []);
    }

    #[test]
    fn absolute_references_finds_mov_to_any_register() {
        let found = |code: &[u8]| {
            let mut all = Vec::new();
            let targets = Targets::new(std::iter::once(0x40_1010..0x40_1011));
            absolute_references(code, 0x1000, &targets, |r| all.push((r.at, r.argument)));
            all
        };
        assert_eq!(found(&[0xba, 0x10, 0x10, 0x40, 0]), [(0x1000, Some(2))]); // mov edx
        assert_eq!(
            found(&[0x41, 0xb8, 0x10, 0x10, 0x40, 0]), // mov r8d
            [(0x1000, Some(4)), (0x1001, None)]
        );
        assert_eq!(found(&[0x68, 0x10, 0x10, 0x40, 0]), []); // push
        assert_eq!(found(&[0x10, 0x10, 0x40, 0]), []);
    }

    #[test]
    fn function_continues_after_a_jump_through_a_table() {
        // add rax, rdx; jmp rax; ret; nop; nop up to the next aligned address
        let mut table = vec![0x48, 0x01, 0xd0, 0xff, 0xe0, 0xc3, 0xc3, 0x0f, 0x1f, 0x00];
        table.resize(16, 0x90);
        table.extend([0x55; 16]);
        assert_eq!(end_of(&table), Some(7));
        // pop rax; jmp rax is a call at the end.
        assert_eq!(end_of(&[0x58, 0xff, 0xe0, 0xc3]), Some(3));
        // jmp [table+rax*8]; ret; int3
        let mut absolute = vec![0xff, 0x24, 0xc5, 0, 0, 0x40, 0, 0xc3];
        absolute.resize(16, 0xcc);
        assert_eq!(end_of(&absolute), Some(8));
    }

    #[test]
    fn packed_start_follows_what_does_not_continue() {
        assert!(is_packed_start(&[0x5d, 0xc3], &[0x55, 0x53]));
        assert!(is_packed_start(&[0xe9, 1, 2, 3, 4], &[0x41, 0x57]));
        assert!(is_packed_start(&[0x0f, 0x0b], &[0xf3, 0x0f, 0x1e, 0xfa, 0x48, 0x83, 0xec, 0x18]));
        assert!(!is_packed_start(&[0x5d, 0x90, 0x50], &[0x55, 0x53]));
        assert!(!is_packed_start(&[0x5d, 0xc3], &[0x31, 0xc0]));
        assert!(is_padded_start(&[0x0f, 0x1f, 0x44, 0, 0], 0x1010, &[0x55, 0x53]));
        assert!(!is_padded_start(&[0x0f, 0x1f, 0x44, 0, 0], 0x1018, &[0x55, 0x53]));
        assert!(!is_padded_start(&[0x5d, 0xc3], 0x1010, &[0x55, 0x53]));
    }

    #[test]
    fn function_ends_after_the_last_branch_target() {
        // js +1; ret; ret
        assert_eq!(end_of(&[0x78, 1, 0xc3, 0xc3, 0x90]), Some(4));
        // ret
        assert_eq!(end_of(&[0xc3, 0xc3]), Some(1));
        // jmp +16 (a tail call); int3 up to the next function
        let mut tail_call = vec![0xcc; 16];
        tail_call[..2].copy_from_slice(&[0xeb, 16]);
        tail_call.extend([0xc3; 16]);
        assert_eq!(end_of(&tail_call), Some(2));
        // call (of a function that does not return); int3
        let mut calls = vec![0xcc; 32];
        calls[..5].copy_from_slice(&[0xe8, 0, 0, 0, 0]);
        assert_eq!(end_of(&calls), Some(5));
        // truncated; invalid
        assert_eq!(end_of(&[0x90, 0x90]), None);
        assert_eq!(end_of(&[0x06]), None);
    }

    #[test]
    fn function_ends_at_the_known_start_of_another() {
        // js +0x20; ret; and the next function is a known call target
        let mut code = vec![0x78, 0x20];
        code.extend([0x90; 13]);
        code.extend([0xc3; 50]);
        let walk = walk(&code, 0x1000, End::Unknown(&[0x1010])).unwrap();
        assert_eq!(walk.end, 0x1010);
        assert_eq!(end_of(&code), Some(0x23));
    }

    #[test]
    fn walk_collects_constant_arguments() {
        let code = [
            &[0xba, 226, 0, 0, 0][..],       // mov edx, 226
            &[0x41, 0xb8, 0xc1, 3, 0, 0],    // mov r8d, 961
            &[0xb9, 7, 0, 0, 0],             // mov ecx, 7
            &[0x41, 0xba, 8, 0, 0, 0],       // mov r10d, 8
            &[0x48, 0x8d, 0x0d, 0, 0, 0, 0], // lea rcx, [rip]
            &[0x6a, 0x10, 0x5f],             // push 16; pop rdi
            &[0x31, 0xf6],                   // xor esi, esi
            &[0xe8, 0, 0, 0, 0],             // call
            &[0x6a, 0x44],                   // push 68
            &[0x90, 0x5a],                   // nop; pop rdx
            &[0xff, 0xe0],                   // jmp rax
        ]
        .concat();
        let walk = walk(&code, 0x1000, End::Unknown(&[])).unwrap();
        assert_eq!(walk.constants[2], BTreeSet::from([226]));
        assert_eq!(walk.constants[4], BTreeSet::from([961]));
        // Each mov of a constant, which is an address in a program loaded at fixed ones; the lea
        // and the call.
        assert_eq!(
            walk.references,
            BTreeSet::from([0x1000, 0x1005, 0x100b, 0x1010, 0x1016, 0x1022])
        );
        // The lea overwrites the 7.
        let site = [Some(16), Some(0), Some(226), None, Some(961), None];
        assert_eq!(walk.sites, BTreeSet::from([site]));
    }
}
