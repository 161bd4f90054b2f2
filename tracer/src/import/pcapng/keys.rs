//! Keys of TLS connections, as clients log them (`SSLKEYLOGFILE`,
//! draft-ietf-tls-keylogfile) and captures hold them (a decryption secrets
//! block).
//!
//! ```text
//! CLIENT_TRAFFIC_SECRET_0 │ client random, 64 digits │ secret, 64 or 96 digits
//! ```

use std::collections::HashMap;

use data_encoding::HEXLOWER_PERMISSIVE;

/// Connections whose keys are kept: more than a capture has in practice.
const MAX_CONNECTIONS: usize = 65_536;

/// The longest secret: SHA-384's.
const MAX_SECRET: usize = 48;

/// What a client calls its connection.
pub(super) type Random = [u8; 32];

/// The secrets of what a client sends in one connection.
#[derive(Debug, Clone, Default)]
pub(super) struct Secrets {
    pub(super) early: Option<Vec<u8>>,
    pub(super) handshake: Option<Vec<u8>>,
    pub(super) application: Option<Vec<u8>>,
}

/// The secrets of a capture's connections.
#[derive(Debug, Default)]
pub(super) struct KeyLog(HashMap<Random, Secrets>);

impl KeyLog {
    /// Reads a log. What is no key of TLS 1.3 is passed over.
    pub(super) fn read(&mut self, log: &[u8]) {
        log.split(|&b| b == b'\n').for_each(|line| {
            let _ = self.line(line);
        });
    }

    /// The secrets of a connection.
    pub(super) fn of(&self, random: &Random) -> Option<&Secrets> {
        self.0.get(random)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn line(&mut self, line: &[u8]) -> Option<()> {
        let mut words = line.trim_ascii().split(|&b| b == b' ');
        let (label, random, secret) = (words.next()?, words.next()?, words.next()?);
        let random: Random = HEXLOWER_PERMISSIVE.decode(random).ok()?.try_into().ok()?;
        let secret = HEXLOWER_PERMISSIVE.decode(secret).ok()?;
        let fits = secret.len() <= MAX_SECRET;
        if !fits || self.0.len() == MAX_CONNECTIONS && !self.0.contains_key(&random) {
            return None;
        }
        let place = |secrets: &mut Secrets, secret| match label {
            b"CLIENT_EARLY_TRAFFIC_SECRET" => secrets.early = secret,
            b"CLIENT_HANDSHAKE_TRAFFIC_SECRET" => secrets.handshake = secret,
            _ => secrets.application = secret,
        };
        let known: [&[u8]; 3] = [
            b"CLIENT_EARLY_TRAFFIC_SECRET",
            b"CLIENT_HANDSHAKE_TRAFFIC_SECRET",
            b"CLIENT_TRAFFIC_SECRET_0",
        ];
        if known.contains(&label) {
            place(self.0.entry(random).or_default(), Some(secret));
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_is_read() {
        let (random, secret) = ("Ab".repeat(32), "cd".repeat(32));
        let log = format!(
            "# a comment\r\nCLIENT_TRAFFIC_SECRET_0 {random} {secret}\r\n\
             CLIENT_HANDSHAKE_TRAFFIC_SECRET {random} {secret}\n\
             SERVER_TRAFFIC_SECRET_0 {random} {secret}\nCLIENT_RANDOM {random} {secret}\n\
             CLIENT_TRAFFIC_SECRET_0 zz {secret}\nCLIENT_TRAFFIC_SECRET_0 {random}"
        );
        let mut keys = KeyLog::default();
        keys.read(log.as_bytes());
        let secrets = keys.of(&[0xab; 32]).expect("the connection");
        assert_eq!(secrets.application.as_deref(), Some(&[0xcd; 32][..]));
        assert!(secrets.handshake.is_some() && secrets.early.is_none());
        assert_eq!(keys.0.len(), 1);
    }
}
