//! Exact tests. Each one asks how often an experiment whose pages had nothing to do with the traffic
//! would look like this one.
//!
//! The order of the visits is random, so under that assumption every order was equally likely. This
//! holds for any traffic: clocks, counters and sessions included. Small sets of orders are counted,
//! large ones sampled with a fixed seed, which makes the result the same each time and the error
//! rate exact all the same (Besag and Clifford 1991).

/// Probability of an error in the whole run: that any dependence is reported where there is none.
pub(crate) const FAMILY_ERROR: f64 = 0.01;

/// Number of orders that look like the observed one after which sampling stops, because the result
/// will not become small.
const ENOUGH: u32 = 10;

/// A deterministic generator of random numbers (SplitMix64).
#[derive(Debug, Clone)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Returns a number below `end`, which has to be positive.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        // The bias is below 2^-57 for the sizes of an experiment.
        ((u128::from(self.next()) * end as u128) >> 64) as usize
    }

    /// Puts a list into random order.
    pub(crate) fn shuffle<T>(&mut self, list: &mut [T]) {
        for end in (1..list.len()).rev() {
            list.swap(end, self.below(end + 1));
        }
    }
}

/// Returns the share of the orders of `labels` in which `statistic` is at least as large as in the
/// given one, from at most `rounds` orders.
pub(crate) fn permutation_test(
    labels: &[usize],
    rounds: u32,
    statistic: impl Fn(&[usize]) -> f64,
) -> f64 {
    let observed = statistic(labels);
    let mut random = Random::new(labels.len() as u64);
    let mut order = labels.to_vec();
    let mut as_large = 0;
    for round in 1..=rounds {
        random.shuffle(&mut order);
        if statistic(&order) >= observed - 1e-9 {
            as_large += 1;
            if as_large == ENOUGH {
                return f64::from(ENOUGH) / f64::from(round);
            }
        }
    }
    f64::from(as_large + 1) / (f64::from(rounds) + 1.0)
}

/// Returns the probability that `pages` pages with `visits` visits each, in random order, put all
/// visits to one page into one group. Returns `None` if that is impossible with groups of these
/// sizes.
pub(crate) fn partition_probability(groups: &[usize], pages: usize, visits: usize) -> Option<f64> {
    if visits == 0 || groups.iter().sum::<usize>() != pages * visits {
        return None;
    }
    // ln of: ways to choose the pages of each group, times the orders within the groups, among all
    // orders.
    let mut ways = ln_factorial(pages) - ln_factorial(pages * visits);
    for size in groups {
        if size % visits != 0 {
            return None;
        }
        ways += ln_factorial(*size) - ln_factorial(size / visits);
    }
    Some(ways.exp().min(1.0))
}

/// Returns the probability that `marked` of `total` windows, chosen at random, include at least
/// `both` of the `visits` windows with a visit (Fisher's exact test, one-sided).
pub(crate) fn hypergeometric_tail(total: usize, visits: usize, marked: usize, both: usize) -> f64 {
    let most = visits.min(marked);
    let tail = (both..=most).map(|k| {
        if marked - k > total - visits {
            return 0.0;
        }
        (ln_choose(visits, k) + ln_choose(total - visits, marked - k) - ln_choose(total, marked))
            .exp()
    });
    tail.sum::<f64>().min(1.0)
}

fn ln_choose(n: usize, k: usize) -> f64 {
    ln_factorial(n) - ln_factorial(k) - ln_factorial(n - k)
}

fn ln_factorial(n: usize) -> f64 {
    (2..=n).map(|i| (i as f64).ln()).sum()
}

/// Returns the rank of each value, from 1. Equal values share the mean of their ranks.
pub(crate) fn ranks(values: &[u64]) -> Vec<f64> {
    let rank = |value: &u64| {
        let below = values.iter().filter(|other| *other < value).count();
        let equal = values.iter().filter(|other| *other == value).count();
        below as f64 + (equal as f64 + 1.0) / 2.0
    };
    values.iter().map(rank).collect()
}

/// Reports which of these results are significant together, with a probability of
/// [`FAMILY_ERROR`] that any of them is wrong (Holm 1979). `tests` is the number of tests that were
/// made, including those that are not in the list because their result is large.
pub(crate) fn holm(results: &[f64], tests: usize) -> Vec<bool> {
    let mut order: Vec<usize> = (0..results.len()).collect();
    order.sort_by(|a, b| results[*a].total_cmp(&results[*b]));
    let mut significant = vec![false; results.len()];
    for (done, at) in order.into_iter().enumerate() {
        let left = tests.max(results.len()) - done;
        if results[at] * left as f64 > FAMILY_ERROR {
            break;
        }
        significant[at] = true;
    }
    significant
}

#[cfg(test)]
mod tests {
    use super::*;

    fn equal_neighbours(labels: &[usize]) -> f64 {
        labels.chunks(2).filter(|pair| pair.first() == pair.get(1)).count() as f64
    }

    #[test]
    fn a_sampled_result_is_close_to_the_exact_one() {
        // Three pairs: of 6!/(2!^3) = 90 orders, 3! have three equal pairs.
        let sampled = permutation_test(&[0, 0, 1, 1, 2, 2], 1_000_000, equal_neighbours);
        assert!((sampled - 6.0 / 90.0).abs() < 0.04, "{sampled}");
        let once =
            permutation_test(&[0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5], 50_000, equal_neighbours);
        // 6! of 12!/(2^6) orders: 9.6e-5.
        assert!((2e-5..4e-4).contains(&once), "{once}");
    }

    #[test]
    fn partitions_are_counted() {
        let is = |groups: &[usize], pages, visits, expected: f64| {
            let found = partition_probability(groups, pages, visits).unwrap();
            assert!((found / expected - 1.0).abs() < 1e-9, "{groups:?}: {found}");
        };
        is(&[2, 2, 2], 3, 2, 6.0 / 90.0);
        // Two hosts with one page each, and with two pages each.
        is(&[2, 2], 2, 2, 2.0 / 6.0);
        is(&[4, 4], 4, 2, 6.0 * 36.0 / 2520.0);
        is(&[8], 4, 2, 1.0);
        assert_eq!(partition_probability(&[3, 5], 4, 2), None);
        assert_eq!(partition_probability(&[2], 4, 2), None);
        assert_eq!(partition_probability(&[], 0, 0), None);
        // The same as by sampling.
        let groups = [0, 0, 0, 0, 1, 1, 2, 2];
        let sampled = permutation_test(&[0, 0, 1, 1, 2, 2, 3, 3], 100_000, |pages| {
            let pairs = (0..8).flat_map(|i| (i + 1..8).map(move |j| (i, j)));
            pairs.filter(|(i, j)| pages[*i] == pages[*j] && groups[*i] == groups[*j]).count() as f64
        });
        let exact = partition_probability(&[4, 2, 2], 4, 2).unwrap();
        assert!((0.3..3.0).contains(&(sampled / exact)), "{sampled} {exact}");
    }

    #[test]
    fn results_are_never_zero_and_the_same_each_time() {
        let labels: Vec<usize> = (0..32).map(|i| i / 2).collect();
        let result = permutation_test(&labels, 999, equal_neighbours);
        assert_eq!(result, 0.001);
        assert_eq!(permutation_test(&labels, 999, equal_neighbours), result);
        assert_eq!(permutation_test(&[], 100, equal_neighbours), 1.0);
        assert_eq!(permutation_test(&[3], 100, |_| 0.0), 1.0);
        assert_eq!(permutation_test(&labels, 0, equal_neighbours), 1.0);
    }

    #[test]
    fn uniform_orders_give_uniform_results() {
        let mut random = Random::new(7);
        let mut labels: Vec<usize> = (0..32).map(|i| i / 2).collect();
        let mut small = 0;
        for _ in 0..1000 {
            random.shuffle(&mut labels);
            small += u32::from(permutation_test(&labels, 400, equal_neighbours) <= 0.05);
        }
        assert!(small <= 75, "{small} of 1000 below 5 %");
    }

    #[test]
    fn fishers_test_counts_windows() {
        // 8 of 8 visits and 0 of 4 idle windows: 1 of 495 choices.
        assert!((hypergeometric_tail(12, 8, 8, 8) - 1.0 / 495.0).abs() < 1e-9);
        assert!((hypergeometric_tail(12, 8, 8, 4) - 1.0).abs() < 1e-9);
        assert!((hypergeometric_tail(12, 8, 0, 0) - 1.0).abs() < 1e-9);
        assert!((hypergeometric_tail(0, 0, 0, 0) - 1.0).abs() < 1e-9);
        assert!((hypergeometric_tail(12, 8, 12, 8) - 1.0).abs() < 1e-9);
        assert_eq!(hypergeometric_tail(12, 8, 4, 5), 0.0);
    }

    #[test]
    fn equal_values_share_their_rank() {
        assert_eq!(ranks(&[30, 10, 20, 10]), [4.0, 1.5, 3.0, 1.5]);
        assert_eq!(ranks(&[]), Vec::<f64>::new());
    }

    #[test]
    fn holm_corrects_for_all_tests() {
        assert_eq!(holm(&[0.004, 0.5, 0.006], 3), [false, false, false]);
        assert_eq!(holm(&[0.003, 0.5, 0.005], 3), [true, false, true]);
        assert_eq!(holm(&[0.003, 0.5, 0.006], 3), [true, false, false]);
        assert_eq!(holm(&[0.003], 100), [false]);
        assert_eq!(holm(&[], 100), Vec::<bool>::new());
    }

    #[test]
    fn numbers_are_below_their_end() {
        let mut random = Random::new(1);
        let mut seen = [0; 3];
        (0..300).for_each(|_| seen[random.below(3)] += 1);
        assert!(seen.iter().all(|count| *count > 60), "{seen:?}");
    }
}
