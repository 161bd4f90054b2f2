//! The BoringSSL client that `cargo xtask setup --tests` builds from
//! `fixtures/boringssl/client.c` and Debian's package of Android's BoringSSL.

use std::{
    env::consts::ARCH,
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use crate::{sender::copy, skip};

/// The library that exports `SSL_write`.
pub const LIBSSL: &str = "libssl.so.0";

/// The program and the libraries that it loads from its own folder.
const FILES: [&str; 3] = ["client", LIBSSL, "libcrypto.so.0"];

/// Copies the program and its libraries to a folder, executable by every UID, and
/// returns the program's path. Its usage is `client ADDRESS PORT [APK POSITION]`.
/// Returns `None`, and marks the test as skipped, if the client has not been built.
///
/// # Panics
/// Panics if a file cannot be copied.
pub fn client(to: &Path) -> Option<PathBuf> {
    let tools = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.tools/boringssl"));
    let built = tools.join(ARCH);
    let need = "a client with BoringSSL (`cargo xtask setup --tests`)";
    if !skip::met(built.join(FILES[0]).is_file(), need) {
        return None;
    }
    for name in FILES {
        let copied = to.join(name);
        copy(&built.join(name), &copied);
        fs::set_permissions(&copied, fs::Permissions::from_mode(0o755)).expect("permissions");
    }
    Some(to.join(FILES[0]))
}
