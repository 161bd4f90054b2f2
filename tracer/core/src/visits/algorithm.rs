//! Hash algorithms.

use std::borrow::Cow;

use blake2::{
    Blake2b, Blake2b512, Blake2s256,
    digest::consts::{U16, U20, U32},
};
use data_encoding::HEXLOWER;
use md4::Md4;
use md5::Md5;
use ripemd::Ripemd160;
use sha1::Sha1;
use sha2::{Digest as _, Sha224, Sha256, Sha384, Sha512, Sha512_224, Sha512_256};
use sha3::{Keccak256, Sha3_224, Sha3_256, Sha3_384, Sha3_512};
use shake::{ExtendableOutput, Shake128, Shake256};
use sm3::Sm3;

/// A hash algorithm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// MD4 (RFC 1320).
    Md4,
    /// MD5 (RFC 1321).
    Md5,
    /// SHA-1 (FIPS 180-4).
    Sha1,
    /// SHA-224 (FIPS 180-4).
    Sha224,
    /// SHA-256 (FIPS 180-4).
    Sha256,
    /// SHA-384 (FIPS 180-4).
    Sha384,
    /// SHA-512 (FIPS 180-4).
    Sha512,
    /// SHA-512/224 (FIPS 180-4).
    Sha512Of224,
    /// SHA-512/256 (FIPS 180-4).
    Sha512Of256,
    /// SHA3-224 (FIPS 202).
    Sha3Of224,
    /// SHA3-256 (FIPS 202).
    Sha3Of256,
    /// SHA3-384 (FIPS 202).
    Sha3Of384,
    /// SHA3-512 (FIPS 202).
    Sha3Of512,
    /// Keccak-256, as Ethereum uses it.
    Keccak256,
    /// SHAKE128 (FIPS 202).
    Shake128,
    /// SHAKE256 (FIPS 202).
    Shake256,
    /// BLAKE2b (RFC 7693) of 512 bits.
    Blake2bOf512,
    /// BLAKE2b of 256 bits.
    Blake2bOf256,
    /// BLAKE2b of 160 bits.
    Blake2bOf160,
    /// BLAKE2b of 128 bits.
    Blake2bOf128,
    /// BLAKE2s (RFC 7693) of 256 bits.
    Blake2sOf256,
    /// BLAKE3.
    Blake3,
    /// RIPEMD-160 (ISO/IEC 10118-3).
    Ripemd160,
    /// SM3 (GB/T 32905).
    Sm3,
    /// A hash of another hash that is written in hexadecimal.
    Nested(Common, Common),
    /// SHA-256 of the bytes of SHA-256, as Bitcoin uses it.
    Sha256OfBytes,
    /// RIPEMD-160 of the bytes of SHA-256, as Bitcoin uses it.
    Ripemd160OfBytes,
    /// A hash of the text in UTF-16, as programs for Windows and Java make it.
    OfUtf16(Common),
    /// MD5 in the form of a UUID, as Java's `UUID.nameUUIDFromBytes` returns it.
    UuidOfMd5,
    /// A UUID of version 3 (RFC 9562): MD5 in a namespace, that of URLs or of host names.
    Uuid3,
    /// A UUID of version 5: the same with SHA-1.
    Uuid5,
    /// FNV-1a of 64 bits.
    Fnv1aOf64,
    /// FNV-1 of 32 bits.
    Fnv1Of32,
    /// Adler-32, as zlib uses it.
    Adler32,
    /// The hash of sdbm, of 32 bits.
    Sdbm,
    /// FNV-1a of 32 bits.
    Fnv1aOf32,
    /// Bernstein's hash `djb2`, of 32 bits.
    Djb2,
    /// CRC-32 as in zip and PNG.
    Crc32,
    /// Java's `String.hashCode`.
    JavaHash,
}

/// An algorithm whose hashes are hashed again, or cut at other places than their end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Common {
    /// MD5.
    Md5,
    /// SHA-1.
    Sha1,
    /// SHA-256.
    Sha256,
    /// SHA-512.
    Sha512,
}

impl Common {
    pub(super) const ALL: [Self; 4] = [Self::Md5, Self::Sha1, Self::Sha256, Self::Sha512];

    fn name(self) -> &'static str {
        match self {
            Self::Md5 => "md5",
            Self::Sha1 => "sha1",
            Self::Sha256 => "sha256",
            Self::Sha512 => "sha512",
        }
    }

    fn digest(self, bytes: &[u8]) -> Vec<u8> {
        match self {
            Self::Md5 => Md5::digest(bytes).to_vec(),
            Self::Sha1 => Sha1::digest(bytes).to_vec(),
            Self::Sha256 => Sha256::digest(bytes).to_vec(),
            Self::Sha512 => Sha512::digest(bytes).to_vec(),
        }
    }
}

impl Algorithm {
    /// Returns the name in findings and in JSON.
    pub fn name(self) -> Cow<'static, str> {
        let name = match self {
            Self::Nested(outer, inner) => {
                return format!("{}_of_{}", outer.name(), inner.name()).into();
            }
            Self::OfUtf16(outer) => return format!("{}_of_utf16", outer.name()).into(),
            Self::Md4 => "md4",
            Self::Md5 => "md5",
            Self::Sha1 => "sha1",
            Self::Sha224 => "sha224",
            Self::Sha256 => "sha256",
            Self::Sha384 => "sha384",
            Self::Sha512 => "sha512",
            Self::Sha512Of224 => "sha512_224",
            Self::Sha512Of256 => "sha512_256",
            Self::Sha3Of224 => "sha3_224",
            Self::Sha3Of256 => "sha3_256",
            Self::Sha3Of384 => "sha3_384",
            Self::Sha3Of512 => "sha3_512",
            Self::Keccak256 => "keccak256",
            Self::Shake128 => "shake128",
            Self::Shake256 => "shake256",
            Self::Blake2bOf512 => "blake2b",
            Self::Blake2bOf256 => "blake2b_256",
            Self::Blake2bOf160 => "blake2b_160",
            Self::Blake2bOf128 => "blake2b_128",
            Self::Blake2sOf256 => "blake2s",
            Self::Blake3 => "blake3",
            Self::Ripemd160 => "ripemd160",
            Self::Sm3 => "sm3",
            Self::Sha256OfBytes => "sha256_of_bytes",
            Self::Ripemd160OfBytes => "ripemd160_of_bytes",
            Self::UuidOfMd5 => "uuid_of_md5",
            Self::Uuid3 => "uuid3",
            Self::Uuid5 => "uuid5",
            Self::Fnv1aOf64 => "fnv1a_64",
            Self::Fnv1Of32 => "fnv1_32",
            Self::Adler32 => "adler32",
            Self::Sdbm => "sdbm",
            Self::Fnv1aOf32 => "fnv1a_32",
            Self::Djb2 => "djb2",
            Self::Crc32 => "crc32",
            Self::JavaHash => "java_hash",
        };
        name.into()
    }

    /// Returns the hash of 32 bits; that of others is their first 32 bits.
    pub(super) fn short(self, text: &str) -> u32 {
        match self {
            Self::Crc32 => crc32fast::hash(text.as_bytes()),
            // Over the units of UTF-16.
            Self::JavaHash => text
                .encode_utf16()
                .fold(0u32, |hash, unit| hash.wrapping_mul(31).wrapping_add(unit.into())),
            Self::Fnv1aOf32 => text
                .bytes()
                .fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)),
            Self::Fnv1Of32 => text
                .bytes()
                .fold(0x811c_9dc5, |hash, byte| hash.wrapping_mul(0x0100_0193) ^ u32::from(byte)),
            Self::Adler32 => {
                const MODULUS: u32 = 65_521;
                let (low, high) = text.bytes().fold((1, 0), |(low, high), byte| {
                    let low = (low + u32::from(byte)) % MODULUS;
                    (low, (high + low) % MODULUS)
                });
                high << 16 | low
            }
            Self::Sdbm => text
                .bytes()
                .fold(0, |hash: u32, byte| hash.wrapping_mul(65_599).wrapping_add(byte.into())),
            Self::Djb2 => text
                .bytes()
                .fold(5381, |hash: u32, byte| hash.wrapping_mul(33).wrapping_add(byte.into())),
            strong => {
                strong.digest(text).first_chunk().map_or(0, |first| u32::from_be_bytes(*first))
            }
        }
    }

    pub(super) fn digest(self, text: &str) -> Vec<u8> {
        match self {
            Self::Md4 => Md4::digest(text).to_vec(),
            Self::Md5 => Md5::digest(text).to_vec(),
            Self::Sha1 => Sha1::digest(text).to_vec(),
            Self::Sha224 => Sha224::digest(text).to_vec(),
            Self::Sha256 => Sha256::digest(text).to_vec(),
            Self::Sha384 => Sha384::digest(text).to_vec(),
            Self::Sha512 => Sha512::digest(text).to_vec(),
            Self::Sha512Of224 => Sha512_224::digest(text).to_vec(),
            Self::Sha512Of256 => Sha512_256::digest(text).to_vec(),
            Self::Sha3Of224 => Sha3_224::digest(text).to_vec(),
            Self::Sha3Of256 => Sha3_256::digest(text).to_vec(),
            Self::Sha3Of384 => Sha3_384::digest(text).to_vec(),
            Self::Sha3Of512 => Sha3_512::digest(text).to_vec(),
            Self::Keccak256 => Keccak256::digest(text).to_vec(),
            Self::Shake128 => shake::<Shake128>(text),
            Self::Shake256 => shake::<Shake256>(text),
            Self::Blake2bOf512 => Blake2b512::digest(text).to_vec(),
            Self::Blake2bOf256 => Blake2b::<U32>::digest(text).to_vec(),
            Self::Blake2bOf160 => Blake2b::<U20>::digest(text).to_vec(),
            Self::Blake2bOf128 => Blake2b::<U16>::digest(text).to_vec(),
            Self::Blake2sOf256 => Blake2s256::digest(text).to_vec(),
            Self::Blake3 => blake3::hash(text.as_bytes()).as_bytes().to_vec(),
            Self::Ripemd160 => Ripemd160::digest(text).to_vec(),
            Self::Sm3 => Sm3::digest(text).to_vec(),
            Self::Nested(outer, inner) => {
                outer.digest(HEXLOWER.encode(&inner.digest(text.as_bytes())).as_bytes())
            }
            Self::Sha256OfBytes => Sha256::digest(Sha256::digest(text)).to_vec(),
            Self::Ripemd160OfBytes => Ripemd160::digest(Sha256::digest(text)).to_vec(),
            Self::OfUtf16(outer) => {
                let units = text.encode_utf16().flat_map(u16::to_le_bytes);
                outer.digest(&units.collect::<Vec<u8>>())
            }
            Self::UuidOfMd5 => uuid(&Md5::digest(text), 3).to_vec(),
            Self::Uuid3 => {
                let digest = Md5::new().chain_update(namespace(text)).chain_update(text);
                uuid(&digest.finalize(), 3).to_vec()
            }
            Self::Uuid5 => {
                let digest = Sha1::new().chain_update(namespace(text)).chain_update(text);
                uuid(&digest.finalize(), 5).to_vec()
            }
            Self::Fnv1aOf64 => {
                let byte =
                    |hash: u64, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
                text.bytes().fold(0xcbf2_9ce4_8422_2325, byte).to_be_bytes().to_vec()
            }
            Self::Fnv1Of32
            | Self::Adler32
            | Self::Sdbm
            | Self::Fnv1aOf32
            | Self::Djb2
            | Self::Crc32
            | Self::JavaHash => self.short(text).to_be_bytes().to_vec(),
        }
    }
}

/// Returns as many bytes as the longest hash has. A shorter output is the start of a longer one.
fn shake<X: ExtendableOutput + Default>(text: &str) -> Vec<u8> {
    let mut bytes = vec![0; 64];
    X::digest_xof(text, &mut bytes);
    bytes
}

/// Returns the namespace of a text in UUIDs (RFC 9562 section 6.6): that of URLs, or that of
/// host names.
fn namespace(text: &str) -> [u8; 16] {
    let mut namespace = *b"\x6b\xa7\xb8\x10\x9d\xad\x11\xd1\x80\xb4\x00\xc0\x4f\xd4\x30\xc8";
    namespace[3] += u8::from(text.contains("://"));
    namespace
}

/// Makes a UUID of a version from the first bytes of a digest.
fn uuid(digest: &[u8], version: u8) -> [u8; 16] {
    let mut bytes: [u8; 16] = digest.first_chunk().copied().unwrap_or_default();
    bytes[6] = bytes[6] & 0x0f | version << 4;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    bytes
}
