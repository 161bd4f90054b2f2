//! Follows the arguments of a function to a call, to recognize functions that only pass them on.

use iced_x86::{Code, Decoder, DecoderOptions, FlowControl, InstructionInfoFactory, OpAccess};

use super::{ARGUMENTS, Arch, arm64, x86};
use crate::locate::source::Fields as _;

/// The content of an argument register.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::locate) enum Value {
    /// The argument of the function with this index.
    Argument(usize),
    /// Zero.
    Zero,
    /// Anything else.
    Other,
}

/// The contents of the argument registers.
pub(in crate::locate) type Values = [Value; ARGUMENTS];

/// Returns what the argument registers hold at the first call of a function, or jump, if it is to
/// `target`. Returns `None` if there is a branch before it.
pub(in crate::locate) fn at_call(
    arch: Arch,
    code: &[u8],
    start: u64,
    target: u64,
) -> Option<Values> {
    match arch {
        Arch::X86_64 => at_call_x86(code, start, target),
        Arch::Arm64 => at_call_arm64(code, start, target),
    }
}

/// Returns what the argument registers hold at the entry of a function.
fn at_entry() -> Values {
    std::array::from_fn(Value::Argument)
}

fn at_call_x86(code: &[u8], start: u64, target: u64) -> Option<Values> {
    let mut values = at_entry();
    let mut factory = InstructionInfoFactory::new();
    for instruction in Decoder::with_ip(64, code, start, DecoderOptions::NONE) {
        match instruction.flow_control() {
            FlowControl::Next => {}
            FlowControl::Call | FlowControl::UnconditionalBranch => {
                return (instruction.near_branch_target() == target).then_some(values);
            }
            _ => return None,
        }
        let index = |register: iced_x86::Register| {
            x86::argument(u8::try_from(register.full_register().number()).ok()?)
        };
        let value = match instruction.code() {
            Code::Mov_r64_rm64 | Code::Mov_rm64_r64 if instruction.op1_register().is_gpr() => {
                index(instruction.op1_register()).map_or(Value::Other, |from| values[from])
            }
            Code::Xor_r32_rm32 | Code::Xor_rm32_r32
                if instruction.op0_register() == instruction.op1_register() =>
            {
                Value::Zero
            }
            _ => Value::Other,
        };
        for used in factory.info(&instruction).used_registers() {
            if !matches!(used.access(), OpAccess::Read | OpAccess::CondRead)
                && used.register().is_gpr()
                && let Some(to) = index(used.register())
            {
                values[to] = value;
            }
        }
    }
    None
}

fn at_call_arm64(code: &[u8], start: u64, target: u64) -> Option<Values> {
    let mut values = at_entry();
    for at in (0..code.len()).step_by(4) {
        let word = code.u32(at)?;
        if let Some(to) = arm64::branch(word, start.wrapping_add(at as u64)) {
            return (to == Some(target)).then_some(values);
        }
        let (to, from) = ((word & 31) as usize, (word >> 16 & 31) as usize);
        let value = match word & !31 {
            // mov xd, xzr; mov wd, wzr; mov xd, #0; mov wd, #0
            0xaa1f_03e0 | 0x2a1f_03e0 | 0xd280_0000 | 0x5280_0000 => Value::Zero,
            // mov xd, xm
            _ if word & 0xffe0_ffe0 == 0xaa00_03e0 => {
                values.get(from).copied().unwrap_or(Value::Other)
            }
            // A store writes no register.
            _ if word & 0x0a00_0000 == 0x0800_0000 && word & 0x0040_0000 == 0 => continue,
            _ => Value::Other,
        };
        if let Some(slot) = values.get_mut(to) {
            *slot = value;
        }
        // The second register of a load of two.
        if word & 0x3a40_0000 == 0x2840_0000
            && let Some(slot) = values.get_mut((word >> 10 & 31) as usize)
        {
            *slot = Value::Other;
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    use Value::{Argument, Other, Zero};

    #[test]
    fn follows_arguments_of_x86_64() {
        // push rbx; mov r8, rcx; xor ebx, ebx; xor ecx, ecx; call +0x20
        let code =
            [0x53, 0x49, 0x89, 0xc8, 0x31, 0xdb, 0x31, 0xc9, 0xe8, 0x20, 0, 0, 0, 0x85, 0xc0];
        let values = at_call(Arch::X86_64, &code, 0x1000, 0x102d).unwrap();
        assert_eq!(values[..5], [Argument(0), Argument(1), Argument(2), Zero, Argument(3)]);
        assert_eq!(at_call(Arch::X86_64, &code, 0x1000, 0x102e), None);
        // mov rsi, [rsp]; mov edx, ecx; jmp +0x20
        let code = [0x48, 0x8b, 0x34, 0x24, 0x89, 0xca, 0xe9, 0x20, 0, 0, 0];
        let values = at_call(Arch::X86_64, &code, 0x1000, 0x102b).unwrap();
        assert_eq!(values[..4], [Argument(0), Other, Other, Argument(3)]);
        // js +0; call +0x20
        let code = [0x78, 0, 0xe8, 0x20, 0, 0, 0];
        assert_eq!(at_call(Arch::X86_64, &code, 0x1000, 0x1027), None);
    }

    #[test]
    fn follows_arguments_of_arm64() {
        let words = [
            0xa9bf_7bfdu32, // stp x29, x30, [sp, #-16]!
            0x9100_03fd,    // mov x29, sp
            0xaa03_03e4,    // mov x4, x3
            0xaa1f_03e3,    // mov x3, xzr
            0x9400_0008,    // bl 0x1030
        ];
        let code = words.map(u32::to_le_bytes).concat();
        let values = at_call(Arch::Arm64, &code, 0x1000, 0x1030).unwrap();
        assert_eq!(values[..5], [Argument(0), Argument(1), Argument(2), Zero, Argument(3)]);
        assert_eq!(at_call(Arch::Arm64, &code, 0x1000, 0x1034), None);
        assert_eq!(at_call(Arch::Arm64, &code[..16], 0x1000, 0x1030), None);
    }
}
