//! TLS key logs: the secrets of connections in the format of `SSLKEYLOGFILE`
//! (draft-ietf-tls-keylogfile), which captures contain as decryption secrets.
//!
//! ```text
//! CLIENT_TRAFFIC_SECRET_0 │ client random, 64 digits │ secret, 64 or 96 digits
//! CLIENT_RANDOM           │ client random, 64 digits │ master secret, 96 digits
//! ```

use std::collections::HashMap;

use data_encoding::HEXLOWER_PERMISSIVE;

/// Maximum number of connections whose keys are kept, more than captures contain
/// in practice.
const MAX_CONNECTIONS: usize = 65_536;

/// Maximum length of a secret, which is that of SHA-384.
const MAX_SECRET: usize = 48;

/// Client random, which identifies a connection.
pub(in super::super) type Random = [u8; 32];

/// Master secret of a connection up to TLS 1.2.
pub(in super::super) type Master = [u8; 48];

/// The secrets of a connection.
#[derive(Debug, Clone)]
pub(in super::super) enum Secrets {
    /// Up to TLS 1.2: the secret of both sides.
    Master(Master),
    /// TLS 1.3: the secrets of the client's records.
    Traffic(Traffic),
}

/// The client's secrets in TLS 1.3, in the order of their use.
#[derive(Debug, Clone, Default)]
pub(in super::super) struct Traffic {
    pub(in super::super) early: Option<Vec<u8>>,
    pub(in super::super) handshake: Option<Vec<u8>>,
    pub(in super::super) application: Option<Vec<u8>>,
}

impl Secrets {
    /// Reports whether application data can be decrypted.
    pub(in super::super) fn are_usable(&self) -> bool {
        match self {
            Self::Master(_) => true,
            Self::Traffic(traffic) => traffic.early.is_some() || traffic.application.is_some(),
        }
    }

    fn traffic(&mut self) -> Option<&mut Traffic> {
        match self {
            Self::Traffic(traffic) => Some(traffic),
            Self::Master(_) => None,
        }
    }
}

/// The secrets of a capture's connections.
#[derive(Debug, Default)]
pub(in super::super) struct KeyLog(HashMap<Random, Secrets>);

impl KeyLog {
    /// Reads a log. Other lines are ignored.
    pub(in super::super) fn read(&mut self, log: &[u8]) {
        log.split(|&b| b == b'\n').for_each(|line| {
            let _ = self.line(line);
        });
    }

    /// Returns the secrets of a connection.
    pub(in super::super) fn secrets(&self, random: &Random) -> Option<&Secrets> {
        self.0.get(random)
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
        let slot: fn(&mut Traffic) -> &mut Option<Vec<u8>> = match label {
            b"CLIENT_RANDOM" => {
                self.0.insert(random, Secrets::Master(secret.try_into().ok()?));
                return Some(());
            }
            b"CLIENT_EARLY_TRAFFIC_SECRET" => |secrets| &mut secrets.early,
            b"CLIENT_HANDSHAKE_TRAFFIC_SECRET" => |secrets| &mut secrets.handshake,
            b"CLIENT_TRAFFIC_SECRET_0" => |secrets| &mut secrets.application,
            _ => return None,
        };
        let secrets = self.0.entry(random).or_insert_with(|| Secrets::Traffic(Traffic::default()));
        *slot(secrets.traffic()?) = Some(secret);
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn client_secrets_are_read() {
        let [one, two, other] = ["Ab", "Cd", "Ef"].map(|byte| byte.repeat(32));
        let (secret, master) = ("12".repeat(32), "34".repeat(48));
        let log = format!(
            "# a comment\r\nCLIENT_TRAFFIC_SECRET_0 {one} {secret}\r\n\
             CLIENT_HANDSHAKE_TRAFFIC_SECRET {one} {secret}\nCLIENT_RANDOM {two} {master}\n\
             SERVER_TRAFFIC_SECRET_0 {other} {secret}\nCLIENT_RANDOM {other} {secret}\n\
             CLIENT_TRAFFIC_SECRET_0 zz {secret}\nCLIENT_TRAFFIC_SECRET_0 {other}"
        );
        let mut keys = KeyLog::default();
        keys.read(log.as_bytes());
        let Some(Secrets::Traffic(secrets)) = keys.secrets(&[0xab; 32]) else { panic!() };
        assert_eq!(secrets.application.as_deref(), Some(&[0x12; 32][..]));
        assert!(secrets.handshake.is_some() && secrets.early.is_none());
        let Some(Secrets::Master(master)) = keys.secrets(&[0xcd; 32]) else { panic!() };
        assert_eq!(*master, [0x34; 48]);
        assert_eq!(keys.0.len(), 2);
    }
}
