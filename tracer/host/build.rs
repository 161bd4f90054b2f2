//! Builds the programs for the kernel, to be embedded in the daemon.

use std::{env, fs, path::Path};

use anyhow::{Context as _, Result};
use aya_build::{Package, Toolchain};

/// Written by `cargo xtask setup`: the rustup toolchain that can compile eBPF.
const TOOLCHAIN: &str = "../../.tools/toolchain";

fn main() -> Result<()> {
    println!("cargo:rerun-if-changed={TOOLCHAIN}");
    println!("cargo:rerun-if-env-changed=AYA_BUILD_SKIP");
    if env::var_os("AYA_BUILD_SKIP").is_some() {
        // For work on the decoder where there is no such toolchain: the
        // library still wants a file to embed, and refuses to load it.
        let out = env::var_os("OUT_DIR").context("OUT_DIR is not set")?;
        fs::write(Path::new(&out).join("tracer-programs"), [])?;
        return Ok(());
    }
    let toolchain = fs::read_to_string(TOOLCHAIN)
        .context("no toolchain for eBPF is set up: run `cargo xtask setup` once")?;
    aya_build::build_ebpf(
        [Package { name: "tracer-ebpf", root_dir: "../../tracer-ebpf", ..Default::default() }],
        Toolchain::Custom(toolchain.trim()),
    )
}
