//! Follows the arguments of a function to a call, to recognize functions that only pass them on.

use iced_x86::{
    Code, Decoder, DecoderOptions, FlowControl, Instruction, InstructionInfoFactory, OpAccess,
    Register,
};

use super::{ARGUMENTS, Arch, arm64, x86};
use crate::locate::source::Fields as _;

/// Maximum number of instructions on all paths of a function that only passes its arguments on.
const MAX_STEPS: usize = 2048;

/// The content of a register.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::locate) enum Value {
    /// The argument of the function with this index.
    Argument(usize),
    /// The lower 32 bits of that argument, extended to 64.
    Extended(usize),
    /// Zero.
    Zero,
    /// An address in the function's own part of the stack.
    Stack,
    /// Anything else.
    Other,
}

/// The contents of the argument registers.
pub(in crate::locate) type Values = [Value; ARGUMENTS];

/// A direct call, or a jump to another function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::locate) struct Call {
    /// Address of the called function.
    pub(in crate::locate) target: u64,
    /// The arguments that are passed.
    pub(in crate::locate) values: Values,
}

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

/// Returns the direct calls on all paths of an x86_64 function. `code` is the whole function, and
/// `start` its address. Returns `None` if some path cannot be followed.
pub(in crate::locate) fn calls_x86(code: &[u8], start: u64) -> Option<Vec<Call>> {
    let offset = |address: u64| usize::try_from(address.checked_sub(start)?).ok();
    let is_within = |address: u64| offset(address).is_some_and(|at| at < code.len());
    let mut calls = Vec::new();
    let mut pending = vec![(start, Registers::at_entry())];
    let mut factory = InstructionInfoFactory::new();
    let mut steps = 0;
    while let Some((address, mut registers)) = pending.pop() {
        let rest = code.get(offset(address)?..)?;
        let mut decoder = Decoder::with_ip(64, rest, address, DecoderOptions::NONE);
        let mut after_call = false;
        while decoder.can_decode() {
            steps += 1;
            let instruction = decoder.decode();
            if instruction.is_invalid() || steps > MAX_STEPS {
                return None;
            }
            let target = instruction.near_branch_target();
            let flow = instruction.flow_control();
            match flow {
                FlowControl::Next => registers.execute(&instruction, &mut factory),
                FlowControl::Call => {
                    calls.push(Call { target, values: registers.arguments() });
                    registers.forget();
                }
                FlowControl::IndirectCall => registers.forget(),
                FlowControl::ConditionalBranch if is_within(target) => {
                    pending.push((target, registers));
                }
                FlowControl::UnconditionalBranch => {
                    if is_within(target) {
                        pending.push((target, registers));
                    } else {
                        calls.push(Call { target, values: registers.arguments() });
                    }
                }
                FlowControl::Return | FlowControl::Interrupt | FlowControl::Exception => {}
                _ => return None,
            }
            after_call = matches!(flow, FlowControl::Call | FlowControl::IndirectCall);
            if !matches!(flow, FlowControl::Next | FlowControl::ConditionalBranch) && !after_call {
                // Nothing continues here.
                after_call = true;
                break;
            }
        }
        // A function can end with a call of one that does not return, but with nothing else.
        if !after_call {
            return None;
        }
    }
    Some(calls)
}

/// The contents of the registers of x86_64, by their numbers in instructions.
#[derive(Clone, Copy)]
struct Registers([Value; 16]);

impl Registers {
    /// Returns the contents at the entry of a function.
    fn at_entry() -> Self {
        Self(std::array::from_fn(|number| match u8::try_from(number) {
            Ok(4) => Value::Stack,
            Ok(number) => x86::argument(number).map_or(Value::Other, Value::Argument),
            Err(_) => Value::Other,
        }))
    }

    fn get(&self, register: Register) -> Value {
        let number = register.is_gpr().then(|| register.full_register().number());
        number.and_then(|number| self.0.get(number)).copied().unwrap_or(Value::Other)
    }

    /// Returns the contents of the argument registers.
    fn arguments(&self) -> Values {
        let mut values = [Value::Other; ARGUMENTS];
        for (number, value) in (0..).zip(self.0) {
            if let Some(index) = x86::argument(number) {
                values[index] = value;
            }
        }
        values
    }

    /// Forgets the registers that a called function may change (System V ABI for x86_64, 3.2.1).
    fn forget(&mut self) {
        for number in [0, 1, 2, 6, 7, 8, 9, 10, 11] {
            self.0[number] = Value::Other;
        }
    }

    /// Follows an instruction.
    fn execute(&mut self, instruction: &Instruction, factory: &mut InstructionInfoFactory) {
        let value = match instruction.code() {
            Code::Mov_r64_rm64 | Code::Mov_rm64_r64 if instruction.op1_register().is_gpr() => {
                self.get(instruction.op1_register())
            }
            Code::Movsxd_r64_rm32 | Code::Mov_r32_rm32 | Code::Mov_rm32_r32
                if instruction.op1_register().is_gpr() =>
            {
                match self.get(instruction.op1_register()) {
                    Value::Argument(index) | Value::Extended(index) => Value::Extended(index),
                    Value::Zero => Value::Zero,
                    _ => Value::Other,
                }
            }
            Code::Xor_r32_rm32 | Code::Xor_rm32_r32
                if instruction.op0_register() == instruction.op1_register() =>
            {
                Value::Zero
            }
            Code::Lea_r64_m
                if instruction.memory_index() == Register::None
                    && self.get(instruction.memory_base()) == Value::Stack =>
            {
                Value::Stack
            }
            _ => Value::Other,
        };
        for used in factory.info(instruction).used_registers() {
            let register = used.register().full_register();
            if !matches!(used.access(), OpAccess::Read | OpAccess::CondRead)
                && used.register().is_gpr()
                && register != Register::RSP
                && let Some(slot) = self.0.get_mut(register.number())
            {
                *slot = value;
            }
        }
    }
}

/// Returns what the argument registers hold at the entry of a function.
fn at_entry() -> Values {
    std::array::from_fn(Value::Argument)
}

fn at_call_x86(code: &[u8], start: u64, target: u64) -> Option<Values> {
    let mut registers = Registers::at_entry();
    let mut factory = InstructionInfoFactory::new();
    for instruction in Decoder::with_ip(64, code, start, DecoderOptions::NONE) {
        match instruction.flow_control() {
            FlowControl::Next => registers.execute(&instruction, &mut factory),
            FlowControl::Call | FlowControl::UnconditionalBranch => {
                let found = instruction.near_branch_target() == target;
                return found.then(|| registers.arguments());
            }
            _ => return None,
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

    use Value::{Argument, Extended, Other, Stack, Zero};

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
        assert_eq!(values[..4], [Argument(0), Other, Extended(3), Argument(3)]);
        // js +0; call +0x20
        let code = [0x78, 0, 0xe8, 0x20, 0, 0, 0];
        assert_eq!(at_call(Arch::X86_64, &code, 0x1000, 0x1027), None);
    }

    #[test]
    fn follows_all_paths_of_x86_64() {
        // sub rsp, 0x18; test edx, edx; js +14; mov rcx, rsp; movsxd rdx, edx; call 0x2000;
        // add rsp, 0x18; ret
        let code = [
            &[0x48, 0x83, 0xec, 0x18, 0x85, 0xd2, 0x78, 0x10][..],
            &[0x48, 0x89, 0xe1, 0x48, 0x63, 0xd2, 0xe8, 0xed, 0x0f, 0, 0],
            &[0x48, 0x83, 0xc4, 0x18, 0xc3],
            // call 0x3000; jmp 0x1013
            &[0xe8, 0xe3, 0x1f, 0, 0, 0xeb, 0xf4],
        ]
        .concat();
        let calls = calls_x86(&code, 0x1000).unwrap();
        let at = |target| {
            let mut found = calls.iter().filter(|call| call.target == target);
            let call = found.next().unwrap();
            assert_eq!(found.next(), None);
            call.values
        };
        assert_eq!(at(0x2000)[..4], [Argument(0), Argument(1), Extended(2), Stack]);
        assert_eq!(at(0x3000)[..4], [Argument(0), Argument(1), Argument(2), Argument(3)]);
        // Without its last instruction, a path leaves the function.
        assert_eq!(calls_x86(&code[..code.len() - 2], 0x1000).map(|calls| calls.len()), Some(2));
        assert_eq!(calls_x86(&code[..code.len() - 8], 0x1000), None);
        for end in 0..code.len() {
            let _ = calls_x86(&code[..end], 0x1000);
        }
    }

    #[test]
    fn forgets_registers_at_calls_and_gives_up_at_unknown_jumps() {
        // mov rbx, rdi; call 0x2000; mov rdi, rbx; jmp 0x3000
        let code = [
            &[0x48, 0x89, 0xfb, 0xe8, 0xf8, 0x0f, 0, 0][..],
            &[0x48, 0x89, 0xdf, 0xe9, 0xf0, 0x1f, 0, 0],
        ]
        .concat();
        let calls = calls_x86(&code, 0x1000).unwrap();
        assert_eq!(calls[1].target, 0x3000);
        assert_eq!(calls[1].values[..2], [Argument(0), Other]);
        // jmp rax
        assert_eq!(calls_x86(&[0xff, 0xe0], 0x1000), None);
        // jmp +0, for ever
        assert_eq!(calls_x86(&[0xeb, 0xfe], 0x1000), None);
        // nop, and then something else
        assert_eq!(calls_x86(&[0x90], 0x1000), None);
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
