//! Builds the programs for the kernel, which are embedded in the library.

use std::{env, fs, path::Path};

use anyhow::{Context as _, Result};
use aya_build::{Package, Toolchain};
use object::{
    build::elf::{Builder, SectionData},
    elf::SHT_STRTAB,
};

/// File with the name of the rustup toolchain that compiles eBPF. `cargo xtask setup` writes it.
const TOOLCHAIN: &str = "../../.tools/toolchain";

fn main() -> Result<()> {
    println!("cargo:rerun-if-changed={TOOLCHAIN}");
    println!("cargo:rerun-if-env-changed=AYA_BUILD_SKIP");
    if env::var_os("AYA_BUILD_SKIP").is_some() {
        // For work on other parts without such a toolchain. The library embeds an empty file
        // and refuses to load it.
        let out = env::var_os("OUT_DIR").context("OUT_DIR is not set")?;
        fs::write(Path::new(&out).join("tracer-programs"), [])?;
        return Ok(());
    }
    let toolchain = fs::read_to_string(TOOLCHAIN)
        .context("the toolchain for eBPF is missing; run `cargo xtask setup` once")?;
    aya_build::build_ebpf(
        [Package { name: "tracer-ebpf", root_dir: "../../tracer-ebpf", ..Default::default() }],
        Toolchain::Custom(toolchain.trim()),
    )?;
    let out = env::var_os("OUT_DIR").context("OUT_DIR is not set")?;
    strip(&Path::new(&out).join("tracer-programs"))
}

/// Removes the DWARF sections of an object file. The linker makes BTF from them, and the
/// kernel is given BTF alone; they are most of the file.
fn strip(path: &Path) -> Result<()> {
    let bytes = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    let mut object = Builder::read(&*bytes).context("the linker's output is no object file")?;
    for section in &mut object.sections {
        let name = section.name.strip_prefix(b".rel").unwrap_or(&section.name);
        section.delete = name.starts_with(b".debug_");
    }
    object.delete_orphans();
    // LLVM keeps names of sections and of symbols in one table; the writer wants two.
    let names = object.sections.add();
    names.name = b".shstrtab"[..].into();
    names.sh_type = SHT_STRTAB;
    names.data = SectionData::SectionString;
    let mut stripped = Vec::new();
    object.write(&mut stripped).context("cannot write an object file")?;
    fs::write(path, stripped).with_context(|| format!("cannot write {}", path.display()))
}
