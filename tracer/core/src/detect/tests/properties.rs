//! Properties of findings in arbitrarily wrapped events, and in bodies that
//! disclose nothing.

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::{
    content::tests::properties::{Layer, layers, wrap},
    proto::{Body, Protocol, Request},
    record::BootTime,
};

/// Creates a request that a program sends with this body.
fn request(body: Vec<u8>, complete: bool) -> Request {
    Request {
        protocol: Protocol::Http1,
        time: BootTime::default(),
        method: Some("POST".to_owned()),
        authority: Some("collect.vendor.test".to_owned()),
        path: Some("/v1/report".to_owned()),
        partial: Vec::new(),
        head_cut: None,
        update: false,
        never_sent: None,
        headers: Vec::new(),
        body: Body { data: body.into(), ..Body::default() },
        complete,
        unread_bytes: 0,
    }
}

/// An event in the format of an SDK, with an identifier and a URL.
#[derive(Debug, Clone)]
struct Event {
    sdk: &'static str,
    id: String,
    url: String,
    json: String,
}

/// Generates events of several SDKs with random identifiers and pages.
fn event() -> impl Strategy<Value = Event> {
    let id = "[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}";
    (0..6, id, "[a-z]{3,12}", "[a-z0-9-]{1,40}").prop_map(|(form, id, host, slug)| {
        let url = format!("https://{host}.example.org/{slug}?q=1");
        let (sdk, json) = match form {
            0 => (
                "Sensors Analytics",
                json!({ "distinct_id": id, "lib": { "$lib": "Android" }, "event": "page_load",
                        "properties": { "url": url, "uuid": id } }),
            ),
            1 => (
                "Segment",
                json!({ "writeKey": "wk", "batch": [{ "anonymousId": id, "messageId": "m-1",
                        "context": { "library": { "name": "analytics" } },
                        "properties": { "url": url } }] }),
            ),
            2 => (
                "Mixpanel",
                json!({ "event": "view", "properties": { "distinct_id": id, "token": "t",
                        "mp_lib": "android", "url": url } }),
            ),
            3 => (
                "PostHog",
                json!({ "api_key": "k", "batch": [{ "event": "$pageview", "distinct_id": id,
                        "properties": { "$current_url": url, "$lib": "posthog-python" } }] }),
            ),
            4 => (
                "Sentry",
                json!({ "event_id": "e", "sdk": { "name": "sentry.python" }, "user": { "id": id },
                        "request": { "url": url } }),
            ),
            _ => (
                "Countly",
                json!({ "app_key": "k", "device_id": id, "sdk_name": "js", "sdk_version": "1",
                        "events": [{ "segmentation": { "url": url } }] }),
            ),
        };
        Event { sdk, id, url, json: json.to_string() }
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn finds_events_in_any_wrapping(event in event(), layers in layers()) {
        let body = wrap(&layers, &event.json);
        let found = DETECTOR.find(&request(body, true));
        prop_assert!(
            found.list.iter().any(|f| f.kind == Kind::Url && f.value == event.url),
            "{layers:?}: {found:#?}"
        );
        prop_assert!(
            found.list.iter().any(|f| f.kind == Kind::Identifier
                && f.value == event.id
                && f.lifetime == Some(Lifetime::Lasting)),
            "{layers:?}: {found:#?}"
        );
        prop_assert_eq!(found.sdk.as_deref(), Some(event.sdk), "{:?}", layers);
    }

    /// A truncated body has no finding that the complete body does not have.
    #[test]
    fn finds_no_more_in_a_truncated_body(
        event in event(),
        layers in layers(),
        cut in any::<prop::sample::Index>(),
    ) {
        let body = wrap(&layers, &event.json);
        let part = DETECTOR.find(&request(body[..cut.index(body.len() + 1)].to_vec(), false));
        let whole = DETECTOR.find(&request(body, true));
        for found in &part.list {
            let is_it = |known: &Finding| {
                (known.kind, &known.class, known.lifetime)
                    == (found.kind, &found.class, found.lifetime)
                    && if found.truncated {
                        known.value.starts_with(&found.value)
                    } else {
                        known.value == found.value
                    }
            };
            prop_assert!(whole.list.iter().any(is_it), "{layers:?}: {found:?} is not in {whole:#?}");
        }
        prop_assert!(part.sdk.is_none() || part.sdk == whole.sdk);
    }
}

/// A deterministic random number generator (Marsaglia's xorshift).
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, end: u64) -> usize {
        usize::try_from(self.next() % end).expect("a small number")
    }

    fn bytes(&mut self, len: usize) -> Vec<u8> {
        (0..len).map(|_| self.next().to_le_bytes()[3]).collect()
    }

    fn text(&mut self, len: usize, alphabet: &[u8]) -> String {
        (0..len).map(|_| char::from(alphabet[self.below(alphabet.len() as u64)])).collect()
    }

    fn words(&mut self, count: usize) -> String {
        let words = (0..count).map(|_| {
            let len = 2 + self.below(9);
            self.text(len, b"etaoinshrdlcumwfgypbvk")
        });
        words.collect::<Vec<_>>().join(" ")
    }
}

const BASE64: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Generates a body that discloses nothing: text, an image, compressed text,
/// ciphertext as bytes or in base64, or numbers.
fn innocent_body(noise: &mut Noise) -> Vec<u8> {
    let len = 64 + noise.below(600);
    match noise.below(13) {
        0 => noise.words(4 + len / 16).into_bytes(),
        1 => [&b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"[..], &noise.bytes(len)].concat(),
        2 => {
            let text = noise.words(4 + len / 16);
            wrap(&[Layer::Gzip], &text)
        }
        3 => noise.bytes(len),
        4 => {
            let payload = noise.text(len / 4 * 4, BASE64);
            json!({ "version_of_it": 5, "ciphertext": payload, "note": noise.words(3) })
                .to_string()
                .into_bytes()
        }
        5 => {
            let payload = noise.text(len, b"abcdefghijklmnopqrstuvwxyz234567");
            json!({ "ciphertext": payload }).to_string().into_bytes()
        }
        6 => {
            let alphabet: Vec<u8> = (b'!'..=b'u').collect();
            json!({ "ciphertext": noise.text(len, &alphabet) }).to_string().into_bytes()
        }
        7 => json!({ "ciphertext": noise.bytes(len) }).to_string().into_bytes(),
        8 => {
            let text: String = noise.bytes(len).into_iter().map(char::from).collect();
            json!({ "ciphertext": text }).to_string().into_bytes()
        }
        9 => {
            let text = noise.words(len / 16);
            format!("<note kind='x'>{text}<b>{}</b></note>", noise.words(3)).into_bytes()
        }
        10 => {
            wrap(&[[Layer::Zip, Layer::Snappy, Layer::Lz4][noise.below(3)]], &noise.words(len / 8))
        }
        11 => {
            let pairs = (0..8).map(|_| format!("name_of_{}={}", noise.words(1), noise.words(1)));
            pairs.collect::<Vec<_>>().join(" ").into_bytes()
        }
        _ => {
            let numbers: Vec<u64> = (0..len / 8).map(|_| noise.next() >> noise.below(60)).collect();
            json!({ "samples": numbers, "comment": noise.words(5) }).to_string().into_bytes()
        }
    }
}

/// Returns the findings in `tries` innocent bodies, formatted.
fn false_positives(tries: u32) -> Vec<String> {
    let mut noise = Noise(0x9e37_79b9_7f4a_7c15);
    (0..tries)
        .filter_map(|_| {
            let found = DETECTOR.find(&request(innocent_body(&mut noise), true));
            (!found.list.is_empty() || found.sdk.is_some())
                .then(|| format!("{:?} {:?}", found.list, found.sdk))
        })
        .collect()
}

/// Verifies the false-positive rate in docs/reference/detection.md.
#[test]
fn finds_nothing_in_innocent_bodies() {
    let found = false_positives(100_000);
    assert!(found.is_empty(), "{}: {found:#?}", found.len());
}
