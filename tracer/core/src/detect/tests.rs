//! Tests of the detector: requests in, findings out.

use std::sync::LazyLock;

use super::*;
use crate::content::tests::gzip;
use crate::finding::{CandidateKind, Kind, Lifetime};
use crate::knowledge::Knowledge;
use crate::proto::parse_http1;

/// A detector that all tests share, because compiling the rules takes longer than
/// searching a request.
static DETECTOR: LazyLock<Detector> = LazyLock::new(|| {
    let knowledge = Knowledge::default();
    Detector::new(Arc::clone(knowledge.rules()), Arc::clone(knowledge.lexicon()))
});

/// Returns the findings of a request.
fn find(request: &[u8]) -> Findings {
    let (requests, _) = parse_http1(request);
    DETECTOR.find(requests.first().expect("a request"))
}

/// Returns the findings of a body that a program sends.
fn find_in_body(body: &str) -> Findings {
    let head = format!(
        "POST /v1/report HTTP/1.1\r\nHost: collect.vendor.test\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    find(format!("{head}{body}").as_bytes())
}

/// Formats each finding as `kind class lifetime value`.
fn lines(findings: &Findings) -> Vec<String> {
    findings
        .list
        .iter()
        .map(|finding| {
            let kind = serde_json::to_value(finding.kind).unwrap();
            let lifetime = finding.lifetime.map(|life| serde_json::to_value(life).unwrap());
            let parts = [
                kind.as_str().map(str::to_owned),
                finding.class.clone(),
                lifetime.and_then(|life| life.as_str().map(str::to_owned)),
                Some(finding.value.clone()),
            ];
            parts.into_iter().flatten().collect::<Vec<_>>().join(" ")
        })
        .collect()
}

#[track_caller]
fn assert_lines(body: &str, expected: &[&str]) {
    assert_eq!(lines(&find_in_body(body)), expected, "{body}");
}

const UUID: &str = "7f3c2a10-9b1e-4c57-8f7e-5d0a2b6c9e11";

#[test]
fn recognises_identifiers_by_name() {
    for (body, expected) in [
        (r#"{"deviceId":"SM-7f3c"}"#, "identifier device_id lasting SM-7f3c"),
        (r#"{"$device_id":"9f3c2a109b1e4c57"}"#, "identifier device_id lasting 9f3c2a109b1e4c57"),
        (r#"{"android_id":"9f3c2a109b1e4c57"}"#, "identifier android_id lasting 9f3c2a109b1e4c57"),
        (r#"{"user":{"id":"anna7"}}"#, "identifier user_id lasting anna7"),
        (r#"{"a":[{"user":{"profile":1,"id":"anna7"}}]}"#, "identifier user_id lasting anna7"),
        (
            r#"[{"key":"user.id","value":{"stringValue":"anna7"}}]"#,
            "identifier user_id lasting anna7",
        ),
        ("v=1&ep.device_id=SM-7f3c", "identifier device_id lasting SM-7f3c"),
        ("v=1&context[device][id]=SM-7f3c", "identifier device_id lasting SM-7f3c"),
        ("v=2&cid=1234567890.1699999999", "identifier client_id lasting 1234567890.1699999999"),
    ] {
        assert_lines(body, &[expected]);
    }
}

#[test]
fn recognises_identifiers_by_form() {
    for (text, class) in [
        (UUID, "uuid"),
        ("{7F3C2A10-9B1E-4C57-8F7E-5D0A2B6C9E11}", "uuid"),
        ("7f3c2a109b1e4c57", "hex"),
        ("d41d8cd98f00b204e9800998ecf8427e", "hex"),
    ] {
        let expected = format!("identifier {class} unknown {text}");
        assert_lines(&format!(r#"{{"thing":"{text}"}}"#), &[&expected]);
    }
    let ulid = "01ARZ3NDEKTSV4RRFFQ69G5FAV";
    assert_lines(
        &format!(r#"{{"rowId":"{ulid}"}}"#),
        &[&format!("identifier ulid unknown {ulid}")],
    );
    assert_lines(&format!(r#"{{"row":"{ulid}"}}"#), &[]);
}

#[test]
fn classifies_short_lived_identifiers() {
    for (name, lifetime) in [
        ("session_id", "session_id session"),
        ("messageId", "request_id request"),
        ("$insert_id", "request_id request"),
        ("traceId", "request_id request"),
        ("requestid", "request_id request"),
        ("nonce", "request_id request"),
    ] {
        let body = format!(r#"{{"{name}":"{UUID}"}}"#);
        assert_lines(&body, &[&format!("identifier {lifetime} {UUID}")]);
    }
}

#[test]
fn ignores_shared_values_and_placeholders() {
    for name in [
        "appid",
        "api_key",
        "writeKey",
        "project_token",
        "etag",
        "version_hash",
        "cup2hreq",
        "checksum",
        "addon_id",
        "md5",
        "build_id",
        "csrf_token",
    ] {
        let findings =
            find_in_body(&format!(r#"{{"{name}":"{UUID}","{name}":"7f3c2a109b1e4c57"}}"#));
        assert!(findings.list.is_empty() && findings.candidates.is_empty(), "{name}: {findings:?}");
    }
    for value in ["", "null", "0", "00000000-0000-0000-0000-000000000000", "unknown", "true"] {
        assert_lines(&format!(r#"{{"device_id":"{value}"}}"#), &[]);
    }
    // Ambiguous names need a value that looks random.
    assert_lines(r#"{"uid":"header","client_id":"my-app","did":"yes","cid":"1234"}"#, &[]);
}

#[test]
fn ignores_values_of_protocol_headers() {
    let request = format!(
        "GET /x HTTP/1.1\r\nHost: a.test\r\nIf-None-Match: {UUID}\r\nETag: 7f3c2a109b1e4c57\r\n\
         Authorization: d41d8cd98f00b204e9800998ecf8427e\r\n\
         Sec-WebSocket-Key: HEZh+uuHQeSaZZqrzylisA==\r\n\
         traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\r\n\
         X-Request-Id: {UUID}\r\n\r\n"
    );
    let findings = find(request.as_bytes());
    assert!(
        findings.list.iter().all(|finding| finding.lifetime == Some(Lifetime::Request)),
        "{findings:#?}"
    );
    assert_eq!(findings.candidates, []);
}

#[test]
fn classifies_identifiers_in_cookies() {
    let request = format!(
        "GET /x HTTP/1.1\r\nHost: a.test\r\n\
         Cookie: sid=abc; theme=dark; _ga=GA1.2.1234567890.1699999999; x={UUID}\r\n\r\n"
    );
    assert_eq!(
        lines(&find(request.as_bytes())),
        [
            "identifier cookie lasting 1234567890.1699999999".to_owned(),
            format!("identifier cookie unknown {UUID}")
        ]
    );
}

#[test]
fn recognises_personal_details() {
    for (body, expected) in [
        (r#"{"who":"anna@example.org"}"#, vec!["personal_detail email anna@example.org"]),
        (r#"{"addon":"ublock@raymondhill.net"}"#, vec![]),
        (r#"{"id":"ublock@raymondhill.net"}"#, vec![]),
        (r#"{"release":"app@1.2.0"}"#, vec![]),
        (r#"{"tel":"(030) 123-4567"}"#, vec!["personal_detail phone (030) 123-4567"]),
        (r#"{"x":"+4915112345678"}"#, vec!["personal_detail phone +4915112345678"]),
        (r#"{"x":"4915112345678"}"#, vec![]),
        (r#"{"imei":"490154203237518"}"#, vec!["personal_detail imei 490154203237518"]),
        (r#"{"x":"490154203237518","imei":"490154203237519"}"#, vec![]),
        (r#"{"imsi":"262011234567890"}"#, vec!["personal_detail imsi 262011234567890"]),
        (r#"{"deviceSerialNumber":"R58N12ABCDE"}"#, vec!["personal_detail serial R58N12ABCDE"]),
        (r#"{"x":"3c:5a:b4:01:02:fe"}"#, vec!["personal_detail mac 3c:5a:b4:01:02:fe"]),
        (r#"{"mac":"02:00:00:00:00:00"}"#, vec![]),
        (r#"{"bssid":"3c:5a:b4:01:02:fe"}"#, vec!["personal_detail bssid 3c:5a:b4:01:02:fe"]),
        (r#"{"ssid":"Annas Netz"}"#, vec!["personal_detail ssid Annas Netz"]),
        (r#"{"mi_id":"123456789"}"#, vec!["personal_detail account_id 123456789"]),
        (
            r#"{"lat":52.51631,"lon":13.37771}"#,
            vec!["personal_detail coordinates 52.51631,13.37771"],
        ),
        (r#"{"lat":52.51631,"x":{"lon":13.37771}}"#, vec![]),
        (r#"{"lat":52.5,"lon":13.3}"#, vec![]),
        // An advertising ID is an identifier rather than a personal detail.
        (
            r#"{"x":{"gaid":"7f3c2a10-9b1e-4c57-8f7e-5d0a2b6c9e11"}}"#,
            vec!["identifier advertising_id lasting 7f3c2a10-9b1e-4c57-8f7e-5d0a2b6c9e11"],
        ),
    ] {
        assert_lines(body, &expected);
    }
}

#[test]
fn names_both_fields_of_coordinates() {
    let findings = find_in_body(r#"{"longitude":"13.37771","latitude":"52.51631"}"#);
    let found: Vec<_> = findings.list.iter().map(|f| (&*f.value, &*f.chain)).collect();
    assert_eq!(found, [("52.51631,13.37771", "body > json.longitude + latitude")]);
}

#[test]
fn recognises_search_terms_interface_events_and_content() {
    for (body, expected) in [
        (r#"{"event":"search","search_word":"flu"}"#, vec!["search_terms flu"]),
        (
            r#"{"event":"folder_open","folder_name":"Games"}"#,
            vec!["ui_event folder_open", "ui_event Games"],
        ),
        (r#"{"event":"statusbar_swipe"}"#, vec!["ui_event statusbar_swipe"]),
        (
            r#"{"event":"$AppViewScreen","properties":{"$screen_name":"settings.wifi"}}"#,
            vec!["ui_event $AppViewScreen", "ui_event settings.wifi"],
        ),
        (
            r#"{"event":"exposure","news_id":"n-1842"}"#,
            vec!["ui_event exposure", "content_item n-1842"],
        ),
        (r#"{"event":"page_view","$title":"Story 42"}"#, vec!["page_text Story 42"]),
        (r#"{"query":"query Q($id: ID!) { node(id: $id) { id } }"}"#, vec![]),
        (r#"{"q":"flu"}"#, vec![]),
    ] {
        assert_lines(body, &expected);
    }
    let suggest = find(b"GET /complete/search?q=fl+u HTTP/1.1\r\nHost: s.test\r\n\r\n");
    assert_eq!(lines(&suggest), ["search_terms site_search fl u"]);
    let title =
        |path| find(format!("GET {path}?tt=Story HTTP/1.1\r\nHost: s.test\r\n\r\n").as_bytes());
    assert_eq!(lines(&title("/hm.gif")), ["page_text Story"]);
    assert_eq!(lines(&title("/a.gif")), [""; 0]);
}

#[test]
fn ignores_values_of_a_navigation_wherever_it_is_cut() {
    let request = format!(
        "GET /search?q=flu&device_id={UUID} HTTP/1.1\r\nHost: s.test\r\nCookie: _ga={UUID}\r\n\
         Sec-Fetch-Site: none\r\nSec-Fetch-Mode: navigate\r\nSec-Fetch-Dest: document\r\n\r\n"
    );
    for end in 0..=request.len() {
        let (requests, _) = parse_http1(&request.as_bytes()[..end]);
        for request in &requests {
            let findings = DETECTOR.find(request);
            assert!(findings.list.is_empty(), "{end}: {findings:#?}");
        }
    }
}

#[test]
fn keeps_inconclusive_values_as_candidates() {
    let findings = find_in_body(
        r#"{"blob":"V1StGXR8_Z5jdHi6B-myT4kq","version":"156.0.8078.79","box":"how to le",
            "n":12,"ok":true,"when":"2026-11-22T21:12:22.975+00:00","uid":"V1StGXR8_Z5jdHi6B-myT"}"#,
    );
    let seen: Vec<_> = findings.candidates.iter().map(|c| (c.kind, &*c.value, &*c.chain)).collect();
    assert_eq!(
        seen,
        [
            (CandidateKind::Identifier, "V1StGXR8_Z5jdHi6B-myT4kq", "body > json.blob"),
            (CandidateKind::TypedText, "how to le", "body > json.box"),
            (CandidateKind::TypedText, "2026-11-22T21:12:22.975+00:00", "body > json.when"),
        ]
    );
    let many = (0..500).map(|n| format!(r#"{{"box":"word {n} x"}}"#)).collect::<Vec<_>>().join(",");
    assert_eq!(find_in_body(&format!("[{many}]")).candidates.len(), MAX_CANDIDATES / 2);
}

#[test]
fn keeps_urls_among_many_other_findings() {
    let event = |n: u32| {
        format!(
            r#"{{"messageId":"m-{n}-{UUID}","device_id":"d-{n}","title":"Story {n}",
                "event":"click","news_id":"n-{n}","mail":"a{n}@example.org"}}"#
        )
    };
    let events = (0..1000).map(event).collect::<Vec<_>>().join(",");
    let findings = find_in_body(&format!(r#"[{events},{{"url":"https://news.example.org/x"}}]"#));
    assert!(findings.list.iter().any(|finding| finding.kind == Kind::Url));
    assert!(findings.list.len() <= MAX_FINDINGS && findings.uncounted > 1000);
}

#[test]
fn recognises_identifiers_by_names_of_single_sdks() {
    for (name, class) in [
        ("fire_adid", "advertising_id"),
        ("adv_id", "advertising_id"),
        ("huawei_oaid", "advertising_id"),
        ("androidADID", "advertising_id"),
        ("androidIdfa", "advertising_id"),
        ("aifa", "advertising_id"),
        ("appSetId", "vendor_id"),
        ("google_app_set_id", "vendor_id"),
        ("$identity_ios_uuid", "device_id"),
        ("clientudid", "device_id"),
        ("QIMEI36", "device_id"),
        ("external_device_id", "device_id"),
        ("singular_install_id", "installation_id"),
        ("onesignal_id", "installation_id"),
        ("randomized_bundle_token", "anonymous_id"),
        ("parsely_uuid", "visitor_id"),
        ("das", "unique_id"),
        ("cdid", "unique_id"),
        ("cnzz_eid", "cookie_id"),
        ("HMACCOUNT", "cookie_id"),
        ("li_adsId", "cookie_id"),
    ] {
        let found = lines(&find_in_body(&format!(r#"{{"{name}":"{UUID}"}}"#)));
        assert_eq!(found, [format!("identifier {class} lasting {UUID}")], "{name}");
    }
    assert_lines(r#"{"das":"Wetter","cdid":"17"}"#, &[]);
    for name in ["$identity_mp_openid", "fb_id"] {
        let found = lines(&find_in_body(&format!(r#"{{"{name}":"oYb12"}}"#)));
        assert_eq!(found, ["personal_detail account_id oYb12"], "{name}");
    }
}

#[test]
fn recognises_sdks_by_form() {
    let crc = r#"crc=-1200000000&gzip=1&data_list=eyJhIjoxfQ%3D%3D"#;
    let mut hash = 0_i32;
    for unit in "eyJhIjoxfQ==".encode_utf16() {
        hash = hash.wrapping_mul(31).wrapping_add(i32::from(unit));
    }
    let right = crc.replace("-1200000000", &hash.to_string());
    for (body, sdk) in [
        (&*right, Some("Sensors Analytics")),
        (crc, None),
        ("v=2&tid=G-ABC123&cid=1.2&en=page_view", Some("Google Analytics 4")),
        ("v=2&tid=UA-1-1&cid=1.2", None),
        (r#"{"iKey":"o:abc","ver":"4.0","name":"x"}"#, Some("Microsoft 1DS")),
        (r##"{"#distinct_id":"a","#type":"track"}"##, Some("ThinkingData")),
        (r#"{"distinct_id":"a","lib":{"version":1}}"#, None),
        (r#"{"a":{"lib":{"$lib":"js"}},"distinct_id":"x"}"#, Some("Sensors Analytics")),
    ] {
        assert_eq!(find_in_body(body).sdk.as_deref(), sdk, "{body}");
    }
    let chrome = b"POST /uma/v2 HTTP/1.1\r\nHost: a.test\r\nX-Chrome-UMA-Log-SHA1: 00\r\n\r\n";
    assert_eq!(find(chrome).sdk.as_deref(), Some("Chrome UMA"));
}

mod identifiers;
mod memo;
mod properties;
mod roles;
mod sdks;
mod urls;
mod visited;

/// Returns the findings of a body that gzip compresses to a thousandth of its size, with a small
/// limit on the work.
fn find_in_bomb(unit: &str) -> Findings {
    let packed = gzip(unit.repeat((128 << 10) / unit.len()).as_bytes());
    let head = format!(
        "POST /r HTTP/1.1\r\nHost: collect.vendor.test\r\nContent-Encoding: gzip\r\n\
         Content-Length: {}\r\n\r\n",
        packed.len()
    );
    let (requests, _) = parse_http1(&[head.as_bytes(), &packed].concat());
    let detector = Detector { limits: LOW, ..DETECTOR.clone() };
    detector.find(requests.first().expect("a request"))
}

/// Limits that allow few inspections of the text of [`find_in_bomb`].
const LOW: Limits = Limits { depth: 32, output: 1 << 20, work: 2 << 20, values: 1 << 10 };

#[test]
fn what_the_search_inspects_is_charged_and_bounded() {
    let innocent = find_in_bomb("a word ").report;
    assert!(!innocent.reached.work, "{innocent:?}");
    for unit in ["https://", "https://a.test/", "https://a.test/?u=", "http://[::1]:8"] {
        let report = find_in_bomb(unit).report;
        assert!(report.work <= LOW.work, "{unit}: {report:?}");
        assert!(report.reached.work && report.skipped > 0, "{unit}: {report:?}");
    }
}
