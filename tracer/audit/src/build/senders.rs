//! Groups the disclosing requests by the part of the browser that sent them.

use std::collections::{BTreeMap, BTreeSet};

use crate::report::{DisclosureReport, ItemKind, SenderReport};

/// Returns the senders, those that disclosed the most pages first.
pub(super) fn all(disclosures: &[DisclosureReport]) -> Vec<SenderReport> {
    let mut groups: BTreeMap<(String, &str), Vec<&DisclosureReport>> = BTreeMap::new();
    for one in disclosures {
        groups.entry((one.sender_in_words(), &one.application)).or_default().push(one);
    }
    let senders = groups.into_iter().filter_map(|((name, application), requests)| {
        let items = || requests.iter().flat_map(|request| &request.items);
        let of = |kind| items().filter(move |item| item.kind == kind);
        let visits: BTreeSet<u64> = of(ItemKind::Visit).filter_map(|item| item.visit).collect();
        let identifiers: BTreeSet<&str> =
            of(ItemKind::Identifier).map(|item| &item.value[..]).collect();
        let recipients: BTreeSet<&str> =
            requests.iter().map(|request| &request.recipient[..]).collect();
        Some(SenderReport {
            sender: requests.first()?.sender,
            name,
            application: application.to_owned(),
            requests: requests.len() as u64,
            visits: visits.len() as u64,
            scope: of(ItemKind::Visit).filter_map(|item| item.scope).max(),
            identifiers: identifiers.len() as u64,
            recipients: recipients.into_iter().map(str::to_owned).collect(),
        })
    });
    let mut senders: Vec<_> = senders.collect();
    // The sort is stable, so equal numbers stay in alphabetical order.
    senders.sort_by_key(|one| std::cmp::Reverse((one.visits, one.requests)));
    senders
}
