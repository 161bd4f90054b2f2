//! The results as a table.

use super::{
    site::Sent,
    variants::{Variant, Watched},
};

/// The measurements of each variant, by round.
pub(super) struct Results(Vec<(Variant, Vec<Measured>)>);

/// A round, what was sent in it, and what the tool used.
type Measured = (usize, Sent, Watched);

/// A number of a variant in a round, compared with nothing in the same round.
type Figure = fn(&Sent, &Watched, &Sent) -> Option<f64>;

/// The columns: title, number of decimals, figure.
const COLUMNS: [(&str, usize, Figure); 6] = [
    ("throughput kept", 2, |sent, _, nothing| {
        Some(sent.requests / sent.seconds / (nothing.requests / nothing.seconds))
    }),
    ("requests reported", 2, |sent, watched, _| Some(watched.reported? / sent.requests)),
    ("its CPU, µs a request", 2, |sent, watched, _| {
        (watched.memory > 0.0).then(|| watched.cpu * 1e6 / sent.requests)
    }),
    ("sender's CPU added, µs a request", 2, |sent, watched, nothing| {
        let each = |sent: &Sent| sent.cpu * 1e6 / sent.requests;
        Some(each(sent) - each(nothing)).filter(|_| watched.memory > 0.0)
    }),
    ("RSS, MB", 0, |_, watched, _| (watched.memory > 0.0).then_some(watched.memory)),
    ("sends lost", 0, |_, watched, _| watched.lost),
];

impl Results {
    pub(super) fn new(variants: &[Variant]) -> Self {
        Self(variants.iter().map(|variant| (*variant, Vec::new())).collect())
    }

    pub(super) fn add(&mut self, variant: Variant, round: usize, sent: Sent, watched: Watched) {
        if let Some((_, rounds)) = self.0.iter_mut().find(|(of, _)| *of == variant) {
            rounds.push((round, sent, watched));
        }
    }

    /// Formats the results as a Markdown table.
    pub(super) fn table(&self) -> String {
        let line = |cells: Vec<String>| format!("| {} |\n", cells.join(" | "));
        let titles = COLUMNS.iter().map(|(title, ..)| (*title).to_owned());
        let mut text = line([String::new()].into_iter().chain(titles).collect());
        text += &line(vec!["---".into(); COLUMNS.len() + 1]);
        let nothing = self.0.iter().find(|(variant, _)| *variant == Variant::Nothing);
        let nothing = nothing.map(|(_, rounds)| rounds.as_slice()).unwrap_or_default();
        for (variant, rounds) in self.0.iter().filter(|(_, rounds)| !rounds.is_empty()) {
            let cell = |decimals: usize, figure: Figure| {
                let figures = rounds.iter().filter_map(|(round, sent, watched)| {
                    let (_, nothing, _) = nothing.iter().find(|(of, ..)| of == round)?;
                    figure(sent, watched, nothing)
                });
                quartiles(figures.collect(), decimals)
            };
            let cells = COLUMNS.iter().map(|(_, decimals, figure)| cell(*decimals, *figure));
            let name = if *variant == Variant::Nothing {
                let rates = rounds.iter().map(|(_, sent, _)| sent.requests / sent.seconds);
                format!("{variant} ({} requests/s)", quartiles(rates.collect(), 0))
            } else {
                variant.to_string()
            };
            text += &line([name].into_iter().chain(cells).collect());
        }
        text
    }
}

/// Formats the median and the quartiles; a dash for no numbers.
fn quartiles(mut numbers: Vec<f64>, decimals: usize) -> String {
    numbers.sort_by(f64::total_cmp);
    let quarter = |quarter: usize| {
        // Between two numbers, in proportion.
        let steps = numbers.len().saturating_sub(1) * quarter;
        let (at, part) = (steps / 4, steps % 4);
        let low = numbers.get(at)?;
        let high = numbers.get(at + 1).unwrap_or(low);
        Some(low + (high - low) * part as f64 / 4.0)
    };
    match [quarter(1), quarter(2), quarter(3)] {
        [Some(low), Some(median), Some(high)] => {
            format!("{median:.decimals$} ({low:.decimals$} … {high:.decimals$})")
        }
        _ => "–".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::{Results, quartiles};
    use crate::bench::peers::{
        site::Sent,
        variants::{Variant, Watched},
    };

    #[test]
    fn formats_medians_and_quartiles() {
        assert_eq!(quartiles(vec![5.0, 1.0, 3.0, 2.0, 4.0], 1), "3.0 (2.0 … 4.0)");
        assert_eq!(quartiles(vec![1.0, 2.0, 3.0], 2), "2.00 (1.50 … 2.50)");
        assert_eq!(quartiles(vec![], 1), "–");
    }

    #[test]
    fn compares_each_round_with_nothing_in_the_same_round() {
        let mut results = Results::new(&[Variant::Nothing, Variant::Tcpdump, Variant::Tshark]);
        for (round, speed) in [(0, 1.0), (1, 0.5)] {
            let requests = 100_000.0 * speed;
            let sent = |kept: f64, cpu: f64| Sent { requests: requests * kept, seconds: 1.0, cpu };
            results.add(Variant::Nothing, round, sent(1.0, 0.0), Watched::default());
            let reported = Some(requests * 0.8);
            let watched = Watched { cpu: 0.08 * speed, memory: 8.0, reported, lost: None };
            results.add(Variant::Tcpdump, round, sent(0.8, 0.16 * speed), watched);
        }
        let table = results.table();
        let tcpdump = table.lines().find(|line| line.contains("tcpdump")).unwrap();
        let expected = "| tcpdump -w | 0.80 (0.80 … 0.80) | 1.00 (1.00 … 1.00) | 1.00 (1.00 … 1.00) \
                        | 2.00 (2.00 … 2.00) | 8 (8 … 8) | – |";
        assert_eq!(tcpdump, expected);
        // What was not measured has no line.
        assert!(!table.contains("tshark"), "{table}");
    }
}
