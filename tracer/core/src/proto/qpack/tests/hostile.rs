//! Streams that no encoder sends.

use proptest::prelude::*;

use super::*;
use crate::proto::hpack::{MAX_FIELDS, size};

#[test]
fn an_endless_table_is_bounded() {
    let mut decoder = Decoder::new();
    decoder.encoder_data(&unhex("3f e1 ff ff ff 07"));
    for i in 0..10_000u32 {
        let mut instruction = b"\x41a\x04".to_vec();
        instruction.extend(i.to_be_bytes());
        decoder.encoder_data(&instruction);
        assert!(decoder.buffered() <= 2 * table::MAX_TABLE as usize);
    }
    // The oldest entry may still be in the encoder's table.
    let block = unhex("ff02 ff00 ff91 4d");
    let section = section(&mut decoder, &block);
    assert!(section.fields.iter().all(|field| *field == unknown()), "{section:?}");
}

#[test]
fn an_endless_instruction_is_bounded() {
    let mut decoder = Decoder::new();
    decoder.encoder_data(&unhex("3f e1 ff ff ff 07 41 61 7f e1 ff ff ff 07"));
    for _ in 0..100 {
        decoder.encoder_data(&[b'x'; 1 << 14]);
        assert!(decoder.buffered() <= 16 * table::MAX_TABLE as usize);
    }
    assert!(decoder.table.is_lost());
}

#[test]
fn repeated_references_to_a_long_entry_are_bounded() {
    let mut decoder = Decoder::new();
    let mut stream = unhex("3f e1 1f 41 61 7f a1 1e");
    stream.resize(stream.len() + 4000, b'x');
    decoder.encoder_data(&stream);
    let mut block = vec![2, 0];
    block.resize(1_000_000, 0x80);
    let section = section(&mut decoder, &block);
    assert_eq!(section.end, End::Complete);
    assert_eq!(section.fields.len() as u64 + section.dropped, 999_998);
    assert!(section.fields.iter().map(size).sum::<usize>() <= MAX_FIELDS);
}

/// A server may allow a capacity that is no multiple of what the client uses. Its
/// counts wrap around elsewhere, and must not be mistaken.
#[test]
fn counts_of_any_maximum_are_known_or_unknown_but_never_wrong() {
    for used in [64u32, 100, 320, 1024] {
        for allowed in (used..6 * used).step_by(37) {
            let modulus = 2 * (u64::from(allowed) / 32);
            let mut decoder = Decoder::new();
            let mut known = 0;
            decoder.table.resize(used);
            for n in 1..1000_u64 {
                let value = Bytes::from(n.to_string());
                let field = Field { name: Text::Whole("n".into()), value: Text::Whole(value) };
                decoder.table.insert(field.clone()).unwrap();
                // A reference to the newest entry.
                match decoder.table.required(n % modulus + 1) {
                    Required::Count(count) => {
                        assert_eq!(count, n, "{used} {allowed}");
                        known += 1;
                    }
                    Required::Unknown | Required::Blocked => {}
                    Required::None => panic!("{used} {allowed} {n}"),
                }
            }
            // Nothing is lost before the count wraps around.
            assert!(known >= modulus.min(999) - 1, "{used} {allowed} {known}");
            assert!(known == 999 || allowed / 32 != used / 32, "{used} {allowed} {known}");
        }
    }
}

proptest! {
    #[test]
    fn nothing_panics(
        streams in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..40), 0..8),
        gaps in proptest::collection::vec(proptest::option::of(0u64..30), 8),
        capacity in 0u8..=31,
    ) {
        let mut decoder = Decoder::new();
        decoder.encoder_data(&[0x3f, 0x80 | capacity, 0x02]);
        for (stream, gap) in streams.iter().zip(gaps) {
            decoder.encoder_data(stream);
            let fields = decoder.decode(stream, &[], true);
            let unwaited = decoder.decode(stream, &[], false);
            prop_assert!(fields == Decoded::Blocked || fields == unwaited);
            if gap.is_some_and(|len| len < 15) {
                decoder.encoder_gap(gap);
            }
        }
    }

    /// However the encoder stream is split, the result is the same.
    #[test]
    fn instructions_may_be_split_anywhere(cuts in proptest::collection::vec(1usize..30, 0..40)) {
        let story = stories().into_iter().find(|story| story.name == "eager-1024").unwrap();
        let stream: Vec<u8> = story.cases.iter().flat_map(|case| case.encoder.clone()).collect();
        let (mut whole, mut split) = (Decoder::new(), Decoder::new());
        whole.encoder_data(&stream);
        let mut rest = &stream[..];
        for cut in cuts {
            let (part, behind) = rest.split_at(cut.min(rest.len()));
            split.encoder_data(part);
            rest = behind;
        }
        split.encoder_data(rest);
        prop_assert_eq!(format!("{:?}", whole.table), format!("{:?}", split.table));
    }
}
