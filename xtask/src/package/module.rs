//! The module for Magisk, KernelSU and APatch.

use std::{
    fs::{self, File},
    io::Write as _,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use zip::{CompressionMethod, ZipWriter, write::SimpleFileOptions};

use super::Contents;
use crate::arch::Arch;

/// Returns the name of an architecture in Magisk's scripts.
fn architecture(arch: Arch) -> &'static str {
    match arch {
        Arch::X86_64 => "x64",
        Arch::Aarch64 => "arm64",
    }
}

/// Builds the module in a folder and returns its path.
pub(super) fn build(contents: &Contents<'_>, folder: &Path) -> Result<PathBuf> {
    let Contents { arch, version, binary, .. } = contents;
    let path = folder.join(format!("tracer-{version}-android-{}.zip", architecture(*arch)));
    let file = File::create(&path).with_context(|| format!("cannot write {}", path.display()))?;
    let mut archive = ZipWriter::new(file);
    // Without times, the same input gives the same bytes.
    let options = SimpleFileOptions::default().compression_method(CompressionMethod::Deflated);
    let mut add = |name: &str, mode: u32, bytes: &[u8]| -> Result<()> {
        archive.start_file(name, options.unix_permissions(mode))?;
        Ok(archive.write_all(bytes)?)
    };
    let script = |name: &str| contents.template(&format!("module/{name}"));
    add("module.prop", 0o644, properties(version).as_bytes())?;
    add("META-INF/com/google/android/update-binary", 0o755, script("update-binary")?.as_bytes())?;
    // Magisk looks for this word.
    add("META-INF/com/google/android/updater-script", 0o644, b"#MAGISK\n")?;
    let customize = script("customize.sh")?.replace("@ARCH@", architecture(*arch));
    add("customize.sh", 0o644, customize.as_bytes())?;
    for name in ["service.sh", "uninstall.sh"] {
        add(name, 0o755, script(name)?.as_bytes())?;
    }
    add("system/bin/tracer", 0o755, &fs::read(binary)?)?;
    archive.finish()?;
    Ok(path)
}

/// Returns the description of the module. The code grows with each version, so that managers
/// recognise an upgrade.
fn properties(version: &str) -> String {
    let code = version
        .split('.')
        .filter_map(|part| part.parse::<u32>().ok())
        .fold(0, |code, part| code * 1000 + part);
    format!(
        "id=tracer\nname=tracer\nversion={version}\nversionCode={code}\nauthor=the tracer project\n\
         description=Alerts when a browser reports the pages that its users visit\n"
    )
}

#[cfg(test)]
mod tests {
    use super::properties;

    #[test]
    fn later_versions_have_higher_codes() {
        assert!(properties("0.1.0").contains("\nversionCode=1000\n"));
        assert!(properties("1.2.13").contains("\nversionCode=1002013\n"));
    }
}
