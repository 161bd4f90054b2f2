//! Finds mentions of the audit's pages in a request, through every encoding.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use super::{
    canary::{Canary, Extent, Mention},
    report::DecodeStep,
};
use tracer_core::{
    content::{self, Limits},
    proto::Request,
    visits::{Breadth, TextHashes},
};

/// A mention of a page in a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct CanaryMention {
    /// [`Canary::id`].
    pub(super) canary: u64,
    pub(super) mention: Mention,
    /// The part of the value that mentions the page: a URL, a host, a title.
    pub(super) value: String,
    /// Encodings around the value.
    pub(super) chain: String,
}

/// Length of the text that is kept around a page's words, in bytes.
const MAX_VALUE: usize = 512;

/// The titles of pages, by their hashes.
#[derive(Debug, Clone, Default)]
pub(super) struct Titles {
    hashes: TextHashes,
    /// Titles that are in `hashes`.
    known: HashSet<Arc<str>>,
}

impl Titles {
    /// Adds the title of a page.
    pub(super) fn add(&mut self, title: &str) {
        if !self.known.contains(title) {
            let title: Arc<str> = title.into();
            self.hashes.insert(&title, Breadth::Every);
            self.known.insert(title);
        }
    }
}

/// Returns the pages that a request mentions, each with the value that reveals most of it.
///
/// Of pages with a part in common, a value mentions the one with the most parts in it, and of several
/// such pages the first one in `canaries`.
pub(super) fn find_mentions(
    request: &Request,
    canaries: &[&Canary],
    titles: &Titles,
) -> Vec<CanaryMention> {
    let mut found = Found::default();
    if canaries.is_empty() {
        return Vec::new();
    }
    for field in &request.headers {
        let name = String::from_utf8_lossy(&field.name);
        found.look(&name, canaries, || format!("header:{name}"));
    }
    content::unwrap(request, &Limits::default(), |value| {
        let chain = || value.chain.to_string();
        found.look(value.text, canaries, chain);
        // Names of fields can be data as well.
        if let Some(key) = value.key {
            found.look(key, canaries, chain);
        }
        if let Some((_, title)) = titles.hashes.find(value.text)
            && let Some(canary) = canaries.iter().find(|canary| *canary.title == **title)
        {
            found.add(canary, Mention::Title, value.text, value.text.len(), chain);
        }
    });
    found.0.into_iter().map(|(_, mention)| mention).collect()
}

/// The mentions that were found, each with the length of the text around it.
#[derive(Default)]
struct Found(Vec<(usize, CanaryMention)>);

impl Found {
    /// Adds what a text mentions.
    fn look(&mut self, text: &str, canaries: &[&Canary], chain: impl Fn() -> String) {
        for (canary, mention) in mentioned(&text.to_ascii_lowercase(), canaries) {
            let value = enclosing_text(text, word(canary, mention));
            self.add(canary, mention, value, text.len(), &chain);
        }
    }

    /// Adds a mention. Address and title are separate mentions. Of each, the value that reveals
    /// most counts, and of several such values the innermost one.
    fn add(
        &mut self,
        canary: &Canary,
        mention: Mention,
        value: &str,
        len: usize,
        chain: impl Fn() -> String,
    ) {
        let found = || {
            let (canary, value, chain) = (canary.id, value.to_owned(), chain());
            CanaryMention { canary, mention, value, chain }
        };
        let same = self.0.iter_mut().find(|(_, known)| {
            known.canary == canary.id
                && (known.mention == Mention::Title) == (mention == Mention::Title)
        });
        match same {
            Some((known_len, known)) => {
                let (rank, known_rank) = (rank(mention), rank(known.mention));
                if rank > known_rank || (rank == known_rank && len < *known_len) {
                    (*known_len, *known) = (len, found());
                }
            }
            None => self.0.push((len, found())),
        }
    }
}

/// Returns the pages that a text in lower case mentions.
fn mentioned<'a>(text: &str, canaries: &[&'a Canary]) -> Vec<(&'a Canary, Mention)> {
    let found = canaries.iter().filter_map(|canary| {
        let mention = canary.mentioned_in(text)?;
        Some((*canary, mention, canary.parts_in(text)))
    });
    let found: Vec<(&Canary, Mention, usize)> = found.collect();
    let is_other = |at: usize| {
        let (canary, mention, parts) = found[at];
        let word = word(canary, mention);
        found.iter().enumerate().any(|(i, (other, _, of_other))| {
            let has_more = *of_other > parts || (*of_other == parts && i < at);
            i != at && has_more && other.has_part(word)
        })
    };
    let alone = (0..found.len()).filter(|at| !is_other(*at));
    alone.map(|at| (found[at].0, found[at].1)).collect()
}

fn rank(mention: Mention) -> Option<Extent> {
    match mention {
        Mention::Address(scope) => Some(scope),
        Mention::Title => None,
    }
}

/// Returns the words of a page that make up a mention.
fn word(canary: &Canary, mention: Mention) -> &str {
    match mention {
        Mention::Address(Extent::Full) => &canary.query_word,
        Mention::Address(Extent::HostPath) => &canary.path_word,
        Mention::Address(_) => canary.host_word.as_deref().unwrap_or_default(),
        Mention::Title => &canary.title,
    }
}

/// Returns the part of `text` around `word` up to the next delimiter on both sides.
fn enclosing_text<'a>(text: &'a str, word: &str) -> &'a str {
    let ends = |c: char| {
        c.is_whitespace() || c.is_control() || matches!(c, '"' | '\'' | '<' | '>' | ',' | '{' | '}')
    };
    // Changing the case of ASCII does not change the length.
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

/// Length of a step's excerpt, in bytes.
const MAX_EXCERPT: usize = 160;

/// Length of an excerpt in a redacted report: enough to recognise a format, too short for a value.
const MAX_REDACTED: usize = 8;

/// Length to which a step is decoded, in bytes.
const MAX_STEP: usize = 1 << 20;

/// The contents between a request's raw bytes and its values.
pub(super) struct DecodeSteps {
    /// Content by chain, for each chain and each prefix of one.
    contents: HashMap<String, Vec<u8>>,
    room: usize,
}

impl DecodeSteps {
    /// Decodes a request once for all `chains`.
    pub(super) fn new<'a>(
        request: &Request,
        chains: impl Iterator<Item = &'a str>,
        redacts: bool,
    ) -> Self {
        let wanted: HashSet<&str> = chains.flat_map(prefixes).collect();
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

    /// Returns the steps of `chain`, which leads to `value`, the raw bytes first.
    pub(super) fn steps(&mut self, chain: &str, value: &str) -> Vec<DecodeStep> {
        let mut before: Option<&str> = None;
        let mut steps = Vec::new();
        for at in prefixes(chain) {
            let name = at.rsplit(" > ").next().unwrap_or(at);
            // `content::unwrap` passes on text only. Binary content is decoded here.
            if !self.contents.contains_key(at)
                && let Some(outer) = before.and_then(|before| self.contents.get(before))
                && let Some(bytes) = content::decode_step(name, outer, MAX_STEP)
            {
                self.contents.insert(at.to_owned(), bytes);
            }
            let bytes = self.contents.get(at);
            steps.push(DecodeStep {
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

/// Returns `a`, `a > b` and `a > b > c` for `a > b > c`.
fn prefixes(chain: &str) -> impl Iterator<Item = &str> {
    let ends = chain.match_indices(" > ").map(|(at, _)| at);
    ends.chain([chain.len()]).map(|end| &chain[..end])
}

/// Returns the beginning of a text, or the first bytes of binary data in hexadecimal.
fn excerpt(bytes: &[u8], room: usize) -> String {
    // The cut may be within a character.
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

/// Number of bytes that are shown of binary data.
const MAX_HEX: usize = 16;

#[cfg(test)]
mod tests {
    use super::{super::canary::Hosting, *};
    use tracer_core::proto::parse_http1;

    fn canary() -> Canary {
        let hosting = Hosting::Wildcard { domain: "audit.test".into(), port: 8443 };
        Canary::new(7, &hosting, &std::array::from_fn(|i| (i * 37) as u8))
    }

    fn steps_to(request: &Request, chain: &str, value: &str, redacts: bool) -> Vec<DecodeStep> {
        DecodeSteps::new(request, [chain].into_iter(), redacts).steps(chain, value)
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
    fn the_most_revealing_and_innermost_value_is_reported() {
        let canary = canary();
        let inner = format!(r#"{{"h":"{}","u":"{}"}}"#, canary.host(), canary.url);
        let body = format!(r#"{{"data":"{}"}}"#, data_encoding::BASE64.encode(inner.as_bytes()));
        let request = post(&body);
        let named = find_mentions(&request, &[&canary], &Titles::default());
        assert_eq!(named.len(), 1, "{named:?}");
        assert_eq!(named[0].mention, Mention::Address(Extent::Full));
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
    fn steps_begin_with_the_raw_bytes() {
        use std::io::Write as _;
        let canary = canary();
        let inner = format!(r#"[{{"u":"{}"}}]"#, canary.url);
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        gzip.write_all(inner.as_bytes()).unwrap();
        let packed = gzip.finish().unwrap();
        let body = format!(r#"{{"d":"{}"}}"#, data_encoding::BASE64.encode(&packed));
        let request = post(&body);
        let named = find_mentions(&request, &[&canary], &Titles::default());
        assert_eq!(named[0].chain, "body > json.d > base64 > gzip > json[0].u");
        let steps = steps_to(&request, &named[0].chain, &named[0].value, false);
        assert_eq!(steps[2].bytes, Some(packed.len() as u64));
        assert!(steps[2].excerpt.as_deref().unwrap().starts_with("1f 8b 08"), "{steps:?}");
        assert_eq!(steps[3].bytes, Some(inner.len() as u64));
        assert!(steps[3].excerpt.as_deref().unwrap().starts_with("[{\"u\""), "{steps:?}");

        let masked: Vec<u8> =
            inner.bytes().zip([0xa5, 0x11].iter().cycle()).map(|(a, b)| a ^ b).collect();
        let request = post(&format!(r#"{{"d":"{}"}}"#, data_encoding::BASE64.encode(&masked)));
        let named = find_mentions(&request, &[&canary], &Titles::default());
        assert_eq!(named[0].chain, "body > json.d > base64 > xor:a511 > json[0].u");
        let steps = steps_to(&request, &named[0].chain, &named[0].value, false);
        assert!(steps[3].excerpt.as_deref().unwrap().starts_with("[{\"u\""), "{steps:?}");
    }

    #[test]
    fn enclosing_text_ends_at_delimiters() {
        assert_eq!(
            enclosing_text("see \"http://a/x?q=WORD\", please", "word"),
            "http://a/x?q=WORD"
        );
        assert_eq!(enclosing_text("word", "word"), "word");
        assert_eq!(enclosing_text("ä word ö", "word"), "word");
    }

    #[test]
    fn pages_with_parts_in_common_are_distinguished() {
        let hosting = Hosting::Wildcard { domain: "audit.test".into(), port: 8443 };
        let pages = crate::differential::design::pages(1, &hosting, 16, 3);
        let all: Vec<&Canary> = pages.iter().collect();
        for page in &pages {
            let named = find_mentions(
                &post(&format!(r#"{{"u":"{}"}}"#, page.url)),
                &all,
                &Titles::default(),
            );
            let ids: Vec<u64> = named.iter().map(|one| one.canary).collect();
            assert_eq!(ids, [page.id], "{}: {named:?}", page.url);
            assert_eq!(named[0].mention, Mention::Address(Extent::Full));

            // A part that several pages have belongs to the first of them.
            let mut recent = vec![page];
            recent.extend(&pages);
            let without = page.url.split('?').next().unwrap();
            for (text, mention) in [
                (without, Mention::Address(Extent::HostPath)),
                (page.host(), Mention::Address(Extent::Host)),
                (&page.title, Mention::Title),
            ] {
                let named = find_mentions(
                    &post(&format!(r#"{{"u":"{text}"}}"#)),
                    &recent,
                    &Titles::default(),
                );
                let found: Vec<_> = named.iter().map(|one| (one.canary, one.mention)).collect();
                assert_eq!(found, [(page.id, mention)], "{text}");
            }
        }
    }

    #[test]
    fn names_of_fields_are_mentions() {
        let canary = canary();
        let label = canary.host().replace('.', "-");
        let named = |text: &str| {
            let request = parse_http1(text.as_bytes()).0.pop().unwrap();
            find_mentions(&request, &[&canary], &Titles::default())
        };
        let head = "GET / HTTP/1.1\r\nHost: c.example\r\n";
        for found in [
            named(&format!("{head}X-{label}: 1\r\n\r\n")),
            find_mentions(&post(&format!(r#"{{"{label}":1}}"#)), &[&canary], &Titles::default()),
        ] {
            assert_eq!(found.len(), 1, "{found:?}");
            assert_eq!(found[0].mention, Mention::Address(Extent::Host));
        }
        assert_eq!(named(&format!("{head}X-Other-Name: 1\r\n\r\n")), []);
    }

    #[test]
    fn hashes_of_titles_are_mentions() {
        use sha2::Digest as _;
        let canary = canary();
        let mut titles = Titles::default();
        titles.add(&canary.title);
        let sha256 = sha2::Sha256::digest(&canary.title);
        let [hex, base64] =
            [data_encoding::HEXLOWER, data_encoding::BASE64].map(|it| it.encode(&sha256));
        for hash in [&hex, &hex[..32], &base64] {
            let named = find_mentions(&post(&format!(r#"{{"t":"{hash}"}}"#)), &[&canary], &titles);
            assert_eq!(named.len(), 1, "{named:?}");
            assert_eq!((named[0].mention, &*named[0].value), (Mention::Title, hash));
            assert_eq!(named[0].chain, "body > json.t");
        }
        let other = data_encoding::HEXLOWER.encode(&sha2::Sha256::digest("another title"));
        let request = post(&format!(r#"{{"t":"{other}"}}"#));
        assert_eq!(find_mentions(&request, &[&canary], &titles), []);
    }

    #[test]
    fn other_urls_are_not_mentions() {
        let request = post(r#"{"u":"https://other.example/"}"#);
        assert_eq!(find_mentions(&request, &[&canary()], &Titles::default()), []);
    }
}
