//! Where what was built once for this user is kept, for every clone.

use std::{
    env,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    path::PathBuf,
};

use anyhow::{Context as _, Result};

/// `$TRACER_CACHE`, else `$XDG_CACHE_HOME/tracer`, else `~/.cache/tracer`.
///
/// # Errors
/// When none of the three is set to an absolute path.
pub(crate) fn directory() -> Result<PathBuf> {
    let absolute =
        |name: &str| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    absolute("TRACER_CACHE")
        .or_else(|| Some(absolute("XDG_CACHE_HOME")?.join("tracer")))
        .or_else(|| Some(absolute("HOME")?.join(".cache/tracer")))
        .context("no place for a cache: set TRACER_CACHE to an absolute path")
}

/// Tells what was made of this text from what was made of another. Not meant
/// to resist anybody; with another compiler, things are only made anew.
pub(crate) fn hash(text: &str) -> String {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    format!("{:016x}", hasher.finish())
}
