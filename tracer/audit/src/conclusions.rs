//! Answers the questions of an audit from its facts.
//!
//! "Yes" requires that it was seen. "No" requires that it was looked for (there were visits, or
//! requests), that enough of the traffic was read, and that the visits themselves were seen.
//! "No" about pages also requires that an experiment found nothing that depends on them. Everything
//! else is "cannot tell".

mod dependence;
mod identity;
mod urls;

use std::collections::BTreeSet;

use super::{
    arrivals::nothing_arrived,
    facts::Facts,
    phase::Phase,
    report::{Answer, Conclusion, ItemKind, MAX_EVIDENCE, Question},
};
use tracer_core::wording::counted;

/// Percentage of the traffic that has to be read for a "no". TLS handshakes do not count as traffic.
/// HTTP/3 does, and so does everything sent before the TLS library was found. A single visit is more
/// than a twentieth of an audit's traffic.
pub const MIN_PERCENT_READ: u8 = 95;

/// Percentage of the traffic that has to be understood for a "no" about pages. Random numbers take a
/// few percent of an honest browser's requests.
pub(super) const MIN_PERCENT_UNDERSTOOD: u8 = 75;

/// Returns all answers, in the order of a report.
pub(super) fn all(facts: &Facts<'_>) -> Vec<Conclusion> {
    let mut conclusions = urls::all(facts);
    conclusions.push(dependence::derived_values(facts));
    conclusions.extend(identity::all(facts));
    let kinds = |kinds: &'static [ItemKind]| move |kind: ItemKind| kinds.contains(&kind);
    use ItemKind as Is;
    conclusions.push(facts.disclosed(
        Question::PersonalDetails,
        "Personal details sent",
        kinds(&[Is::PersonalDetail]),
        &Phase::ALL,
    ));
    let any = |kind| kind != Is::Url;
    conclusions.push(facts.disclosed(
        Question::BeforeConsent,
        "Anything that identifies or discloses, before consent",
        any,
        &[Phase::Fresh],
    ));
    conclusions.push(facts.disclosed(
        Question::AfterDeclining,
        "The same after consent was declined",
        any,
        &[Phase::Declined],
    ));
    let mut sent = |question, title, wanted| {
        let answer = facts.disclosed(question, title, kinds(wanted), &Phase::ALL);
        // Only that phase types.
        let untyped = question == Question::TypedLetters && !facts.was_done(Phase::Typed);
        conclusions.push(if untyped && answer.answer == Answer::No {
            let why = facts.why_not_done(&[Phase::Typed]);
            conclusion(facts, question, title, Answer::CannotTell, why)
        } else {
            answer
        });
    };
    sent(Question::InterfaceEvents, "Interface events reported", &[Is::UiEvent]);
    sent(Question::ContentItems, "Content items reported", &[Is::ContentItem]);
    sent(Question::TypedLetters, "Typed text sent letter by letter", &[Is::TypedText]);
    sent(Question::PageText, "Titles or texts of pages sent", &[Is::PageTitle, Is::PageText]);
    conclusions.push(urls::processed_locally(facts));
    conclusions
}

/// Creates an answer without numbers.
fn conclusion(
    facts: &Facts<'_>,
    question: Question,
    title: &str,
    answer: Answer,
    detail: String,
) -> Conclusion {
    Conclusion {
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

/// Returns the disclosures that prove an answer, as many as it names.
fn evidence(ids: impl IntoIterator<Item = u64>) -> Vec<u64> {
    let ids: BTreeSet<u64> = ids.into_iter().collect();
    ids.into_iter().take(MAX_EVIDENCE).collect()
}

impl Facts<'_> {
    /// Explains why a "no" about these phases is not justified. Returns `None` if it is.
    fn doubt(&self, phases: &[Phase]) -> Option<String> {
        if !self.observations.all_accounted {
            return Some("the run goes on, and open connections are not counted yet".into());
        }
        if let Some(reason) = nothing_arrived(self.observations) {
            return Some(reason);
        }
        match self.percent_read {
            None => Some("no traffic was seen".into()),
            Some(percent) if percent < MIN_PERCENT_READ => Some(format!(
                "only {percent}% of the traffic could be read, and a \"no\" requires \
                 {MIN_PERCENT_READ}%"
            )),
            Some(_) => self.unseen(phases),
        }
    }

    /// Returns "no" for a fact that more requests could change, or "cannot tell" while the run goes
    /// on.
    fn no_if_ended(&self) -> Answer {
        if self.observations.all_accounted { Answer::No } else { Answer::CannotTell }
    }

    /// Checks that the visits themselves were seen, as a control. If the browser was not seen to
    /// request the pages that it was made to open, it sends traffic that tracer does not see, and
    /// that traffic does not lower the percentage: a process out of scope has no account.
    fn unseen(&self, phases: &[Phase]) -> Option<String> {
        let made: Vec<_> = self.made(phases).collect();
        let is_seen = |phase| made.iter().any(|visit| visit.phase == phase && visit.read);
        if let Some(blind) = made.iter().find(|visit| !is_seen(visit.phase)) {
            return Some(format!(
                "it was not seen to request any page in the phase \"{}\", and may have sent other \
                 data unseen",
                blind.phase.title()
            ));
        }
        let tried = self.visits.iter().any(|visit| phases.contains(&visit.phase));
        (tried && made.is_empty()).then(|| self.why_not_done(phases))
    }

    /// Answers whether items of these kinds were sent in these phases.
    fn disclosed(
        &self,
        question: Question,
        title: &str,
        wanted: impl Fn(ItemKind) -> bool,
        phases: &[Phase],
    ) -> Conclusion {
        let within = |phase: Option<Phase>| phase.is_some_and(|phase| phases.contains(&phase));
        let disclosing: Vec<_> = self
            .disclosing
            .iter()
            .filter(|one| within(one.phase) && one.items.iter().any(|item| wanted(item.kind)))
            .collect();
        if !disclosing.is_empty() {
            let recipients: BTreeSet<&str> =
                disclosing.iter().map(|request| &request.recipient[..]).collect();
            let kinds: BTreeSet<&str> = disclosing
                .iter()
                .flat_map(|request| &request.items)
                .filter(|item| wanted(item.kind))
                .map(|item| item.kind.label())
                .collect();
            let detail = format!(
                "{} in {} to {}",
                list(kinds),
                counted(disclosing.len() as u64, "request"),
                list(recipients)
            );
            return Conclusion {
                evidence: evidence(disclosing.iter().map(|request| request.id)),
                ..conclusion(self, question, title, Answer::Yes, detail)
            };
        }
        let done = phases.iter().filter(|phase| self.was_done(**phase)).count();
        let requests: u64 = phases.iter().map(|phase| self.requests(*phase)).sum();
        if done == 0 {
            let why = self.why_not_done(phases);
            return conclusion(self, question, title, Answer::CannotTell, why);
        }
        let (read, none) = match requests {
            0 => ("the browser sent no requests of its own".to_owned(), ""),
            _ => (
                format!("tracer read {} of the browser's own", counted(requests, "request")),
                ", and found none",
            ),
        };
        match self.doubt(phases) {
            Some(doubt) => {
                conclusion(self, question, title, Answer::CannotTell, format!("{doubt}; {read}"))
            }
            None => conclusion(self, question, title, Answer::No, format!("{read}{none}")),
        }
    }

    /// Explains why none of these phases was done.
    fn why_not_done(&self, phases: &[Phase]) -> String {
        let first = phases.first().map(|phase| self.why_without_pages(*phase));
        first.unwrap_or_else(|| "this was not tried".into())
    }
}

/// Joins names, of which it shows the first few.
pub(super) fn list<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    const SHOWN: usize = 4;
    let names: Vec<&str> = names.into_iter().collect();
    let shown = names[..names.len().min(SHOWN)].join(", ");
    match names.len().saturating_sub(SHOWN) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}
