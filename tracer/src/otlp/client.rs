//! The HTTP client for a collector.

use std::{io, sync::Arc, time::Duration};

use http_body_util::{BodyExt as _, Limited};
use hyper::{
    StatusCode,
    body::Bytes,
    client::conn::http1::{self, SendRequest},
    header,
};
use hyper_util::rt::TokioIo;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceResponse;
use prost::Message as _;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::{
    TlsConnector,
    rustls::{
        ClientConfig, RootCertStore,
        pki_types::{CertificateDer, ServerName, pem::PemObject as _},
    },
};

use super::endpoint::Endpoint;

/// Time for an attempt, from the connection to the answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// Maximum size of an answer.
const MAX_ANSWER: usize = 64 << 10;

type Body = http_body_util::Full<Bytes>;

/// Sends to a collector, over one connection after another.
pub(crate) struct Client {
    endpoint: Endpoint,
    tls: Option<TlsConnector>,
    connection: Option<SendRequest<Body>>,
}

/// Result of an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Answer {
    /// The collector accepted all records but this number, with its reason.
    Accepted { refused: u64, reason: String },
    /// It refused the records, and would refuse them again.
    Refused(String),
    /// It may accept them later, after this time if it says so.
    Later { reason: String, after: Option<Duration> },
}

impl Client {
    /// Creates a client. Trusts the certificates in the file, or else those of the system.
    ///
    /// # Errors
    /// If no certificate can be read.
    pub(crate) fn new(endpoint: Endpoint, ca: Option<&str>) -> io::Result<Self> {
        let tls = endpoint.tls.then(|| connector(ca)).transpose()?;
        Ok(Self { endpoint, tls, connection: None })
    }

    /// Sends a body once.
    pub(super) async fn send(&mut self, body: Bytes) -> Answer {
        let answer = timeout(PATIENCE, self.attempt(body)).await;
        let answer = answer
            .unwrap_or_else(|_| Err(format!("no answer within {} seconds", PATIENCE.as_secs())));
        answer.unwrap_or_else(|reason| {
            self.connection = None;
            Answer::Later { reason, after: None }
        })
    }

    async fn attempt(&mut self, body: Bytes) -> Result<Answer, String> {
        let cannot = |what: &str| {
            let what = what.to_owned();
            move |err: &dyn std::fmt::Display| format!("{what}: {err}")
        };
        let mut sender = match self.connection.take().filter(|sender| !sender.is_closed()) {
            Some(sender) => sender,
            None => self.connect().await.map_err(|err| cannot("cannot connect")(&err))?,
        };
        sender.ready().await.map_err(|err| cannot("the connection was lost")(&err))?;
        let request = self.endpoint.request(body).map_err(|err| err.to_string())?;
        let answer = sender
            .send_request(request)
            .await
            .map_err(|err| cannot("the connection was lost")(&err))?;
        let (head, body) = answer.into_parts();
        let body = Limited::new(body, MAX_ANSWER).collect().await;
        let body = body.map_err(|err| cannot("cannot read the answer")(&err))?.to_bytes();
        self.connection = Some(sender);
        let after = head.headers.get(header::RETRY_AFTER);
        let after = after.and_then(|after| after.to_str().ok()?.parse().ok());
        Ok(judge(head.status, &body, after))
    }

    async fn connect(&self) -> io::Result<SendRequest<Body>> {
        let Endpoint { host, port, .. } = &self.endpoint;
        let stream = TcpStream::connect((&host[..], *port)).await?;
        match &self.tls {
            None => handshake(stream).await,
            Some(tls) => {
                let name = ServerName::try_from(host.clone()).map_err(io::Error::other)?;
                handshake(tls.connect(name, stream).await?).await
            }
        }
    }
}

/// Starts HTTP on a connection.
async fn handshake<S>(stream: S) -> io::Result<SendRequest<Body>>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (sender, connection) =
        http1::handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
    tokio::spawn(connection);
    Ok(sender)
}

/// Reads an answer (OTLP specification, "OTLP/HTTP Response").
fn judge(status: StatusCode, body: &[u8], after: Option<u64>) -> Answer {
    let reason = format!("the collector answered {status}");
    match status.as_u16() {
        200..=299 => {
            let partial =
                ExportLogsServiceResponse::decode(body).ok().and_then(|it| it.partial_success);
            let partial = partial.unwrap_or_default();
            Answer::Accepted {
                refused: partial.rejected_log_records.try_into().unwrap_or_default(),
                reason: partial.error_message,
            }
        }
        429 | 502 | 503 | 504 => Answer::Later { reason, after: after.map(Duration::from_secs) },
        _ => Answer::Refused(reason),
    }
}

fn connector(ca: Option<&str>) -> io::Result<TlsConnector> {
    let mut roots = RootCertStore::empty();
    let certificates = match ca {
        Some(path) => CertificateDer::pem_file_iter(path)
            .and_then(Iterator::collect::<Result<Vec<_>, _>>)
            .map_err(io::Error::other)?,
        None => rustls_native_certs::load_native_certs().certs,
    };
    roots.add_parsable_certificates(certificates);
    if roots.is_empty() {
        return Err(io::Error::other(
            "no trusted certificate was found; name a file in OTEL_EXPORTER_OTLP_CERTIFICATE",
        ));
    }
    let config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsPartialSuccess;

    use super::*;

    #[test]
    fn answers_are_judged_as_the_specification_says() {
        let of = |status: u16, body: &[u8]| judge(status.try_into().unwrap(), body, Some(7));
        let accepted = |refused, reason: &str| Answer::Accepted { refused, reason: reason.into() };
        assert_eq!(of(200, b""), accepted(0, ""));
        assert_eq!(of(202, b"not protobuf"), accepted(0, ""));
        let partial = ExportLogsServiceResponse {
            partial_success: Some(ExportLogsPartialSuccess {
                rejected_log_records: 3,
                error_message: "too large".into(),
            }),
        };
        assert_eq!(of(200, &partial.encode_to_vec()), accepted(3, "too large"));
        for later in [429, 502, 503, 504] {
            let answer = of(later, b"");
            assert!(
                matches!(answer, Answer::Later { after: Some(after), .. } if after.as_secs() == 7),
                "{later}: {answer:?}"
            );
        }
        for refused in [301, 400, 401, 404, 413, 500] {
            assert!(matches!(of(refused, b""), Answer::Refused(_)), "{refused}");
        }
    }
}
