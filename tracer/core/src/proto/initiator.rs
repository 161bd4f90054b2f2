//! Determines who initiated a request: the user, a page, the browser itself or
//! an extension.
//!
//! Browsers indicate this in `Sec-Fetch-*` (Fetch Metadata) and `Origin`. Over
//! plain HTTP they omit these fields, and `Referer` is the best evidence. A
//! vendor can forge all of them, so the result may lower the severity of a
//! finding and nothing else.

#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

use super::{HeadCut, Request, has_prefix};

/// The initiator of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Initiator {
    /// The user navigated to a page.
    Navigation,
    /// A page: a script, an image, a frame, a beacon.
    Page,
    /// The browser itself.
    Browser,
    /// A browser extension.
    Extension,
    /// Not determined by the header fields.
    Unknown,
}

impl Initiator {
    /// Returns the name in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Navigation => "navigation",
            Self::Page => "page",
            Self::Browser => "browser",
            Self::Extension => "extension",
            Self::Unknown => "unknown",
        }
    }
}

/// The schemes of extension origins, by browser family.
const EXTENSIONS: [&[u8]; 3] =
    [b"chrome-extension://", b"moz-extension://", b"safari-web-extension://"];

/// Determines the initiator of a request from its header fields.
pub fn initiator(request: &Request) -> Initiator {
    let fields = KnownFields::new(request);
    let origin = fields.value("origin");
    if origin.is_some_and(|origin| EXTENSIONS.iter().any(|scheme| has_prefix(origin, scheme))) {
        return Initiator::Extension;
    }
    let site = fields.value("sec-fetch-site");
    let mode = fields.value("sec-fetch-mode");
    let dest = fields.value("sec-fetch-dest");
    // In a truncated head, only these three fields together are conclusive:
    // browsers send them in any order, but never send `Origin` after them.
    if request.head_cut.is_some() && [site, mode, dest].contains(&None) {
        return Initiator::Unknown;
    }

    // Chrome 76 to 79 sent no destination, and this mode for frames.
    if mode == Some(b"nested-navigate") {
        return Initiator::Page;
    }
    if mode == Some(b"navigate") {
        match dest {
            Some(b"document") => return Initiator::Navigation,
            Some(b"iframe" | b"frame" | b"object" | b"embed" | b"fencedframe") => {
                return Initiator::Page;
            }
            None if fields.value("sec-fetch-user") == Some(b"?1") => return Initiator::Navigation,
            _ => {}
        }
    }
    if matches!(site, Some(b"cross-site" | b"same-site" | b"same-origin"))
        || origin.is_some_and(|origin| origin == b"null" || is_http(origin))
    {
        return Initiator::Page;
    }
    match (site, mode) {
        (Some(b"none"), Some(b"cors")) => Initiator::Extension,
        // An element of a document that belongs to no site. Chromium sends client hints for
        // documents only; the requests of the browser itself have none and are for no element.
        (Some(b"none"), Some(b"no-cors")) if dest.is_some_and(|dest| dest != b"empty") => {
            match fields.value("sec-ch-ua") {
                Some(_) => Initiator::Extension,
                None if request.head_cut.is_some() => Initiator::Unknown,
                None => Initiator::Browser,
            }
        }
        (Some(b"none"), _) => Initiator::Browser,
        _ => classify_without_metadata(request, &fields),
    }
}

/// Returns the ID of the extension that `Origin` names. Firefox chooses it anew in each
/// profile.
pub fn extension_id(request: &Request) -> Option<&str> {
    /// Chromium's have 32 letters, the UUIDs of Firefox and Safari 36 characters.
    const MAX_ID: usize = 64;
    let origin = KnownFields::new(request).value("origin")?;
    let id = EXTENSIONS.iter().find_map(|scheme| origin.strip_prefix(*scheme))?;
    let is_id = |id: &&str| {
        (1..=MAX_ID).contains(&id.len())
            && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    std::str::from_utf8(id).ok().filter(is_id)
}

/// Handles requests over plain HTTP or from programs other than browsers.
fn classify_without_metadata(request: &Request, fields: &KnownFields<'_>) -> Initiator {
    let referer = fields.value("referer").filter(|referer| is_http(referer));
    let wants_document = fields.value("upgrade-insecure-requests") == Some(b"1")
        && fields.value("accept").is_some_and(|accept| has_prefix(accept, b"text/html"));
    match referer {
        None if wants_document => Initiator::Navigation,
        Some(referer) if wants_document && is_same_host(referer, request) => Initiator::Navigation,
        Some(_) => Initiator::Page,
        // A page, an extension, the browser or another program.
        None => Initiator::Unknown,
    }
}

/// The header fields of a request whose values are complete.
struct KnownFields<'a> {
    request: &'a Request,
    count: usize,
}

impl<'a> KnownFields<'a> {
    fn new(request: &'a Request) -> Self {
        let cut = usize::from(request.head_cut == Some(HeadCut::LastField));
        Self { request, count: request.headers.len().saturating_sub(cut) }
    }

    fn value(&self, name: &str) -> Option<&'a [u8]> {
        let mut known = self.request.headers.iter().take(self.count);
        let field = known.find(|field| field.name.eq_ignore_ascii_case(name.as_bytes()))?;
        Some(&field.value)
    }
}

fn is_http(url: &[u8]) -> bool {
    has_prefix(url, b"http://") || has_prefix(url, b"https://")
}

fn is_same_host(referer: &[u8], request: &Request) -> bool {
    let Some(authority) = &request.authority else {
        return false;
    };
    let start = memchr::memmem::find(referer, b"://").map_or(0, |at| at + 3);
    let rest = referer.get(start..).unwrap_or_default();
    let end = rest.iter().position(|b| matches!(b, b'/' | b'?' | b'#')).unwrap_or(rest.len());
    rest.get(..end).is_some_and(|host| host.eq_ignore_ascii_case(authority.as_bytes()))
}
