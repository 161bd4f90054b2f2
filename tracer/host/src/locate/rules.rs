//! Which error reasons tell which function of BoringSSL, by era.
//!
//! The numbers are BoringSSL's `SSL_R_…` and `CIPHER_R_…`. They are part of
//! its stable error codes; what changes over the years is which of them a
//! function can give. A rule that no longer holds finds nothing.

use super::Name;
use super::code::Walk;

/// The source files whose names lead to the functions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum SourceFile {
    /// `ssl/ssl_lib.cc`, until 2017 `.c`
    SslLib,
    /// `crypto/fipsmodule/cipher/aead.cc.inc`, formerly `.c.inc`, `.c`
    Aead,
}

impl SourceFile {
    pub(super) const ALL: [Self; 2] = [Self::SslLib, Self::Aead];

    /// What all of a file's names over the years have in common.
    pub(super) fn stem(self) -> &'static [u8] {
        match self {
            Self::SslLib => b"ssl/ssl_lib.c",
            Self::Aead => b"cipher/aead.c",
        }
    }

    /// Whether what follows the stem ends the name.
    pub(super) fn is_end(self, rest: &[u8]) -> bool {
        let ends: &[&[u8]] = match self {
            Self::SslLib => &[b"\0", b"c\0"],
            Self::Aead => &[b"\0", b"c\0", b".inc\0", b"c.inc\0"],
        };
        ends.iter().any(|end| rest.starts_with(end))
    }
}

/// One way to know a function.
#[derive(Debug)]
pub(super) struct Rule {
    /// The reasons it gives.
    pub(super) with: &'static [u32],
    /// Reasons that it does not give, and functions like it do.
    pub(super) without: &'static [u32],
    /// How many functions there are with these reasons.
    pub(super) pick: Pick,
}

/// Which of the functions with a rule's reasons is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pick {
    /// The only one.
    Only,
    /// The one furthest down in the source file, of exactly so many.
    LastOf(usize),
}

const fn only(with: &'static [u32], without: &'static [u32]) -> Rule {
    Rule { with, without, pick: Pick::Only }
}

/// Tried in order; the first that any function satisfies decides.
pub(super) const RULES: &[(Name, &[Rule])] = &[
    (
        Name::SslWrite,
        &[
            // UNINITIALIZED, SSL_HANDSHAKE_FAILURE, BAD_LENGTH: since 2022.
            only(&[226, 215, 111], &[]),
            // PROTOCOL_IS_SHUTDOWN for the third: until 2021.
            only(&[226, 215, 194], &[]),
            // In between, the third is in a function of its own. SSL_write
            // comes after SSL_read's part with the same two.
            Rule { with: &[226, 215], without: &[], pick: Pick::LastOf(2) },
        ],
    ),
    // TLS records, until December 2025: OUTPUT_ALIASES_INPUT,
    // INVALID_OPERATION.
    (Name::AeadSealScatter, &[only(&[115, 112], &[])]),
    // QUIC packets, until December 2025: TOO_LARGE, BUFFER_TOO_SMALL,
    // OUTPUT_ALIASES_INPUT.
    (Name::AeadSeal, &[only(&[117, 103, 115], &[])]),
    // Both, since then: TOO_LARGE, OUTPUT_ALIASES_INPUT,
    // CTRL_NOT_IMPLEMENTED; not the opening twin's BAD_DECRYPT, nor
    // BUFFER_TOO_SMALL, UNSUPPORTED_TAG_SIZE.
    (Name::AeadSealv, &[only(&[117, 115, 104], &[101, 103, 122])]),
];

impl Rule {
    /// Whether a function gives these reasons.
    pub(super) fn holds(&self, function: &Walk) -> bool {
        let has = |reason: &u32| function.reasons.contains(reason);
        self.with.iter().all(has) && !self.without.iter().any(has)
    }
}
