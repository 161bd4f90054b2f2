//! The functions that plaintext passes, and what each needs of a probe.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::rules::SourceFile;

/// A TLS library, or the library that carries its writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Library {
    /// OpenSSL, or one with its interface (LibreSSL).
    OpenSsl,
    /// BoringSSL.
    BoringSsl,
    /// GnuTLS.
    GnuTls,
    /// NSPR, through which Firefox writes to NSS.
    Nspr,
}

impl fmt::Display for Library {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::OpenSsl => "OpenSSL",
            Self::BoringSsl => "BoringSSL",
            Self::GnuTls => "GnuTLS",
            Self::Nspr => "NSPR",
        })
    }
}

/// A function that is looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Name {
    /// `int SSL_write(SSL *, const void *buf, int len)`
    #[serde(rename = "SSL_write")]
    SslWrite,
    /// `int SSL_write_ex(SSL *, const void *buf, size_t len, size_t *written)`,
    /// in OpenSSL since 1.1.1
    #[serde(rename = "SSL_write_ex")]
    SslWriteEx,
    /// `ssize_t gnutls_record_send(gnutls_session_t, const void *buf,
    /// size_t len)`. It calls `gnutls_record_send2`, so that one is not
    /// looked for.
    #[serde(rename = "gnutls_record_send")]
    GnutlsRecordSend,
    /// `PRInt32 PR_Write(PRFileDesc *, const void *buf, PRInt32 len)`
    #[serde(rename = "PR_Write")]
    PrWrite,
    /// BoringSSL's seal of TLS records, until December 2025.
    #[serde(rename = "EVP_AEAD_CTX_seal_scatter")]
    AeadSealScatter,
    /// BoringSSL's seal of QUIC packets, until December 2025.
    #[serde(rename = "EVP_AEAD_CTX_seal")]
    AeadSeal,
    /// BoringSSL's seal of both, since then.
    #[serde(rename = "EVP_AEAD_CTX_sealv")]
    AeadSealv,
}

impl Name {
    /// All of them, in the order they are reported in.
    pub(super) const ALL: [Self; 7] = [
        Self::SslWrite,
        Self::SslWriteEx,
        Self::GnutlsRecordSend,
        Self::PrWrite,
        Self::AeadSealScatter,
        Self::AeadSeal,
        Self::AeadSealv,
    ];

    /// The symbol.
    pub fn symbol(self) -> &'static str {
        match self {
            Self::SslWrite => "SSL_write",
            Self::SslWriteEx => "SSL_write_ex",
            Self::GnutlsRecordSend => "gnutls_record_send",
            Self::PrWrite => "PR_Write",
            Self::AeadSealScatter => "EVP_AEAD_CTX_seal_scatter",
            Self::AeadSeal => "EVP_AEAD_CTX_seal",
            Self::AeadSealv => "EVP_AEAD_CTX_sealv",
        }
    }

    /// How many leading integer arguments a probe reads from registers.
    pub(super) fn arguments(self) -> usize {
        match self {
            Self::SslWrite | Self::GnutlsRecordSend | Self::PrWrite => 3,
            Self::SslWriteEx => 4,
            Self::AeadSealScatter | Self::AeadSeal | Self::AeadSealv => 6,
        }
    }

    /// Whether the function, and so its absence, belongs to `library`.
    ///
    /// The seals are reported where they are found; which of them a BoringSSL
    /// has depends on its age, so none is missed.
    pub(super) fn expected_of(self, library: Library) -> bool {
        match self {
            Self::SslWrite => matches!(library, Library::OpenSsl | Library::BoringSsl),
            Self::SslWriteEx => library == Library::OpenSsl,
            Self::GnutlsRecordSend => library == Library::GnuTls,
            Self::PrWrite => library == Library::Nspr,
            Self::AeadSealScatter | Self::AeadSeal | Self::AeadSealv => false,
        }
    }

    /// Whether a file without any TLS library is said not to have it. The
    /// others only exist beside these.
    pub(super) fn is_typical(self) -> bool {
        matches!(self, Self::SslWrite | Self::GnutlsRecordSend | Self::PrWrite)
    }

    /// The file of BoringSSL's that holds the function.
    pub(super) fn source_file(self) -> SourceFile {
        match self {
            Self::AeadSealScatter | Self::AeadSeal | Self::AeadSealv => SourceFile::Aead,
            _ => SourceFile::SslLib,
        }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.symbol())
    }
}
