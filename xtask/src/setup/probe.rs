//! Proves that a compiler and a linker work together, by building a small program in
//! the way in which aya-build builds the real ones.

use std::{fs, path::Path};

use anyhow::{Context as _, Result, ensure};

use super::toolchain::{Compiler, TARGET};
use crate::{
    ui::Ui,
    workspace::{Workspace, shed_cargo_run},
};

const MANIFEST: &str = r#"[package]
name = "probe"
version = "0.0.0"
edition = "2024"
publish = false

[workspace]

[profile.release]
panic = "abort"
"#;

const PROGRAM: &str = r#"#![no_std]
#![no_main]

#[unsafe(no_mangle)]
#[unsafe(link_section = "socket")]
extern "C" fn probe() -> u32 {
    0
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
"#;

/// The flags that aya-build passes.
const RUSTFLAGS: &str = "-Cdebuginfo=2 -Clink-arg=--btf";

/// Builds the program and checks the result.
///
/// # Errors
/// If it does not build, or is not a BPF object with type information.
pub(super) fn run(
    workspace: &Workspace,
    ui: &Ui,
    compiler: &Compiler,
    linker: &Path,
) -> Result<()> {
    let directory = workspace.tools().join("probe");
    let target = directory.join("target");
    fs::create_dir_all(directory.join("src"))
        .and_then(|()| fs::write(directory.join("Cargo.toml"), MANIFEST))
        .and_then(|()| fs::write(directory.join("src/main.rs"), PROGRAM))
        .with_context(|| format!("cannot write {}", directory.display()))?;

    let mut command = compiler.tool("cargo");
    command.args(["build", "--release", "--target", TARGET, "--target-dir"]).arg(&target);
    if compiler.builds_core() {
        command.args(["-Z", "build-std=core"]);
    }
    shed_cargo_run(&mut command);
    command
        .current_dir(&directory)
        .env("CARGO_TARGET_BPFEL_UNKNOWN_NONE_LINKER", linker)
        .env("RUSTFLAGS", RUSTFLAGS)
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .env_remove("RUSTC")
        .env_remove("RUSTC_WORKSPACE_WRAPPER");
    ui.step("prove them on a small BPF program", &mut command)?;

    let path = target.join(TARGET).join("release/probe");
    let object = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
    ensure!(is_bpf_with_types(&object), "{} is not a BPF object with BTF", path.display());
    fs::remove_dir_all(&directory).with_context(|| format!("cannot remove {}", directory.display()))
}

/// `e_machine` of a little-endian ELF file, and the name of its BTF section.
fn is_bpf_with_types(object: &[u8]) -> bool {
    const EM_BPF: [u8; 2] = 247_u16.to_le_bytes();
    object.starts_with(b"\x7fELF")
        && object.get(18..20) == Some(&EM_BPF)
        && object.windows(6).any(|window| window == b"\0.BTF\0")
}

#[cfg(test)]
mod tests {
    use super::is_bpf_with_types;

    #[test]
    fn only_bpf_objects_with_types_are_accepted() {
        let mut object = b"\x7fELF\x02\x01\x01".to_vec();
        object.resize(18, 0);
        object.extend(247_u16.to_le_bytes());
        assert!(!is_bpf_with_types(&object), "no BTF");
        object.extend(b"\0.text\0.BTF\0.BTF.ext\0");
        assert!(is_bpf_with_types(&object));
        object[18] = 62;
        assert!(!is_bpf_with_types(&object), "x86_64");
        assert!(!is_bpf_with_types(b""));
    }
}
