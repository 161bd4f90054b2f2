//! The outcome of an entry: sent, or never sent and why.
//!
//! Tools list requests that were blocked, failed, or were answered by a cache or
//! on the device, and say so in members of their own:
//!
//! | member | tools |
//! |---|---|
//! | `_error` of the response | Chromium, Safari, mitmproxy |
//! | `_failureText` of the response | Playwright, Puppeteer |
//! | `_blockedReason`, `_wasBlocked`, `_wasAborted` | Firefox, Playwright, scripts over the DevTools protocol |
//! | `_charlesStatus` of the response, with the proxy's own answer 503 if it failed | Charles |
//! | `_responseCode`: an error of WinINet | WebPageTest |
//! | `statusText`, `comment`, with status 0 or -1 | Insomnia, Burp's extensions |
//! | `Fiddler - DNS Lookup Failed` and similar `statusText`s | Fiddler, with status 502 |
//! | `_fromCache`, `_fetchType` | Chromium, Safari |
//! | `_fetchedViaServiceWorker`, `_wasFulfilled` | Chromium, Playwright |
//! | `Non-Authoritative-Reason` in the answer | Chromium, for its internal redirects |
//!
//! Without such a member, or if the request may have been sent before it
//! failed, it counts as sent: status 0 alone says nothing.

use tracer_core::proto::NeverSent;

use crate::{
    ReadError,
    json::{Reader, Value},
};

/// Members of an entry or a response that contain a reason for a failure.
const REASONS: [&str; 10] = [
    "_error",
    "_failureText",
    "_failureReason",
    "_errorText",
    "errorText",
    "_charlesStatus",
    "statusText",
    "comment",
    "_comment",
    "_errorMessage",
];

/// Members whose every value is a reason for which a request was blocked.
const BLOCKED_REASONS: [&str; 2] = ["_blockedReason", "blockedReason"];

/// Words of the answers that a proxy itself gives if it has no connection.
const PROXY_ANSWERS: [&str; 3] =
    ["dns lookup failed", "connection failed", "https handshake failed"];

/// Members that are true if the request was blocked.
const BLOCKED: [&str; 5] = ["_wasBlocked", "_wasAborted", "_blocked", "wasBlocked", "_isBlocked"];

/// Members that are true, or name the cache, if a cache answered.
const CACHED: [&str; 7] = [
    "_fromCache",
    "_fromDiskCache",
    "_fromMemoryCache",
    "_fromPrefetchCache",
    "_servedFromCache",
    "fromCache",
    "_cachedLocally",
];

/// Members that are true if a service worker answered.
const WORKER: [&str; 3] =
    ["_fetchedViaServiceWorker", "_fromServiceWorker", "_servedByServiceWorker"];

/// Words of reasons for which a request is blocked before it is sent.
const BLOCKED_WORDS: [&str; 15] = [
    "blocked",
    "err_unsafe_port",
    "err_disallowed_url_scheme",
    "ns_error_port_access_not_allowed",
    "tracking_uri",
    "fingerprinting_uri",
    "cryptomining_uri",
    "malware_uri",
    "phishing_uri",
    "unwanted_uri",
    "harmful_uri",
    "mixed-content",
    "subresource-filter",
    "content blocker",
    "csp",
];

/// Words of reasons for which a browser withholds the answer from a page, after
/// the request was sent.
const ANSWER_BLOCKED_WORDS: [&str; 9] = [
    "by_response",
    "by_orb",
    "cors",
    "cross-origin",
    "corp-",
    "coep",
    "coop",
    "content-type",
    "opaque",
];

/// Words of reasons for which no connection came about: names that were not
/// found, refused connections, certificates. Errors that also occur after a
/// request (resets, timeouts, aborts) are not among them.
const FAILED_WORDS: [&str; 68] = [
    // Chromium: net/base/net_error_list.h.
    "err_name_",
    "err_dns_",
    "err_icann_name_collision",
    "err_internet_disconnected",
    "err_connection_refused",
    "err_connection_failed",
    "err_connection_timed_out",
    "err_address_",
    "err_network_access_",
    "err_proxy_connection_failed",
    "err_proxy_certificate_invalid",
    "err_tunnel_connection_failed",
    "err_socks_connection",
    "err_mandatory_proxy_configuration_failed",
    "err_no_supported_proxies",
    "err_cert_",
    "err_bad_ssl_client_auth_cert",
    "err_ssl_version_or_cipher_mismatch",
    "err_ssl_pinned_key_not_in_cert_chain",
    "err_ssl_unrecognized_name_alert",
    "err_ssl_key_usage_incompatible",
    "err_ssl_obsolete_",
    "err_cache_miss",
    "err_unknown_url_scheme",
    "err_invalid_url",
    "err_cleartext_not_permitted",
    "err_ssl_protocol_error",
    // Firefox: xpcom/base/ErrorList.py and NSS.
    "ns_error_unknown_host",
    "ns_error_unknown_proxy_host",
    "ns_error_connection_refused",
    "ns_error_proxy_connection_refused",
    "ns_error_offline",
    "ns_error_unknown_protocol",
    "ns_error_malformed_uri",
    "sec_error_",
    "mozilla_pkix_error_",
    "ssl_error_bad_cert",
    "ssl_error_no_cypher_overlap",
    "ssl_error_unsupported_version",
    // Safari and WebKit.
    "hostname could not be found",
    "could not connect",
    "connection appears to be offline",
    "certificate for this server is invalid",
    "unacceptable tls certificate",
    "error resolving",
    // Operating systems, libraries and proxies.
    "enotfound",
    "eai_again",
    "econnrefused",
    "unreachable",
    "getaddrinfo",
    "connection refused",
    "actively refused",
    "name resolution",
    "name or service not known",
    "nodename nor servname",
    "no such host",
    "not resolve",
    "n't resolve",
    "unable to resolve",
    "failed host lookup",
    "failed to connect",
    "couldn't connect",
    "unable to connect",
    "unknownhostexception",
    "sslhandshakeexception",
    "sslpeerunverifiedexception",
    "certificate verify failed",
    "self-signed certificate",
];

/// Maximum number of bytes kept of a reason.
const MAX_REASON: usize = 1024;

/// The statements of an entry about the outcome of its request.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    status: Option<f64>,
    reasons: Vec<String>,
    is_blocked: bool,
    is_cached: bool,
    /// Set if a service worker, an override or a mock answered.
    is_local: bool,
    /// Set if a service worker answered with what it got from the network.
    is_forwarded: bool,
    is_internal_redirect: bool,
    /// Set if the answer is a proxy's own, which had no connection.
    is_proxys_own: bool,
    /// Set if Charles says that the exchange failed, before or after the request was sent.
    is_charles_failure: bool,
}

impl Outcome {
    /// Reads the response of an entry. Its content is skipped.
    pub(super) fn read_response(
        &mut self,
        json: &mut Reader<impl std::io::BufRead>,
    ) -> Result<(), ReadError> {
        if !json.enter(b'{')? {
            return json.skip();
        }
        let mut first = true;
        while let Some(name) = json.next_name(first)? {
            first = false;
            match &*name {
                "status" | "statusCode" => self.status = number(&read(json)?).or(self.status),
                "headers" => self.headers(&read(json)?),
                name if is_known(name) => self.member(name, &read(json)?),
                _ => json.skip()?,
            }
        }
        Ok(())
    }

    /// Reads a member of an entry, if it says something about the outcome.
    /// Returns whether it does.
    pub(super) fn read_member(
        &mut self,
        name: &str,
        json: &mut Reader<impl std::io::BufRead>,
    ) -> Result<bool, ReadError> {
        if !is_known(name) {
            return Ok(false);
        }
        self.member(name, &read(json)?);
        Ok(true)
    }

    fn member(&mut self, name: &str, value: &Value) {
        if BLOCKED_REASONS.contains(&name) {
            let is_answer = text(value).is_some_and(|text| has(&text, &ANSWER_BLOCKED_WORDS))
                || number(value).is_some_and(is_answers_number);
            self.is_blocked |= is_named(value) && !is_answer;
            return;
        }
        if REASONS.contains(&name) {
            let reason = text(value);
            self.is_proxys_own |= name == "statusText"
                && reason.as_ref().is_some_and(|reason| {
                    reason.starts_with("fiddler - ") && has(reason, &PROXY_ANSWERS)
                });
            self.is_charles_failure |=
                name == "_charlesStatus" && reason.as_deref() == Some("failed");
            self.reasons.extend(reason);
            return;
        }
        let applies = is_true(value);
        self.is_blocked |= applies && BLOCKED.contains(&name);
        self.is_cached |= applies && CACHED.contains(&name);
        self.is_local |= applies && (WORKER.contains(&name) || name == "_wasFulfilled");
        let word = text(value).unwrap_or_default();
        match name {
            "_fetchType" => {
                self.is_cached |= word.contains("cache");
                self.is_local |= word.contains("service worker") || word.contains("override");
            }
            "_serviceWorkerResponseSource" => self.is_forwarded |= word == "network",
            // ERROR_INTERNET_NAME_NOT_RESOLVED and ERROR_INTERNET_CANNOT_CONNECT.
            "_responseCode" => {
                self.is_proxys_own |= matches!(number(value), Some(12007.0 | 12029.0));
            }
            _ => {}
        }
    }

    fn headers(&mut self, headers: &Value) {
        let Value::List(fields) = headers else { return };
        let name = |field: &Value| field.text("name").map(|name| name.bytes.to_ascii_lowercase());
        self.is_internal_redirect |=
            fields.iter().any(|field| name(field).as_deref() == Some(b"non-authoritative-reason"));
    }

    /// Returns the reason why the request was never sent, if the entry has one.
    pub(super) fn never_sent(&self) -> Option<NeverSent> {
        // An answer proves that the request was sent, unless it says that it came
        // from elsewhere. A cache asks the server whether its copy is current (304).
        let is_answered = self.status.is_some_and(|status| status > 0.0);
        if self.is_local && !self.is_forwarded || self.is_internal_redirect {
            return Some(NeverSent::Local);
        }
        if self.is_cached && self.status != Some(304.0) {
            return Some(NeverSent::Cached);
        }
        // Charles answers 503 itself if it has no connection.
        if self.is_proxys_own || self.is_charles_failure && self.status == Some(503.0) {
            return Some(NeverSent::Failed);
        }
        if is_answered {
            return None;
        }
        if self.is_blocked {
            return Some(NeverSent::Blocked);
        }
        self.reasons.iter().find_map(|reason| classify(reason))
    }
}

fn classify(reason: &str) -> Option<NeverSent> {
    if has(reason, &ANSWER_BLOCKED_WORDS) {
        None
    } else if has(reason, &BLOCKED_WORDS) {
        Some(NeverSent::Blocked)
    } else {
        has(reason, &FAILED_WORDS).then_some(NeverSent::Failed)
    }
}

/// Reports whether Firefox gives this number to an answer that it withholds from a page, after
/// the request was sent: reasons of CORS, but not that it is off (1001) or that the scheme has
/// none (1003).
fn is_answers_number(number: f64) -> bool {
    (1002.0..1100.0).contains(&number) && number != 1003.0
}

fn has(text: &str, words: &[&str]) -> bool {
    words.iter().any(|word| text.contains(word))
}

fn is_known(name: &str) -> bool {
    let lists = [&REASONS[..], &BLOCKED_REASONS, &BLOCKED, &CACHED, &WORKER];
    lists.iter().any(|list| list.contains(&name))
        || matches!(
            name,
            "_wasFulfilled" | "_fetchType" | "_serviceWorkerResponseSource" | "_responseCode"
        )
}

fn read(json: &mut Reader<impl std::io::BufRead>) -> Result<Value, ReadError> {
    let mut value = Value::Null;
    json.value(&mut value)?;
    Ok(value)
}

/// Returns a text in lower case.
fn text(value: &Value) -> Option<String> {
    let Value::Text(text) = value else { return None };
    let known = text.bytes.get(..MAX_REASON).unwrap_or(&text.bytes);
    Some(String::from_utf8_lossy(known).to_lowercase())
}

fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Scalar(text) => text.parse().ok(),
        Value::Text(text) => std::str::from_utf8(&text.bytes).ok()?.trim().parse().ok(),
        _ => None,
    }
}

/// Reports whether a member has a value other than zero: Firefox numbers reasons.
fn is_named(value: &Value) -> bool {
    match value {
        Value::Scalar(number) => number != "0" && number != "false",
        value => is_true(value),
    }
}

/// Reports whether a member is `true`, or text that names something.
fn is_true(value: &Value) -> bool {
    match value {
        Value::Scalar(text) => text == "true" || text == "1",
        Value::Text(text) => {
            let text = text.bytes.to_ascii_lowercase();
            !matches!(&text[..], b"" | b"false" | b"no" | b"none" | b"null" | b"0" | b"network")
        }
        _ => false,
    }
}
