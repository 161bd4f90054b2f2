//! The answers, from what was gathered.
//!
//! "Yes" needs to have been seen. "No" needs that it was looked for (there
//! were visits, or requests), that enough of what was sent was read, and that
//! the visits themselves were seen. Everything else is "cannot tell".

mod identity;
mod urls;

use std::collections::BTreeSet;

use super::{
    facts::Facts,
    phase::Phase,
    report::{Answer, ItemKind, MAX_EVIDENCE, Question, Verdict},
};

/// How many percent of what was sent have to be read for a "no". Encrypted
/// handshakes do not count; what does is what a browser says over HTTP/3 or
/// before its TLS library was found, and a whole visit is more than a twentieth
/// of an audit's traffic.
pub const PERCENT_NEEDED: u8 = 95;

/// All answers, in the order of a report.
pub(super) fn all(facts: &Facts<'_>) -> Vec<Verdict> {
    let mut verdicts = urls::all(facts);
    verdicts.extend(identity::all(facts));
    let kinds = |kinds: &'static [ItemKind]| move |kind: ItemKind| kinds.contains(&kind);
    use ItemKind as Is;
    verdicts.push(facts.disclosed(
        Question::PersonalDetails,
        "Personal details sent",
        kinds(&[Is::PersonalDetail]),
        &Phase::ALL,
    ));
    let any = |kind| kind != Is::Url;
    verdicts.push(facts.disclosed(
        Question::BeforeConsent,
        "Anything that identifies or discloses, before consent",
        any,
        &[Phase::Fresh],
    ));
    verdicts.push(facts.disclosed(
        Question::AfterDeclining,
        "The same, after consent was declined",
        any,
        &[Phase::Declined],
    ));
    let rest: [(_, _, &'static [ItemKind]); 4] = [
        (Question::InterfaceEvents, "Interface events reported", &[Is::UiEvent]),
        (Question::ContentItems, "Items of content reported", &[Is::ContentItem]),
        (Question::TypedLetters, "What is typed sent, letter by letter", &[Is::TypedText]),
        (Question::PageText, "Titles or texts of pages sent", &[Is::PageTitle, Is::PageText]),
    ];
    for (question, title, wanted) in rest {
        verdicts.push(facts.disclosed(question, title, kinds(wanted), &Phase::ALL));
    }
    verdicts.push(urls::processed_locally(facts));
    verdicts
}

/// An answer without numbers.
fn verdict(
    facts: &Facts<'_>,
    question: Question,
    title: &str,
    answer: Answer,
    detail: String,
) -> Verdict {
    Verdict {
        question,
        title: title.to_owned(),
        answer,
        detail,
        count: None,
        scopes: Vec::new(),
        protection: None,
        evidence: Vec::new(),
        percent_read: facts.percent_read,
    }
}

/// As many as a verdict names.
fn evidence(ids: impl IntoIterator<Item = u64>) -> Vec<u64> {
    let ids: BTreeSet<u64> = ids.into_iter().collect();
    ids.into_iter().take(MAX_EVIDENCE).collect()
}

impl Facts<'_> {
    /// Why a "no" about these phases cannot be said, if it cannot.
    fn doubt(&self, phases: &[Phase]) -> Option<String> {
        match self.percent_read {
            None => Some("nothing was seen to be sent".into()),
            Some(percent) if percent < PERCENT_NEEDED => Some(format!(
                "only {percent}% of what was sent could be read, and a \"no\" needs {PERCENT_NEEDED}%"
            )),
            Some(_) => self.unseen(phases),
        }
    }

    /// The visits are the control. Where the browser was not seen to ask for the
    /// pages that it was made to open, it sends what tracer does not see, and
    /// that is in no share: a process out of scope is in no account.
    fn unseen(&self, phases: &[Phase]) -> Option<String> {
        let made: Vec<_> = self.made(phases).collect();
        let is_seen = |phase| made.iter().any(|visit| visit.phase == phase && visit.read);
        if let Some(blind) = made.iter().find(|visit| !is_seen(visit.phase)) {
            return Some(format!(
                "it was not seen to ask for any page in the phase \"{}\", and may have sent other \
                 things unseen",
                blind.phase.title()
            ));
        }
        let tried = self.visits.iter().any(|visit| phases.contains(&visit.phase));
        (tried && made.is_empty()).then(|| self.why_left_out(phases))
    }

    /// Whether something of these kinds was sent in these phases.
    fn disclosed(
        &self,
        question: Question,
        title: &str,
        wanted: impl Fn(ItemKind) -> bool,
        phases: &[Phase],
    ) -> Verdict {
        let within = |phase: Option<Phase>| phase.is_some_and(|phase| phases.contains(&phase));
        let told: Vec<_> = self
            .told
            .iter()
            .filter(|told| within(told.phase) && told.items.iter().any(|item| wanted(item.kind)))
            .collect();
        if !told.is_empty() {
            let recipients: BTreeSet<&str> = told.iter().map(|told| &told.recipient[..]).collect();
            let kinds: BTreeSet<&str> = told
                .iter()
                .flat_map(|told| &told.items)
                .filter(|item| wanted(item.kind))
                .map(|item| item.kind.label())
                .collect();
            let detail = format!(
                "{} in {} to {}",
                list(kinds),
                plural(told.len() as u64, "request"),
                list(recipients)
            );
            return Verdict {
                evidence: evidence(told.iter().map(|told| told.id)),
                ..verdict(self, question, title, Answer::Yes, detail)
            };
        }
        let looked = phases.iter().filter(|phase| self.was_done(**phase)).count();
        let requests: u64 = phases.iter().map(|phase| self.requests(*phase)).sum();
        let (read, none) = match requests {
            0 => ("no request of its own was seen".to_owned(), ""),
            _ => (
                format!("of its own, {} were read", plural(requests, "request")),
                ", and none does",
            ),
        };
        if looked == 0 {
            let why = self.why_left_out(phases);
            return verdict(self, question, title, Answer::CannotTell, why);
        }
        match self.doubt(phases) {
            Some(doubt) => {
                verdict(self, question, title, Answer::CannotTell, format!("{doubt}; {read}"))
            }
            None => verdict(self, question, title, Answer::No, format!("{read}{none}")),
        }
    }

    /// Why none of these phases was done.
    fn why_left_out(&self, phases: &[Phase]) -> String {
        let why = phases.iter().find_map(|phase| self.left_out(*phase));
        why.unwrap_or_else(|| "this was not tried".into())
    }
}

/// `3 requests`.
pub(super) fn plural(count: u64, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

/// Names in a sentence; the first ones, where they are many.
pub(super) fn list<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    const SHOWN: usize = 4;
    let names: Vec<&str> = names.into_iter().collect();
    let shown = names[..names.len().min(SHOWN)].join(", ");
    match names.len().saturating_sub(SHOWN) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}
