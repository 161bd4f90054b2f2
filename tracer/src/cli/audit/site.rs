//! The server of the audit's pages. It listens on loopback, and its pages contain nothing but their
//! title.

use std::{
    collections::{HashMap, HashSet},
    convert::Infallible,
    io,
    net::Ipv4Addr,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use anyhow::Context as _;
use data_encoding::BASE64;
use http_body_util::Full;
use hyper::{Request, Response, body::Bytes, body::Incoming, header, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PublicKeyData as _,
};
use sha2::{Digest as _, Sha256};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpListener,
    sync::{Notify, Semaphore},
    time::timeout,
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        ServerConfig,
        pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
    },
};

use tracer_audit::canary::Canary;

/// Domain of the pages. Names below `.test` cannot be registered (RFC 6761, section 6.2).
pub(super) const DOMAIN: &str = "tracer-audit.test";

/// Maximum number of connections. A browser opens six for each host.
const MAX_CONNECTIONS: usize = 64;

/// Time to wait for a request.
const PATIENCE: Duration = Duration::from_secs(30);

/// The server.
pub(super) struct Site {
    pub(super) port: u16,
    /// Base64 of the SHA-256 of the key's SubjectPublicKeyInfo, for browsers that can be configured
    /// to trust a key. `None` without TLS.
    pub(super) spki: Option<String>,
    /// Certificate of the CA in PEM, for browsers that can be configured to trust a CA.
    pub(super) ca: Option<String>,
    pages: Arc<Pages>,
}

/// State of the server.
#[derive(Default)]
struct Pages {
    /// Titles by the address of the page.
    titles: Mutex<HashMap<String, String>>,
    /// Addresses of pages that were requested since they were added.
    served: Mutex<HashSet<String>>,
    changed: Notify,
}

impl Site {
    /// Starts the server on a free port. It runs until the runtime ends.
    pub(super) async fn start(tls: bool) -> anyhow::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await;
        let listener = listener.context("cannot start the server of the pages")?;
        let port = listener.local_addr()?.port();
        let pages = Arc::new(Pages::default());
        let identity =
            tls.then(identity).transpose().context("cannot create the certificate of the pages")?;
        let (acceptor, spki, ca) = match identity {
            Some(identity) => (Some(identity.acceptor), Some(identity.spki), Some(identity.ca)),
            None => (None, None, None),
        };
        tokio::spawn(accept(listener, acceptor, Arc::clone(&pages)));
        Ok(Self { port, spki, ca, pages })
    }

    /// Adds a page, or prepares for another visit to it.
    pub(super) fn add(&self, canary: &Canary) {
        let address = address(&canary.authority, canary.target());
        let mut titles = self.pages.titles.lock().unwrap_or_else(PoisonError::into_inner);
        titles.insert(address.clone(), canary.title.clone());
        // A browser may leave out the query. Of several pages, the last one is meant.
        titles.insert(without_query(&address).to_owned(), canary.title.clone());
        drop(titles);
        let mut served = self.pages.served.lock().unwrap_or_else(PoisonError::into_inner);
        served.remove(&address);
        served.remove(without_query(&address));
    }

    /// Waits until a page is requested. Returns false on a timeout.
    pub(super) async fn is_served(&self, canary: &Canary, within: Duration) -> bool {
        let address = address(&canary.authority, canary.target());
        let requested = async {
            loop {
                let changed = self.pages.changed.notified();
                if self.pages.was_served(&address) || self.pages.was_served(without_query(&address))
                {
                    return;
                }
                changed.await;
            }
        };
        timeout(within, requested).await.is_ok()
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

impl Pages {
    fn was_served(&self, address: &str) -> bool {
        self.served.lock().unwrap_or_else(PoisonError::into_inner).contains(address)
    }

    fn answer(&self, request: &Request<Incoming>) -> Response<Full<Bytes>> {
        let host = request.headers().get(header::HOST).and_then(|host| host.to_str().ok());
        let target = request.uri().path_and_query().map_or("/", |target| target.as_str());
        let address = address(host.unwrap_or_default(), target);
        let titles = self.titles.lock().unwrap_or_else(PoisonError::into_inner);
        let title = titles.get(&address).cloned();
        drop(titles);
        if title.is_some() {
            let mut served = self.served.lock().unwrap_or_else(PoisonError::into_inner);
            served.insert(address);
            self.changed.notify_waiters();
        }
        let mut response = Response::new(Full::new(Bytes::from(page(title.as_deref()))));
        let headers = response.headers_mut();
        let mut field = |name, value| headers.insert(name, header::HeaderValue::from_static(value));
        field(header::CONTENT_TYPE, "text/html; charset=utf-8");
        field(header::CACHE_CONTROL, "no-store");
        // The page itself sends nothing, so any report of it comes from the browser.
        field(header::CONTENT_SECURITY_POLICY, "default-src 'none'; style-src 'unsafe-inline'");
        response
    }
}

/// Renders a page. The titles are made by tracer, and need no escaping.
fn page(title: Option<&str>) -> String {
    let title = title.unwrap_or("tracer");
    format!(
        "<!doctype html>\n<html lang=\"en\"><meta charset=\"utf-8\"><title>{title}</title>\n\
         <link rel=\"icon\" href=\"data:,\">\n\
         <style>body {{ font: 1rem/1.5 sans-serif; margin: 3rem auto; max-width: 40rem }}</style>\n\
         <h1>{title}</h1>\n<p>tracer made this page for an audit of this browser. Its address is \
         known to nobody else.</p></html>\n"
    )
}

async fn accept(listener: TcpListener, tls: Option<TlsAcceptor>, pages: Arc<Pages>) {
    let room = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let Ok(permit) = Arc::clone(&room).acquire_owned().await else {
            return;
        };
        let Ok((stream, _)) = listener.accept().await else {
            // For example out of file descriptors, until connections end.
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let (tls, pages) = (tls.clone(), Arc::clone(&pages));
        tokio::spawn(async move {
            let _permit = permit;
            match tls {
                Some(tls) => {
                    if let Ok(Ok(stream)) = timeout(PATIENCE, tls.accept(stream)).await {
                        serve(stream, pages).await;
                    }
                }
                None => serve(stream, pages).await,
            }
        });
    }
}

async fn serve(stream: impl AsyncRead + AsyncWrite + Unpin, pages: Arc<Pages>) {
    let service = service_fn(move |request| {
        let answer = pages.answer(&request);
        async move { Ok::<_, Infallible>(answer) }
    });
    let mut server = hyper::server::conn::http1::Builder::new();
    server.timer(TokioTimer::new()).header_read_timeout(PATIENCE);
    // Errors of one connection do not matter.
    let _ = server.serve_connection(TokioIo::new(stream), service).await;
}

/// Certificate and key of the server.
struct Identity {
    acceptor: TlsAcceptor,
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
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key)
        .map_err(io::Error::other)?;
    Ok(Identity { acceptor: TlsAcceptor::from(Arc::new(config)), spki, ca: ca_pem })
}
