//! Signatures of BoringSSL's functions: the error reasons that each of them reports.
//!
//! The numbers are BoringSSL's `SSL_R_…` and `CIPHER_R_…`. They are stable, but the set of
//! reasons that a function can report changes over the years. A signature that no longer
//! applies matches nothing.

use super::Name;
use super::errors::Errors;

/// The source files that contain the functions. The code refers to their names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum SourceFile {
    /// BoringSSL's `ssl/ssl_lib.cc` (until 2017, `.c`); OpenSSL's `ssl/ssl_lib.c`.
    SslLib,
    /// BoringSSL's `crypto/fipsmodule/cipher/aead.cc.inc`; formerly `.c.inc` and `.c`.
    Aead,
    /// GnuTLS's `lib/record.c`.
    GnutlsRecord,
}

impl SourceFile {
    pub(super) const ALL: [Self; 3] = [Self::SslLib, Self::Aead, Self::GnutlsRecord];

    /// Returns the common part of all names of the file over the years.
    pub(super) fn stem(self) -> &'static [u8] {
        match self {
            Self::SslLib => b"ssl_lib.c",
            Self::Aead => b"cipher/aead.c",
            Self::GnutlsRecord => b"record.c",
        }
    }

    /// Reports whether the bytes after the stem complete a name of the file.
    pub(super) fn is_end(self, rest: &[u8]) -> bool {
        let ends: &[&[u8]] = match self {
            Self::SslLib => &[b"\0", b"c\0"],
            Self::Aead => &[b"\0", b"c\0", b".inc\0", b"c.inc\0"],
            Self::GnutlsRecord => &[b"\0"],
        };
        ends.iter().any(|end| rest.starts_with(end))
    }
}

/// Functions whose names the code passes when it reports an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum FunctionName {
    /// OpenSSL's `SSL_write`.
    SslWrite,
    /// The part that OpenSSL's functions for writing share.
    SslWriteInternal,
    /// GnuTLS's `gnutls_record_send2`, which `gnutls_record_send` calls since 3.6.3.
    GnutlsRecordSend2,
    /// GnuTLS's `gnutls_record_send` until then.
    GnutlsRecordSend,
}

impl FunctionName {
    pub(super) const ALL: [Self; 4] =
        [Self::SslWrite, Self::SslWriteInternal, Self::GnutlsRecordSend2, Self::GnutlsRecordSend];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::SslWrite => "SSL_write",
            Self::SslWriteInternal => "ssl_write_internal",
            Self::GnutlsRecordSend2 => "gnutls_record_send2",
            Self::GnutlsRecordSend => "gnutls_record_send",
        }
    }

    /// Returns the source file that contains the function.
    pub(super) fn source_file(self) -> SourceFile {
        match self {
            Self::SslWrite | Self::SslWriteInternal => SourceFile::SslLib,
            Self::GnutlsRecordSend2 | Self::GnutlsRecordSend => SourceFile::GnutlsRecord,
        }
    }
}

/// The error reasons of a function.
#[derive(Debug)]
pub(super) struct Signature {
    /// Reasons that the function reports.
    pub(super) with: &'static [u32],
    /// Reasons that it does not report, but similar functions do.
    pub(super) without: &'static [u32],
    /// The function to pick if the signature matches.
    pub(super) pick: Pick,
}

/// The function to pick from those that match a signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pick {
    /// The only match.
    Only,
    /// The only match on lines that are different from those of all others, and after them.
    OnLastLines,
}

const fn only(with: &'static [u32], without: &'static [u32]) -> Signature {
    Signature { with, without, pick: Pick::Only }
}

/// The signatures of each function, tried in order. The first that matches any function
/// decides.
pub(super) const SIGNATURES: &[(Name, &[Signature])] = &[
    (
        Name::SslWrite,
        &[
            // Since 2022: UNINITIALIZED, SSL_HANDSHAKE_FAILURE, BAD_LENGTH.
            only(&[226, 215, 111], &[]),
            // Until 2021: PROTOCOL_IS_SHUTDOWN is the third.
            only(&[226, 215, 194], &[]),
            // In between, a separate function reports the third reason. SSL_write follows the
            // part of SSL_read and SSL_peek that reports the same two reasons. Compilers copy
            // that part into both, with its lines.
            Signature { with: &[226, 215], without: &[111, 194], pick: Pick::OnLastLines },
        ],
    ),
    // TLS records until December 2025: OUTPUT_ALIASES_INPUT, INVALID_OPERATION.
    (Name::AeadSealScatter, &[only(&[115, 112], &[])]),
    // QUIC packets until December 2025: TOO_LARGE, BUFFER_TOO_SMALL,
    // OUTPUT_ALIASES_INPUT.
    (Name::AeadSeal, &[only(&[117, 103, 115], &[])]),
    // Both since then: TOO_LARGE, OUTPUT_ALIASES_INPUT, CTRL_NOT_IMPLEMENTED. The function
    // for decryption also reports BAD_DECRYPT; other similar functions BUFFER_TOO_SMALL or
    // UNSUPPORTED_TAG_SIZE.
    (Name::AeadSealv, &[only(&[117, 115, 104], &[101, 103, 122])]),
];

impl Signature {
    /// Reports whether a function that reports `errors` matches.
    pub(super) fn matches(&self, errors: &Errors) -> bool {
        let has = |reason: &u32| errors.reasons.contains(reason);
        self.with.iter().all(has) && !self.without.iter().any(has)
    }
}
