//! What a request says of the audit's pages: every value in it is looked at,
//! through every encoding.

use std::collections::{HashMap, HashSet};

use super::{
    canary::{Canary, Mention},
    report::{Scope, Step},
};
use tracer_core::{
    content::{self, Limits},
    proto::Request,
};

/// A canary that a request names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Named {
    /// [`Canary::id`].
    pub(super) canary: u64,
    pub(super) mention: Mention,
    /// What of the value names it: a URL, a host, a title.
    pub(super) value: String,
    /// How it was wrapped.
    pub(super) chain: String,
}

/// The longest part of a value that is kept around a canary's words.
const MAX_VALUE: usize = 512;

/// The canaries that a request names, each in the way that tells most of it.
pub(super) fn named(request: &Request, canaries: &[Canary]) -> Vec<Named> {
    let mut found: Vec<(usize, Named)> = Vec::new();
    if canaries.is_empty() {
        return Vec::new();
    }
    content::unwrap(request, &Limits::default(), |value| {
        let text = value.text.to_ascii_lowercase();
        for canary in canaries {
            let Some(mention) = canary.mentioned_in(&text) else {
                continue;
            };
            let (rank, len) = (rank(mention), text.len());
            let named = |value: &str, chain: String| Named {
                canary: canary.id,
                mention,
                value: around(value, word(canary, mention)).to_owned(),
                chain,
            };
            // A page's address and its title are two things; of each, what
            // tells most, and of that, the innermost value.
            let same = found.iter_mut().find(|(_, known)| {
                known.canary == canary.id
                    && (known.mention == Mention::Title) == (mention == Mention::Title)
            });
            match same {
                Some((known_len, known)) => {
                    let known_rank = self::rank(known.mention);
                    if rank > known_rank || (rank == known_rank && len < *known_len) {
                        *known = named(value.text, value.chain.to_string());
                        *known_len = len;
                    }
                }
                None => found.push((len, named(value.text, value.chain.to_string()))),
            }
        }
    });
    found.into_iter().map(|(_, named)| named).collect()
}

fn rank(mention: Mention) -> Option<Scope> {
    match mention {
        Mention::Address(scope) => Some(scope),
        Mention::Title => None,
    }
}

/// The word of the canary's that a mention goes by.
fn word(canary: &Canary, mention: Mention) -> &str {
    match mention {
        Mention::Address(Scope::Full) => &canary.query_word,
        Mention::Address(Scope::HostPath) => &canary.path_word,
        Mention::Address(_) => canary.host_word.as_deref().unwrap_or_default(),
        Mention::Title => &canary.title,
    }
}

/// The part of `text` around `word` that hangs together.
fn around<'a>(text: &'a str, word: &str) -> &'a str {
    let ends = |c: char| {
        c.is_whitespace() || c.is_control() || matches!(c, '"' | '\'' | '<' | '>' | ',' | '{' | '}')
    };
    // In ASCII, lower case is as long as upper case.
    let Some(at) = text.to_ascii_lowercase().find(word) else {
        return &text[..text.floor_char_boundary(MAX_VALUE)];
    };
    let from = text.floor_char_boundary(at.saturating_sub(MAX_VALUE / 2));
    let to = text.ceil_char_boundary((at + word.len() + MAX_VALUE / 2).min(text.len()));
    let start = text[from..at].rfind(ends).map_or(from, |end| {
        let end = from + end;
        end + text[end..].chars().next().map_or(1, char::len_utf8)
    });
    let end = text[at..to].find(ends).map_or(to, |end| at + end);
    &text[start..end]
}

/// The longest excerpt of a step, in bytes.
const MAX_EXCERPT: usize = 160;

/// The same where values are redacted: enough to know a format by, too little
/// of whatever stands there.
const MAX_REDACTED: usize = 8;

/// The most bytes that a step is unwrapped to.
const MAX_STEP: usize = 1 << 20;

/// What stands on the ways to a request's values.
pub(super) struct Ways {
    /// The contents at the end of each chain, and of each beginning of one.
    contents: HashMap<String, Vec<u8>>,
    room: usize,
}

impl Ways {
    /// To the values at the ends of `chains`: the request is read once for all.
    pub(super) fn of<'a>(
        request: &Request,
        chains: impl Iterator<Item = &'a str>,
        redacts: bool,
    ) -> Self {
        let wanted: HashSet<&str> = chains.flat_map(beginnings).collect();
        let mut contents = HashMap::new();
        let kept = |bytes: &[u8]| bytes[..bytes.len().min(MAX_STEP)].to_vec();
        contents.insert("body".to_owned(), kept(request.body.prefix()));
        content::unwrap(request, &Limits::default(), |each| {
            let at = each.chain.to_string();
            if wanted.contains(&at[..]) {
                contents.entry(at).or_insert_with(|| kept(each.text.as_bytes()));
            }
        });
        let room = if redacts { MAX_REDACTED } else { MAX_EXCERPT };
        Self { contents, room }
    }

    /// The steps to `value`, at the end of `chain`, the raw bytes first.
    pub(super) fn steps(&mut self, chain: &str, value: &str) -> Vec<Step> {
        let mut before: Option<&str> = None;
        let mut steps = Vec::new();
        for at in beginnings(chain) {
            let name = at.rsplit(" > ").next().unwrap_or(at);
            // What is no text was not handed out, and is unwrapped here.
            if !self.contents.contains_key(at)
                && let Some(outer) = before.and_then(|before| self.contents.get(before))
                && let Some(bytes) = content::decode_step(name, outer, MAX_STEP)
            {
                self.contents.insert(at.to_owned(), bytes);
            }
            let bytes = self.contents.get(at);
            steps.push(Step {
                name: name.to_owned(),
                bytes: bytes.map(|bytes| bytes.len() as u64),
                excerpt: bytes.map(|bytes| excerpt(bytes, self.room)),
            });
            before = Some(at);
        }
        if let Some(last) = steps.last_mut() {
            last.excerpt = Some(value.to_owned());
        }
        steps
    }
}

/// `a`, `a > b` and `a > b > c` of `a > b > c`.
fn beginnings(chain: &str) -> impl Iterator<Item = &str> {
    let ends = chain.match_indices(" > ").map(|(at, _)| at);
    ends.chain([chain.len()]).map(|end| &chain[..end])
}

/// The beginning of a text, or of bytes that are none, as hexadecimal.
fn excerpt(bytes: &[u8], room: usize) -> String {
    // A text that is cut is one all the same.
    let head = &bytes[..bytes.len().min(room)];
    let (shown, all) = match std::str::from_utf8(head) {
        Ok(text) if !text.chars().any(char::is_control) => (text.to_owned(), head.len()),
        Err(err) if err.error_len().is_none() && err.valid_up_to() > 0 => {
            let text = &head[..err.valid_up_to()];
            (String::from_utf8_lossy(text).into_owned(), text.len())
        }
        _ => {
            let head = &bytes[..bytes.len().min(room.min(MAX_HEX))];
            let words: Vec<String> = head.iter().map(|byte| format!("{byte:02x}")).collect();
            (words.join(" "), head.len())
        }
    };
    format!("{shown}{}", if all < bytes.len() { "…" } else { "" })
}

/// Bytes that are shown of what is no text.
const MAX_HEX: usize = 16;

#[cfg(test)]
mod tests {
    use super::{super::canary::Site, *};
    use tracer_core::proto::parse_http1;

    fn canary() -> Canary {
        let site = Site::Wildcard { domain: "audit.test".into(), port: 8443 };
        Canary::new(7, &site, &std::array::from_fn(|i| (i * 37) as u8))
    }

    fn steps_to(request: &Request, chain: &str, value: &str, redacts: bool) -> Vec<Step> {
        Ways::of(request, [chain].into_iter(), redacts).steps(chain, value)
    }

    fn post(body: &str) -> Request {
        let text = format!(
            "POST /v1?u=1 HTTP/1.1\r\nHost: c.example\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        parse_http1(text.as_bytes()).0.pop().unwrap()
    }

    #[test]
    fn the_most_telling_and_innermost_value_is_taken() {
        let canary = canary();
        let inner = format!(r#"{{"h":"{}","u":"{}"}}"#, canary.host(), canary.url);
        let body = format!(r#"{{"data":"{}"}}"#, data_encoding::BASE64.encode(inner.as_bytes()));
        let request = post(&body);
        let named = named(&request, std::slice::from_ref(&canary));
        assert_eq!(named.len(), 1, "{named:?}");
        assert_eq!(named[0].mention, Mention::Address(Scope::Full));
        assert_eq!(named[0].value, canary.url);
        assert_eq!(named[0].chain, "body > json.data > base64 > json.u");

        let steps = steps_to(&request, &named[0].chain, &named[0].value, false);
        let names: Vec<&str> = steps.iter().map(|step| &step.name[..]).collect();
        assert_eq!(names, ["body", "json.data", "base64", "json.u"]);
        assert_eq!(steps[0].bytes, Some(body.len() as u64));
        assert!(steps[1].excerpt.as_deref().unwrap().starts_with("eyJ"), "{steps:?}");
        assert_eq!(steps[3].excerpt.as_deref(), Some(&canary.url[..]));
        assert_eq!(steps[2].bytes, Some(inner.len() as u64), "{steps:?}");

        let redacted = steps_to(&request, &named[0].chain, "‹digest›", true);
        assert_eq!(redacted[1].excerpt.as_deref(), Some("eyJoIjoi…"));
        assert_eq!(redacted[3].excerpt.as_deref(), Some("‹digest›"));
    }

    #[test]
    fn every_step_is_shown_from_the_raw_bytes_on() {
        use std::io::Write as _;
        let canary = canary();
        let inner = format!(r#"[{{"u":"{}"}}]"#, canary.url);
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        gzip.write_all(inner.as_bytes()).unwrap();
        let packed = gzip.finish().unwrap();
        let body = format!(r#"{{"d":"{}"}}"#, data_encoding::BASE64.encode(&packed));
        let request = post(&body);
        let named = named(&request, std::slice::from_ref(&canary));
        assert_eq!(named[0].chain, "body > json.d > base64 > gzip > json[0].u");
        let steps = steps_to(&request, &named[0].chain, &named[0].value, false);
        assert_eq!(steps[2].bytes, Some(packed.len() as u64));
        assert!(steps[2].excerpt.as_deref().unwrap().starts_with("1f 8b 08"), "{steps:?}");
        assert_eq!(steps[3].bytes, Some(inner.len() as u64));
        assert!(steps[3].excerpt.as_deref().unwrap().starts_with("[{\"u\""), "{steps:?}");

        let masked: Vec<u8> =
            inner.bytes().zip([0xa5, 0x11].iter().cycle()).map(|(a, b)| a ^ b).collect();
        let request = post(&format!(r#"{{"d":"{}"}}"#, data_encoding::BASE64.encode(&masked)));
        let named = super::named(&request, std::slice::from_ref(&canary));
        assert_eq!(named[0].chain, "body > json.d > base64 > xor:a511 > json[0].u");
        let steps = steps_to(&request, &named[0].chain, &named[0].value, false);
        assert!(steps[3].excerpt.as_deref().unwrap().starts_with("[{\"u\""), "{steps:?}");
    }

    #[test]
    fn a_value_is_cut_where_it_hangs_together() {
        assert_eq!(around("see \"http://a/x?q=WORD\", please", "word"), "http://a/x?q=WORD");
        assert_eq!(around("word", "word"), "word");
        assert_eq!(around("ä word ö", "word"), "word");
    }

    #[test]
    fn other_requests_name_nothing() {
        assert_eq!(named(&post(r#"{"u":"https://other.example/"}"#), &[canary()]), []);
    }
}
