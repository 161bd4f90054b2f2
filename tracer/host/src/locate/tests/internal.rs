//! Tests of the function to which OpenSSL's `SSL_write` and `SSL_write_ex` pass their arguments.

use super::elf_file::{CODE, DATA, ElfFile, Symbol};
use super::findings;
use crate::locate::prologue::Cost;
use crate::locate::{Arch, Findings, Method, Name};

/// Positions of the functions in the code.
const INTERNAL: u64 = CODE;
const WRITE: u64 = CODE + 0x100;
const WRITE_EX: u64 = CODE + 0x200;
const WRITE_EX2: u64 = CODE + 0x300;
const STUB: u64 = CODE + 0x400;
const OTHER: u64 = CODE + 0x500;
/// The slot of the global offset table that the stub uses.
const SLOT: u64 = DATA + 8;

const CALL: u8 = 0xe8;
const JUMP: u8 = 0xe9;

/// A part of a function: bytes, or a call or a jump to an address.
#[derive(Debug, Clone, Copy)]
enum Part {
    Bytes(&'static [u8]),
    To(u8, u64),
}
use Part::{Bytes, To};

/// push r14; push rbx; pop rbx; pop r14; ret
const CHEAP: &[Part] = &[Bytes(&[0x41, 0x56, 0x53, 0x5b, 0x41, 0x5e, 0xc3])];
/// sub rsp, 8; add rsp, 8; ret
const STEPPED: &[Part] = &[Bytes(&[0x48, 0x83, 0xec, 8, 0x48, 0x83, 0xc4, 8, 0xc3])];

/// sub rsp, 0x18; test edx, edx; js to the last part
const BEGIN: Part = Bytes(&[0x48, 0x83, 0xec, 0x18, 0x85, 0xd2, 0x78, 0x10]);
/// mov rcx, rsp; movsxd rdx, edx
const FOUR: Part = Bytes(&[0x48, 0x89, 0xe1, 0x48, 0x63, 0xd2]);
/// add rsp, 0x18; ret
const END: Part = Bytes(&[0x48, 0x83, 0xc4, 0x18, 0xc3]);
/// call of a function that reports an error; jmp to the end
const ERROR: [Part; 2] = [To(CALL, OTHER), Bytes(&[0xeb, 0xf4])];
const OLD_WRITE: &[Part] = &[BEGIN, FOUR, To(CALL, INTERNAL), END, ERROR[0], ERROR[1]];
/// sub rsp, 0x18; test edx, edx; js; xor ecx, ecx; movsxd rdx, edx; mov r8, rsp; call; add; ret
const NEW_WRITE: &[Part] = &[
    Bytes(&[0x48, 0x83, 0xec, 0x18, 0x85, 0xd2, 0x78, 0x12]),
    Bytes(&[0x31, 0xc9, 0x48, 0x63, 0xd2, 0x49, 0x89, 0xe0]),
    To(CALL, INTERNAL),
    END,
    ERROR[0],
    ERROR[1],
];

/// sub rsp, 8
const FRAME: Part = Bytes(&[0x48, 0x83, 0xec, 8]);
/// xor edx, edx; test eax, eax; cmovs eax, edx; add rsp, 8; ret
const RESULT: Part = Bytes(&[0x31, 0xd2, 0x85, 0xc0, 0x0f, 0x48, 0xc2, 0x48, 0x83, 0xc4, 8, 0xc3]);
const OLD_WRITE_EX: &[Part] = &[FRAME, To(CALL, INTERNAL), RESULT];
/// mov r8, rcx; xor ecx, ecx
const WITH_ZERO: Part = Bytes(&[0x49, 0x89, 0xc8, 0x31, 0xc9]);

/// A library with these functions.
fn library(functions: &[(u64, &[Part])]) -> ElfFile {
    let mut file = ElfFile::new(Arch::X86_64);
    file.exports = vec![("memcpy", 0, 0)];
    for (start, parts) in functions {
        file.code.resize((start - CODE) as usize, 0xcc);
        for part in *parts {
            match part {
                Bytes(bytes) => file.code.extend(*bytes),
                To(opcode, target) => {
                    let next = CODE + file.code.len() as u64 + 5;
                    file.code.push(*opcode);
                    file.code.extend((target.wrapping_sub(next) as u32).to_le_bytes());
                }
            }
        }
        let names =
            [(WRITE, "SSL_write"), (WRITE_EX, "SSL_write_ex"), (WRITE_EX2, "SSL_write_ex2")];
        if let Some((_, name)) = names.iter().find(|(address, _)| address == start) {
            let symbol: Symbol = (name, *start, CODE + file.code.len() as u64 - start);
            file.exports.push(symbol);
        }
    }
    file
}

/// Returns the functions that are probed.
fn probed(found: &Findings) -> Vec<Name> {
    let names = found.functions.iter().map(|function| function.name);
    names.filter(|name| found.probed_instead_of(*name).is_none()).collect()
}

#[test]
fn one_pair_of_probes_serves_both_functions() {
    // jmp [SLOT]
    let stub = (SLOT.wrapping_sub(STUB + 6) as u32).to_le_bytes();
    let stub: &'static [u8] = [&[0xff, 0x25][..], &stub].concat().leak();
    let cases: [&[(u64, &[Part])]; 4] = [
        &[(INTERNAL, CHEAP), (WRITE, OLD_WRITE), (WRITE_EX, OLD_WRITE_EX)],
        // Since 3.3 SSL_write_ex calls the function itself, SSL_write_ex2, or that through a slot.
        &[
            (INTERNAL, CHEAP),
            (WRITE, NEW_WRITE),
            (WRITE_EX, &[FRAME, WITH_ZERO, To(CALL, INTERNAL), RESULT]),
        ],
        &[
            (INTERNAL, CHEAP),
            (WRITE, NEW_WRITE),
            (WRITE_EX, &[WITH_ZERO, To(JUMP, WRITE_EX2)]),
            (WRITE_EX2, OLD_WRITE_EX),
        ],
        &[
            (INTERNAL, CHEAP),
            (WRITE, NEW_WRITE),
            (WRITE_EX, &[WITH_ZERO, To(JUMP, STUB)]),
            (WRITE_EX2, OLD_WRITE_EX),
            (STUB, &[Bytes(stub)]),
        ],
    ];
    for functions in cases {
        let mut file = library(functions);
        let index = file.exports.iter().position(|symbol| symbol.0 == "SSL_write_ex2");
        file.slots = index.map(|index| (SLOT, index)).into_iter().collect();
        let found = findings(&file.build());
        assert_eq!(probed(&found), [Name::SslWriteInternal], "{functions:?}");
        let internal = found.function(Name::SslWriteInternal);
        assert_eq!((internal.virtual_address, internal.method), (INTERNAL, Method::Call));
        assert_eq!(internal.probes.arguments.cost, Cost::Emulated);
        assert_eq!(internal.probes.returns.cost, Cost::Emulated);
        assert_eq!(found.missing, []);
    }
    // The slot belongs to another function.
    let mut file = library(cases[3]);
    file.slots = vec![(SLOT, 1)];
    assert_eq!(probed(&findings(&file.build())), [Name::SslWrite, Name::SslWriteEx]);
    file.slots.clear();
    assert_eq!(probed(&findings(&file.build())), [Name::SslWrite, Name::SslWriteEx]);
}

#[test]
fn both_functions_are_probed_where_the_inner_one_is_not_certain() {
    // lea rsi, [rdi]
    const OTHER_BUFFER: Part = Bytes(&[0x48, 0x8d, 0x37]);
    let refused: [&[(u64, &[Part])]; 9] = [
        // SSL_write passes another buffer.
        &[
            (INTERNAL, CHEAP),
            (WRITE, &[FRAME, OTHER_BUFFER, FOUR, To(CALL, INTERNAL), RESULT]),
            (WRITE_EX, OLD_WRITE_EX),
        ],
        // SSL_write passes another buffer on one of its paths: jns to the first call.
        &[
            (INTERNAL, CHEAP),
            (
                WRITE,
                &[
                    Bytes(&[0x48, 0x83, 0xec, 0x18, 0x85, 0xd2, 0x78, 0x10]),
                    FOUR,
                    To(CALL, INTERNAL),
                    END,
                    OTHER_BUFFER,
                    FOUR,
                    To(CALL, INTERNAL),
                    END,
                ],
            ),
            (WRITE_EX, OLD_WRITE_EX),
        ],
        // SSL_write_ex calls another function, or no function.
        &[(INTERNAL, CHEAP), (WRITE, OLD_WRITE), (WRITE_EX, &[FRAME, To(CALL, OTHER), RESULT])],
        &[(INTERNAL, CHEAP), (WRITE, OLD_WRITE), (WRITE_EX, STEPPED)],
        // It calls another function as well.
        &[
            (INTERNAL, CHEAP),
            (WRITE, OLD_WRITE),
            (WRITE_EX, &[FRAME, To(CALL, INTERNAL), To(CALL, OTHER), RESULT]),
        ],
        // It passes other arguments.
        &[
            (INTERNAL, CHEAP),
            (WRITE, OLD_WRITE),
            (WRITE_EX, &[FRAME, WITH_ZERO, To(CALL, INTERNAL), RESULT]),
        ],
        &[(INTERNAL, CHEAP), (WRITE, NEW_WRITE), (WRITE_EX, OLD_WRITE_EX)],
        // SSL_write_ex2 is not known to call the same function.
        &[
            (INTERNAL, CHEAP),
            (WRITE, NEW_WRITE),
            (WRITE_EX, &[WITH_ZERO, To(JUMP, WRITE_EX2)]),
            (WRITE_EX2, &[FRAME, To(CALL, OTHER), RESULT]),
        ],
        // SSL_write jumps to an unknown address.
        &[
            (INTERNAL, CHEAP),
            (WRITE, &[BEGIN, FOUR, To(CALL, INTERNAL), END, Bytes(&[0xff, 0xe0])]),
            (WRITE_EX, OLD_WRITE_EX),
        ],
    ];
    for (index, functions) in refused.iter().enumerate() {
        let found = findings(&library(functions).build());
        assert_eq!(probed(&found), [Name::SslWrite, Name::SslWriteEx], "{index}");
        assert_eq!(found.missing, []);
    }
    // The lengths of the functions are not known.
    let functions: &[(u64, &[Part])] =
        &[(INTERNAL, CHEAP), (WRITE, OLD_WRITE), (WRITE_EX, OLD_WRITE_EX)];
    let mut file = library(functions);
    file.exports.iter_mut().for_each(|symbol| symbol.2 = 0);
    assert_eq!(probed(&findings(&file.build())), [Name::SslWrite, Name::SslWriteEx]);
}

#[test]
fn the_inner_function_is_not_probed_where_it_costs_as_much() {
    // push rbx; call; pop rbx; ret
    const CHEAP_EX: &[Part] = &[Bytes(&[0x53]), To(CALL, INTERNAL), Bytes(&[0x5b, 0xc3])];
    // push rax; movsxd rdx, edx; mov rcx, rsp; call; pop rcx; ret
    const CHEAP_WRITE: &[Part] = &[
        Bytes(&[0x50, 0x48, 0x63, 0xd2, 0x48, 0x89, 0xe1]),
        To(CALL, INTERNAL),
        Bytes(&[0x59, 0xc3]),
    ];
    let cases: [&[(u64, &[Part])]; 2] = [
        &[(INTERNAL, STEPPED), (WRITE, OLD_WRITE), (WRITE_EX, OLD_WRITE_EX)],
        &[(INTERNAL, CHEAP), (WRITE, CHEAP_WRITE), (WRITE_EX, CHEAP_EX)],
    ];
    for functions in cases {
        let found = findings(&library(functions).build());
        assert_eq!(probed(&found), [Name::SslWrite, Name::SslWriteEx]);
    }
}
