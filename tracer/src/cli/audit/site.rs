//! The pages of an audit, and the process that serves them.
//!
//! ```text
//! tracer audit    listens on loopback, starts ──▶ tracer audit-serve   restricts itself
//! (privileged)    ──── Start, Page ────────────▶                       answers requests
//!                 ◀─── number of a page ───────                        when it is requested
//! ```
//!
//! Requests for pages, and handshakes, are bytes that a browser chooses, so they are parsed without
//! rights. The audit accepts nothing from the process but the numbers of pages.

mod server;

use std::{
    collections::{HashMap, HashSet},
    io::{self, Write as _},
    net::{Ipv4Addr, TcpListener},
    os::{
        fd::OwnedFd,
        unix::{net::UnixStream, process::CommandExt as _},
    },
    process::{Child, Command},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use anyhow::Context as _;
use data_encoding::BASE64;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PublicKeyData as _,
};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use tokio::{sync::Notify, time::timeout};

use tracer_audit::canary::Canary;

pub(in crate::cli) use self::server::{ServeArgs, serve};

/// Domain of the pages. Names below `.test` cannot be registered (RFC 6761, section 6.2).
pub(super) const DOMAIN: &str = "tracer-audit.test";

/// Hidden subcommand that serves the pages.
const SUBCOMMAND: &str = "audit-serve";

/// A line to the process that serves the pages.
#[derive(Debug, Serialize, Deserialize)]
enum Message {
    /// The first line: the certificate and its key, both in DER and base64, if there is TLS.
    Start { identity: Option<(String, String)> },
    /// A page.
    Page {
        number: u32,
        /// Host, path and query, without port and scheme.
        address: String,
        title: String,
    },
}

/// The pages.
pub(super) struct Site {
    pub(super) port: u16,
    /// Base64 of the SHA-256 of the key's SubjectPublicKeyInfo, for browsers that can be configured
    /// to trust a key. `None` without TLS.
    pub(super) spki: Option<String>,
    /// Certificate of the CA in PEM, for browsers that can be configured to trust a CA.
    pub(super) ca: Option<String>,
    pages: Arc<Pages>,
    process: Process,
}

/// The process that serves the pages.
struct Process {
    child: Child,
    channel: UnixStream,
}

/// The state of the pages.
#[derive(Default)]
struct Pages {
    /// The number of each address, anew for each visit.
    numbers: Mutex<HashMap<String, u32>>,
    /// The numbers that were requested.
    served: Mutex<HashSet<u32>>,
    changed: Notify,
}

impl Site {
    /// Starts to serve pages on a free port.
    ///
    /// # Errors
    /// If all ports are in use, or the process cannot be started.
    pub(super) fn start(tls: bool) -> anyhow::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0));
        let listener = listener.context("cannot start the server of the pages")?;
        let port = listener.local_addr()?.port();
        let identity =
            tls.then(identity).transpose().context("cannot create the certificate of the pages")?;
        let (keys, spki, ca) = match identity {
            Some(Identity { keys, spki, ca }) => (Some(keys), Some(spki), Some(ca)),
            None => (None, None, None),
        };
        let mut process =
            Process::start(listener).context("cannot start the server of the pages")?;
        process.send(&Message::Start { identity: keys })?;
        let answers = process.channel.try_clone()?;
        answers.set_nonblocking(true)?;
        let pages = Arc::new(Pages::default());
        let answers = tokio::net::UnixStream::from_std(answers)?;
        tokio::spawn(receive(answers, Arc::clone(&pages)));
        Ok(Self { port, spki, ca, pages, process })
    }

    /// Adds a page, or prepares for another visit to it.
    pub(super) fn add(&mut self, canary: &Canary) {
        let address = address(&canary.authority, canary.target());
        let mut numbers = self.pages.numbers.lock().unwrap_or_else(PoisonError::into_inner);
        let number = numbers.values().max().map_or(0, |last| last + 1);
        // A browser may leave out the query. Of several pages, the last one is meant.
        for address in [without_query(&address), &address] {
            numbers.insert(address.to_owned(), number);
        }
        drop(numbers);
        let title = canary.title.clone();
        if self.process.send(&Message::Page { number, address, title }).is_err() {
            message!("the process that serves the pages has ended; its pages cannot be opened");
        }
    }

    /// Waits until a page is requested. Returns false on a timeout.
    pub(super) async fn is_served(&self, canary: &Canary, within: Duration) -> bool {
        let address = address(&canary.authority, canary.target());
        let requested = async {
            loop {
                let changed = self.pages.changed.notified();
                if self.pages.was_served(&address) {
                    return;
                }
                changed.await;
            }
        };
        timeout(within, requested).await.is_ok()
    }
}

impl Process {
    fn start(listener: TcpListener) -> anyhow::Result<Self> {
        let (ours, theirs) = UnixStream::pair()?;
        let child = Command::new("/proc/self/exe")
            .arg(SUBCOMMAND)
            .stdin(OwnedFd::from(theirs))
            // It prints nothing.
            .stdout(OwnedFd::from(listener))
            // Signals of the terminal are for the audit.
            .process_group(0)
            .spawn()?;
        Ok(Self { child, channel: ours })
    }

    fn send(&mut self, message: &Message) -> anyhow::Result<()> {
        let mut line = serde_json::to_vec(message)?;
        line.push(b'\n');
        Ok(self.channel.write_all(&line)?)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Notes the pages that the process reports, until it ends.
async fn receive(answers: tokio::net::UnixStream, pages: Arc<Pages>) {
    let mut bytes = Vec::new();
    while answers.readable().await.is_ok() {
        let mut some = [0; 64];
        match answers.try_read(&mut some) {
            Ok(0) => return,
            Ok(read) => bytes.extend_from_slice(&some[..read]),
            Err(err) if err.kind() == io::ErrorKind::WouldBlock => {}
            Err(_) => return,
        }
        let (numbers, rest) = bytes.as_chunks();
        numbers.iter().for_each(|number| pages.note(u32::from_le_bytes(*number)));
        bytes = rest.to_vec();
    }
}

impl Pages {
    /// Notes that a page was requested. Numbers that no page has are ignored.
    fn note(&self, number: u32) {
        let numbers = self.numbers.lock().unwrap_or_else(PoisonError::into_inner);
        if numbers.values().any(|known| *known == number) {
            self.served.lock().unwrap_or_else(PoisonError::into_inner).insert(number);
            self.changed.notify_waiters();
        }
    }

    fn was_served(&self, address: &str) -> bool {
        let numbers = self.numbers.lock().unwrap_or_else(PoisonError::into_inner);
        let served = self.served.lock().unwrap_or_else(PoisonError::into_inner);
        numbers.get(address).is_some_and(|number| served.contains(number))
    }
}

/// Returns the address of a page: host, path and query, without port and scheme.
fn address(authority: &str, target: &str) -> String {
    let host = authority.rsplit_once(':').map_or(authority, |(host, _)| host);
    format!("{host}{target}")
}

fn without_query(address: &str) -> &str {
    address.split('?').next().unwrap_or_default()
}

/// Certificate and key of the server.
struct Identity {
    /// The certificate and the key, in DER and base64.
    keys: (String, String),
    spki: String,
    ca: String,
}

/// Creates a CA that signs one certificate, and discards its key.
fn identity() -> anyhow::Result<Identity> {
    const DAY: Duration = Duration::from_secs(24 * 60 * 60);
    let now = SystemTime::now();
    let parameters = |names: &[String], name: &str| -> anyhow::Result<CertificateParams> {
        let mut parameters = CertificateParams::new(names)?;
        // Clocks differ, and an audit takes less than a week.
        parameters.not_before = (now - DAY).into();
        parameters.not_after = (now + 7 * DAY).into();
        parameters.distinguished_name.push(DnType::CommonName, name);
        Ok(parameters)
    };
    let mut ca = parameters(&[], "tracer audit")?;
    ca.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    ca.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    let ca_key = KeyPair::generate()?;
    let ca_pem = ca.self_signed(&ca_key)?.pem();

    let mut site = parameters(&[format!("*.{DOMAIN}"), DOMAIN.to_owned()], DOMAIN)?;
    site.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    site.use_authority_key_identifier_extension = true;
    let key = KeyPair::generate()?;
    let certificate = site.signed_by(&key, &Issuer::new(ca, ca_key))?;
    let spki = BASE64.encode(&Sha256::digest(key.subject_public_key_info()));
    let keys = (BASE64.encode(certificate.der()), BASE64.encode(&key.serialize_der()));
    Ok(Identity { keys, spki, ca: ca_pem })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_numbers_of_pages_are_accepted() {
        let pages = Pages::default();
        pages.numbers.lock().unwrap().insert("a.test/x?q".into(), 3);
        assert!(!pages.was_served("a.test/x?q"));
        (0..3).chain(4..100).for_each(|number| pages.note(number));
        assert!(!pages.was_served("a.test/x?q"));
        assert!(pages.served.lock().unwrap().is_empty());
        pages.note(3);
        assert!(pages.was_served("a.test/x?q"));
        assert!(!pages.was_served("b.test/"));
    }

    #[test]
    fn an_address_has_no_port() {
        assert_eq!(address("a.test:8443", "/x?q"), "a.test/x?q");
        assert_eq!(address("a.test", "/x"), "a.test/x");
        assert_eq!(without_query("a.test/x?q?r"), "a.test/x");
    }
}
