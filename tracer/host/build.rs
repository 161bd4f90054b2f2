//! Builds the programs for the kernel, which are embedded in the library.

use std::{env, fs, path::Path};

use anyhow::{Context as _, Result};
use aya_build::{Package, Toolchain};

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
    )
}
