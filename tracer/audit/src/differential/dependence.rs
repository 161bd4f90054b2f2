//! Tests whether what a recipient received depends on the visited pages.
//!
//! | test | statistic | significant means |
//! |---|---|---|
//! | values of a place | pairs of visits to one page with a value in common | the value is a function of the page |
//! | lengths of a place | correlation of their ranks with those of the URLs' lengths | the length follows the URL |
//! | messages, lookups, connections | windows with a visit in which there is one | one for each visit |
//!
//! A function of the page is equal whenever the page is, whatever it is: a hash with any salt, a
//! keyed hash, a cipher without random input, a private alphabet. Values that are new each time
//! (nonces, times, counters) and values that never change are equal independently of the page.

use std::collections::{BTreeMap, HashMap};

use super::{
    alignment::{self, Assigned, Delay},
    samples::{Sample, Samples, Traffic},
    statistics::{holm, hypergeometric_tail, partition_probability, permutation_test, ranks},
    trial::{Factor, Page, Trial},
};

/// Smallest number of visits from which anything is concluded.
pub(crate) const MIN_VISITS: usize = 8;

/// Orders that are sampled for one test, per test that is made. With these, a result can be small
/// enough after the correction for the number of tests.
const ROUNDS_PER_TEST: usize = 250;
const MIN_ROUNDS: usize = 20_000;
const MAX_ROUNDS: usize = 400_000;

/// Number of tests. Each needs at least a few dozen orders.
const MAX_TESTS: usize = 20_000;

/// Number of different sets of equal values for which the whole number of orders is sampled: some
/// milliseconds each.
const MAX_LONG_TESTS: usize = 256;

/// The findings of one experiment.
#[derive(Debug, Clone, Default)]
pub(crate) struct Findings {
    /// Number of places whose values were examined.
    pub(crate) places: usize,
    /// Number of tests that were made.
    pub(crate) tests: usize,
    /// Number of visits that count.
    pub(crate) visits: usize,
    /// Number of idle windows.
    pub(crate) idle: usize,
    /// Number of values, messages and tests that were left out.
    pub(crate) dropped: u64,
    /// Places whose values or lengths depend on the page.
    pub(crate) dependences: Vec<Dependence>,
    /// Recipients that receive something with each visit.
    pub(crate) with_visits: Vec<WithVisits>,
}

/// A place whose values or lengths depend on the page.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Dependence {
    pub(crate) recipient: String,
    pub(crate) place: String,
    /// The properties of the page that it depends on.
    pub(crate) factors: Vec<Factor>,
    pub(crate) delay: Delay,
    /// Probability of such a result without a dependence, before the correction.
    pub(crate) p: f64,
    /// The visits whose page it reveals: number of the request, and [`Canary::id`].
    ///
    /// [`Canary::id`]: crate::canary::Canary::id
    pub(crate) requests: Vec<(u64, u64)>,
    /// Identifiers in these requests, with the number of requests.
    pub(crate) identifiers: BTreeMap<String, usize>,
}

impl Dependence {
    /// Reports whether most of the requests contain this identifier.
    pub(crate) fn is_sent_with(&self, identifier: &str) -> bool {
        let with = self.identifiers.get(identifier).copied().unwrap_or_default();
        with * 2 > self.requests.len()
    }

    /// Reports whether the length depends on the page, and not the value.
    pub(crate) fn is_length(&self) -> bool {
        self.factors.iter().any(|it| matches!(it, Factor::Length | Factor::TitleLength))
    }
}

/// A recipient that receives something with each visit.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct WithVisits {
    pub(crate) recipient: String,
    /// Requests, lookups or connections.
    pub(crate) what: Event,
    /// Number of visits with one, and of all visits.
    pub(crate) visits: (usize, usize),
    /// Number of idle windows with one, and of all idle windows.
    pub(crate) idle: (usize, usize),
    pub(crate) p: f64,
}

/// Something that is sent, apart from its content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Event {
    /// A request.
    Request,
    /// A lookup of the recipient's name.
    Lookup,
    /// A connection to the recipient.
    Connection,
}

impl Event {
    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::Request => "request",
            Self::Lookup => "lookup",
            Self::Connection => "connection",
        }
    }
}

/// For each visit, the visits that have a value in common with it, as bits.
type Equal = Vec<u64>;

/// A test before it is made.
struct Test<'a> {
    recipient: &'a str,
    place: &'a str,
    delay: Delay,
    assigned: Vec<Assigned>,
    what: What,
}

enum What {
    Values(Equal),
    /// The length with each visit, and the property of the page that it is compared with.
    Lengths(Vec<(usize, u64)>, Factor),
}

/// Looks for dependences.
pub(super) fn find(trial: &Trial, samples: &Samples) -> Findings {
    let visits = trial.visits();
    let all = trial.contents().count();
    let idle = trial.contents().filter(|it| *it == super::trial::Content::Idle).count();
    let mut findings = Findings {
        places: samples.recipients.values().map(|traffic| traffic.places.len()).sum(),
        visits: visits.len(),
        idle,
        dropped: samples.dropped,
        ..Findings::default()
    };
    if visits.len() < MIN_VISITS || all > 1 << 12 {
        return findings;
    }
    let mut tests = Vec::new();
    for (recipient, traffic) in &samples.recipients {
        for (place, values) in &traffic.places {
            add_tests_of_place(trial, &visits, recipient, place, traffic, values, &mut tests);
        }
        add_tests_of_messages(trial, &visits, recipient, traffic, &mut tests);
    }
    findings.dropped += tests.len().saturating_sub(MAX_TESTS) as u64;
    tests.truncate(MAX_TESTS);
    let events = events(trial, samples);
    findings.tests = tests.len() + events.len();

    let mut runner = Runner::new(trial, &visits, findings.tests);
    let mut results: Vec<f64> = tests.iter().map(|test| runner.result(test)).collect();
    findings.dropped += runner.left_out;
    results.extend(events.iter().map(|event| event.p));
    let significant = holm(&results, findings.tests);

    let mut found: BTreeMap<(&str, &str, bool), Dependence> = BTreeMap::new();
    for ((test, p), _) in tests.iter().zip(&results).zip(&significant).filter(|(_, yes)| **yes) {
        let dependence = test.dependence(trial, &visits, &samples.recipients, *p);
        let key = (test.recipient, test.place, dependence.is_length());
        match found.get(&key) {
            Some(known) if known.p <= *p => {}
            _ => {
                found.insert(key, dependence);
            }
        }
    }
    // A value that depends on the page explains its length.
    let by_value: Vec<(&str, &str)> =
        found.keys().filter(|key| !key.2).map(|key| (key.0, key.1)).collect();
    found.retain(|key, _| !key.2 || !by_value.contains(&(key.0, key.1)));
    findings.dependences = found.into_values().collect();
    findings.dependences.sort_by(|a, b| {
        (a.is_length(), a.p, &a.recipient, a.place.len())
            .partial_cmp(&(b.is_length(), b.p, &b.recipient, b.place.len()))
            .unwrap_or(std::cmp::Ordering::Equal)
    });
    let of_events = significant.iter().skip(tests.len());
    let mut with: Vec<WithVisits> = events
        .into_iter()
        .zip(of_events)
        .filter(|(_, yes)| **yes)
        .map(|(event, _)| event)
        .collect();
    with.sort_by(|a, b| (&a.recipient, a.what).cmp(&(&b.recipient, b.what)));
    with.dedup_by(|a, b| (&a.recipient, a.what) == (&b.recipient, b.what));
    findings.with_visits = with;
    findings
}

/// Adds the tests of one place.
fn add_tests_of_place<'a>(
    trial: &Trial,
    visits: &[(usize, usize)],
    recipient: &'a str,
    place: &'a str,
    traffic: &Traffic,
    values: &[Sample],
    tests: &mut Vec<Test<'a>>,
) {
    let varying = alignment::varying(trial, &traffic.messages, values);
    // With fewer values, nothing could become significant.
    if varying.len() < MIN_VISITS {
        return;
    }
    for delay in Delay::ALL {
        let assigned = alignment::assign(trial, visits, &traffic.messages, &varying, delay);
        let equal = equal(&assigned, visits.len());
        if compares_lengths(delay) {
            let mut lengths: BTreeMap<usize, u64> = BTreeMap::new();
            for one in &assigned {
                *lengths.entry(one.visit).or_default() += u64::from(one.sample.length);
            }
            add_lengths(visits, trial, recipient, place, delay, &assigned, &lengths, tests);
        }
        if pairs(&equal) >= 2 {
            tests.push(Test { recipient, place, delay, assigned, what: What::Values(equal) });
        }
    }
}

/// Name of the place that stands for a message as a whole.
pub(crate) const WHOLE_MESSAGE: &str = "size of the messages";

/// Adds the tests of the sizes of messages.
fn add_tests_of_messages<'a>(
    trial: &Trial,
    visits: &[(usize, usize)],
    recipient: &'a str,
    traffic: &Traffic,
    tests: &mut Vec<Test<'a>>,
) {
    let samples: Vec<Sample> = traffic
        .messages
        .iter()
        .enumerate()
        .filter(|(_, message)| message.number != u64::MAX)
        .map(|(at, message)| Sample {
            message: at as u32,
            length: u32::try_from(message.bytes).unwrap_or(u32::MAX),
            digest: at as u64,
        })
        .collect();
    for delay in Delay::ALL.into_iter().filter(|delay| compares_lengths(*delay)) {
        let assigned = alignment::assign(trial, visits, &traffic.messages, &samples, delay);
        let mut lengths: BTreeMap<usize, u64> = BTreeMap::new();
        for one in &assigned {
            *lengths.entry(one.visit).or_default() += u64::from(one.sample.length);
        }
        add_lengths(visits, trial, recipient, WHOLE_MESSAGE, delay, &assigned, &lengths, tests);
    }
}

/// Reports whether lengths are compared with this delay.
fn compares_lengths(delay: Delay) -> bool {
    matches!(delay, Delay::None | Delay::Windows(1) | Delay::Visits(1) | Delay::Order)
}

#[expect(clippy::too_many_arguments, reason = "the parts of one test")]
fn add_lengths<'a>(
    visits: &[(usize, usize)],
    trial: &Trial,
    recipient: &'a str,
    place: &'a str,
    delay: Delay,
    assigned: &[Assigned],
    lengths: &BTreeMap<usize, u64>,
    tests: &mut Vec<Test<'a>>,
) {
    let mut different: Vec<u64> = lengths.values().copied().collect();
    different.sort_unstable();
    different.dedup();
    if lengths.len() < MIN_VISITS || different.len() < 3 {
        return;
    }
    let lengths: Vec<(usize, u64)> = lengths.iter().map(|(visit, it)| (*visit, *it)).collect();
    for factor in [Factor::Length, Factor::TitleLength] {
        let pages = visits.iter().filter_map(|(_, page)| trial.pages.get(*page));
        let mut of_pages: Vec<u64> = pages.map(|page| length(page, factor)).collect();
        of_pages.sort_unstable();
        of_pages.dedup();
        if of_pages.len() < 2 {
            continue;
        }
        let (assigned, what) = (assigned.to_vec(), What::Lengths(lengths.clone(), factor));
        tests.push(Test { recipient, place, delay, assigned, what });
    }
}

fn length(page: &Page, factor: Factor) -> u64 {
    if factor == Factor::TitleLength { page.title_length } else { page.url_length }
}

/// Returns the pairs of visits with a value in common.
fn equal(assigned: &[Assigned], visits: usize) -> Equal {
    let mut with: HashMap<u64, u64> = HashMap::new();
    for one in assigned {
        *with.entry(one.sample.digest).or_default() |= 1 << (one.visit & 63);
    }
    let mut equal = vec![0; visits];
    for visits in with.into_values() {
        for (visit, entry) in equal.iter_mut().enumerate() {
            if visits >> visit & 1 == 1 {
                *entry |= visits & !(1 << visit);
            }
        }
    }
    equal
}

/// Returns the number of pairs.
fn pairs(equal: &Equal) -> u32 {
    equal.iter().map(|bits| bits.count_ones()).sum::<u32>() / 2
}

/// Returns the number of pairs of visits to one page that have a value in common.
fn equal_for_one_page(equal: &Equal, pages: &[usize]) -> f64 {
    let mut of_page = [0_u64; 64];
    for (visit, page) in pages.iter().enumerate() {
        of_page[page & 63] |= 1 << visit;
    }
    let each = equal.iter().zip(pages).map(|(bits, page)| (bits & of_page[page & 63]).count_ones());
    f64::from(each.sum::<u32>() / 2)
}

/// Returns the result of the test of values if it can be computed: if the values divide the visits
/// into groups, and all visits to one page are in one group.
fn exact(equal: &Equal, pages: &[usize]) -> Option<f64> {
    let mut groups: BTreeMap<u64, usize> = BTreeMap::new();
    for (visit, bits) in equal.iter().enumerate() {
        *groups.entry(bits | 1 << visit).or_default() += 1;
    }
    if groups.iter().any(|(bits, count)| bits.count_ones() as usize != *count) {
        return None;
    }
    let mut of_page: BTreeMap<usize, u64> = BTreeMap::new();
    for (visit, page) in pages.iter().enumerate() {
        *of_page.entry(*page).or_default() |= 1 << visit;
    }
    let visits = of_page.values().next()?.count_ones();
    let is_exact = of_page.values().all(|bits| {
        bits.count_ones() == visits && groups.keys().any(|group| bits & group == *bits)
    });
    if !is_exact {
        return None;
    }
    let sizes: Vec<usize> = groups.into_values().collect();
    partition_probability(&sizes, of_page.len(), visits as usize)
}

/// Makes tests, and remembers their results.
struct Runner {
    pages: Vec<usize>,
    lengths: [Vec<u64>; 2],
    rounds: usize,
    known: HashMap<Equal, f64>,
    long: usize,
    left_out: u64,
}

impl Runner {
    fn new(trial: &Trial, visits: &[(usize, usize)], tests: usize) -> Self {
        let of = |factor| {
            let page = |(_, page): &(usize, usize)| trial.pages.get(*page);
            visits.iter().map(|it| page(it).map_or(0, |page| length(page, factor))).collect()
        };
        Self {
            pages: visits.iter().map(|(_, page)| *page).collect(),
            lengths: [of(Factor::Length), of(Factor::TitleLength)],
            rounds: (tests * ROUNDS_PER_TEST).clamp(MIN_ROUNDS, MAX_ROUNDS),
            known: HashMap::new(),
            long: 0,
            left_out: 0,
        }
    }

    fn result(&mut self, test: &Test<'_>) -> f64 {
        match &test.what {
            What::Values(equal) => {
                if let Some(known) = self.known.get(equal) {
                    return *known;
                }
                let pages = self.pages.clone();
                let result = exact(equal, &pages).unwrap_or_else(|| {
                    self.sample(&pages, |pages| equal_for_one_page(equal, pages))
                });
                self.known.insert(equal.clone(), result);
                result
            }
            What::Lengths(lengths, factor) => {
                let of_pages = &self.lengths[usize::from(*factor == Factor::TitleLength)];
                let wanted: Vec<u64> = lengths.iter().map(|(visit, _)| of_pages[*visit]).collect();
                let sent: Vec<u64> = lengths.iter().map(|(_, length)| *length).collect();
                let (wanted, sent) = (ranks(&wanted), ranks(&sent));
                let order: Vec<usize> = (0..sent.len()).collect();
                self.sample(&order, |order| {
                    order.iter().zip(&sent).map(|(at, rank)| wanted[*at] * rank).sum()
                })
            }
        }
    }

    fn sample(&mut self, labels: &[usize], statistic: impl Fn(&[usize]) -> f64) -> f64 {
        /// Enough to show that most results will not become small.
        const SHORT: u32 = 1000;
        let short = permutation_test(labels, SHORT, &statistic);
        if short > 0.005 {
            return short;
        }
        if self.long >= MAX_LONG_TESTS {
            self.left_out += 1;
            return 1.0;
        }
        self.long += 1;
        permutation_test(labels, u32::try_from(self.rounds).unwrap_or(u32::MAX), statistic)
    }
}

impl Test<'_> {
    /// Returns a function that reports whether a value was sent with the page that it belongs to:
    /// the one with which it was sent most often.
    fn fitting<'a>(
        &self,
        trial: &'a Trial,
        visits: &'a [(usize, usize)],
        factors: &'a [Factor],
    ) -> impl Fn(&Assigned) -> bool + 'a {
        let page = |one: &Assigned| visits.get(one.visit).map(|(_, page)| *page);
        let mut pages: HashMap<u64, Vec<usize>> = HashMap::new();
        for one in &self.assigned {
            pages.entry(one.sample.digest).or_default().extend(page(one));
        }
        let agrees = move |a: usize, b: usize| match (trial.pages.get(a), trial.pages.get(b)) {
            (Some(a), Some(b)) => a.agrees(b, factors),
            _ => false,
        };
        let most = pages.into_iter().filter_map(|(digest, pages)| {
            let with = |page: usize| pages.iter().filter(|other| agrees(page, **other)).count();
            Some((digest, *pages.iter().max_by_key(|page| with(**page))?))
        });
        let page_of: HashMap<u64, usize> = most.collect();
        let is_length = matches!(self.what, What::Lengths(..));
        move |one| {
            let known = page_of.get(&one.sample.digest);
            is_length || known.zip(page(one)).is_some_and(|(known, page)| agrees(*known, page))
        }
    }

    fn dependence(
        &self,
        trial: &Trial,
        visits: &[(usize, usize)],
        recipients: &BTreeMap<String, Traffic>,
        p: f64,
    ) -> Dependence {
        let factors = match &self.what {
            What::Values(equal) => explain(trial, visits, equal),
            What::Lengths(_, factor) => vec![*factor],
        };
        let messages = recipients.get(self.recipient).map_or(&[][..], |it| &it.messages);
        let mut requests = Vec::new();
        let mut identifiers: BTreeMap<String, usize> = BTreeMap::new();
        let fits = self.fitting(trial, visits, &factors);
        for one in self.assigned.iter().filter(|one| fits(one)) {
            let message = messages.get(one.sample.message as usize);
            let page = visits.get(one.visit).and_then(|(_, page)| trial.pages.get(*page));
            if let (Some(message), Some(page)) = (message, page)
                && message.number != u64::MAX
                && !requests.contains(&(message.number, page.id))
            {
                requests.push((message.number, page.id));
                for identifier in &message.identifiers {
                    *identifiers.entry(identifier.clone()).or_default() += 1;
                }
            }
        }
        drop(fits);
        Dependence {
            recipient: self.recipient.to_owned(),
            place: self.place.to_owned(),
            factors,
            delay: self.delay,
            p,
            requests,
            identifiers,
        }
    }
}

/// Returns the parts of the page that explain best which visits have a value in common.
fn explain(trial: &Trial, visits: &[(usize, usize)], equal: &Equal) -> Vec<Factor> {
    use Factor::{Host, Path, Query, Title};
    const CANDIDATES: [&[Factor]; 7] = [
        &[Host],
        &[Path],
        &[Query],
        &[Title],
        &[Host, Path],
        &[Host, Path, Query],
        &[Host, Path, Query, Title],
    ];
    /// A larger set has to explain more pairs than a smaller one.
    const BETTER: f64 = 0.02;
    let mut best: (f64, &[Factor]) = (0.0, CANDIDATES[5]);
    for factors in CANDIDATES {
        let (mut same, mut same_equal, mut other, mut other_equal) = (0.0, 0.0, 0.0, 0.0);
        for (i, (_, a)) in visits.iter().enumerate() {
            for (j, (_, b)) in visits.iter().enumerate().skip(i + 1) {
                let (Some(a), Some(b)) = (trial.pages.get(*a), trial.pages.get(*b)) else {
                    continue;
                };
                let is_equal = f64::from(u8::from(equal[i] >> j & 1 == 1));
                if a.agrees(b, factors) {
                    same += 1.0;
                    same_equal += is_equal;
                } else {
                    other += 1.0;
                    other_equal += is_equal;
                }
            }
        }
        if same == 0.0 || other == 0.0 {
            continue;
        }
        let share = same_equal / same - other_equal / other;
        if share > best.0 + BETTER {
            best = (share, factors);
        }
    }
    best.1.to_vec()
}

/// Returns the events of each recipient that could be significant.
fn events(trial: &Trial, samples: &Samples) -> Vec<WithVisits> {
    let mut events = Vec::new();
    for (recipient, traffic) in &samples.recipients {
        let requests = traffic.messages.iter().filter(|it| it.number != u64::MAX && !it.is_routine);
        let requests = alignment::windows_of(trial, requests.map(|it| it.time));
        let lookups = alignment::windows_of(trial, traffic.lookups.iter().copied());
        let connections = alignment::windows_of(trial, traffic.connections.iter().copied());
        let kinds = [
            (Event::Request, requests),
            (Event::Lookup, lookups),
            (Event::Connection, connections),
        ];
        for (what, sent) in kinds {
            for after in 0..=1 {
                let marked = alignment::marked(trial, &sent, after);
                let (visits, idle) = (marked.visits, marked.idle);
                let with = marked.visits_with + marked.idle_with;
                let total = visits + idle;
                let best = hypergeometric_tail(total, visits, with, visits.min(with));
                if best > 0.01 {
                    continue;
                }
                events.push(WithVisits {
                    recipient: recipient.clone(),
                    what,
                    visits: (marked.visits_with, visits),
                    idle: (marked.idle_with, idle),
                    p: hypergeometric_tail(total, visits, with, marked.visits_with),
                });
            }
        }
    }
    events
}
