use data_encoding::{BASE32, BASE32_NOPAD, BASE64, BASE64URL_NOPAD, HEXLOWER, HEXUPPER};
use md5::Md5;
use sha1::Sha1;
use sha2::{Digest as _, Sha256, Sha512};
use sha3::{Keccak256, Sha3_256};

use std::time::Duration;

use super::*;

const PAGE: &str = "https://www.news.example.org/politics/story-42?q=private";

fn at(seconds: u64) -> BootTime {
    BootTime(seconds * 1_000_000_000)
}

fn open(visits: &mut Visits, url: &str, seconds: u64) -> bool {
    visits.record_page(&Page::parse(url).unwrap(), at(seconds))
}

fn find(visits: &Visits, url: &str, truncated: bool, seconds: u64) -> (Visited, Scope) {
    visits.find(&Address::parse(url).unwrap(), truncated, at(seconds))
}

fn visits() -> Visits {
    let mut visits = Visits::default();
    open(&mut visits, PAGE, 10);
    visits
}

#[test]
fn a_label_names_a_visited_host() {
    let visits = visits();
    let named = |label: &str| visits.host(label, at(15));
    let host = Visited::Host { host: "www.news.example.org".into(), ago: Duration::from_secs(5) };
    for label in ["www-news-example-org", "WWW_news_example_org", "www--news--example--org"] {
        assert_eq!(named(label), host, "{label}");
    }
    for label in ["www-news-example", "news-example-com", "www-news-example-org-2", "-"] {
        assert_eq!(named(label), Visited::No, "{label}");
    }
}

#[test]
fn compares_urls_with_visits() {
    let visits = visits();
    let ago = Duration::from_secs(5);
    let page = || Visited::Page { url: PAGE.into(), ago };
    let host = |host: &str| Visited::Host { host: host.into(), ago };
    for (url, truncated, expected) in [
        (PAGE, false, (page(), Scope::Full)),
        ("HTTP://WWW.news.example.org/politics/story-42?q=private#x", false, (page(), Scope::Full)),
        ("www.news.example.org/politics/story-42", false, (page(), Scope::HostPath)),
        ("https://www.news.example.org/politics/story-42?q=pri", true, (page(), Scope::Full)),
        // The whole URL with more after it, as in formats without delimiters.
        (&format!("{PAGE}&utm=x"), false, (page(), Scope::Full)),
        (&format!("{PAGE},7f3c"), false, (page(), Scope::Full)),
        ("https://www.news.example.org./politics/story-42?q=private", false, (page(), Scope::Full)),
        (
            "https://www.news.example.org/politics/story-42?q=other",
            false,
            (page(), Scope::HostPath),
        ),
        ("https://www.news.example.org/poli", true, (page(), Scope::HostPath)),
        ("https://www.news.example.org/", false, (host("www.news.example.org"), Scope::Host)),
        ("https://www.news.example.org/o", false, (host("www.news.example.org"), Scope::HostPath)),
        ("https://example.org/", false, (host("example.org"), Scope::Host)),
        ("https://other.test/politics/story-42?q=private", false, (Visited::No, Scope::Full)),
    ] {
        assert_eq!(find(&visits, url, truncated, 15), expected, "{url}");
    }
    let nothing = Visits::default();
    assert_eq!(find(&nothing, PAGE, false, 1), (Visited::Unknown, Scope::Full));
}

#[test]
fn a_looked_up_name_counts_as_a_host() {
    let mut visits = Visits::default();
    visits.record_lookup("Quiet.example", at(1));
    let host = Visited::Host { host: "quiet.example".into(), ago: Duration::from_secs(2) };
    assert_eq!(find(&visits, "https://quiet.example/a", false, 3).0, host);
    assert_eq!(find(&visits, "https://other.example/a", false, 3).0, Visited::Unknown);
}

#[test]
fn recognises_hashes_of_a_visit() {
    let visits = visits();
    let bare = PAGE.split_once("://").unwrap().1;
    let host_path = bare.split('?').next().unwrap();
    for (form, text) in [
        (HashedForm::Url, PAGE),
        (HashedForm::Url, &PAGE.replacen("https", "http", 1)),
        (HashedForm::UrlWithoutScheme, bare),
        (HashedForm::HostPath, host_path),
        (HashedForm::HostPath, &format!("https://{host_path}")),
        (HashedForm::HostPath, host_path.strip_prefix("www.").unwrap()),
        (HashedForm::Url, &PAGE.replacen("www.", "", 1)),
        (HashedForm::Host, "https://www.news.example.org"),
        (HashedForm::Host, "https://www.news.example.org/"),
        (HashedForm::Host, "www.news.example.org"),
        (HashedForm::Host, "news.example.org"),
        (HashedForm::Host, "www.news.example.org/"),
        (HashedForm::Path, "/politics/story-42?q=private"),
        (HashedForm::Path, "/politics/story-42"),
        (HashedForm::Domain, "example.org"),
    ] {
        let digests = [
            (Algorithm::Md5, Md5::digest(text).to_vec()),
            (Algorithm::Sha1, Sha1::digest(text).to_vec()),
            (Algorithm::Sha256, Sha256::digest(text).to_vec()),
            (Algorithm::Sha512, Sha512::digest(text).to_vec()),
            (Algorithm::Sha3Of256, Sha3_256::digest(text).to_vec()),
            (Algorithm::Keccak256, Keccak256::digest(text).to_vec()),
        ];
        for (algorithm, digest) in digests {
            let host = "www.news.example.org".into();
            let found = Some(HashMatch { algorithm, form, text: text.into(), host });
            let hex = HEXLOWER.encode(&digest);
            for encoded in [
                &hex,
                &hex[..16],
                &hex[..17],
                &HEXUPPER.encode(&digest),
                &BASE64.encode(&digest),
                &BASE64URL_NOPAD.encode(&digest)[..11],
                &BASE64URL_NOPAD.encode(&digest)[..13],
                &format!("sha256:{hex}"),
                &format!("sha256-{}", BASE64.encode(&digest)),
                &format!("h={hex}"),
                &format!("{}.gif", hex),
                &format!("first, {hex}, and last"),
                &BASE32.encode(&digest),
                &BASE32_NOPAD.encode(&digest).to_lowercase()[..13],
                &colons(&hex),
                &u64::from_be_bytes(*digest.first_chunk().unwrap()).to_string(),
            ] {
                assert_eq!(
                    visits.hashed(encoded, || false),
                    found,
                    "{algorithm:?} {text} {encoded}"
                );
            }
            assert_eq!(visits.hashed(&hex[..14], || true), None, "56 bits are not enough");
            // A hash that differs in one bit does not match.
            let mut other = digest.clone();
            *other.last_mut().unwrap() ^= 1;
            assert_eq!(visits.hashed(&HEXLOWER.encode(&other), || false), None);
        }
    }
}

/// Separates pairs of digits with colons.
fn colons(hex: &str) -> String {
    hex.as_bytes().chunks(2).map(|pair| str::from_utf8(pair).unwrap()).collect::<Vec<_>>().join(":")
}

#[test]
fn recognises_rare_hashes_and_hashes_of_hashes() {
    let visits = visits();
    // From Python's hashlib, and b3sum.
    for (digest, class, form) in RARE {
        let found = visits.hashed(digest, || false).expect(class);
        assert_eq!((&*found.algorithm.name(), found.form), (class, form));
        let other = digest.replace(&digest[4..5], if &digest[4..5] == "0" { "1" } else { "0" });
        assert_eq!(visits.hashed(&other, || false), None, "{class}");
    }
    // A hash of another spelling names the address.
    for (text, of) in [
        (PAGE.to_uppercase(), PAGE),
        (format!("{PAGE}\n"), PAGE),
        ("org.example.news.www".to_owned(), "www.news.example.org"),
        ("www.news.example.org/politics/".to_owned(), "www.news.example.org"),
    ] {
        let found = visits.hashed(&HEXLOWER.encode(&Sha256::digest(&text)), || false).expect(&text);
        assert_eq!(found.text, of);
    }
}

#[test]
fn recognises_parts_of_hashes() {
    let visits = visits();
    let (md5, sha256) = (Md5::digest(PAGE), HEXLOWER.encode(&Sha256::digest(PAGE)));
    let md5 = HEXLOWER.encode(&md5);
    // Last digits, the middle of MD5, digits behind folders, and bytes of a record.
    for text in [
        &sha256[48..],
        &md5[8..24],
        &format!("/objects/{}/{}/{}", &sha256[..2], &sha256[2..4], &sha256[4..]),
        &format!("/c/{}/{}.png", &md5[..2], &md5[2..]),
    ] {
        assert!(visits.hashed(text, || false).is_some(), "{text}");
    }
    assert_eq!(visits.hashed(&sha256[20..50], || false), None);
    let record = format!("0a1f{sha256}00ff");
    assert_eq!(visits.hashed_within(&record).map(|(_, digits)| digits), Some(&*sha256));
    let cut = &record[..4 + 40];
    assert_eq!(visits.hashed_within(cut).map(|(_, digits)| digits), Some(&sha256[..40]));
    assert_eq!(visits.hashed_within(&record[..4 + 30]), None, "120 bits are not enough");
    assert_eq!(visits.hashed_within(&record.replace(&sha256[30..40], "0123456789")), None);
}

/// Hashes of PAGE and of "www.news.example.org".
const RARE: [(&str, &str, HashedForm); 15] = [
    (
        "92c4d3335b1567e19de809035e7436ef5c390b66369e8c99a5d160bf4cea3ddbdb27cd9d116d317dee175c139db59b2f4a765d63ea8a4346e15c8f04734c5fe6",
        "blake2b",
        HashedForm::Url,
    ),
    (
        "0d58fa8d79c25e8735e7a4a6214218a148a963bb52f454db0517e193de1edb5e",
        "blake2b_256",
        HashedForm::Host,
    ),
    ("09486f64ea2e08876ad65ad60966299dbf3011a6", "blake2b_160", HashedForm::Url),
    ("7aaae7ea6eba57e0a0a6ba3f00fb4cac", "blake2b_128", HashedForm::Url),
    (
        "a048534dc1eeb90ab3d78219eb480af5d4b6d30ceb2a69add6f5cea6b3e84a9e",
        "blake2s",
        HashedForm::Url,
    ),
    ("9017cf751dd686e53f5840bee31b19b0a634eb8d1cd5c34ac897dc0e72511649", "blake3", HashedForm::Url),
    ("ab2f881ae5e7ff7deebdc0a34d7f85458997a679", "ripemd160", HashedForm::Host),
    ("c776b7f747206a77ada2c698794200343b7962b6cd26d74f572fd962dc6680df", "sm3", HashedForm::Url),
    ("ec0fc684cc0cf009200d75ce67e160fd", "shake128", HashedForm::Url),
    (
        "cf624f48fd65f3fa9dffa95961ddd2a81f65a92c6476006d9fb11744895a5254f048b855b71c45b3372790606319b7377492949fdd3ef20f4489aa78fba901c3",
        "shake256",
        HashedForm::Url,
    ),
    (
        "be524669ab525901c3ddc5ec50726a5e8973b576662e262841f69630987dcff4",
        "sha256_of_md5",
        HashedForm::Url,
    ),
    ("f1cf2f773c790c5695be55002942aba3", "md5_of_sha1", HashedForm::Host),
    (
        "72f76622fc770a459b0170908a3efcf0e0a4b8a615363a88cad59f2e8fe6f21b",
        "sha256_of_bytes",
        HashedForm::Url,
    ),
    ("fb6072668af306658eff8fcf2e362db6423323d5", "ripemd160_of_bytes", HashedForm::Url),
    (
        "ef0a12923d9d5ccb9a596875246da15f6c5944c8ba46c5bda6ca68236065ddcc",
        "sha256_of_utf16",
        HashedForm::Url,
    ),
];

const UUIDS: [(&str, Algorithm, HashedForm); 6] = [
    ("a715cf6c-5225-3e83-83e7-3608efa8d15a", Algorithm::Uuid3, HashedForm::Url),
    ("275710fb-8aa1-5e03-87b7-19eee4271ac2", Algorithm::Uuid5, HashedForm::Url),
    ("70659b6c-6169-31be-a707-1f4c54a20b36", Algorithm::UuidOfMd5, HashedForm::Url),
    ("f3525219-04af-33af-9824-322ce2ae249a", Algorithm::Uuid3, HashedForm::Host),
    ("080c652d-6814-5d06-bfa3-c1c1c1cc452d", Algorithm::Uuid5, HashedForm::Host),
    ("27ccfbdb-4b4e-3ff8-becb-d04e125716de", Algorithm::UuidOfMd5, HashedForm::Host),
];

#[test]
fn recognises_uuids_made_of_addresses() {
    let visits = visits();
    // `uuid3` and `uuid5` of Python's `uuid`, and Java's `UUID.nameUUIDFromBytes`, made of PAGE and of
    // "www.news.example.org".
    for (uuid, algorithm, form) in UUIDS {
        for text in
            [uuid.to_owned(), uuid.to_uppercase(), uuid.replace('-', ""), format!("{{{uuid}}}")]
        {
            let found = visits.hashed(&text, || false).expect(&text);
            assert_eq!((found.algorithm, found.form), (algorithm, form), "{text}");
        }
    }
    assert_eq!(visits.hashed("7f3c2a10-9b1e-4c57-8f7e-5d0a2b6c9e11", || true), None);
}

/// Hashes of "example.org".
const ADLER: u32 = 0x1ac4_0463;
const FNV1: u32 = 0x4002_c7fd;
const SDBM: u32 = 0x7355_0040;

#[test]
fn recognises_short_hashes_only_in_named_fields() {
    let visits = visits();
    // zlib's crc32 and Java's hashCode of "example.org".
    let crc = crc32fast::hash(b"example.org");
    let java = "example.org".bytes().fold(0u32, |h, b| h.wrapping_mul(31).wrapping_add(b.into()));
    let djb2 =
        "example.org".bytes().fold(5381u32, |h, b| h.wrapping_mul(33).wrapping_add(b.into()));
    for encoded in [
        crc.to_string(),
        format!("{crc:08x}"),
        java.to_string(),
        java.cast_signed().to_string(),
        djb2.to_string(),
        // From zlib.adler32 of Python, and fnv1 and sdbm as published.
        ADLER.to_string(),
        FNV1.to_string(),
        SDBM.to_string(),
    ] {
        assert!(visits.hashed(&encoded, || true).is_some(), "{encoded}");
        assert_eq!(visits.hashed(&encoded, || false), None);
    }
    assert_eq!(visits.hashed("12345678", || true), None);
}

#[test]
fn drops_the_oldest_visits_with_their_hashes() {
    let mut visits = visits();
    let hash = HEXLOWER.encode(&Sha256::digest(PAGE));
    let host = HEXLOWER.encode(&Sha256::digest("www.news.example.org"));
    for n in 0..MAX_PAGES {
        assert!(visits.hashed(&hash, || false).is_some());
        assert!(open(&mut visits, &format!("https://www.news.example.org/{n}"), 20));
        assert!(!open(&mut visits, &format!("https://www.news.example.org/{n}#x"), 21));
    }
    assert_eq!(visits.hashed(&hash, || false), None);
    assert!(visits.hashed(&host, || false).is_some(), "newer visits were to the same host");
    assert!(matches!(find(&visits, PAGE, false, 30).0, Visited::Host { .. }));
    for n in 0..MAX_PAGES {
        open(&mut visits, &format!("https://{n}.test/"), 40);
    }
    assert_eq!(visits.hashed(&host, || false), None);
    for n in 0..2 * MAX_HOSTS {
        visits.record_lookup(&format!("{n}.test"), at(1));
    }
    assert_eq!(visits.hosts.len(), MAX_HOSTS);
}

#[test]
fn the_index_is_that_of_the_pages() {
    let mut visits = Visits::default();
    for n in 0..MAX_PAGES + 40 {
        for url in [
            format!("https://www.News-{}.example.org:8443/Politics/{n}?q=private", n % 90),
            format!("http://other.test/{}", n % 7),
        ] {
            open(&mut visits, &url, n as u64);
        }
    }
    let mut index = visits.index.emptied();
    visits.pages.iter().for_each(|visit| index.insert(visit));
    assert_eq!(visits.index, index);
    assert!(visits.page_on("WWW.news-7.example.org:8443").is_some());
    assert!(visits.page_on_host("NEWS-7.example.org").is_some());
    for label in ["www-news-7-example-org", "WWW_News-7_example_org", "www-news--7-example-org"] {
        assert!(visits.page_on_label(label).is_some(), "{label}");
    }
    assert!(visits.has_path(&format!("/Politics/{}?x", MAX_PAGES + 39)));
    assert!(!visits.has_path("/Politics/0") && !visits.has_path("/politics/290"));
    assert!(visits.page_on_label("www-news-7-example").is_none());
}

#[test]
fn any_piece_of_a_recent_url_may_be_part_of_it() {
    let urls = [PAGE, "https://a.test/", "x"];
    let grams = Grams::new(urls.into_iter());
    for url in urls {
        for (start, _) in url.char_indices() {
            assert!((start..=url.len()).all(|end| grams.may_contain(&url[start..end])), "{url}");
        }
    }
    assert!(!grams.may_contain("politics/story-43"));
    assert!(!Grams::default().may_contain("news"));
}
