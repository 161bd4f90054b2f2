//! Keys that identify kernel and library objects without revealing addresses.

use crate::kernel::setting;

/// Returns the key of the object at `address`: its address, hashed with a seed
/// that is random for each run.
#[inline(always)]
pub(crate) fn object_key(address: u64) -> u64 {
    mix(address ^ setting!(key_seed))
}

/// Mixes the bits of a number (the finalizer of MurmurHash3).
#[inline(always)]
fn mix(mut x: u64) -> u64 {
    x = (x ^ (x >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    x = (x ^ (x >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    x ^ (x >> 33)
}
