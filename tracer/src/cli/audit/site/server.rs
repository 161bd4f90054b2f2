//! The process that serves the pages, without rights. The pages contain nothing but their title.

use std::{
    collections::HashMap,
    convert::Infallible,
    io::{self, BufRead as _, BufReader, Read as _, Write as _},
    net::TcpListener,
    os::{fd::AsFd as _, unix::net::UnixStream},
    process::ExitCode,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::Context as _;
use data_encoding::BASE64;
use http_body_util::Full;
use hyper::{Request, Response, body::Bytes, body::Incoming, header, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    io::{AsyncRead, AsyncWrite, Interest},
    sync::Semaphore,
    time::timeout,
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        ServerConfig,
        pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer},
    },
};
use tracer_host::sandbox::Sandbox;

use super::{super::super::confine, Message, address, without_query};

/// Maximum number of connections. A browser opens six for each host.
const MAX_CONNECTIONS: usize = 64;

/// Time to wait for a request.
const PATIENCE: Duration = Duration::from_secs(30);

/// Arguments of the hidden subcommand.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct ServeArgs {}

/// Serves the pages of the audit at the other end of standard input, on the listening socket that
/// is its standard output.
pub(in crate::cli) fn serve(_: &ServeArgs) -> anyhow::Result<ExitCode> {
    const INTERNAL: &str = "standard input is not a socket; this command is internal";
    let channel = io::stdin().as_fd().try_clone_to_owned().map(UnixStream::from)?;
    channel.peer_addr().context(INTERNAL)?;
    let listener = io::stdout().as_fd().try_clone_to_owned().map(TcpListener::from)?;
    listener.local_addr().context(INTERNAL)?;
    confine::enter(&Sandbox::new().with_threads().with_listeners())?;
    let acceptor = acceptor(&channel)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(run(channel, listener, acceptor))?;
    Ok(ExitCode::SUCCESS)
}

/// Reads the first line, byte by byte, so that the second one is left.
fn acceptor(channel: &UnixStream) -> anyhow::Result<Option<TlsAcceptor>> {
    let mut line = Vec::new();
    BufReader::with_capacity(1, channel).read_until(b'\n', &mut line)?;
    let Message::Start { identity } = serde_json::from_slice(&line)? else {
        anyhow::bail!("the first line is not the start");
    };
    let Some((certificate, key)) = identity else {
        return Ok(None);
    };
    let certificate = CertificateDer::from(BASE64.decode(certificate.as_bytes())?);
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(BASE64.decode(key.as_bytes())?));
    let config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .map_err(io::Error::other)?;
    Ok(Some(TlsAcceptor::from(Arc::new(config))))
}

/// Serves until the audit closes its end.
async fn run(
    channel: UnixStream,
    listener: TcpListener,
    acceptor: Option<TlsAcceptor>,
) -> io::Result<()> {
    channel.set_nonblocking(true)?;
    listener.set_nonblocking(true)?;
    let pages = Arc::new(Pages::new(channel.try_clone()?));
    let listener = tokio::net::TcpListener::from_std(listener)?;
    tokio::spawn(accept(listener, acceptor, Arc::clone(&pages)));
    let channel = tokio::net::UnixStream::from_std(channel)?;
    loop {
        channel.readable().await?;
        match channel.try_io(Interest::READABLE, || pages.update()) {
            Ok(()) => return Ok(()),
            Err(err) if err.kind() == io::ErrorKind::WouldBlock => {}
            Err(err) => return Err(err),
        }
    }
}

/// The pages that the audit has added.
struct Pages {
    state: Mutex<State>,
    channel: UnixStream,
}

#[derive(Default)]
struct State {
    /// The beginning of a line.
    line: Vec<u8>,
    /// Numbers and titles by the address of the page.
    pages: HashMap<String, (u32, String)>,
    /// The last page that was reported: a browser may request one many times.
    reported: Option<u32>,
}

impl Pages {
    fn new(channel: UnixStream) -> Self {
        Self { state: Mutex::default(), channel }
    }

    /// Reads what the audit has sent, until nothing is left (`WouldBlock`). Returns at the end.
    fn update(&self) -> io::Result<()> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let mut bytes = [0; 4096];
        loop {
            match (&self.channel).read(&mut bytes)? {
                0 => return Ok(()),
                read => state.read(&bytes[..read])?,
            }
        }
    }

    fn answer(&self, request: &Request<Incoming>) -> Response<Full<Bytes>> {
        // The audit has added a page before it lets the browser open it.
        let _ = self.update();
        let host = request.headers().get(header::HOST).and_then(|host| host.to_str().ok());
        let target = request.uri().path_and_query().map_or("/", |target| target.as_str());
        let address = address(host.unwrap_or_default(), target);
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let page = state.pages.get(&address).cloned();
        if let Some((number, _)) = page
            && state.reported.replace(number) != Some(number)
        {
            // If the audit does not read it, the page counts as not requested.
            let _ = (&self.channel).write_all(&number.to_le_bytes());
        }
        drop(state);
        let title = page.map(|(_, title)| title);
        let mut response = Response::new(Full::new(Bytes::from(self::page(title.as_deref()))));
        let headers = response.headers_mut();
        let mut field = |name, value| headers.insert(name, header::HeaderValue::from_static(value));
        field(header::CONTENT_TYPE, "text/html; charset=utf-8");
        field(header::CACHE_CONTROL, "no-store");
        // The page itself sends nothing, so any report of it comes from the browser.
        field(header::CONTENT_SECURITY_POLICY, "default-src 'none'; style-src 'unsafe-inline'");
        response
    }
}

impl State {
    /// Takes bytes from the audit.
    fn read(&mut self, bytes: &[u8]) -> io::Result<()> {
        for &byte in bytes {
            if byte != b'\n' {
                self.line.push(byte);
                continue;
            }
            let message = serde_json::from_slice(&std::mem::take(&mut self.line))?;
            if let Message::Page { number, address, title } = message {
                self.pages.insert(without_query(&address).to_owned(), (number, title.clone()));
                self.pages.insert(address, (number, title));
            }
        }
        Ok(())
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

async fn accept(listener: tokio::net::TcpListener, tls: Option<TlsAcceptor>, pages: Arc<Pages>) {
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
                        serve_connection(stream, pages).await;
                    }
                }
                None => serve_connection(stream, pages).await,
            }
        });
    }
}

async fn serve_connection(stream: impl AsyncRead + AsyncWrite + Unpin, pages: Arc<Pages>) {
    let service = service_fn(move |request| {
        let answer = pages.answer(&request);
        async move { Ok::<_, Infallible>(answer) }
    });
    let mut server = hyper::server::conn::http1::Builder::new();
    server.timer(TokioTimer::new()).header_read_timeout(PATIENCE);
    // Errors of one connection do not matter.
    let _ = server.serve_connection(TokioIo::new(stream), service).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_known_by_its_address_with_and_without_query() {
        let mut state = State::default();
        let page = |number: u32, address: &str| {
            let (address, title) = (address.to_owned(), format!("title {number}"));
            let mut line = serde_json::to_vec(&Message::Page { number, address, title }).unwrap();
            line.push(b'\n');
            line
        };
        let lines = [page(0, "a.test/x?1"), page(1, "a.test/x?2")].concat();
        for byte in lines {
            state.read(&[byte]).unwrap();
        }
        let number = |address: &str| state.pages.get(address).map(|(number, _)| *number);
        assert_eq!(number("a.test/x?1"), Some(0));
        assert_eq!(number("a.test/x?2"), Some(1));
        assert_eq!(number("a.test/x"), Some(1));
        assert_eq!(number("a.test/"), None);
    }
}
