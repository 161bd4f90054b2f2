//! A TLS client with BoringSSL for the tests: Android's library, which Debian builds for
//! its Android tools, and `tests/fixtures/boringssl/client.c`.
//!
//! ```text
//! .tools/boringssl/aarch64/client
//!                          libssl.so.0, libcrypto.so.0
//! ```

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};

use super::foreign::Archive;
use crate::{arch::Arch, cross, ui::Ui, workspace::Workspace};

/// The suites to take it from. Debian has it from bookworm on.
const SUITES: [&str; 2] = ["bookworm", "bookworm-security"];

const LIBRARIES: &str = "android-libboringssl";
const HEADERS: &str = "android-libboringssl-dev";

/// Libraries that the program loads.
const NAMES: [&str; 2] = ["libssl.so.0", "libcrypto.so.0"];

/// Builds the client if it is missing or older than its source. Returns its folder.
///
/// # Errors
/// If the packages or a C compiler are not available, or the build fails.
pub(crate) fn client(workspace: &Workspace, ui: &Ui, arch: Arch) -> Result<PathBuf> {
    let folder = workspace.tools().join("boringssl").join(arch.rust());
    if is_built(workspace, arch) {
        return Ok(folder);
    }
    let compiler = cross::c_compiler(ui, arch)?;
    let archive = Archive::open(ui, &SUITES, arch.debian())?;
    let unpack = |package| archive.unpack_without(package, &["./usr/share"]);
    let (libraries, headers) = (unpack(LIBRARIES)?, unpack(HEADERS)?);
    let libraries = libraries.join(format!("usr/lib/{}-linux-gnu/android", arch.rust()));
    fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
    for name in NAMES {
        fs::copy(libraries.join(name), folder.join(name))
            .with_context(|| format!("{LIBRARIES} has no {name}"))?;
    }
    let mut command = Command::new(compiler);
    command
        .args(["-O1", "-Wall", "-Wextra", "-Werror", "-I"])
        .arg(headers.join("usr/include/android"))
        .arg(source(workspace))
        // libssl finds its own dependencies beside the program, too.
        .args(["-Wl,--no-as-needed", "-Wl,-rpath,$ORIGIN", "-L"])
        .arg(&folder)
        .args(NAMES.map(|name| format!("-l:{name}")))
        .arg("-o")
        .arg(program(&folder));
    ui.step(&format!("build a client with BoringSSL for {}", arch.rust()), &mut command)?;
    Ok(folder)
}

/// True if it is there and up to date.
pub(super) fn is_built(workspace: &Workspace, arch: Arch) -> bool {
    let folder = workspace.tools().join("boringssl").join(arch.rust());
    let modified = |path: &Path| fs::metadata(path).and_then(|metadata| metadata.modified()).ok();
    // `None` if a file is missing, which is less than any time.
    modified(&program(&folder)) > modified(&source(workspace))
}

fn program(folder: &Path) -> PathBuf {
    folder.join("client")
}

fn source(workspace: &Workspace) -> PathBuf {
    workspace.root().join("tests/fixtures/boringssl/client.c")
}
