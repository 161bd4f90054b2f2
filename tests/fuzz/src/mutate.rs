//! Mutations of inputs, the same in every run.

/// Numbers at which parsers change their behaviour.
const EDGES: [u64; 12] = [
    0,
    1,
    0x7f,
    0x80,
    0xff,
    0x7fff,
    0xffff,
    0x7fff_ffff,
    0xffff_ffff,
    0xffff_fffe,
    0x7fff_ffff_ffff_ffff,
    0xffff_ffff_ffff_ffff,
];

/// Pseudo-random numbers (xorshift64*, Vigna 2016).
#[derive(Debug, Clone)]
pub struct Numbers(u64);

impl Numbers {
    /// Creates the sequence that a number determines.
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// Returns a number below `end`, and 0 if that is 0.
    pub fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let high = self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 16;
        (high % end.max(1) as u64) as usize
    }
}

/// Changes some places of an input. `other` lends bytes, `words` are inserted.
pub fn mutate(
    input: &mut Vec<u8>,
    other: &[u8],
    words: &[&str],
    max_len: usize,
    numbers: &mut Numbers,
) {
    for _ in 0..=numbers.below(4) {
        let at = numbers.below(input.len() + 1);
        let end = (at + 1 + numbers.below(16)).min(input.len());
        match numbers.below(9) {
            0 => flip(input, at, numbers),
            1 => drop(input.drain(at.min(end)..end)),
            2 => input.truncate(at),
            3 => edge(input, at, numbers),
            4 => insert(input, at, &[numbers.below(256) as u8; 8][..=numbers.below(8)]),
            5 => {
                let copy = input[at.min(end)..end].to_vec();
                insert(input, at, &copy.repeat(1 + numbers.below(20)));
            }
            6 => {
                let from = numbers.below(other.len() + 1);
                let to = (from + numbers.below(64)).min(other.len());
                insert(input, at, &other[from..to]);
            }
            7 => {
                let from = numbers.below(other.len() + 1);
                input.truncate(at);
                input.extend(&other[from..]);
            }
            _ => match words.get(numbers.below(words.len())) {
                Some(word) => insert(input, at, word.as_bytes()),
                None => flip(input, at, numbers),
            },
        }
    }
    input.truncate(max_len);
}

fn flip(input: &mut [u8], at: usize, numbers: &mut Numbers) {
    if let Some(byte) = input.get_mut(at) {
        *byte ^= 1 << numbers.below(8);
    }
}

/// Overwrites a number of 1, 2, 4 or 8 bytes.
fn edge(input: &mut [u8], at: usize, numbers: &mut Numbers) {
    let edge = EDGES[numbers.below(EDGES.len())];
    let bytes = match numbers.below(2) {
        0 => edge.to_le_bytes(),
        _ => edge.to_be_bytes(),
    };
    let len = 1 << numbers.below(4);
    let bytes = if numbers.below(2) == 0 { &bytes[..len] } else { &bytes[8 - len..] };
    input.iter_mut().skip(at).zip(bytes).for_each(|(to, from)| *to = *from);
}

fn insert(input: &mut Vec<u8>, at: usize, bytes: &[u8]) {
    drop(input.splice(at..at, bytes.iter().copied()));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mutations_repeat_and_stay_below_the_length() {
        let run = |seed| {
            let mut numbers = Numbers::new(seed);
            let mut input = b"GET / HTTP/1.1".to_vec();
            for _ in 0..1000 {
                mutate(&mut input, b"POST", &["Host"], 200, &mut numbers);
                assert!(input.len() <= 200);
            }
            input
        };
        assert_eq!(run(1), run(1));
        assert_ne!(run(1), run(2));
    }
}
