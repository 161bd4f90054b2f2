//! Lookups in the public suffix list.

use psl::{Domain, Info, List, Psl, Suffix};

/// The public suffix list behind one function that is not generic: the crate's own would be compiled
/// again for each module that calls it, and make up more than a quarter of this crate's code.
struct Suffixes;

impl Psl for Suffixes {
    fn find<'a, T: Iterator<Item = &'a [u8]>>(&self, mut labels: T) -> Info {
        find(&mut labels)
    }
}

fn find(labels: &mut dyn Iterator<Item = &[u8]>) -> Info {
    List.find(labels)
}

/// Returns the public suffix of a name in lower case.
pub(crate) fn public_suffix(name: &str) -> Option<Suffix<'_>> {
    Suffixes.suffix(name.as_bytes())
}

/// Returns the registrable domain of a name in lower case: its public suffix and one label.
pub(super) fn registrable_domain(name: &str) -> Option<Domain<'_>> {
    Suffixes.domain(name.as_bytes())
}
