//! The roles of URLs, by their places in requests.

use super::*;
use crate::finding::UrlRole;

/// The address of the collector in these requests names nothing that reports.
fn roles_in(target: &str, fields: &str, body: &str) -> Vec<UrlRole> {
    let length = body.len();
    let request = format!(
        "POST {target} HTTP/1.1\r\nHost: api.vendor.test\r\nUser-Agent: test/1\r\n{fields}\
         Content-Length: {length}\r\n\r\n{body}"
    );
    find(request.as_bytes()).list.iter().filter_map(|finding| finding.role).collect()
}

#[track_caller]
fn assert_role(role: UrlRole, target: &str, fields: &str, body: &str) {
    let roles = roles_in(target, fields, body);
    assert!(!roles.is_empty(), "no URL: {target} {fields} {body}");
    assert!(roles.iter().all(|one| *one == role), "{roles:?}: {target} {fields} {body}");
}

#[test]
fn a_field_named_for_the_page_holds_a_page() {
    for body in [
        r#"{"page_url":"https://news.example.org/a"}"#,
        r#"{"pageUrl":"https://news.example.org/a.html"}"#,
        r#"{"properties":{"$current_url":"https://news.example.org/a"}}"#,
        r#"{"context":{"page":{"url":"https://news.example.org/a"}}}"#,
        r#"{"csp-report":{"document-uri":"https://news.example.org/a"}}"#,
        r#"[{"key":"url.full","value":{"stringValue":"https://news.example.org/a"}}]"#,
        "<pv><page_url>https://news.example.org/a</page_url></pv>",
        "<pv page_url='https://news.example.org/a'/>",
    ] {
        assert_role(UrlRole::Page, "/v2", "", body);
    }
    assert_role(UrlRole::Page, "/c?dl=https%3A%2F%2Fnews.example.org%2Fa", "", "");
    assert_role(UrlRole::Page, "/c", "X-Page-Url: https://news.example.org/a\r\n", "");
}

#[test]
fn a_name_in_general_use_holds_a_page_only_in_reports() {
    let body = r#"{"url":"https://news.example.org/a"}"#;
    assert_role(UrlRole::Unknown, "/v2/shorten", "", body);
    assert_role(UrlRole::Page, "/v2/collect", "", body);
    assert_role(UrlRole::Page, "/v2", "", r#"{"events":[{"url":"https://news.example.org/a"}]}"#);
    // A file that a page loads is no page.
    assert_role(UrlRole::Resource, "/collect", "", r#"{"url":"https://cdn.example.org/a.js?v=3"}"#);
}

/// Programs register devices and users with services of any kind.
#[test]
fn an_identifier_makes_a_report_only_of_a_browsers_request() {
    let body = format!(r#"{{"device_id":"{UUID}","url":"https://news.example.org/a"}}"#);
    let role = |path: &str, agent: &str| {
        let length = body.len();
        let request = format!(
            "POST {path} HTTP/1.1\r\nHost: api.vendor.test\r\nUser-Agent: {agent}\r\n\
             Content-Length: {length}\r\n\r\n{body}"
        );
        let found = find(request.as_bytes());
        let url = found.list.iter().find_map(|finding| finding.role);
        (url, found.reports)
    };
    let engine = "Mozilla/5.0 (Linux; Android 15) AppleWebKit/537.36 Chrome/120.0.0.0";
    let (page, unknown) = ((Some(UrlRole::Page), true), (Some(UrlRole::Unknown), false));
    assert_eq!(role("/v2", engine), page);
    assert_eq!(role("/v2", "okhttp/4.12.0"), unknown);
    // A program that contains an engine.
    assert_eq!(role("/v2", &format!("{engine} Electron/30.0.1 Safari/537.36")), unknown);
    // Words that other services have in their paths as well.
    assert_eq!(role("/v2/events", "okhttp/4.12.0"), page);
    assert_eq!(role("/v2/repos/events", "okhttp/4.12.0"), unknown);
}

#[test]
fn a_mark_before_a_name_makes_it_another_name() {
    for (body, role) in [
        (r#"{"$ref":"https://schema.example.org/a"}"#, UrlRole::Reference),
        (r#"{"allOf":[{"$ref":"https://schema.example.org/a"}]}"#, UrlRole::Reference),
        (r#"{"@id":"https://id.example.org/a"}"#, UrlRole::Reference),
        (r#"{"ref":"https://news.example.org/a"}"#, UrlRole::Page),
        (r#"{"data":{"ref":"https://news.example.org/a"}}"#, UrlRole::Page),
    ] {
        assert_role(role, "/v2/collect", "", body);
    }
}

#[test]
fn a_host_that_is_named_after_a_package_is_a_screen() {
    let body = |host: &str| format!(r#"{{"page_url":"http://{host}/settings"}}"#);
    for (host, role) in [
        ("com.example.app", UrlRole::Software),
        ("ORG.example.reader", UrlRole::Software),
        ("com.example", UrlRole::Page),
        ("play.google.com/store/apps/details?id=a", UrlRole::Software),
        ("play.google.com/store/movies", UrlRole::Page),
        ("comet.example.org", UrlRole::Page),
        ("www.example.com", UrlRole::Page),
    ] {
        assert_role(role, "/v2", "", &body(host));
    }
}

#[test]
fn an_analytics_service_is_sent_reports() {
    let role = |host: &str, path: &str| {
        let request = format!(
            "GET {path}?r=https%3A%2F%2Fnews.example.org%2Fa HTTP/1.1\r\nHost: {host}\r\n\r\n"
        );
        find(request.as_bytes()).list[0].role
    };
    assert_eq!(role("ping.chartbeat.net", "/x"), Some(UrlRole::Page));
    assert_eq!(role("api.vendor.test", "/x"), Some(UrlRole::Unknown));
    // Servers report numbers to the same services.
    assert_eq!(role("api.datadoghq.com", "/api/v2/series"), Some(UrlRole::Unknown));
}

#[test]
fn addresses_for_answers_are_callbacks() {
    for body in [
        "grant_type=authorization_code&redirect_uri=https%3A%2F%2Fapp.example.org%2Fcb",
        r#"{"success_url":"https://shop.example.org/ok","mode":"payment"}"#,
        r#"{"methodCalls":[["PushSubscription/set",{"create":{"a":{"deviceClientId":"7f3c2a10-9b1e-4c57-8f7e-5d0a2b6c9e11","url":"https://push.example.org/a"}}},"0"]]}"#,
        r#"{"name":"web","config":{"url":"https://ci.example.org/hook","content_type":"json"}}"#,
        r#"{"endpoint":"https://push.example.org/sub/abc","keys":{"auth":"x"}}"#,
        "hub.mode=subscribe&hub.callback=https%3A%2F%2Fblog.example.org%2Fwebsub",
    ] {
        assert_role(UrlRole::Callback, "/v2", "", body);
    }
    let field = "CALLBACK: <http://media.example.org:2869/upnp/event>\r\n";
    assert_role(UrlRole::Callback, "/event", field, "");
}

#[test]
fn names_of_things_are_references() {
    for body in [
        r#"<d:propfind xmlns:d="DAV:" xmlns:c='http://calendar.example.org/ns/'/>"#,
        r#"{"@context":"https://context.example.org/v1","@id":"https://id.example.org/9"}"#,
        r#"{"$schema":"https://schemas.example.org/event/3"}"#,
        r#"{"iss":"https://idp.example.org/tenant","aud":["https://api.example.org/"]}"#,
        r#"{"license":"https://licences.example.org/mit"}"#,
    ] {
        assert_role(UrlRole::Reference, "/collect", "", body);
    }
    let field = "SOAPAction: \"http://tempuri.example.org/IService/Get\"\r\n";
    assert_role(UrlRole::Reference, "/soap", field, "");
    let field = "X-Wap-Profile: \"http://phones.example.org/uaprof/m7\"\r\n";
    assert_role(UrlRole::Reference, "/", field, "");
}

#[test]
fn home_pages_of_software_are_software() {
    for body in [
        r#"{"notifier":{"name":"n","url":"https://code.example.org/notifier"},"events":[]}"#,
        r#"{"sdk":{"name":"s","url":"https://code.example.org/sdk"}}"#,
        r#"{"homepage":"https://code.example.org/lib"}"#,
        r#"{"repository":{"type":"git","url":"https://code.example.org/lib"}}"#,
    ] {
        assert_role(UrlRole::Software, "/collect", "", body);
    }
}

#[test]
fn what_is_saved_subscribed_or_attached_is_no_page() {
    for (role, body) in [
        (UrlRole::Reference, r#"{"bookmarks":[{"url":"https://blog.example.org/post"}]}"#),
        (UrlRole::Reference, "<xbel><bookmark href='https://blog.example.org/post'/></xbel>"),
        (UrlRole::Reference, r#"{"attachments":[{"url":"https://blog.example.org/post"}]}"#),
        (UrlRole::Reference, r#"{"db":{"link":"https://db.example.org/a"}}"#),
        (UrlRole::Resource, r#"{"feeds":[{"url":"https://blog.example.org/atom"}]}"#),
        (UrlRole::Callback, r#"{"backchannel.logout.url":"https://app.example.org/out"}"#),
    ] {
        assert_role(role, "/v2/sync", "", body);
    }
}

#[test]
fn words_of_many_services_show_a_report_of_browsers_only() {
    let body = r#"{"url":"https://news.example.org/a"}"#;
    assert_role(UrlRole::Unknown, "/v1/events", "", body);
    let length = body.len();
    for (agent, role) in [
        ("Mozilla/5.0 (X11) AppleWebKit/537.36", UrlRole::Page),
        ("Mozilla/5.0 (X11; rv:140.0) Gecko/20100101", UrlRole::Page),
        ("Mozilla/5.0 (Windows NT 10.0) PowerShell/7.4", UrlRole::Unknown),
        ("Mozilla/5.0 (compatible; bot/2.1)", UrlRole::Unknown),
    ] {
        let request = format!(
            "POST /v1/events HTTP/1.1\r\nHost: api.vendor.test\r\nUser-Agent: {agent}\r\n\
             Content-Length: {length}\r\n\r\n{body}"
        );
        assert_eq!(find(request.as_bytes()).list[0].role, Some(role), "{agent}");
    }
}

#[test]
fn the_name_of_a_page_view_shows_a_report() {
    let page = r#""url":"https://news.example.org/a""#;
    for event in ["page_view", "$pageview", "Page Viewed"] {
        assert_role(UrlRole::Page, "/x", "", &format!(r#"{{{page},"name":"{event}"}}"#));
        assert_role(UrlRole::Page, "/x", "", &format!(r#"{{"type":"{event}",{page}}}"#));
    }
    for event in ["view", "page_views_enabled", "push"] {
        assert_role(UrlRole::Unknown, "/x", "", &format!(r#"{{"name":"{event}",{page}}}"#));
    }
}

#[test]
fn words_show_no_report_where_other_services_use_them() {
    let body = r#"{"events":[{"url":"https://news.example.org/a"}]}"#;
    for target in ["/webhook/events", "/calendars/1/events", "/repos/a/b/events"] {
        assert_role(UrlRole::Unknown, target, "", body);
        // The form of an SDK does.
        let sdk =
            r#"{"distinct_id":"a","lib":{"$lib":"Android"},"url":"https://news.example.org/a"}"#;
        assert_role(UrlRole::Page, target, "", sdk);
    }
    let field = "Content-Type: application/ld+json; charset=utf-8\r\n";
    assert_role(UrlRole::Unknown, "/events", field, body);
    assert_role(UrlRole::Unknown, "/", field, r#"{"page_url":"https://news.example.org/a"}"#);
    // A keyword of JSON-LD is not an object of a report.
    let body = r#"{"@page":{"x":"https://id.example.org/9"},"url":"https://news.example.org/a"}"#;
    assert_role(UrlRole::Unknown, "/", "", body);
}

#[test]
fn a_url_in_running_text_has_no_role() {
    for body in [
        r#"{"events":[{"url":"see https://blog.example.org/post for more"}]}"#,
        "See https://blog.example.org/post for more.",
    ] {
        assert_role(UrlRole::Unknown, "/collect", "", body);
    }
}

/// A cut must not turn a file into a page.
#[test]
fn a_prefix_is_never_more_certainly_a_page() {
    let body = r#"{"events":[{"url":"https://cdn.example.org/lib/a.js"}],"b":1}"#;
    let head = format!(
        "POST /x HTTP/1.1\r\nHost: api.vendor.test\r\nUser-Agent: test/1\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    let request = format!("{head}{body}");
    for end in head.len()..request.len() {
        let (requests, _) = parse_http1(&request.as_bytes()[..end]);
        for finding in DETECTOR.find(requests.first().expect("a request")).list {
            assert_ne!(finding.role, Some(UrlRole::Page), "{end} {finding:?}");
        }
    }
}
