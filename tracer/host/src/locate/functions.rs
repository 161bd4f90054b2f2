//! The functions that receive plaintext, and the libraries that contain them.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::signatures::SourceFile;

/// A TLS library, or a library through which applications write to one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Library {
    /// OpenSSL, or a library with the same interface (LibreSSL).
    OpenSsl,
    /// BoringSSL.
    BoringSsl,
    /// AWS-LC, which is derived from BoringSSL.
    #[serde(rename = "aws-lc")]
    AwsLc,
    /// GnuTLS.
    GnuTls,
    /// NSPR, through which Firefox writes to NSS.
    Nspr,
    /// rustls, which is not read.
    Rustls,
    /// Go's package `crypto/tls`, or a copy of it.
    #[serde(rename = "go-crypto-tls")]
    GoCryptoTls,
    /// Conscrypt's classes for Java, which call a BoringSSL of their own or of the system.
    Conscrypt,
    /// NSS's cryptographic functions.
    Nss,
}

impl fmt::Display for Library {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::OpenSsl => "OpenSSL",
            Self::BoringSsl => "BoringSSL",
            Self::AwsLc => "AWS-LC",
            Self::GnuTls => "GnuTLS",
            Self::Nspr => "NSPR",
            Self::Rustls => "rustls",
            Self::GoCryptoTls => "Go crypto/tls",
            Self::Conscrypt => "Conscrypt",
            Self::Nss => "NSS",
        })
    }
}

/// The name of a function to locate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Name {
    /// `int SSL_write(SSL *, const void *buf, int len)`
    #[serde(rename = "SSL_write")]
    SslWrite,
    /// `int SSL_write_ex(SSL *, const void *buf, size_t len, size_t *written)`,
    /// in OpenSSL since 1.1.1
    #[serde(rename = "SSL_write_ex")]
    SslWriteEx,
    /// The function to which OpenSSL's `SSL_write` and `SSL_write_ex` pass their arguments:
    /// `int ssl_write_internal(SSL *, const void *buf, size_t len, size_t *written)`, with flags
    /// before the last since 3.3.
    #[serde(rename = "ssl_write_internal")]
    SslWriteInternal,
    /// `ssize_t gnutls_record_send(gnutls_session_t, const void *buf, size_t len)`
    #[serde(rename = "gnutls_record_send")]
    GnutlsRecordSend,
    /// `gnutls_record_send` with two arguments more, which that function calls since 3.6.3. It is
    /// searched in place of it in stripped programs.
    #[serde(rename = "gnutls_record_send2")]
    GnutlsRecordSend2,
    /// `PRInt32 PR_Write(PRFileDesc *, const void *buf, PRInt32 len)`
    #[serde(rename = "PR_Write")]
    PrWrite,
    /// Encrypts TLS records in BoringSSL until December 2025.
    #[serde(rename = "EVP_AEAD_CTX_seal_scatter")]
    AeadSealScatter,
    /// Encrypts QUIC packets in BoringSSL until December 2025.
    #[serde(rename = "EVP_AEAD_CTX_seal")]
    AeadSeal,
    /// Encrypts both in BoringSSL since then.
    #[serde(rename = "EVP_AEAD_CTX_sealv")]
    AeadSealv,
    /// Encrypts and decrypts with AES in NSS.
    #[serde(rename = "AES_AEAD")]
    AesAead,
    /// Encrypts with ChaCha20 in NSS.
    #[serde(rename = "ChaCha20Poly1305_Encrypt")]
    ChaCha20Encrypt,
    /// `func (c *Conn) writeRecordLocked(typ recordType, data []byte) (int, error)` of Go's
    /// `crypto/tls`, with arguments in registers
    #[serde(rename = "crypto/tls.(*Conn).writeRecordLocked")]
    GoWriteRecord,
    /// The same with arguments on the stack, until Go 1.17
    #[serde(rename = "crypto/tls.(*Conn).writeRecordLocked (ABI0)")]
    GoWriteRecordStack,
}

impl Name {
    /// All names, in the order of reports.
    pub(crate) const ALL: [Self; 13] = [
        Self::SslWrite,
        Self::SslWriteEx,
        Self::SslWriteInternal,
        Self::GnutlsRecordSend,
        Self::GnutlsRecordSend2,
        Self::PrWrite,
        Self::AeadSealScatter,
        Self::AeadSeal,
        Self::AeadSealv,
        Self::AesAead,
        Self::ChaCha20Encrypt,
        Self::GoWriteRecord,
        Self::GoWriteRecordStack,
    ];

    /// Returns the symbol name.
    pub fn symbol(self) -> &'static str {
        match self {
            Self::SslWrite => "SSL_write",
            Self::SslWriteEx => "SSL_write_ex",
            Self::SslWriteInternal => "ssl_write_internal",
            Self::GnutlsRecordSend => "gnutls_record_send",
            Self::GnutlsRecordSend2 => "gnutls_record_send2",
            Self::PrWrite => "PR_Write",
            Self::AeadSealScatter => "EVP_AEAD_CTX_seal_scatter",
            Self::AeadSeal => "EVP_AEAD_CTX_seal",
            Self::AeadSealv => "EVP_AEAD_CTX_sealv",
            Self::AesAead => "AES_AEAD",
            Self::ChaCha20Encrypt => "ChaCha20Poly1305_Encrypt",
            Self::GoWriteRecord => "crypto/tls.(*Conn).writeRecordLocked",
            Self::GoWriteRecordStack => "crypto/tls.(*Conn).writeRecordLocked (ABI0)",
        }
    }

    /// Reports whether the function encrypts QUIC packets.
    pub fn seals(self) -> bool {
        match self {
            Self::AeadSealScatter | Self::AeadSeal | Self::AeadSealv => true,
            Self::AesAead | Self::ChaCha20Encrypt => true,
            Self::SslWrite | Self::SslWriteEx | Self::SslWriteInternal => false,
            Self::PrWrite => false,
            Self::GnutlsRecordSend | Self::GnutlsRecordSend2 => false,
            Self::GoWriteRecord | Self::GoWriteRecordStack => false,
        }
    }

    /// Returns the number of integer arguments that a probe reads from registers.
    pub(super) fn arguments(self) -> usize {
        match self {
            Self::SslWrite | Self::GnutlsRecordSend | Self::GnutlsRecordSend2 | Self::PrWrite => 3,
            Self::SslWriteEx => 4,
            Self::SslWriteInternal => 5,
            Self::AeadSealScatter | Self::AeadSeal | Self::AeadSealv => 6,
            Self::AesAead | Self::ChaCha20Encrypt => 6,
            // Go has registers of its own; its functions are probed before the first change.
            Self::GoWriteRecord | Self::GoWriteRecordStack => 0,
        }
    }

    /// Reports whether the function is missing from a `library` without it.
    ///
    /// The AEAD functions are not expected anywhere: a BoringSSL has some of them, depending
    /// on its age. `gnutls_record_send2` is not needed beside the function that calls it, and
    /// `ssl_write_internal` not beside those that do.
    pub(super) fn is_expected_in(self, library: Library) -> bool {
        match self {
            Self::SslWrite => {
                matches!(library, Library::OpenSsl | Library::BoringSsl | Library::AwsLc)
            }
            Self::SslWriteEx => library == Library::OpenSsl,
            Self::GnutlsRecordSend => library == Library::GnuTls,
            Self::PrWrite => library == Library::Nspr,
            Self::AesAead | Self::ChaCha20Encrypt => library == Library::Nss,
            Self::SslWriteInternal | Self::GnutlsRecordSend2 => false,
            Self::AeadSealScatter | Self::AeadSeal | Self::AeadSealv => false,
            // What is not found is reported as not read.
            Self::GoWriteRecord | Self::GoWriteRecordStack => false,
        }
    }

    /// Reports whether a file without a TLS library is reported as not having the function.
    /// The other functions only exist together with these.
    pub(super) fn is_typical(self) -> bool {
        matches!(self, Self::SslWrite | Self::GnutlsRecordSend | Self::PrWrite)
    }

    /// Reports whether a probe reads the value that the function returns.
    pub(super) fn has_return_probe(self) -> bool {
        !matches!(
            self,
            Self::AeadSealScatter
                | Self::AeadSeal
                | Self::AeadSealv
                | Self::GoWriteRecord
                | Self::GoWriteRecordStack
        )
    }

    /// Reports whether the function is of use if a symbol names it. Where `gnutls_record_send2` has
    /// a symbol, the function that calls it has one too. `ssl_write_internal` is only searched for
    /// where it costs less than those. NSS does not export its functions by name, so a symbol may
    /// be that of another library. Go's table of functions is there with and without symbols.
    pub(super) fn has_probed_symbol(self) -> bool {
        !matches!(
            self,
            Self::SslWriteInternal
                | Self::GnutlsRecordSend2
                | Self::AesAead
                | Self::ChaCha20Encrypt
                | Self::GoWriteRecord
                | Self::GoWriteRecordStack
        )
    }

    /// Reports whether all calls of the function reach `inner`, which is in the same file and sees
    /// the same bytes. Since December 2025, `EVP_AEAD_CTX_seal` and `_seal_scatter` call `_sealv`.
    pub(super) fn calls(self, inner: Self) -> bool {
        match inner {
            Self::SslWriteInternal => matches!(self, Self::SslWrite | Self::SslWriteEx),
            Self::AeadSealv => matches!(self, Self::AeadSeal | Self::AeadSealScatter),
            _ => false,
        }
    }

    /// Returns the source file of BoringSSL that contains the function.
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
