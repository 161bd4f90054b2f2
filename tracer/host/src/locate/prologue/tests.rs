use proptest::prelude::*;

use super::*;

fn bytes(hex: &str) -> Vec<u8> {
    let digit = |at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
    (0..hex.len()).step_by(2).map(digit).collect()
}

/// Beginnings of real functions, with the position, stack adjustment and instruction of the
/// argument probe, and the position of the return probe.
#[test]
fn real_prologues() {
    let cases = [
        // libssl 3.0, Debian: sub rsp, 24; mov rax, fs:40; …; test edx, edx; js
        (
            "4883ec1864488b042528000000488944240831c085d2782f4889e14863d2e8fdfbffff85c07e038b0424\
             488b54240864482b14252800000075444883c41831d231c931f631ffc3",
            3,
            (0x16, 24, "js"),
            0,
        ),
        // libssl 3.0, manylinux: sub rsp, 24; test edx, edx; js
        ("4883ec1885d2781b31c94863d24c8d442408e879fcffff", 3, (6, 24, "js"), 0),
        // SSL_write_ex, Debian: sub rsp, 8; call
        ("4883ec08e887fbffff31d285c00f48c24883c408c3", 4, (4, 8, "call"), 0),
        // SSL_write_ex that moves the fourth argument at once: mov r8, rcx; xor ecx, ecx; jmp
        ("4989c831c9e9d6ffffff", 4, (0, 0, "mov"), 0),
        // Chromium 156, Qt WebEngine 5: push rbp; mov rbp, rsp; …
        ("554889e54157415641554154534883ec1889d34989f64989ff", 3, (0, 0, "push rbp"), 0),
        ("554889e541564989fe415541544189d4534889f34883ec10", 3, (0, 0, "push rbp"), 0),
        // gRPC's BoringSSL: push r12
        ("41544989f4554889fd534863da4883ec10488b4730", 3, (0, 0, "push r12"), 0),
        // gnutls_record_send: xor r8d, r8d; xor ecx, ecx; jmp gnutls_record_send2
        ("4531c031c9e9869cffff", 3, (5, 0, "jmp"), 5),
        // PR_Write: mov rax, [rdi]; jmp [rax+24]
        ("488b07ff6018", 3, (0, 0, "mov"), 0),
        // with indirect branch tracking: endbr64; push rbp
        ("f30f1efa554889e5", 3, (4, 0, "push rbp"), 4),
        // endbr64; push r15; push r14
        ("f30f1efa41574156", 3, (4, 0, "push r15"), 4),
    ];
    for (hex, arguments, probe, returns) in cases {
        let probes = choose(&bytes(hex), arguments);
        let chosen = &probes.arguments;
        assert_eq!((chosen.delta, chosen.sp_adjust, chosen.instruction.as_str()), probe, "{hex}");
        assert_eq!(probes.returns.delta, returns, "{hex}");
        assert_eq!(probes.returns.sp_adjust, 0);
    }
}

/// Code after which a probe would be wrong.
#[test]
fn probes_the_entry_if_nothing_else_is_safe() {
    let entry = [
        // mov rdi, rsi; push rbp: overwrites an argument
        "4889f755",
        // mov edx, 1; push rbp: overwrites a part of an argument
        "ba0100000055",
        // sete dl; push rbp
        "0f94c255",
        // sub rsp, 8; and rsp, -16; push rbp: unknown change of the stack pointer
        "4883ec084883e4f055",
        // mov rsp, rax; push rbp
        "4889c455",
        // sub rsp, 8; L: push rbx; …; jmp L: reached more than once
        "4883ec085390ebfc",
        // sub rsp, 8; L: xor eax, eax; push rbx; jmp L: reached more than once
        "4883ec0831c053ebfb",
        // jmp rax; push rbp: not reached
        "ffe055",
        // ret; push rbp
        "c355",
        // enter 8, 0; push rbp
        "c808000055",
    ];
    for hex in entry {
        let probes = choose(&bytes(hex), 3);
        assert_eq!((probes.arguments.delta, probes.arguments.sp_adjust), (0, 0), "{hex}");
        assert_eq!(probes.returns.delta, 0, "{hex}");
    }
}

#[test]
fn probes_after_harmless_instructions() {
    let cases = [
        // mov rax, rdi; push rbp: only reads an argument
        ("4889f855", 3, 0, "push rbp"),
        // cmp rsp, rax; push rbp: only reads the stack pointer
        ("4839c455", 3, 0, "push rbp"),
        // lea rsp, [rsp-0x20]; push rbp
        ("488d6424e055", 5, 32, "push rbp"),
        // sub rsp, 0x100; push rbx
        ("4881ec0001000053", 7, 256, "push rbx"),
        // mov rcx, rax; push rbp: overwrites a register that is not one of three arguments
        ("4889c155", 3, 0, "push rbp"),
        // sub rsp, 8; jns forward; ret
        ("4883ec08790190c3", 4, 8, "jns"),
        // sub rsp, 8; jmp to the entry: a recursive call
        ("4883ec08ebfa", 4, 8, "jmp"),
    ];
    for (hex, delta, sp_adjust, instruction) in cases {
        let probe = choose(&bytes(hex), 3).arguments;
        assert_eq!(probe.cost, Cost::Emulated, "{hex}");
        assert_eq!((probe.delta, probe.sp_adjust), (delta, sp_adjust), "{hex}");
        assert_eq!(probe.instruction, instruction);
    }
    // With four arguments, the register is one of them.
    assert_eq!(choose(&bytes("4889c155"), 4).arguments.delta, 0);
}

#[test]
fn cost_depends_on_the_instruction() {
    let emulated = [
        "50",
        "57",
        "4150",
        "4157",
        "90",
        "7400",
        "7f80",
        "0f8400000000",
        "eb00",
        "e900000000",
        "e800000000",
    ];
    let nops = ["6690", "0f1f00", "0f1f440000", "0f1f840000000000"];
    let stepped = [
        "f30f1efa", // endbr64
        "4883ec08", // sub rsp, 8
        "6650",     // push ax
        "4850",     // push rax with a redundant prefix
        "66e90000", // jmp rel16
        "4190",     // xchg r8d, eax
        "ff30",     // push [rax]
        "6a01",     // push 1
        "c3",
        "ffe0",
        "e300",                 // ret, jmp rax, jrcxz
        "662e0f1f840000000000", // nop with a segment prefix: not emulated
    ];
    let all = [(&emulated[..], Cost::Emulated), (&nops, Cost::Nop), (&stepped, Cost::Stepped)];
    for (cases, cost) in all {
        for hex in cases {
            assert_eq!(choose(&bytes(hex), 3).arguments.cost, cost, "{hex}");
        }
    }
}

#[test]
fn nop_is_the_second_choice() {
    // sub rsp, 8; nop (5 bytes); push rbx
    let probe = choose(&bytes("4883ec080f1f44000053"), 3).arguments;
    assert_eq!((probe.delta, probe.cost), (9, Cost::Emulated));
    // sub rsp, 8; nop (5 bytes); xor edx, edx; push rbx
    let probe = choose(&bytes("4883ec080f1f44000031d253"), 3).arguments;
    assert_eq!((probe.delta, probe.sp_adjust, probe.cost), (4, 8, Cost::Nop));
}

#[test]
fn probes_the_entry_of_undecodable_code() {
    assert_eq!(choose(&[], 3), Probes::entry());
    assert_eq!(choose(&[0x06, 0x55], 3).arguments.delta, 0);
}

proptest! {
    /// In any code, a probe is at the start of an instruction on the straight path, and a
    /// return probe is at a point where the stack pointer is unchanged.
    #[test]
    fn probes_are_on_the_straight_path_of_any_code(code in prop::collection::vec(any::<u8>(), 0..256), arguments in 0usize..10) {
        let probes = choose(&code, arguments);
        prop_assert_eq!(probes.returns.sp_adjust, 0);
        for probe in [&probes.arguments, &probes.returns] {
            prop_assert!(probe.delta == 0 || probe.cost != Cost::Stepped);
            let mut decoder = Decoder::with_ip(64, &code, 0, DecoderOptions::NONE);
            while decoder.ip() < probe.delta {
                let instruction = decoder.decode();
                prop_assert_eq!(instruction.flow_control(), FlowControl::Next);
            }
            prop_assert_eq!(decoder.ip(), probe.delta);
        }
    }
}
