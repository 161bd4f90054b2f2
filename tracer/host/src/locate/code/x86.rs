//! A decoder for x86_64 code.

use iced_x86::{Code, Decoder, DecoderOptions, FlowControl, Mnemonic, OpKind, Register};

use super::{End, MAX_FUNCTION, Reference, Walk};
use crate::locate::source::Fields;

/// The alignment of functions in code that is optimized for speed.
pub(in crate::locate) const FUNCTION_ALIGNMENT: u64 = 16;

/// `int3`, the padding between functions.
const INT3: u8 = 0xcc;
/// `endbr64`
const ENDBR64: &[u8] = &[0xf3, 0x0f, 0x1e, 0xfa];
/// `push rbp; mov rbp, rsp`, in its two encodings.
const FRAMES: [&[u8]; 2] = [&[0x55, 0x48, 0x89, 0xe5], &[0x55, 0x48, 0x8b, 0xec]];

/// Finds every `lea r64, [rip+disp32]` (`48|4c 8d /r`, modrm & c7 = 05) of one of `targets`.
/// Searching for the opcode is about twenty times as fast as decoding. Callers decode the
/// function that contains a match.
pub(super) fn references(
    code: &[u8],
    address: u64,
    targets: &[u64],
    mut found: impl FnMut(Reference),
) {
    for opcode in memchr::memchr_iter(0x8d, code) {
        let Some(rex_at) = opcode.checked_sub(1) else {
            continue;
        };
        let (Some(0x48 | 0x4c), Some(modrm)) = (code.get(rex_at), code.get(opcode + 1)) else {
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
        if targets.contains(&target) {
            found(Reference { at: address.wrapping_add(rex_at as u64), target });
        }
    }
}

/// Finds every `mov ecx, imm32` (`b9`) of one of `targets`: the fourth argument, which is the
/// file name in `ERR_put_error`.
pub(super) fn absolute_references(
    code: &[u8],
    address: u64,
    targets: &[u64],
    mut found: impl FnMut(Reference),
) {
    for target in targets {
        let Ok(low) = u32::try_from(*target) else {
            continue;
        };
        let mov = [&[0xb9][..], &low.to_le_bytes()].concat();
        for at in memchr::memmem::find_iter(code, &mov) {
            found(Reference { at: address.wrapping_add(at as u64), target: *target });
        }
    }
}

/// Finds the aligned targets of `call rel32` (`e8`).
///
/// `jmp rel32` is ignored, because jumps also target the middle of functions.
pub(super) fn calls(code: &[u8], address: u64, mut found: impl FnMut(u64)) {
    for opcode in memchr::memchr_iter(0xe8, code) {
        let Some(displacement) = code.i32(opcode + 1) else {
            continue;
        };
        let next = address.wrapping_add(opcode as u64 + 5);
        let target = next.wrapping_add_signed(i64::from(displacement));
        if target % FUNCTION_ALIGNMENT == 0 {
            found(target);
        }
    }
}

/// Reports whether `code` begins like a function with a frame pointer.
pub(in crate::locate) fn begins_with_frame(code: &[u8]) -> bool {
    let code = code.strip_prefix(ENDBR64).unwrap_or(code);
    FRAMES.iter().any(|frame| code.starts_with(frame))
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
    // The highest target of a branch so far. A `ret` before it is not the end of the function.
    let mut reach = start;
    let mut decoder = Decoder::with_ip(64, code, start, DecoderOptions::NONE);
    while decoder.can_decode() {
        let instruction = decoder.decode();
        if instruction.is_invalid() {
            return None;
        }
        walk.end = instruction.next_ip();
        record(&instruction, &mut walk);
        let flow = instruction.flow_control();
        let target = match flow {
            FlowControl::ConditionalBranch | FlowControl::UnconditionalBranch => {
                instruction.near_branch_target()
            }
            _ => start,
        };
        if target.saturating_sub(start) < MAX_FUNCTION {
            reach = reach.max(target);
        }
        let last = match flow {
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
                last && (walk.end > reach || is_boundary(code, start, walk.end, end))
            }
        };
        if ends {
            return Some(walk);
        }
    }
    None
}

/// Records the constants and references of an instruction.
fn record(instruction: &iced_x86::Instruction, walk: &mut Walk) {
    match instruction.code() {
        Code::Mov_r32_imm32 => match instruction.op0_register() {
            Register::EDX => {
                walk.reasons.insert(instruction.immediate32());
            }
            Register::ECX => {
                walk.references.insert(instruction.ip());
            }
            Register::R8D => walk.last_line = walk.last_line.max(instruction.immediate32()),
            _ => {}
        },
        Code::Lea_r64_m if instruction.is_ip_rel_memory_operand() => {
            walk.references.insert(instruction.ip());
        }
        _ => {}
    }
}

/// Reports whether a function starts at `address`, or after padding to the next aligned
/// address.
fn is_boundary(code: &[u8], start: u64, address: u64, end: End<'_>) -> bool {
    let Some(aligned) = address.checked_next_multiple_of(FUNCTION_ALIGNMENT) else {
        return true;
    };
    if end.is_start(aligned) {
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

/// Formats an instruction so that a reader can find it in a disassembly: `push rbp`, `js`.
pub(in crate::locate) fn describe(instruction: &iced_x86::Instruction) -> String {
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
    use super::*;

    fn end_of(code: &[u8]) -> Option<u64> {
        walk(code, 0x1000, End::Unknown(&[])).map(|walk| walk.end - 0x1000)
    }

    #[test]
    fn references_finds_lea_relative_to_rip() {
        let found = |code: &[u8]| {
            let mut all = Vec::new();
            references(code, 0x1000, &[0x1010], |r| all.push(r.at));
            all
        };
        assert_eq!(found(&[0x90, 0x48, 0x8d, 0x0d, 8, 0, 0, 0]), [0x1001]); // lea rcx
        assert_eq!(found(&[0x4c, 0x8d, 0x05, 9, 0, 0, 0]), [0x1000]); // lea r8
        assert_eq!(found(&[0x8d, 0x0d, 9, 0, 0, 0]), [0u64; 0]); // lea ecx
        assert_eq!(found(&[0x48, 0x8d, 0x4d, 9, 0, 0, 0]), [0u64; 0]); // lea rcx, [rbp+9]
        assert_eq!(found(&[0x48, 0x8b, 0x0d, 9, 0, 0, 0]), [0u64; 0]); // mov rcx, [rip+9]
        assert_eq!(found(&[0x48, 0x8d, 0x0d, 9, 0, 0]), [0u64; 0]);
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
    fn walk_collects_constants_of_the_third_and_fifth_argument() {
        let code = [
            &[0xba, 226, 0, 0, 0][..],       // mov edx, 226
            &[0x41, 0xb8, 0xc1, 3, 0, 0],    // mov r8d, 961
            &[0xb9, 7, 0, 0, 0],             // mov ecx, 7
            &[0x41, 0xba, 8, 0, 0, 0],       // mov r10d, 8
            &[0x48, 0x8d, 0x0d, 0, 0, 0, 0], // lea rcx, [rip]
            &[0xc3],
        ]
        .concat();
        let walk = walk(&code, 0x1000, End::Unknown(&[])).unwrap();
        assert_eq!(walk.reasons.into_iter().collect::<Vec<_>>(), [226]);
        assert_eq!(walk.last_line, 961);
        // The lea, and the mov to ecx, which is an address in a program loaded at fixed ones.
        assert_eq!(walk.references.into_iter().collect::<Vec<_>>(), [0x100b, 0x1016]);
    }
}
