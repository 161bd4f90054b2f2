//! The address of a collector.

use http_body_util::Full;
use hyper::{Request, Uri, body::Bytes, header};

/// Path of logs, for an address without a path (OTLP specification, "OTLP/HTTP Request").
const PATH: &str = "/v1/logs";

/// The address of a collector, and the header fields for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Endpoint {
    /// True for `https`.
    pub(super) tls: bool,
    pub(super) host: String,
    pub(super) port: u16,
    authority: String,
    path: String,
    headers: Vec<(header::HeaderName, header::HeaderValue)>,
}

/// Why an address cannot be used.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(crate) enum EndpointError {
    #[error("give the URL of a collector, such as https://collector.example:4318")]
    Url,
    #[error("OTLP over gRPC is not supported; give the collector's port for HTTP, usually 4318")]
    Grpc,
    #[error("the URL contains a password; give it in OTEL_EXPORTER_OTLP_HEADERS")]
    Password,
    #[error("OTEL_EXPORTER_OTLP_HEADERS is not a list of NAME=VALUE, separated by commas")]
    Headers,
}

impl Endpoint {
    /// Parses a URL, and header fields in the form of `OTEL_EXPORTER_OTLP_HEADERS`. Without a path,
    /// the usual one for logs is meant.
    pub(crate) fn parse(url: &str, headers: &str) -> Result<Self, EndpointError> {
        let uri: Uri = url.parse().map_err(|_| EndpointError::Url)?;
        let tls = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            Some("grpc" | "grpcs") => return Err(EndpointError::Grpc),
            _ => return Err(EndpointError::Url),
        };
        let authority = uri.authority().ok_or(EndpointError::Url)?;
        if authority.as_str().contains('@') {
            return Err(EndpointError::Password);
        }
        let port = authority.port_u16().unwrap_or(if tls { 443 } else { 80 });
        let path = uri.path_and_query().map_or("", |path| path.as_str());
        Ok(Self {
            tls,
            host: authority.host().trim_matches(['[', ']']).to_owned(),
            port,
            authority: authority.as_str().to_owned(),
            path: if path.is_empty() || path == "/" { PATH } else { path }.to_owned(),
            headers: parse_headers(headers)?,
        })
    }

    /// Creates the request that sends a body.
    pub(super) fn request(&self, body: Bytes) -> hyper::http::Result<Request<Full<Bytes>>> {
        let mut request = Request::post(&self.path)
            .header(header::HOST, &self.authority)
            .header(header::CONTENT_TYPE, "application/x-protobuf")
            .header(header::USER_AGENT, concat!("tracer/", env!("CARGO_PKG_VERSION")))
            .body(Full::new(body))?;
        for (name, value) in &self.headers {
            request.headers_mut().insert(name, value.clone());
        }
        Ok(request)
    }
}

/// Parses `NAME=VALUE,…`.
fn parse_headers(
    text: &str,
) -> Result<Vec<(header::HeaderName, header::HeaderValue)>, EndpointError> {
    let fields = text.split(',').map(str::trim).filter(|field| !field.is_empty());
    let parsed = fields.map(|field| {
        let (name, value) = field.split_once('=')?;
        let mut value = header::HeaderValue::from_str(value.trim()).ok()?;
        value.set_sensitive(true);
        Some((name.trim().parse().ok()?, value))
    });
    parsed.collect::<Option<_>>().ok_or(EndpointError::Headers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_of_collectors_are_parsed() {
        let of = |url| Endpoint::parse(url, "").map(|it| (it.tls, it.host, it.port, it.path));
        let parsed = |tls, host: &str, port, path: &str| Ok((tls, host.into(), port, path.into()));
        assert_eq!(of("http://localhost:4318"), parsed(false, "localhost", 4318, PATH));
        assert_eq!(of("https://c.example/"), parsed(true, "c.example", 443, PATH));
        assert_eq!(of("https://[::1]:1/in?a=b"), parsed(true, "::1", 1, "/in?a=b"));
        assert_eq!(of("grpc://c:4317"), Err(EndpointError::Grpc));
        assert_eq!(of("https://user:pass@c"), Err(EndpointError::Password));
        for wrong in ["", "localhost", "localhost:4318", "ftp://c", "/v1/logs"] {
            assert_eq!(of(wrong), Err(EndpointError::Url), "{wrong}");
        }
    }

    #[test]
    fn header_fields_are_added() {
        let endpoint = Endpoint::parse("http://c", "api-key=a=b, x-tenant=7").unwrap();
        let request = endpoint.request(Bytes::new()).unwrap();
        assert_eq!(
            (&request.headers()["api-key"], &request.headers()["x-tenant"]),
            (&header::HeaderValue::from_static("a=b"), &header::HeaderValue::from_static("7"))
        );
        assert_eq!(request.headers()["content-type"], "application/x-protobuf");
        assert_eq!(Endpoint::parse("http://c", "nonsense"), Err(EndpointError::Headers));
        assert!(!format!("{endpoint:?}").contains("a=b"), "values are secrets");
    }
}
