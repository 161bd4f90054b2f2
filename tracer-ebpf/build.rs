//! Sets a `cfg` for the architecture of the kernel that the programs are built for.

fn main() -> aya_build::Result<()> {
    println!("cargo:rustc-check-cfg=cfg(bpf_target_arch, values(\"x86_64\", \"aarch64\"))");
    aya_build::emit_bpf_target_arch_cfg()
}
