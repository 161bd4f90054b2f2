//! Random keys from the system.

use std::io;

use rustix::rand::{GetRandomFlags, getrandom};
use tracer_core::alert::redact::Key;

/// Returns a new random key for digests.
///
/// # Errors
/// If the system provides no random bytes.
pub(crate) fn key() -> io::Result<Key> {
    let mut key = [0; Key::LEN];
    // Requests of up to 256 bytes are never answered partially (getrandom(2)).
    getrandom(&mut key, GetRandomFlags::empty())?;
    Ok(Key(key))
}
