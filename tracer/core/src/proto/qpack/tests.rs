mod hostile;

use std::path::Path;

use bytes::Bytes;

use super::*;
use crate::proto::hpack::End;
use crate::proto::wire::tests::unhex;

fn whole(name: &str, value: &str) -> Field {
    let text = |s: &str| Text::Whole(Bytes::copy_from_slice(s.as_bytes()));
    Field { name: text(name), value: text(value) }
}

fn unknown() -> Field {
    Field { name: Text::UNKNOWN, value: Text::UNKNOWN }
}

fn section(decoder: &mut Decoder, data: &[u8]) -> Section {
    match decoder.decode(data, &[], true) {
        Decoded::Section(section) => section,
        Decoded::Blocked => panic!("blocked"),
    }
}

/// Decodes a complete section.
fn decode(decoder: &mut Decoder, data: &[u8]) -> Vec<Field> {
    let section = section(decoder, data);
    assert_eq!((section.end, section.dropped), (End::Complete, 0));
    section.fields
}

#[test]
fn appendix_b_examples() {
    let mut decoder = Decoder::new();
    // B.1: a literal with a static name.
    let fields = decode(&mut decoder, &unhex("0000 510b 2f69 6e64 6578 2e68 746d 6c"));
    assert_eq!(fields, [whole(":path", "/index.html")]);

    // B.2: insertions, and a section that refers to them after its base.
    let [authority, path] =
        [whole(":authority", "www.example.com"), whole(":path", "/sample/path")];
    let post_base = unhex("0381 1011");
    assert_eq!(decoder.decode(&post_base, &[], true), Decoded::Blocked);
    decoder.encoder_data(&unhex("3fbd01 c00f 7777 772e 6578 616d 706c 652e 636f 6d"));
    assert_eq!(decoder.decode(&post_base, &[], true), Decoded::Blocked);
    decoder.encoder_data(&unhex("c10c 2f73 616d 706c 652f 7061 7468"));
    assert_eq!(decode(&mut decoder, &post_base), [authority.clone(), path]);
    assert_eq!((decoder.inserted(), decoder.table.size()), (2, 106));

    // B.3: an insertion with a literal name.
    decoder.encoder_data(&unhex("4a63 7573 746f 6d2d 6b65 790c 6375 7374 6f6d 2d76 616c 7565"));
    assert_eq!((decoder.inserted(), decoder.table.size()), (3, 160));

    // B.4: a duplicate, and references before the base.
    decoder.encoder_data(&[0x02]);
    assert_eq!((decoder.inserted(), decoder.table.size()), (4, 217));
    let custom = whole("custom-key", "custom-value");
    let fields = decode(&mut decoder, &unhex("0500 80c1 81"));
    assert_eq!(fields, [authority.clone(), whole(":path", "/"), custom]);

    // B.5: an insertion with a dynamic name, which evicts the oldest entry.
    decoder.encoder_data(&unhex("810d 6375 7374 6f6d 2d76 616c 7565 32"));
    assert_eq!((decoder.inserted(), decoder.table.size()), (5, 215));
    let fields = decode(&mut decoder, &unhex("0600 8081"));
    assert_eq!(fields, [whole("custom-key", "custom-value2"), authority]);
}

#[test]
fn literals_may_forbid_indexing() {
    let mut decoder = Decoder::new();
    decoder.encoder_data(&unhex("3fe11f 4161 0162"));
    // A name by reference: static, dynamic, after the base; and a literal name.
    for (block, fields) in [
        ("0000 7101 2f", [whole(":path", "/")]),
        ("0200 6001 63", [whole("a", "c")]),
        ("0280 0801 63", [whole("a", "c")]),
        ("0000 3161 0163", [whole("a", "c")]),
    ] {
        assert_eq!(decode(&mut decoder, &unhex(block)), fields, "{block}");
    }
}

#[test]
fn rule_violations_are_detected() {
    for (block, invalid) in [
        ("00", Invalid::EndsEarly),
        ("0000 80", Invalid::Index), // a dynamic entry, though none is required
        ("0000 10", Invalid::Index),
        ("0000 ff24", Invalid::Index), // static entry 99
        ("0200 81", Invalid::Index),   // before the first entry
        ("0200 10", Invalid::Index),   // beyond the required count
        ("0281 10", Invalid::Index),   // a base below zero
        ("0000 5105 2f", Invalid::EndsEarly),
        ("0000 5181 ff", Invalid::Huffman),
    ] {
        let mut decoder = Decoder::new();
        decoder.encoder_data(&unhex("3fe11f 4161 0162"));
        assert_eq!(section(&mut decoder, &unhex(block)).end, End::Invalid(invalid), "{block}");
        // A section does not change the table.
        assert_eq!(decode(&mut decoder, &unhex("0200 80")), [whole("a", "b")]);
    }
}

#[test]
fn a_violation_in_the_encoder_stream_makes_the_table_unknown() {
    for stream in [
        "4161 0162",        // without a capacity
        "3f01 4161 0162",   // larger than the capacity of 32
        "3fe11f 8001 62",   // a name beyond the oldest entry
        "3fe11f 00",        // a duplicate of nothing
        "3fe11f ff2401 62", // static entry 99
    ] {
        let mut decoder = Decoder::new();
        decoder.encoder_data(&unhex(stream));
        assert_eq!(decode(&mut decoder, &unhex("0200 80d1")), [unknown(), whole(":method", "GET")]);
        decoder.encoder_data(&unhex("3fe11f 4161 0162"));
        assert_eq!(decode(&mut decoder, &unhex("0200 80")), [unknown()]);
    }
}

#[test]
fn a_section_that_cannot_wait_is_read_without_its_insertions() {
    let mut decoder = Decoder::new();
    decoder.encoder_data(&unhex("3fe11f 4161 0162"));
    let block = unhex("0380 d180 6001 63");
    assert_eq!(decoder.decode(&block, &[], true), Decoded::Blocked);
    let Decoded::Section(section) = decoder.decode(&block, &[], false) else { panic!() };
    let named = Field { name: Text::UNKNOWN, value: Text::Whole(Bytes::from_static(b"c")) };
    assert_eq!(section.fields, [whole(":method", "GET"), unknown(), named]);
}

#[test]
fn nothing_is_resolved_while_the_encoder_stream_waits() {
    let mut decoder = Decoder::new();
    decoder.encoder_data(&unhex("3fe11f 4161 0162"));
    let block = unhex("0200 80");
    decoder.set_waiting(true);
    assert_eq!(decoder.decode(&block, &[], true), Decoded::Blocked);
    let Decoded::Section(unread) = decoder.decode(&block, &[], false) else { panic!() };
    assert_eq!(unread.fields, [unknown()]);
    assert_eq!(decode(&mut decoder, &unhex("0000 d1")), [whole(":method", "GET")]);
    decoder.set_waiting(false);
    assert_eq!(decode(&mut decoder, &block), [whole("a", "b")]);
}

#[test]
fn a_gap_within_a_string_of_an_insertion_costs_only_its_end() {
    let mut decoder = Decoder::new();
    // "a": "0123456789", of which bytes 3 to 8 are missing, and "c": "d".
    decoder.encoder_data(b"\x3f\xe1\x1f\x41a\x0a012");
    decoder.encoder_gap(Some(2));
    decoder.encoder_gap(Some(4));
    decoder.encoder_data(b"9\x41c\x01d");
    let start = Text::Start(Bytes::from_static(b"012"));
    let partial = Field { name: Text::Whole(Bytes::from_static(b"a")), value: start };
    assert_eq!(decode(&mut decoder, &unhex("0300 8180")), [partial, whole("c", "d")]);
}

#[test]
fn a_gap_elsewhere_makes_the_table_unknown() {
    for (before, len) in [
        (&b""[..], Some(1)),
        (b"\x3f\xe1\x1f\x41a\x01b", Some(3)),
        (b"\x3f\xe1\x1f\x41a", Some(2)),
        (b"\x3f\xe1\x1f\x41a\x0a012", Some(8)),
        (b"\x3f\xe1\x1f\x41a\x0a012", None),
    ] {
        let mut decoder = Decoder::new();
        decoder.encoder_data(before);
        decoder.encoder_gap(len);
        decoder.encoder_data(b"\x41c\x01d");
        assert_eq!(decode(&mut decoder, &unhex("0200 80")), [unknown()], "{before:?}");
    }
}

#[test]
fn a_gap_in_a_section_cuts_it() {
    let gap = |at, len| [Gap { at, len }];
    let mut decoder = Decoder::new();
    let block = b"\x00\x00\x51\x0a/0129\xd1";
    let Decoded::Section(section) = decoder.decode(block, &gap(8, Some(5)), true) else { panic!() };
    let start = Text::Start(Bytes::from_static(b"/012"));
    let partial = Field { name: Text::Whole(Bytes::from_static(b":path")), value: start };
    assert_eq!(section.fields, [partial.clone(), whole(":method", "GET")]);
    assert_eq!(section.end, End::Complete);
    for at in [0, 1, 2] {
        let Decoded::Section(section) = decoder.decode(&block[..at], &gap(at, None), true) else {
            panic!()
        };
        assert_eq!((section.fields, section.end), (vec![], End::Cut));
    }
    let Decoded::Section(section) = decoder.decode(&block[..8], &gap(8, None), true) else {
        panic!()
    };
    assert_eq!((section.fields, section.end), (vec![partial], End::Cut));
}

/// A connection in `tests/fixtures/qpack`.
struct Story {
    name: String,
    cases: Vec<Case>,
}

struct Case {
    encoder: Vec<u8>,
    wire: Vec<u8>,
    fields: Vec<Field>,
}

fn stories() -> Vec<Story> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/qpack");
    let mut stories = Vec::new();
    for entry in root.read_dir().unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "json") {
            continue;
        }
        let story: serde_json::Value =
            serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        let case = |case: &serde_json::Value| Case {
            encoder: unhex(case["encoder"].as_str().unwrap()),
            wire: unhex(case["wire"].as_str().unwrap()),
            fields: case["headers"].as_array().unwrap().iter().map(field).collect(),
        };
        stories.push(Story {
            name: path.file_stem().unwrap().to_string_lossy().into_owned(),
            cases: story["cases"].as_array().unwrap().iter().map(case).collect(),
        });
    }
    stories.sort_by(|a, b| a.name.cmp(&b.name));
    assert_eq!(stories.iter().map(|story| story.cases.len()).sum::<usize>(), 533);
    stories
}

fn field(pair: &serde_json::Value) -> Field {
    whole(pair[0].as_str().unwrap(), pair[1].as_str().unwrap())
}

/// Reports whether everything in `known` matches the start of `truth`.
fn is_consistent(known: &[Field], truth: &[Field]) -> bool {
    let agrees = |known: &Text, truth: &Text| match known {
        Text::Whole(_) => known == truth,
        Text::Start(start) => truth.known().starts_with(start),
    };
    known.len() <= truth.len()
        && known
            .iter()
            .zip(truth)
            .all(|(k, t)| agrees(&k.name, &t.name) && agrees(&k.value, &t.value))
}

/// Reports whether the counts in a story are certain. In one, the client uses less
/// capacity than the server allows, and wraps its count around there.
fn is_countable(name: &str, number: usize) -> bool {
    name != "eager-256-of-4096" || number < 118
}

#[test]
fn stories_of_other_encoders() {
    for Story { name, cases } in stories() {
        let mut decoder = Decoder::new();
        for (number, case) in cases.iter().enumerate() {
            decoder.encoder_data(&case.encoder);
            let fields = decode(&mut decoder, &case.wire);
            assert!(is_consistent(&fields, &case.fields), "{name} {number}");
            assert!(fields == case.fields || !is_countable(&name, number), "{name} {number}");
        }
    }
}

#[test]
fn a_late_encoder_stream_blocks_and_changes_no_field() {
    for Story { name, cases } in stories() {
        for delay in [1, 2, 5] {
            let mut decoder = Decoder::new();
            let mut waiting: Vec<usize> = Vec::new();
            let mut has_blocked = false;
            for number in 0..cases.len() + delay {
                if let Some(late) = number.checked_sub(delay) {
                    // Byte by byte.
                    cases[late].encoder.chunks(1).for_each(|byte| decoder.encoder_data(byte));
                }
                waiting.extend((number < cases.len()).then_some(number));
                waiting.retain(|&number| {
                    let case = &cases[number];
                    match decoder.decode(&case.wire, &[], true) {
                        Decoded::Blocked => {
                            has_blocked = true;
                            true
                        }
                        Decoded::Section(section) => {
                            assert!(
                                is_consistent(&section.fields, &case.fields),
                                "{name} {number} {delay}"
                            );
                            // An encoder does not run ahead by more than a table.
                            if name.starts_with("browsing") && name != "browsing-220" {
                                assert_eq!(section.fields, case.fields, "{name} {number}");
                            }
                            false
                        }
                    }
                });
            }
            assert!(waiting.iter().all(|&at| !is_countable(&name, at)), "{name} {delay}");
            let inserts = name.starts_with("browsing") || name.starts_with("eager");
            assert!(has_blocked || !inserts, "{name}");
        }
    }
}

#[test]
fn no_lost_part_of_the_encoder_stream_leads_to_a_wrong_field() {
    for Story { name, cases } in stories() {
        for lost in 0..cases.len() {
            let mut decoder = Decoder::new();
            for (number, case) in cases.iter().enumerate() {
                match number == lost {
                    true => decoder.encoder_gap(Some(case.encoder.len() as u64)),
                    false => decoder.encoder_data(&case.encoder),
                }
                let fields = section(&mut decoder, &case.wire).fields;
                assert!(is_consistent(&fields, &case.fields), "{name} {number}, {lost} lost");
                assert_eq!(fields.len(), case.fields.len(), "{name} {number}, {lost} lost");
                let is_known = number < lost && is_countable(&name, number);
                assert!(fields == case.fields || !is_known, "{name} {number}");
            }
        }
    }
}

#[test]
fn every_prefix_of_a_section_is_the_start_of_its_fields() {
    for Story { name, cases } in stories() {
        let mut decoder = Decoder::new();
        for (number, case) in cases.iter().enumerate().take(40) {
            decoder.encoder_data(&case.encoder);
            for at in 0..case.wire.len() {
                let cut = [Gap { at, len: None }];
                let Decoded::Section(section) = decoder.decode(&case.wire[..at], &cut, true) else {
                    panic!("blocked");
                };
                assert_eq!(section.end, End::Cut);
                assert!(is_consistent(&section.fields, &case.fields), "{name} {number} {at}");
            }
        }
    }
}
