use super::*;
use crate::proto::decoder::tests::corpus;
use crate::proto::parse_http1;

fn initiator_of(bytes: &[u8]) -> Initiator {
    parse_http1(bytes).0.first().map_or(Initiator::Unknown, initiator)
}

fn with(fields: &str) -> Initiator {
    initiator_of(format!("GET / HTTP/1.1\r\nHost: a.test\r\n{fields}\r\n\r\n").as_bytes())
}

/// Returns an entry of the manifest about a recorded request.
fn expected(manifest: &str, column: &str, file: &str) -> String {
    let mut lines = manifest.lines().map(|line| line.split('\t').collect::<Vec<_>>());
    let header = lines.next().expect("a header line");
    let at = header.iter().position(|&name| name == column).expect("the column");
    let row = lines.find(|row| row.first() == Some(&file)).expect("a row for every file");
    row[at].to_owned()
}

#[test]
fn recorded_requests_are_classified() {
    let browsers = include_str!("../../../../../tests/fixtures/corpus/browser/MANIFEST.tsv");
    let programs = include_str!("../../../../../tests/fixtures/corpus/MANIFEST.tsv");
    for (file, bytes) in corpus() {
        let class = match file.strip_prefix("browser/") {
            Some(file) => expected(browsers, "class", file),
            None => expected(programs, "initiator", &file),
        };
        let expected = match class.as_str() {
            // An image of the new tab page, which Firefox itself treats as a
            // page.
            _ if file.contains("firefox-044") => Initiator::Page,
            "navigation" => Initiator::Navigation,
            // Some services of browsers send no Fetch Metadata.
            "browser-internal" if !has_metadata(&bytes) => Initiator::Unknown,
            "browser-internal" => Initiator::Browser,
            "extension" => Initiator::Extension,
            "process" => Initiator::Unknown,
            class if class.starts_with("page") => Initiator::Page,
            class => panic!("{file}: {class}"),
        };
        assert_eq!(initiator_of(&bytes), expected, "{file}");
    }
}

fn has_metadata(request: &[u8]) -> bool {
    memchr::memmem::find(&request.to_ascii_lowercase(), b"sec-fetch-site:").is_some()
}

#[test]
fn prefixes_are_consistent_with_the_whole() {
    for (file, bytes) in corpus() {
        let whole = initiator_of(&bytes);
        for end in 0..bytes.len() {
            let part = initiator_of(&bytes[..end]);
            assert!(part == whole || part == Initiator::Unknown, "{file} {end}: {part:?}");
        }
    }
}

#[test]
fn metadata_decides() {
    let fetch = |site, mode, dest| {
        let fields = [("Site", site), ("Mode", mode), ("Dest", dest)];
        fields.map(|(name, value)| format!("Sec-Fetch-{name}: {value}")).join("\r\n")
    };
    for (site, mode, dest, initiator) in [
        ("none", "navigate", "document", Initiator::Navigation),
        ("cross-site", "navigate", "document", Initiator::Navigation),
        ("same-origin", "navigate", "document", Initiator::Navigation),
        ("cross-site", "navigate", "iframe", Initiator::Page),
        ("none", "navigate", "iframe", Initiator::Page),
        ("same-site", "cors", "empty", Initiator::Page),
        ("cross-site", "no-cors", "image", Initiator::Page),
        ("none", "cors", "empty", Initiator::Extension),
        ("none", "no-cors", "empty", Initiator::Browser),
        ("none", "no-cors", "image", Initiator::Browser),
        ("none", "websocket", "empty", Initiator::Browser),
    ] {
        assert_eq!(with(&fetch(site, mode, dest)), initiator, "{site} {mode} {dest}");
        let extension = format!("{}\r\nOrigin: moz-extension://0a1b", fetch(site, mode, dest));
        assert_eq!(with(&extension), Initiator::Extension);
    }
    let user = "Sec-Fetch-Site: none\r\nSec-Fetch-Mode: navigate\r\nSec-Fetch-User: ?1";
    assert_eq!(with(user), Initiator::Navigation);
    assert_eq!(with("Origin: null"), Initiator::Page);
    assert_eq!(with("Origin: https://a.test"), Initiator::Page);
}

#[test]
fn an_element_of_a_document_without_a_site_is_an_extensions() {
    let metadata = "Sec-Fetch-Site: none\r\nSec-Fetch-Mode: no-cors\r\nSec-Fetch-Dest: ";
    let with_hints = |dest| with(&format!("sec-ch-ua: \"Chromium\";v=\"156\"\r\n{metadata}{dest}"));
    for dest in ["image", "script", "style", "font", "video"] {
        assert_eq!(with_hints(dest), Initiator::Extension, "{dest}");
        // The browser itself sends no client hints.
        assert_eq!(with(&format!("{metadata}{dest}")), Initiator::Browser, "{dest}");
    }
    assert_eq!(with_hints("empty"), Initiator::Browser);
    let cut = format!("GET / HTTP/1.1\r\nHost: a.test\r\n{metadata}image\r\nsec-ch-");
    assert_eq!(initiator_of(cut.as_bytes()), Initiator::Unknown);
}

#[test]
fn plain_http_is_classified_by_other_fields() {
    let document = "Upgrade-Insecure-Requests: 1\r\nAccept: text/html,*/*";
    for (fields, initiator) in [
        (document.to_owned(), Initiator::Navigation),
        (format!("{document}\r\nReferer: http://A.test/x"), Initiator::Navigation),
        (format!("{document}\r\nReferer: http://b.test/x"), Initiator::Page),
        ("Referer: https://b.test/\r\nUser-Agent: Mozilla/5.0 (X11)".to_owned(), Initiator::Page),
        ("User-Agent: Mozilla/5.0 (X11)".to_owned(), Initiator::Unknown),
        ("User-Agent: curl/8.14".to_owned(), Initiator::Unknown),
        ("Referer: android-app://a".to_owned(), Initiator::Unknown),
    ] {
        assert_eq!(with(&fields), initiator, "{fields}");
    }
}

#[test]
fn a_truncated_head_is_classified_only_if_conclusive() {
    let cut = |fields: &str| initiator_of(format!("GET / HTTP/1.1\r\n{fields}").as_bytes());
    assert_eq!(cut("User-Agent: Mozilla/5.0\r\nAcc"), Initiator::Unknown);
    assert_eq!(cut("Origin: https://a.test\r\n"), Initiator::Unknown);
    assert_eq!(cut("Origin: moz-extension://a\r\n"), Initiator::Extension);
    // A truncated value is ignored.
    let fetch = "Sec-Fetch-Site: same-site\r\nSec-Fetch-Mode: no-cors\r\nSec-Fetch-Dest: image";
    assert_eq!(cut(fetch), Initiator::Unknown);
    assert_eq!(cut(&format!("{fetch}\r\n")), Initiator::Page);
}
