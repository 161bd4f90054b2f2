//! Tests the decoder against a model encoder that uses every freedom the
//! specification allows, with blocks lost, truncated and joined late.

use std::collections::VecDeque;

use proptest::prelude::*;

use super::*;

/// An encoder that manages its table exactly as in RFC 7541 section 4 and uses
/// the representation that `choice` selects.
struct Encoder {
    table: VecDeque<(Vec<u8>, Vec<u8>)>,
    limit: usize,
}

impl Encoder {
    fn size(&self) -> usize {
        self.table.iter().map(|(name, value)| name.len() + value.len() + 32).sum()
    }

    fn fit(&mut self, room: usize) {
        while self.size() > room {
            self.table.pop_back();
        }
    }

    fn integer(out: &mut Vec<u8>, first: u8, bits: u32, mut value: usize) {
        let mask = (1usize << bits) - 1;
        if value < mask {
            return out.push(first | value as u8);
        }
        out.push(first | mask as u8);
        value -= mask;
        while value >= 0x80 {
            out.push(value as u8 | 0x80);
            value >>= 7;
        }
        out.push(value as u8);
    }

    fn string(out: &mut Vec<u8>, text: &[u8]) {
        Encoder::integer(out, 0, 7, text.len());
        out.extend(text);
    }

    fn resize(&mut self, out: &mut Vec<u8>, limit: usize) {
        self.limit = limit;
        self.fit(limit);
        Encoder::integer(out, 0x20, 5, limit);
    }

    fn field(&mut self, out: &mut Vec<u8>, name: &[u8], value: &[u8], choice: u8) {
        let at = |entry: Option<usize>| entry.map(|at| at + 62);
        let both = at(self.table.iter().position(|(n, v)| (&n[..], &v[..]) == (name, value)));
        let named = at(self.table.iter().position(|(n, _)| n == name));
        if let (Some(index), false) = (both, choice & 4 != 0) {
            return Encoder::integer(out, 0x80, 7, index);
        }
        let (first, bits) = [(0x40, 6), (0x00, 4), (0x10, 4), (0x40, 6)][usize::from(choice & 3)];
        let index = named.filter(|_| choice & 8 == 0).unwrap_or(0);
        Encoder::integer(out, first, bits, index);
        if index == 0 {
            Encoder::string(out, name);
        }
        Encoder::string(out, value);
        if first == 0x40 {
            let size = name.len() + value.len() + 32;
            self.fit(self.limit.saturating_sub(size));
            if size <= self.limit {
                self.table.push_front((name.to_vec(), value.to_vec()));
            }
        }
    }
}

/// A header block: an optional new limit, the fields with their choices, and
/// what happens to the block.
#[derive(Debug, Clone)]
struct Plan {
    limit: Option<usize>,
    fields: Vec<(u8, u8, u8)>,
    fate: Fate,
}

#[derive(Debug, Clone)]
enum Fate {
    Seen,
    Lost,
    /// A gap at this fraction of the block, with this many bytes.
    Gap(f64, usize),
}

fn plan() -> impl Strategy<Value = Plan> {
    let fate = prop_oneof![
        6 => Just(Fate::Seen),
        1 => Just(Fate::Lost),
        2 => (0.0..1.0, 1usize..40).prop_map(|(at, len)| Fate::Gap(at, len)),
    ];
    let limit = proptest::option::weighted(0.1, prop_oneof![Just(0), 20usize..300]);
    let fields = proptest::collection::vec((0u8..6, 0u8..8, any::<u8>()), 0..12);
    (limit, fields, fate).prop_map(|(limit, fields, fate)| Plan { limit, fields, fate })
}

proptest! {
    /// Whatever is lost, and wherever the connection is joined, every known
    /// field is correct, and a complete block yields all its fields.
    #[test]
    fn known_fields_are_correct(plans in proptest::collection::vec(plan(), 1..40), late: bool) {
        let mut encoder = Encoder { table: VecDeque::new(), limit: 4096 };
        let mut decoder = if late { Decoder::joined() } else { Decoder::new() };
        if late {
            for i in 0..5 {
                encoder.field(&mut Vec::new(), b"n1", &[b'v', i], 0);
            }
        }
        for plan in plans {
            let (mut block, mut truth) = (Vec::new(), Vec::new());
            if let Some(limit) = plan.limit {
                encoder.resize(&mut block, limit);
            }
            for (name, value, choice) in plan.fields {
                let name = format!("n{name}");
                let value = "v".repeat(1 << value) + &value.to_string();
                encoder.field(&mut block, name.as_bytes(), value.as_bytes(), choice);
                truth.push(whole(name.as_bytes(), value.as_bytes()));
            }
            match plan.fate {
                Fate::Seen => {
                    let fields = decode(&mut decoder, &block);
                    prop_assert!(is_consistent(&fields, &truth), "{:?} of {:?}", fields, truth);
                    prop_assert_eq!(fields.len(), truth.len());
                }
                Fate::Lost => decoder.forget(),
                Fate::Gap(at, len) => {
                    let at = (at * block.len() as f64) as usize;
                    let len = len.min(block.len() - at);
                    block.drain(at..at + len);
                    let gap = Gap { at, len: Some(len as u64) };
                    let gaps = if len > 0 { vec![gap] } else { Vec::new() };
                    let section = decoder.decode(&block, &gaps);
                    prop_assert!(is_consistent(&section.fields, &truth), "{section:?} of {truth:?}");
                    prop_assert!(!matches!(section.end, End::Invalid(_)));
                    if section.end == End::Complete {
                        prop_assert_eq!(section.fields.len(), truth.len());
                    }
                }
            }
        }
    }

    /// Every prefix of a block yields a prefix of its fields.
    #[test]
    fn every_prefix_is_consistent(fields in proptest::collection::vec((0u8..6, 0u8..8, any::<u8>()), 0..12)) {
        let mut encoder = Encoder { table: VecDeque::new(), limit: 4096 };
        let (mut block, mut truth) = (Vec::new(), Vec::new());
        for (name, value, choice) in fields {
            let (name, value) = (format!("n{name}"), "v".repeat(1 << value));
            encoder.field(&mut block, name.as_bytes(), value.as_bytes(), choice);
            truth.push(whole(name.as_bytes(), value.as_bytes()));
        }
        for cut in 0..=block.len() {
            let gap = [Gap { at: cut, len: None }];
            let section = Decoder::new().decode(&block[..cut], &gap);
            prop_assert_eq!(section.end, End::Cut);
            prop_assert!(is_consistent(&section.fields, &truth));
        }
    }

    #[test]
    fn noise_is_harmless(
        blocks: Vec<Vec<u8>>,
        at in proptest::collection::vec((0usize..64, proptest::option::of(0u64..64)), 0..4),
    ) {
        let mut gaps: Vec<Gap> = at.into_iter().map(|(at, len)| Gap { at, len }).collect();
        gaps.sort_by_key(|gap| gap.at);
        let mut decoder = Decoder::new();
        for block in blocks {
            decoder.decode(&block, &gaps);
            prop_assert!(decoder.table.size() <= table::MAX_TABLE as usize);
        }
    }
}
