//! Determines the sender of a request.
//!
//! [`initiator`](crate::proto::initiator) returns the claim of the header fields. Here it is
//! weighed against everything else that is known of the application. A consistent claim can still
//! be forged; the judgement table has rows for that.

use std::time::Duration;

use crate::{
    finding::Sender,
    proto::{Initiator, Protocol, Request},
};

/// Longest time between a page and the images, styles and scripts that it loads.
pub(super) const LOADING: Duration = Duration::from_secs(60);

/// Fields in which engines say what a request is for (W3C Fetch Metadata). They send them over TLS
/// and to this machine, and not over plain HTTP.
const METADATA: [&str; 3] = ["sec-fetch-site", "sec-fetch-mode", "sec-fetch-dest"];

/// The sender of a request, and the reason to think so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attribution {
    /// The sender.
    pub sender: Sender,
    /// The reason, in one clause.
    pub reason: &'static str,
    /// Set if the sender is unknown, and pages send such requests too.
    pub may_be_page: bool,
}

/// The evidence beside the header fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Evidence {
    /// Set if the application sent Fetch Metadata over this transport before, so that their
    /// absence means something.
    pub(super) sends_metadata: bool,
    /// Set if the request discloses a page that was opened in the last [`LOADING`].
    pub(super) mentions_recent_page: bool,
    /// Set if no document of the recipient's site was opened, neither as a page nor in a frame,
    /// although other visits are known.
    pub(super) never_opened: bool,
    /// Set if the recipient is a host of the browser's maker that pages do not use.
    pub(super) makers_own_host: bool,
}

/// Reports whether a request has Fetch Metadata.
pub(super) fn has_metadata(request: &Request) -> bool {
    METADATA.iter().any(|name| request.header(name).is_some())
}

/// Attributes a request whose fields claim `initiator`.
pub(super) fn attribute(request: &Request, initiator: Initiator, of: Evidence) -> Attribution {
    if request.protocol == Protocol::Dns {
        return Attribution {
            sender: Sender::Unknown,
            reason: "a lookup does not say who asked for the name",
            may_be_page: true,
        };
    }
    let known = |sender, reason| Attribution { sender, reason, may_be_page: false };
    let unnamed = matches!(initiator, Initiator::Browser | Initiator::Unknown);
    if unnamed && request.head_cut.is_none() && !of.makers_own_host && is_for_site(request) {
        return Attribution {
            sender: Sender::Unknown,
            reason: "the request has the form of the reports that sites ask browsers for, and no \
                     header field names the site",
            may_be_page: true,
        };
    }
    match initiator {
        // A frame asks for its document like a window, over plain HTTP.
        Initiator::Navigation
            if of.mentions_recent_page
                && !has_metadata(request)
                && request.header("referer").is_none() =>
        {
            Attribution {
                sender: Sender::Unknown,
                reason: "a document was asked for with the address of a page just opened, as for a \
                         frame in the page",
                may_be_page: true,
            }
        }
        Initiator::Navigation => {
            known(Sender::Navigation, "the header fields are those of a page being opened")
        }
        Initiator::Browser => known(Sender::Browser, "Fetch Metadata say that no page is involved"),
        Initiator::Extension if request.header("origin").is_some() => {
            known(Sender::Extension, "Origin names an extension")
        }
        Initiator::Extension => known(
            Sender::Extension,
            "Fetch Metadata say that a script or an element asks and that no page is involved",
        ),
        Initiator::Page => attribute_page(request, of),
        Initiator::Unknown => attribute_unknown(request, of),
    }
}

fn attribute_page(request: &Request, of: Evidence) -> Attribution {
    let known = |sender, reason| Attribution { sender, reason, may_be_page: false };
    // Pages run in engines, and every engine that sends Fetch Metadata calls itself Mozilla. A
    // library that sends these fields copied them.
    let claims = has_metadata(request);
    if claims && !is_engine(request).unwrap_or(true) {
        return known(
            Sender::Unknown,
            "Fetch Metadata claim a page, but the program calls itself no browser",
        );
    }
    let names_page = request.header("origin").is_some() || request.header("referer").is_some();
    if claims && !names_page {
        if of.makers_own_host {
            return known(
                Sender::Browser,
                "no page is named, and the host serves the browser alone",
            );
        }
        if let Some(reason) = claims_of_firefox(request, of) {
            return known(Sender::Extension, reason);
        }
    }
    known(Sender::Page, "the header fields are those of a request that a page makes")
}

/// Returns the reason why a request without Origin and Referer comes from an extension of Firefox,
/// if it does. Measured with Firefox 153.
fn claims_of_firefox(request: &Request, of: Evidence) -> Option<&'static str> {
    let field = |name| request.header(name).unwrap_or_default();
    // A field that was cut off proves nothing. Firefox says of the frames of pages, and not of
    // extensions, whether they may use their storage.
    if request.head_cut.is_some()
        || memchr::memmem::find(field("user-agent"), b" Gecko/").is_none()
        || request.header("sec-fetch-storage-access").is_some()
    {
        return None;
    }
    match (field("sec-fetch-site"), field("sec-fetch-mode")) {
        // Pages send Origin with each such request (Fetch, section 3.2): it is how it is allowed.
        (b"cross-site" | b"same-site", b"cors") => Some(
            "a script asked another site without Origin, which only content scripts of \
             extensions can",
        ),
        (b"same-origin", _) if of.never_opened => Some(
            "Fetch Metadata claim a page of the recipient, and none was opened, as with \
             extensions of Firefox",
        ),
        _ => None,
    }
}

/// Reports whether a request loads a document into a frame.
pub(super) fn loads_frame(request: &Request) -> bool {
    let field = |name| request.header(name).unwrap_or_default();
    field("sec-fetch-mode") == b"nested-navigate"
        || matches!(
            field("sec-fetch-dest"),
            b"iframe" | b"frame" | b"object" | b"embed" | b"fencedframe"
        )
}

fn attribute_unknown(request: &Request, of: Evidence) -> Attribution {
    let unknown = |reason| Attribution { sender: Sender::Unknown, reason, may_be_page: false };
    if request.head_cut.is_some() {
        return unknown("the head was cut");
    }
    if of.makers_own_host {
        return Attribution {
            sender: Sender::Browser,
            reason: "the host serves the browser alone",
            may_be_page: false,
        };
    }
    let is_get = request.method.as_deref().is_none_or(|method| matches!(method, "GET" | "HEAD"));
    let has_origin = ["origin", "referer"].iter().any(|name| request.header(name).is_some());
    // Engines send Origin with everything that pages post.
    if !is_get || has_origin || of.sends_metadata || is_engine(request) != Some(true) {
        return unknown("no header field names the sender");
    }
    if of.mentions_recent_page && is_for_element(request) {
        return Attribution {
            sender: Sender::Page,
            reason: "an image, a style or a medium was asked for, shortly after the page that the \
                     request mentions",
            may_be_page: false,
        };
    }
    Attribution {
        sender: Sender::Unknown,
        reason: "no header field names the sender, as in plain HTTP, and a page may be",
        may_be_page: true,
    }
}

/// Media types of the reports that a site asks for in its answers (Reporting API, Network Error
/// Logging, CSP) and of the pings of its links (HTML, hyperlink auditing). Engines send them
/// without Fetch Metadata, and most without Origin.
const SITE_REPORTS: [&[u8]; 6] = [
    b"application/reports+json",
    b"application/csp-report",
    b"application/expect-ct-report+json",
    b"application/expect-staple-report",
    b"application/xss-auditor-report",
    b"text/ping",
];

/// Reports whether a request has the form of what a browser sends because a site asked for it.
fn is_for_site(request: &Request) -> bool {
    if is_engine(request) != Some(true) {
        return false;
    }
    let posts = request.method.as_deref() == Some("POST");
    let content_type = request.header("content-type").unwrap_or_default();
    let name = content_type.split(|&byte| byte == b';').next().unwrap_or_default().trim_ascii();
    posts && SITE_REPORTS.iter().any(|known| name.eq_ignore_ascii_case(known))
}

/// Reports whether the program calls itself a browser. `None` if it calls itself nothing.
fn is_engine(request: &Request) -> Option<bool> {
    request.header("user-agent").map(|agent| agent.starts_with(b"Mozilla/5.0"))
}

/// Reports whether `Accept` is that of an element of a page: an image, a style, a medium, a font.
fn is_for_element(request: &Request) -> bool {
    let accept = request.header("accept").unwrap_or_default();
    [b"image/".as_slice(), b"text/css", b"audio/", b"video/", b"font/", b"application/font"]
        .iter()
        .any(|kind| accept.starts_with(kind))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::{initiator, parse_http1};

    const NOTHING: Evidence = Evidence {
        sends_metadata: false,
        mentions_recent_page: false,
        never_opened: false,
        makers_own_host: false,
    };

    const ENGINE: &str = "User-Agent: Mozilla/5.0 (X11) Chrome/120\r\n";
    const IMAGE: &str = "Accept: image/avif,image/webp,*/*;q=0.8\r\n";

    fn attributed(method: &str, fields: &str, of: Evidence) -> Attribution {
        let text = format!("{method} /x HTTP/1.1\r\nHost: a.test\r\n{fields}\r\n");
        let (requests, _) = parse_http1(text.as_bytes());
        let request = requests.first().expect("a request");
        attribute(request, initiator(request), of)
    }

    #[test]
    fn plain_http_is_never_the_browsers_by_default() {
        let found = attributed("GET", ENGINE, NOTHING);
        assert_eq!((found.sender, found.may_be_page), (Sender::Unknown, true));
        // Another program than a browser, and requests that pages do not send.
        for (method, fields) in [("GET", "User-Agent: curl/8\r\n"), ("POST", ENGINE), ("GET", "")] {
            let found = attributed(method, fields, NOTHING);
            assert_eq!((found.sender, found.may_be_page), (Sender::Unknown, false), "{fields}");
        }
        // The application sends Fetch Metadata for its pages.
        let found = attributed("GET", ENGINE, Evidence { sends_metadata: true, ..NOTHING });
        assert_eq!((found.sender, found.may_be_page), (Sender::Unknown, false));
    }

    #[test]
    fn an_element_shortly_after_its_page_is_the_pages() {
        let recent = Evidence { mentions_recent_page: true, ..NOTHING };
        let fields = format!("{ENGINE}{IMAGE}");
        assert_eq!(attributed("GET", &fields, recent).sender, Sender::Page);
        assert_eq!(attributed("GET", &fields, NOTHING).sender, Sender::Unknown);
        assert_eq!(attributed("GET", ENGINE, recent).sender, Sender::Unknown);
    }

    #[test]
    fn a_background_request_to_a_site_that_was_not_opened_is_an_extensions() {
        let fields = "User-Agent: Mozilla/5.0 (X11; rv:140.0) Gecko/20100101\r\n\
                      Sec-Fetch-Site: same-origin\r\nSec-Fetch-Mode: cors\r\n\
                      Sec-Fetch-Dest: empty\r\n";
        let not_opened = Evidence { never_opened: true, ..NOTHING };
        assert_eq!(attributed("GET", fields, not_opened).sender, Sender::Extension);
        assert_eq!(attributed("GET", fields, NOTHING).sender, Sender::Page);
        let named = format!("{fields}Referer: https://a.test/\r\n");
        assert_eq!(attributed("GET", &named, not_opened).sender, Sender::Page);
        let makers = Evidence { makers_own_host: true, ..not_opened };
        assert_eq!(attributed("GET", fields, makers).sender, Sender::Browser);
        // A frame of the recipient, whose document came from the cache.
        let frame = format!("{fields}Sec-Fetch-Storage-Access: none\r\n");
        assert_eq!(attributed("GET", &frame, not_opened).sender, Sender::Page);
        // Chromium says `none` of extensions.
        let chromium = fields.replace("Gecko/20100101", "Chrome/120");
        assert_eq!(attributed("GET", &chromium, not_opened).sender, Sender::Page);
    }

    #[test]
    fn a_script_that_asks_another_site_without_origin_is_an_extensions() {
        let fields = "User-Agent: Mozilla/5.0 (X11; rv:140.0) Gecko/20100101\r\n\
                      Sec-Fetch-Dest: empty\r\nSec-Fetch-Mode: cors\r\n\
                      Sec-Fetch-Site: cross-site\r\n";
        for method in ["GET", "POST"] {
            assert_eq!(attributed(method, fields, NOTHING).sender, Sender::Extension, "{method}");
        }
        let page = format!("{fields}Origin: https://news.test\r\n");
        assert_eq!(attributed("GET", &page, NOTHING).sender, Sender::Page);
        let page = format!("{fields}Origin: null\r\n");
        assert_eq!(attributed("GET", &page, NOTHING).sender, Sender::Page);
        // An image, and a frame, of a page whose policy is `no-referrer`.
        for (mode, dest) in [("no-cors", "image"), ("navigate", "iframe")] {
            let page = fields.replace("cors", mode).replace("empty", dest);
            assert_eq!(attributed("GET", &page, NOTHING).sender, Sender::Page, "{dest}");
        }
        let makers = Evidence { makers_own_host: true, ..NOTHING };
        assert_eq!(attributed("GET", fields, makers).sender, Sender::Browser);
    }

    #[test]
    fn a_frame_without_referer_is_no_navigation_by_itself() {
        let fields = format!("{ENGINE}Upgrade-Insecure-Requests: 1\r\nAccept: text/html,*/*\r\n");
        let recent = Evidence { mentions_recent_page: true, ..NOTHING };
        let found = attributed("GET", &fields, recent);
        assert_eq!((found.sender, found.may_be_page), (Sender::Unknown, true));
        assert_eq!(attributed("GET", &fields, NOTHING).sender, Sender::Navigation);
        let metadata = format!(
            "{fields}Sec-Fetch-Site: none\r\nSec-Fetch-Mode: navigate\r\nSec-Fetch-Dest: document\r\n"
        );
        assert_eq!(attributed("GET", &metadata, recent).sender, Sender::Navigation);
    }

    #[test]
    fn a_report_that_sites_ask_for_may_be_a_pages() {
        let fields = format!("{ENGINE}Content-Type: application/reports+json; charset=utf-8\r\n");
        let metadata = Evidence { sends_metadata: true, ..NOTHING };
        let found = attributed("POST", &fields, metadata);
        assert_eq!((found.sender, found.may_be_page), (Sender::Unknown, true));
        let none = format!("{fields}Sec-Fetch-Site: none\r\nSec-Fetch-Mode: no-cors\r\n");
        assert!(attributed("POST", &none, metadata).may_be_page);
        let named = format!("{fields}Origin: https://news.test\r\n");
        assert_eq!(attributed("POST", &named, metadata).sender, Sender::Page);
        // The browser's own host, another program, and another form.
        let makers = Evidence { makers_own_host: true, ..metadata };
        assert_eq!(attributed("POST", &fields, makers).sender, Sender::Browser);
        for other in [fields.replace("Mozilla/5.0", "Sdk/1"), fields.replace("reports+", "")] {
            assert!(!attributed("POST", &other, metadata).may_be_page, "{other}");
        }
    }

    #[test]
    fn copied_metadata_are_no_evidence() {
        let fields = "User-Agent: python-requests/2\r\nSec-Fetch-Site: cross-site\r\n\
                      Sec-Fetch-Mode: cors\r\nSec-Fetch-Dest: empty\r\n";
        assert_eq!(attributed("GET", fields, NOTHING).sender, Sender::Unknown);
    }
}
