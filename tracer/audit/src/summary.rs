//! The three sentences with which a report opens: whether pages were reported, who sent what, and
//! what the audit does not show.

use super::{
    conclusions::list,
    journal::Outcome,
    report::{Answer, Conclusion, ItemKind, Persistence, Question, Report},
};
use tracer_core::wording::counted;

/// Returns the sentences.
pub(super) fn sentences(report: &Report) -> Vec<String> {
    vec![pages(report), senders(report), limits(report)]
}

/// Says whether visited pages were reported.
fn pages(report: &Report) -> String {
    let name = report.subject.full_name();
    let Some(urls) = report.verdict(Question::Urls) else {
        return format!("Whether {name} reports the pages that it opens was not asked.");
    };
    let private = report.verdict(Question::UrlsInPrivateMode);
    let in_private = private.map(|verdict| verdict.answer);
    let recipients = report.recipients.iter().filter(|recipient| recipient.visits > 0);
    let recipients = list(recipients.map(|recipient| &recipient.recipient[..]));
    let to = if recipients.is_empty() { String::new() } else { format!(" to {recipients}") };
    match (urls.answer, in_private) {
        (Answer::Yes, private) => {
            let also = match private {
                Some(Answer::Yes) => ", also in private windows",
                Some(Answer::No) => ", but not in private windows",
                Some(Answer::CannotTell) | None => "",
            };
            format!("{name} reported {}{to}{also}.", reported(urls))
        }
        (Answer::No, Some(Answer::Yes)) => {
            let told = private.map(reported).unwrap_or_default();
            format!("{name} reported {told} of private windows{to}, and no others.")
        }
        (Answer::No, Some(Answer::No)) => format!(
            "tracer looked for reports of the pages that {name} opened, in normal and in private \
             windows, and found none."
        ),
        (Answer::No, _) => format!(
            "tracer looked for reports of the pages that {name} opened in normal windows, and \
             found none; it cannot tell about private windows."
        ),
        (Answer::CannotTell, Some(Answer::Yes)) => {
            let told = private.map(reported).unwrap_or_default();
            format!("{name} reported {told} of private windows{to}.")
        }
        (Answer::CannotTell, _) => {
            format!("tracer cannot tell whether {name} reports the pages that it opens.")
        }
    }
}

/// Returns the number of pages of a "yes".
fn reported(verdict: &Conclusion) -> String {
    match verdict.count {
        Some(count) => {
            format!("{} of {} that it opened", count.told, counted(count.of, "page"))
        }
        None => "something that depends on the pages that it opened".to_owned(),
    }
}

/// Says who sent it, and with which identifier.
fn senders(report: &Report) -> String {
    let telling: Vec<_> = report.senders.iter().filter(|sender| sender.visits > 0).collect();
    if telling.is_empty() {
        let requests: u64 = report.phases.iter().map(|phase| phase.requests).sum();
        let to = report.recipients.iter().map(|recipient| &recipient.recipient[..]);
        return match requests {
            0 => "No request of its own was read.".to_owned(),
            _ => format!(
                "It sent {} of its own to {}; {}.",
                counted(requests, "request"),
                list(to),
                identifiers(report)
            ),
        };
    }
    let named = telling.iter().map(|sender| {
        format!("{} ({} to {})", sender.name, counted(sender.visits, "page"), {
            list(sender.recipients.iter().map(String::as_str))
        })
    });
    let named: Vec<String> = named.collect();
    let with = match report.identifiers.iter().filter(|it| it.with_visits).map(|it| it.life).max() {
        Some(Persistence::Device) => ", with an identifier that survives clearing or reinstalling",
        Some(Persistence::Installation) => ", with an identifier that survives restarts",
        Some(Persistence::Session) => ", with an identifier that lasts until the next start",
        Some(Persistence::Unknown) => ", with an identifier",
        None => "",
    };
    format!("The pages were reported by {}{with}.", list(named.iter().map(String::as_str)))
}

/// Says whether identifiers were found where no page was reported.
fn identifiers(report: &Report) -> String {
    let items = report.disclosures.iter().flat_map(|one| &one.items);
    let personal = items.filter(|item| item.kind == ItemKind::PersonalDetail).count();
    match (report.identifiers.len() as u64, personal) {
        (0, 0) => "no identifier was found in them".to_owned(),
        (0, _) => "they contain personal details".to_owned(),
        (found, _) => format!("{} found in them", counted(found, "identifier")),
    }
}

/// Says how much was read, and what was left out.
fn limits(report: &Report) -> String {
    let read = match report.reading.percent_read {
        Some(percent) => format!("tracer read {percent} % of what it sent"),
        None => "No traffic was seen".to_owned(),
    };
    let left_out = report.phases.iter().filter(|phase| {
        let outcome = &phase.outcome;
        matches!(outcome, Outcome::Skipped { .. } | Outcome::Failed { .. })
    });
    let left_out: Vec<&str> = left_out.map(|phase| &phase.title[..]).collect();
    let done = match (left_out.is_empty(), report.complete) {
        (false, _) => format!("; left out, and therefore open: {}", left_out.join(", ")),
        (true, true) => ", and went through all phases".to_owned(),
        (true, false) => "; the run ended before all phases were done".to_owned(),
    };
    format!("{read}{done}.")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        fixtures::{report, verdict},
        phase::Phase,
    };

    fn of(change: impl Fn(&mut Report)) -> Vec<String> {
        let mut report = report();
        change(&mut report);
        sentences(&report)
    }

    #[test]
    fn a_browser_that_reports_is_named_with_recipient_and_sender() {
        let said = of(|_| {});
        assert_eq!(
            said[0],
            "Tattler 1.2 reported 1 of 1 page that it opened to collector.example."
        );
        assert_eq!(
            said[1],
            "The pages were reported by the browser itself (1 page to collector.example), with an \
             identifier that survives restarts."
        );
        assert_eq!(said[2], "tracer read 98 % of what it sent, and went through all phases.");
    }

    #[test]
    fn a_browser_is_acquitted_only_by_answers() {
        let with = |urls, private: Option<Answer>| {
            of(|report| {
                report.verdicts = vec![verdict(Question::Urls, urls)];
                let private = private.map(|it| verdict(Question::UrlsInPrivateMode, it));
                report.verdicts.extend(private);
                report.senders.clear();
                report.recipients[0].visits = 0;
            })[0]
                .clone()
        };
        assert!(
            with(Answer::No, Some(Answer::No))
                .contains("normal and in private windows, and found none")
        );
        assert!(with(Answer::No, None).contains("cannot tell about private windows"));
        assert!(with(Answer::No, Some(Answer::CannotTell)).contains("cannot tell about private"));
        assert!(with(Answer::No, Some(Answer::Yes)).contains("of private windows"));
        assert!(with(Answer::CannotTell, Some(Answer::No)).starts_with("tracer cannot tell"));
        assert!(with(Answer::Yes, None).contains("depends on the pages"));
    }

    #[test]
    fn phases_that_were_left_out_are_named() {
        let said = of(|report| {
            report.phases[0].outcome = Outcome::Skipped { reason: "no command".into() };
        });
        let title = Phase::Pages.title();
        assert!(said[2].ends_with(&format!("left out, and therefore open: {title}.")), "{said:?}");
        let said = of(|report| report.complete = false);
        assert!(said[2].contains("ended before all phases"), "{said:?}");
    }
}
