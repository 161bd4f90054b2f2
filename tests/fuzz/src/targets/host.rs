//! Files of the machine that are read with privileges, or for those who have them.

use tracer_host::{
    extensions::{self, Answer},
    hook::Btf,
    locate::{Cache, Findings, locate},
};

/// An ELF file or an APK.
pub(super) fn elf(input: &[u8]) -> u64 {
    if let Ok(located) = locate(&input.to_vec(), "file", &mut Cache::disabled()) {
        for file in &located {
            std::hint::black_box(serde_json::to_string(&file.findings).expect("findings as JSON"));
        }
    }
    input.len() as u64
}

/// The kernel's type information.
pub(super) fn btf(input: &[u8]) -> u64 {
    if let Ok(btf) = Btf::parse(input) {
        for (of, path) in [
            ("sock", "__sk_common.family"),
            ("sock", "__sk_common.in.inner"),
            ("sock", "ptr"),
            ("common", "b"),
            ("task_struct", "tgid"),
        ] {
            let _ = btf.offset(of, path);
        }
        let _ = btf.constant("CLOSED");
    }
    input.len() as u64
}

/// Answers of the process that analyzes files.
pub(super) fn answers(input: &[u8]) -> u64 {
    if let Ok(findings) = serde_json::from_slice::<Vec<Findings>>(input) {
        std::hint::black_box(findings.len());
    }
    std::hint::black_box(Cache::from_json(input).len());
    input.len() as u64
}

/// A file of a browser's profile: manifest, translations, preferences or list of add-ons.
pub(super) fn profiles(input: &[u8]) -> u64 {
    for name in extensions::names_in(input) {
        assert!(!name.is_empty() && name.chars().count() <= 128, "{name:?}");
        assert!(!name.contains(char::is_control), "{name:?}");
    }
    input.len() as u64
}

/// Answers of the process that parses profiles.
pub(super) fn profile_answers(input: &[u8]) -> u64 {
    if let Ok(answer) = serde_json::from_slice::<Answer>(input) {
        let json = serde_json::to_vec(&answer).expect("an answer as JSON");
        assert_eq!(serde_json::from_slice::<Answer>(&json).expect("the same answer"), answer);
    }
    input.len() as u64
}
