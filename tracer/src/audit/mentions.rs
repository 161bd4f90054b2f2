//! What a request says of the audit's pages: every value in it is looked at,
//! through every encoding.

use super::{
    canary::{Canary, Mention},
    report::{Scope, Step},
};
use crate::{
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

/// What stands on the way to the value at the end of `chain`: as much as was
/// read as text, the raw bytes first. Excerpts are left out where values are
/// to be redacted, since they hold whatever stands beside the value.
pub(super) fn steps(request: &Request, chain: &str, value: &str, excerpts: bool) -> Vec<Step> {
    let names: Vec<&str> = chain.split(" > ").collect();
    let mut steps: Vec<Step> = names
        .iter()
        .map(|name| Step { name: (*name).to_owned(), bytes: None, excerpt: None })
        .collect();
    content::unwrap(request, &Limits::default(), |each| {
        let at = each.chain.to_string();
        if !chain.starts_with(&at) {
            return;
        }
        let depth = at.split(" > ").count();
        // Not `json[0]` of `json[01]`, but the whole of a step.
        if names.get(depth - 1).is_some_and(|name| at.ends_with(name))
            && let Some(step) = steps.get_mut(depth - 1)
            && step.bytes.is_none()
        {
            step.bytes = Some(each.text.len() as u64);
            step.excerpt = excerpts.then(|| excerpt(each.text));
        }
    });
    if let Some(first) = steps.first_mut()
        && first.bytes.is_none()
        && first.name == "body"
    {
        let data = request.body.prefix();
        first.bytes = Some(data.len() as u64);
        first.excerpt = excerpts
            .then(|| excerpt(&String::from_utf8_lossy(&data[..data.len().min(MAX_EXCERPT)])));
    }
    if let Some(last) = steps.last_mut() {
        last.excerpt = Some(value.to_owned());
    }
    steps
}

fn excerpt(text: &str) -> String {
    let end = text.floor_char_boundary(MAX_EXCERPT);
    let more = if end < text.len() { "…" } else { "" };
    format!("{}{more}", &text[..end])
}

#[cfg(test)]
mod tests {
    use super::{super::canary::Site, *};
    use crate::proto::parse_http1;

    fn canary() -> Canary {
        let site = Site::Wildcard { domain: "audit.test".into(), port: 8443 };
        Canary::new(7, &site, &std::array::from_fn(|i| (i * 37) as u8))
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

        let steps = steps(&request, &named[0].chain, &named[0].value, true);
        let names: Vec<&str> = steps.iter().map(|step| &step.name[..]).collect();
        assert_eq!(names, ["body", "json.data", "base64", "json.u"]);
        assert_eq!(steps[0].bytes, Some(body.len() as u64));
        assert!(steps[1].excerpt.as_deref().unwrap().starts_with("eyJ"), "{steps:?}");
        assert_eq!(steps[3].excerpt.as_deref(), Some(&canary.url[..]));
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
