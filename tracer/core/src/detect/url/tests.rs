use super::*;

fn urls(text: &str) -> Vec<(&str, &str)> {
    urls_in(text)
        .map(|span| (&text[span.start..span.end], &text[span.host_start..span.host_end]))
        .collect()
}

/// Returns the URLs without their hosts.
fn whole(text: &str) -> Vec<&str> {
    urls(text).into_iter().map(|(url, _)| url).collect()
}

#[test]
fn finds_urls_in_running_text() {
    for (text, url, host) in [
        (
            "https://news.example.org/a?b=c#d",
            "https://news.example.org/a?b=c#d",
            "news.example.org",
        ),
        ("see http://a.test/x, or", "http://a.test/x", "a.test"),
        ("HTTP://A.TEST:8080/", "HTTP://A.TEST:8080/", "A.TEST"),
        ("https://user:pw@a.test/x", "https://user:pw@a.test/x", "a.test"),
        ("https://user:p$w!@a.test:81/x", "https://user:p$w!@a.test:81/x", "a.test"),
        ("(https://a.test/x)", "https://a.test/x", "a.test"),
        ("https://[2001:db8::1]:443/x", "https://[2001:db8::1]:443/x", "[2001:db8::1]"),
        ("[https://[2001:db8::1]/x]", "https://[2001:db8::1]/x", "[2001:db8::1]"),
        ("http://[fe80::1%25eth0]/x", "http://[fe80::1%25eth0]/x", "[fe80::1%25eth0]"),
        ("https://bücher.example/ß", "https://bücher.example/ß", "bücher.example"),
        ("https://हिन्दी.example/क्ष", "https://हिन्दी.example/क्ष", "हिन्दी.example"),
        ("https://xn--bcher-kva.example", "https://xn--bcher-kva.example", "xn--bcher-kva.example"),
        ("view-source:https://a.test", "https://a.test", "a.test"),
        ("4https://a.test", "https://a.test", "a.test"),
        ("report-uri https://csp.test/r; x", "https://csp.test/r", "csp.test"),
    ] {
        assert_eq!(urls(text), [(url, host)], "{text}");
    }
}

#[test]
fn a_host_ends_at_the_marks_of_the_sender() {
    for mark in [
        "##",
        "##x",
        "&2",
        "$2",
        "*",
        "~",
        "~2",
        "!",
        "!x",
        "=1",
        "+b",
        "__!__",
        "__!__&s=x",
        "|",
        "|b",
        ";",
        ";b",
        "^",
        "^1^^^",
        ",b",
        "'",
        "\"",
        "`",
        ")",
        "]",
        "}",
        "\\",
        "\\n",
        "<br>",
        "..",
        ".",
        ":",
        ":b",
        " b",
        "\u{201d}",
        "。",
        "»",
        "&b/c",
        "$2/x?y",
        "_",
        "@",
        ",b@c.test",
    ] {
        let text = format!("r=http://www.news.example{mark}");
        assert_eq!(urls(&text), [("http://www.news.example", "www.news.example")], "{text}");
        let text = format!("http://www.news.example:8080{mark}");
        let expected = ["http://www.news.example:8080"];
        // Without a path, an `@` makes a user of what is before it.
        assert!(mark.contains('@') || whole(&text) == expected, "{text}: {:?}", whole(&text));
    }
}

#[test]
fn keeps_marks_inside_paths_and_queries() {
    for url in [
        "https://a.test/a&2$3*4~5!6=7+8__!__/b;c,d'e(f)g",
        "https://a.test/?q=a&b=$c*d~e!f;g,h'i(j)[k]:l@m",
        "https://a.test?q=1&r=2",
        "https://a.test#/route?x=1",
        "https://a.test:8080?x",
        "https://a.test/wiki/A_(b)",
        "https://a.test/x?t=10:20:30",
        "https://a.test/it's",
        "https://my_host/x",
        "https://svc.my_stack:80/x",
        "https://a.test/~user/",
    ] {
        assert_eq!(whole(url), [url]);
        assert_eq!(whole(&format!("see {url} there")), [url]);
        assert_eq!(whole(&format!("\"{url}\"")), [url]);
    }
}

#[test]
fn ends_where_the_text_closes_what_it_opened() {
    let url = "https://a.test/x?q=private";
    for text in [
        "<r page='URL'/>",
        "<a href='URL'>t</a>",
        "<a href=\"URL\">t</a>",
        "<URL>",
        "[t](URL)",
        "[URL](URL)",
        "[see URL](x)",
        "(see URL)",
        "url(URL)",
        "{'u':'URL','v':'w'}",
        "{\"u\":\"URL\"}",
        "{\\\"u\\\":\\\"URL\\\"}",
        "**URL**",
        "_URL_",
        "`URL`",
        "%22URL%22,%22b",
        "%3CURL%3E",
        "see URL.",
        "is it URL?",
        "so URL!",
        "URL, or",
        "\u{201c}URL\u{201d}",
        "「URL」です",
        "（URL）",
        "«URL»",
        "so URL…",
        "so URL\u{a0}x",
        "at f (URL:10:5)",
        "f@URL:10:5\ng@URL:1:2",
        "'URL'/",
    ] {
        let found =
            whole(&text.replace("URL", url)).into_iter().map(str::to_owned).collect::<Vec<_>>();
        assert!(!found.is_empty() && found.iter().all(|it| it == url), "{text}: {found:?}");
    }
}

#[test]
fn finds_urls_in_urls() {
    let text = "https://r.example/?u=https://a.test/x";
    assert_eq!(urls(text), [(text, "r.example"), ("https://a.test/x", "a.test")]);
}

#[test]
fn bounds_the_length() {
    let text = "https://a.test/é".repeat(20_000);
    let mut count = 0;
    for span in urls_in(&text) {
        count += 1;
        assert!(span.end - span.start <= MAX_URL);
        assert_eq!(&text[span.host_start..span.host_end], "a.test");
    }
    assert_eq!(count, 20_000);
}

#[test]
fn splits_lists() {
    for separator in [",", ";", "|", " ", "\n"] {
        let text = ["https://a.test/1,2;3?x=y", "http://b.test", "https://c.test/"].join(separator);
        assert_eq!(whole(&text), ["https://a.test/1,2;3?x=y", "http://b.test", "https://c.test/"]);
    }
}

#[test]
fn ends_where_the_separator_of_fields_returns() {
    let url = "https://a.test/x?q=private";
    for text in [
        "1795382061,URL,3",
        "1795382061,URL,3,view\n1795382062,URL,4,view",
        "3;URL;view",
        "3\tURL\tview",
        "3|URL|view",
        "3||URL||view",
        "view~URL~3",
        "view!URL!3",
        "$URL$3",
        "url,count\nURL,3\nURL,4",
        "url;count\r\nURL;3\r\nURL;4",
        "\"url\",\"count\"\nURL,3",
        "id,url\n1,URL",
    ] {
        let text = text.replace("URL", url);
        let found = whole(&text);
        assert!(!found.is_empty() && found.iter().all(|it| *it == url), "{text}: {found:?}");
    }
    for url in ["https://a.test/1,2,3", "https://a.test/x;jsessionid=1"] {
        for text in ["URL", "URL\nURL", "see URL or", "words, and\nURL", "\"URL\",2", "a,\"URL\",2"]
        {
            let text = text.replace("URL", url);
            assert!(whole(&text).iter().all(|it| *it == url), "{text}");
        }
    }
}

#[test]
fn ends_where_its_length_says() {
    let url = "https://a.test/x?q=private";
    for text in [
        "d3:url26:https://a.test/x?q=private9:device_id36:7f3c2a10e",
        "26:https://a.test/x?q=private,4:7f3c,",
    ] {
        assert_eq!(whole(text), [url], "{text}");
    }
    // Not a length.
    for text in ["5:https://a.test/x?q=private", "line 99:https://a.test/x?q=private"] {
        assert_eq!(whole(text), [url], "{text}");
    }
    assert_eq!(whole("└─→https://a.test/x?q=private←"), [url]);
}

#[test]
fn ignores_text_that_is_not_a_url() {
    for text in [
        "ftp://a.test/",
        "https://",
        "https:///x",
        "://",
        "https://a..b/",
        "http://:80/",
        "http://a:b/",
        "https://%41.test/",
        "https://news%2Eexample/x",
        "https://a.test%2Fx",
        "https://*.a.test/",
        "https://${host}/x",
        "https://api.$env.test/x",
        "https://[::g]/",
    ] {
        assert!(urls(text).is_empty(), "{text}: {:?}", urls(text));
    }
}

/// What a prefix of a text yields is in the whole text, or a prefix of it.
#[test]
fn no_continuation_contradicts_a_truncated_text() {
    for text in [
        "see (https://a.test/x_(y)), 'https://b.test/z'/ and https://c.test&2 or https://d.test:80:b",
        "https://a.test/1,https://b.test/2;http://c.test/3,hat",
        "f@https://a.test/app.js:10:5 g@https://a.test:8080/b.js:1:2)",
        "%22https://a.test/x%22,https://user:pw@a.test/x?y=1&z=2!",
        "[t](https://a.test/x?a[0]=1](b) https://a.test&b@c.test/x https://a.test__!__",
        "「https://例え.example/あ」 https://a.test/x。b https://a.test/x?t=1:2:3.",
        "https://a.test/x?a=https://b.test/y, *https://c.test/**",
        "url,count\nhttps://a.test/x,3\nhttps://a.test/y,4",
        "https://a.test## https://b.test#x https://c.test#",
        "d3:url26:https://a.test/x?q=private9:device_id36:7f3c2a10e",
        "1,https://a.test/x,3;https://a.test/y;4~https://a.test/z~5",
    ] {
        let all: Vec<_> =
            spans(text, false, &mut Work::unlimited()).map(|it| &text[it.start..it.end]).collect();
        for (cut, _) in text.char_indices() {
            let part = &text[..cut];
            for span in spans(part, true, &mut Work::unlimited()) {
                let found = &part[span.start..span.end];
                let is_in = all.iter().any(|it| *it == found || span.open && it.starts_with(found));
                assert!(is_in, "{found} of {part}: {all:?}");
            }
        }
    }
}
