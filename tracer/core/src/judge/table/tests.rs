use std::{env, fs, path::Path};

use super::*;
use crate::rules::{Rules, RulesError, RulesFile};

/// A case in words, as the columns of the table are.
struct Story {
    told: &'static str,
    case: Case<'static>,
    severity: Severity,
}

const MI: Case<'static> = Case {
    kind: Kind::Url,
    class: None,
    sdk: None,
    reports: true,
    scope: Some(Scope::Full),
    role: Some(UrlRole::Page),
    witnesses: 2,
    visited: Some(VisitedKind::Page),
    sender: Sender::Unknown,
    may_be_page: false,
    local_connection: false,
    recipient: RecipientKind::Maker,
    identifier: Identification::Lasting,
    private: false,
    head_cut: false,
    never_sent: false,
};

const CHROME: Case<'static> = Case {
    sender: Sender::Browser,
    identifier: Identification::Seen,
    visited: None,
    scope: None,
    ..MI
};

const PAGE: Case<'static> =
    Case { sender: Sender::Page, recipient: RecipientKind::Analytics, ..MI };

/// The founding story, as a fair reader would judge it.
const STORIES: &[Story] = &[
    Story {
        told: "Mi Browser reports a page under a number that never changes",
        case: MI,
        severity: Severity::Critical,
    },
    Story {
        told: "… in private mode, under the same number",
        case: Case { private: true, ..MI },
        severity: Severity::Critical,
    },
    Story {
        told: "… in private mode, without a number",
        case: Case { private: true, identifier: Identification::None, ..MI },
        severity: Severity::Critical,
    },
    Story {
        told: "… without a number",
        case: Case { identifier: Identification::None, ..MI },
        severity: Severity::High,
    },
    Story {
        told: "… with header fields that say a page did it",
        case: Case { sender: Sender::Page, ..MI },
        severity: Severity::Medium,
    },
    Story {
        told: "… with header fields that say the user went there",
        case: Case { sender: Sender::Navigation, ..MI },
        severity: Severity::Medium,
    },
    Story {
        told: "… the hash of it",
        case: Case { kind: Kind::VisitedUrlHash, class: Some("sha256/url"), ..MI },
        severity: Severity::Critical,
    },
    Story {
        told: "… the host alone",
        case: Case { scope: Some(Scope::Host), visited: Some(VisitedKind::Host), ..MI },
        severity: Severity::High,
    },
    Story {
        told: "… what was searched for",
        case: Case { kind: Kind::SearchTerms, scope: None, visited: None, ..MI },
        severity: Severity::Medium,
    },
    Story {
        told: "the news app reports the item that is read",
        case: Case { kind: Kind::ContentItem, scope: None, visited: None, ..MI },
        severity: Severity::Medium,
    },
    Story {
        told: "the launcher reports the folder that is opened",
        case: Case { kind: Kind::UiEvent, scope: None, visited: None, ..MI },
        severity: Severity::Medium,
    },
    Story {
        told: "settings report the screen, the status bar the swipe, without a number",
        case: Case {
            kind: Kind::UiEvent,
            scope: None,
            visited: None,
            identifier: Identification::None,
            ..MI
        },
        severity: Severity::Low,
    },
    Story {
        told: "Chrome asks for updates with the number of a session",
        case: Case { kind: Kind::Identifier, ..CHROME },
        severity: Severity::Info,
    },
    Story {
        told: "Chrome counts what its users do, under a number that lasts",
        case: Case { kind: Kind::Identifier, identifier: Identification::Lasting, ..CHROME },
        severity: Severity::Low,
    },
    Story {
        told: "Chrome sends what is typed for suggestions",
        case: Case { kind: Kind::TypedText, ..CHROME },
        severity: Severity::Low,
    },
    Story {
        told: "Chrome names a URL of its configuration",
        case: Case {
            kind: Kind::Url,
            scope: Some(Scope::HostPath),
            visited: Some(VisitedKind::No),
            ..CHROME
        },
        severity: Severity::Low,
    },
    Story {
        told: "Firefox sends its usage ping",
        case: Case { kind: Kind::Identifier, identifier: Identification::Lasting, ..CHROME },
        severity: Severity::Low,
    },
    Story {
        told: "… and what was clicked, in the telemetry that its users can read",
        case: Case {
            kind: Kind::UiEvent,
            sdk: Some("Glean"),
            identifier: Identification::Lasting,
            ..CHROME
        },
        severity: Severity::Low,
    },
    Story { told: "a page reports itself to its analytics", case: PAGE, severity: Severity::Info },
    Story {
        told: "… under a cookie, in a private window",
        case: Case { private: true, ..PAGE },
        severity: Severity::Info,
    },
    Story {
        told: "… what is searched for in it",
        case: Case { kind: Kind::SearchTerms, ..PAGE },
        severity: Severity::Info,
    },
    Story {
        told: "a page says where it comes from",
        case: Case { kind: Kind::Referer, recipient: RecipientKind::Maker, ..PAGE },
        severity: Severity::Info,
    },
    Story {
        told: "the user follows a redirector",
        case: Case {
            sender: Sender::Navigation,
            recipient: RecipientKind::ThirdParty,
            visited: Some(VisitedKind::No),
            ..MI
        },
        severity: Severity::Info,
    },
    Story {
        told: "an extension reports every page under a number",
        case: Case { sender: Sender::Extension, recipient: RecipientKind::ThirdParty, ..MI },
        severity: Severity::Critical,
    },
    Story {
        told: "somebody whose head was cut names a URL",
        case: Case { head_cut: true, ..MI },
        severity: Severity::Info,
    },
    Story {
        told: "nobody knows what was visited",
        case: Case { visited: Some(VisitedKind::Unknown), ..MI },
        severity: Severity::High,
    },
    Story {
        told: "a number of the device",
        case: Case { kind: Kind::PersonalDetail, class: Some("imei"), visited: None, ..MI },
        severity: Severity::High,
    },
    Story {
        told: "the maker's site is told about itself",
        case: Case { recipient: RecipientKind::SameSite, ..MI },
        severity: Severity::Info,
    },
];

#[test]
fn the_story_is_judged_as_a_fair_reader_would() {
    let table = embedded();
    for Story { told, case, severity } in STORIES {
        let verdict = judge(&table, case, &Recipient::ThirdParty);
        assert_eq!(verdict.severity, *severity, "{told}: {}", verdict.reason);
        assert!(!verdict.reason.contains('{'), "{}", verdict.reason);
    }
}

fn embedded() -> Vec<Row> {
    Rules::default().judgement().to_vec()
}

/// Every case there can be.
fn cases() -> impl Iterator<Item = Case<'static>> {
    let senders =
        [Sender::Navigation, Sender::Page, Sender::Browser, Sender::Extension, Sender::Unknown];
    let recipients = [
        RecipientKind::SameSite,
        RecipientKind::Maker,
        RecipientKind::Analytics,
        RecipientKind::Search,
        RecipientKind::ThirdParty,
        RecipientKind::Unknown,
    ];
    let visits = [
        None,
        Some(VisitedKind::Page),
        Some(VisitedKind::Host),
        Some(VisitedKind::No),
        Some(VisitedKind::Unknown),
    ];
    let scopes = [None, Some(Scope::Host), Some(Scope::HostPath), Some(Scope::Full)];
    let roles = [(Some(UrlRole::Unknown), 3), (Some(UrlRole::Page), 0), (Some(UrlRole::Page), 2)];
    let identifiers = [Identification::None, Identification::Seen, Identification::Lasting];
    Kind::ALL.into_iter().flat_map(move |kind| {
        senders.into_iter().flat_map(move |sender| {
            recipients.into_iter().flat_map(move |recipient| {
                visits.into_iter().flat_map(move |visited| {
                    scopes.into_iter().flat_map(move |scope| {
                        identifiers.into_iter().flat_map(move |identifier| {
                            [false, true].into_iter().flat_map(move |private| {
                                [false, true].into_iter().flat_map(move |head_cut| {
                                    roles.map(|(role, witnesses)| Case {
                                        kind,
                                        class: None,
                                        sdk: None,
                                        reports: witnesses > 0,
                                        scope,
                                        role,
                                        witnesses,
                                        visited,
                                        sender,
                                        may_be_page: false,
                                        local_connection: false,
                                        recipient,
                                        identifier,
                                        private,
                                        head_cut,
                                        never_sent: false,
                                    })
                                })
                            })
                        })
                    })
                })
            })
        })
    })
}

#[test]
fn more_against_somebody_is_never_judged_milder() {
    let table = embedded();
    let severity = |case: &Case<'_>| judge(&table, case, &Recipient::ThirdParty).severity;
    for case in cases() {
        let bad = severity(&case);
        assert!(severity(&Case { private: true, ..case }) >= bad, "{case:?}");
        assert!(severity(&Case { identifier: Identification::Lasting, ..case }) >= bad, "{case:?}");
        assert!(severity(&Case { witnesses: 3, ..case }) >= bad, "{case:?}");
        if case.visited == Some(VisitedKind::No) {
            let page = Case { visited: Some(VisitedKind::Page), ..case };
            assert!(severity(&page) >= bad, "{case:?}");
        }
    }
}

#[test]
fn without_a_visit_only_the_place_of_a_page_raises_a_url() {
    let table = embedded();
    for case in cases().filter(|case| case.kind == Kind::Url) {
        let severity = judge(&table, &case, &Recipient::ThirdParty).severity;
        let visited = matches!(case.visited, Some(VisitedKind::Page | VisitedKind::Host));
        if !visited && case.role != Some(UrlRole::Page) && case.recipient != RecipientKind::Maker {
            assert!(severity <= Severity::Low, "{case:?}");
        }
        if !visited && case.witnesses < 2 {
            assert!(severity <= Severity::Medium, "{case:?}");
        }
        let role = Some(UrlRole::Reference);
        if visited {
            let other = judge(&table, &Case { role, ..case }, &Recipient::ThirdParty).severity;
            assert_eq!(other, severity, "a role acquits a visit: {case:?}");
        }
    }
}

#[test]
fn what_a_page_may_have_sent_raises_an_alert_only_for_the_maker() {
    let table = embedded();
    for case in cases().filter(|case| case.sender == Sender::Unknown) {
        let case = Case { may_be_page: true, ..case };
        let severity = judge(&table, &case, &Recipient::ThirdParty).severity;
        if matches!(case.kind, Kind::Url | Kind::VisitedUrlHash | Kind::SearchTerms) {
            let maker = case.recipient == RecipientKind::Maker;
            let most = if maker { Severity::Medium } else { Severity::Low };
            assert!(severity <= most, "{case:?}");
        }
    }
}

#[test]
fn pages_visits_and_cut_heads_accuse_nobody_but_the_maker() {
    let table = embedded();
    for case in cases() {
        let severity = judge(&table, &case, &Recipient::ThirdParty).severity;
        let claimed = matches!(case.sender, Sender::Navigation | Sender::Page);
        if claimed && case.recipient != RecipientKind::Maker {
            assert_eq!(severity, Severity::Info, "{case:?}");
        }
        if case.sender == Sender::Unknown && case.head_cut {
            assert_eq!(severity, Severity::Info, "{case:?}");
        }
    }
}

#[test]
fn requests_that_were_never_sent_raise_no_alert() {
    let table = embedded();
    for case in cases() {
        let severity = |case: &Case<'_>| judge(&table, case, &Recipient::ThirdParty).severity;
        let never = severity(&Case { never_sent: true, ..case });
        assert!(never <= Severity::Low, "{case:?}");
        if severity(&case) == Severity::Info {
            assert_eq!(never, Severity::Info, "{case:?}");
        }
    }
}

#[test]
fn the_users_rows_go_first() {
    let row = |name: &str, severity: &str| {
        format!(
            "[[row]]\nname = '{name}'\nkind = ['url']\nseverity = '{severity}'\n\
             reason = '{{sender}} and {{recipient}}'\nsource = 's'\n"
        )
    };
    let with = |text: &str| {
        let rules = Rules::with_overrides(&[RulesFile { name: "judgement.toml", text }])?;
        Ok::<_, RulesError>(rules.judgement().to_vec())
    };
    let table = with(&row("mine", "low")).unwrap();
    let verdict = judge(&table, &MI, &Recipient::ThirdParty);
    assert_eq!(
        (verdict.severity, &*verdict.reason),
        (Severity::Low, "the application and a third party")
    );
    let referer = Case { kind: Kind::Referer, ..MI };
    assert_eq!(judge(&table, &referer, &Recipient::ThirdParty).severity, Severity::Info);
    assert_eq!(table.len(), embedded().len() + 1);
    assert_eq!(with(&row("URL", "low")).unwrap().len(), embedded().len());

    for (text, line, what) in [
        (row("a", "dire"), 4, "dire"),
        (row("a", "low").replace("'url'", "'urls'"), 3, "urls"),
        (row("a", "low").replace("{sender}", "{who}"), 1, "brace"),
        (row("a", "low").replace("source", "sauce"), 6, "sauce"),
    ] {
        let err = with(&text).unwrap_err();
        assert_eq!(err.line, line, "{err}");
        assert!(err.to_string().contains(what), "{err}");
    }
}

/// Returns a row as a line of the table in `docs/reference/judgement.md`.
fn documented(row: &Row) -> String {
    let mut conditions = Vec::new();
    let mut condition = |key: &str, values: serde_json::Result<serde_json::Value>| {
        if let Some(values) = values.unwrap().as_array() {
            let values: Vec<_> = values.iter().filter_map(|value| value.as_str()).collect();
            conditions.push(format!("{key}: {}", values.join(", ")));
        }
    };
    condition("kind", serde_json::to_value(&row.kind));
    condition("class", serde_json::to_value(&row.class));
    condition("sdk", serde_json::to_value(&row.sdk));
    condition("scope", serde_json::to_value(&row.scope));
    condition("role", serde_json::to_value(&row.role));
    condition("visited", serde_json::to_value(&row.visited));
    condition("sender", serde_json::to_value(&row.sender));
    condition("recipient", serde_json::to_value(&row.recipient));
    condition("identifier", serde_json::to_value(&row.identifier));
    conditions.extend(row.witnesses.map(|least| format!("witnesses: at least {least}")));
    for (key, value) in [
        ("reports", row.reports),
        ("may_be_page", row.may_be_page),
        ("local_connection", row.local_connection),
        ("private", row.private),
        ("head_cut", row.head_cut),
        ("never_sent", row.never_sent),
    ] {
        conditions.extend(value.map(|value| format!("{key}: {value}")));
    }
    let conditions = if conditions.is_empty() { "any".to_owned() } else { conditions.join("<br>") };
    let severity = row.severity.label().to_lowercase();
    format!("| {} | {conditions} | {severity} | {} |\n", row.name.as_str(), row.reason.as_str())
}

/// Compares the table in the documents with the rules. With `UPDATE_DOCS` set,
/// writes it instead.
#[test]
fn the_documented_table_is_current() {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors();
    let path = crates
        .map(|folder| folder.join("docs/reference/judgement.md"))
        .find(|path| path.exists())
        .expect("docs/reference/judgement.md is above this crate");
    let docs = fs::read_to_string(&path).unwrap();
    let (before, rest) = docs.split_once("<!-- begin table -->\n").unwrap();
    let (_, after) = rest.split_once("<!-- end table -->\n").unwrap();
    let rows: String = embedded().iter().map(documented).collect();
    let current = format!(
        "{before}<!-- begin table -->\n| row | conditions | severity | reason |\n|---|---|---|---|\n\
         {rows}<!-- end table -->\n{after}"
    );
    if env::var_os("UPDATE_DOCS").is_some() {
        fs::write(&path, current).unwrap();
    } else {
        assert!(
            docs == current,
            "the table in {} differs from rules/judgement.toml; \
             write it with `UPDATE_DOCS=1 cargo test -p {} documented_table`",
            path.display(),
            env!("CARGO_PKG_NAME")
        );
    }
}
