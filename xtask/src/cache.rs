//! The directory for things that are built or fetched once for all clones of a user.

use std::{
    env,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    path::PathBuf,
};

use anyhow::{Context as _, Result};

/// `$TRACER_CACHE`, else `$XDG_CACHE_HOME/tracer`, else `~/.cache/tracer`.
///
/// # Errors
/// If none of the three is set to an absolute path.
pub(crate) fn directory() -> Result<PathBuf> {
    let absolute =
        |name: &str| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    absolute("TRACER_CACHE")
        .or_else(|| Some(absolute("XDG_CACHE_HOME")?.join("tracer")))
        .or_else(|| Some(absolute("HOME")?.join(".cache/tracer")))
        .context("no directory for a cache; set TRACER_CACHE to an absolute path")
}

/// Hash of a text, to name what was made from it. Not cryptographic, and different
/// with another compiler, in which case things are made again.
pub(crate) fn hash(text: &str) -> String {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    format!("{:016x}", hasher.finish())
}
