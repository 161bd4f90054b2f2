//! Struct layouts of kernels without BTF, from `layouts.toml`.

use std::{collections::BTreeMap, sync::LazyLock};

use serde::Deserialize;

use super::{btf::BtfError, offsets::Layout};

const EMBEDDED: &str = include_str!("layouts.toml");

/// Kernels that share a layout.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Kernel {
    /// Beginning of their releases.
    release: String,
    /// Strings of which their releases contain one.
    marks: Vec<String>,
    /// Architecture, as `uname -m` prints it.
    arch: String,
    // Every entry must name its source, although nothing reads it at run time.
    #[serde(rename = "source")]
    _source: String,
    /// Offsets by `struct.path`.
    offsets: BTreeMap<String, u32>,
    /// Values of enum constants.
    constants: BTreeMap<String, u32>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    kernel: Vec<Kernel>,
}

static KERNELS: LazyLock<Vec<Kernel>> = LazyLock::new(|| {
    let table: Table = toml::from_str(EMBEDDED).expect("a test parses the embedded table");
    table.kernel
});

/// Finds the layout of a kernel by its release and architecture.
pub(super) fn find(release: &str, arch: &str) -> Option<&'static Kernel> {
    KERNELS.iter().find(|kernel| {
        kernel.arch == arch
            && release.starts_with(&kernel.release)
            && kernel.marks.iter().any(|mark| release.contains(mark))
    })
}

/// Returns a readable list of the kernels in the table.
pub(super) fn supported() -> Vec<String> {
    let releases = |kernel: &Kernel| {
        let mark = |mark: &String| format!("{}*{mark}* ({})", kernel.release, kernel.arch);
        kernel.marks.iter().map(mark).collect::<Vec<_>>()
    };
    KERNELS.iter().flat_map(releases).collect()
}

impl Layout for &Kernel {
    fn offset(&self, of: &str, path: &str) -> Result<u32, BtfError> {
        let found = self.offsets.get(&format!("{of}.{path}")).copied();
        found.ok_or_else(|| BtfError::NoMember(of.to_owned(), path.to_owned()))
    }

    fn constant(&self, name: &str) -> Result<u32, BtfError> {
        self.constants.get(name).copied().ok_or_else(|| BtfError::NoConstant(name.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use tracer_ebpf::NO_KIND;

    use super::*;
    use crate::hook::offsets::{OffsetsError, without_btf};

    const GKI: &str = "5.10.66-android12-9-00018-g75d0d4dc9b42-ab7820379";

    #[test]
    fn every_entry_has_all_required_offsets() {
        for kernel in KERNELS.iter() {
            for mark in &kernel.marks {
                let release = format!("{}1{mark}2", kernel.release);
                let offsets = without_btf(&release, &kernel.arch).unwrap();
                assert_ne!(offsets.sock.v6_daddr, 0, "{mark}");
                assert_ne!(offsets.sock.write_seq, 0, "{mark}");
            }
        }
    }

    #[test]
    fn finds_a_gki_of_5_10() {
        let offsets = without_btf(GKI, "aarch64").unwrap();
        assert_eq!((offsets.task.tgid, offsets.sock.protocol), (1484, 548));
        // The lowest bit of the type is the direction, so the type of a write is 5.
        assert_eq!(5 & offsets.msg.kind_mask, offsets.msg.iovec);
        assert_eq!(offsets.msg.ubuf, NO_KIND);
    }

    #[test]
    fn rejects_other_kernels() {
        for (release, arch) in [
            (GKI, "x86_64"),
            ("5.10.66-android12-8-00018-g75d0d4dc9b42", "aarch64"),
            ("5.10.0-28-arm64", "aarch64"),
            ("5.15.41-android13-8-00055-g4f5025129fe8", "aarch64"),
            ("4.19.157-perf", "aarch64"),
        ] {
            let error = without_btf(release, arch).unwrap_err();
            assert!(matches!(error, OffsetsError::Unknown { .. }), "{release}");
            assert!(error.to_string().contains(release), "{error}");
        }
    }
}
