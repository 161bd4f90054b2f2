//! The client with BoringSSL that `cargo xtask setup --tests` builds of
//! `fixtures/boringssl/client.c`, with Debian's build of Android's BoringSSL.

use std::{
    env::consts::ARCH,
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use crate::{sender::copy, skip};

/// The library with `SSL_write`.
pub const LIBSSL: &str = "libssl.so.0";

/// The program, and what it loads from its own folder.
const FILES: [&str; 3] = ["client", LIBSSL, "libcrypto.so.0"];

/// Copies program and libraries to a folder, for every UID, and answers where
/// the program is: `client ADDRESS PORT [APK POSITION]`. `None`, and the test is
/// skipped, where it was not built.
///
/// # Panics
/// When it cannot be copied.
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
        fs::set_permissions(&copied, fs::Permissions::from_mode(0o755)).expect("its mode");
    }
    Some(to.join(FILES[0]))
}
