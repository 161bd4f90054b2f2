use std::path::Path;

use bytes::Bytes;

use super::*;
use crate::proto::wire::tests::unhex;

mod model;

fn whole(name: &[u8], value: &[u8]) -> Field {
    let text = |s: &[u8]| Text::Whole(Bytes::copy_from_slice(s));
    Field { name: text(name), value: text(value) }
}

fn decode(decoder: &mut Decoder, block: &[u8]) -> Vec<Field> {
    let section = decoder.decode(block, &[]);
    assert_eq!((section.end, section.dropped), (End::Complete, 0));
    section.fields
}

/// A step in an example of RFC 7541 appendix C: a block, its fields, and the
/// table after it.
type Step = (&'static str, &'static [(&'static str, &'static str)], &'static [usize], usize);

/// Runs an example. The table is given as the numbers of the fields in it,
/// counted over the whole example.
fn example(decoder: &mut Decoder, steps: &[Step]) {
    let mut seen = Vec::new();
    for &(block, fields, table, size) in steps {
        let fields: Vec<Field> =
            fields.iter().map(|(n, v)| whole(n.as_bytes(), v.as_bytes())).collect();
        assert_eq!(decode(decoder, &unhex(block)), fields, "{block}");
        seen.extend(fields);
        let table: Vec<&Field> = table.iter().map(|&i| &seen[i]).collect();
        assert_eq!(decoder.table.entries().collect::<Vec<_>>(), table, "{block}");
        assert_eq!(decoder.table.size(), size, "{block}");
    }
}

#[test]
fn appendix_c1_integers() {
    for (bytes, bits, value) in
        [(&[0x0a][..], 5, 10), (&[0x1f, 0x9a, 0x0a], 5, 1337), (&[0x2a], 8, 42)]
    {
        let mut reader = BlockReader::new(bytes, &[]);
        let first = reader.byte().unwrap();
        assert_eq!(reader.integer(first, bits), Ok(value));
        assert!(reader.at_end());
    }
}

#[test]
fn appendix_c2_representations() {
    let steps: [Step; 4] = [
        (
            "400a 6375 7374 6f6d 2d6b 6579 0d63 7573 746f 6d2d 6865 6164 6572",
            &[("custom-key", "custom-header")],
            &[0],
            55,
        ),
        ("040c 2f73 616d 706c 652f 7061 7468", &[(":path", "/sample/path")], &[], 0),
        ("1008 7061 7373 776f 7264 0673 6563 7265 74", &[("password", "secret")], &[], 0),
        ("82", &[(":method", "GET")], &[], 0),
    ];
    for step in steps {
        example(&mut Decoder::new(), &[step]);
    }
}

const REQUESTS: [&[(&str, &str)]; 3] = [
    &[(":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "www.example.com")],
    &[
        (":method", "GET"),
        (":scheme", "http"),
        (":path", "/"),
        (":authority", "www.example.com"),
        ("cache-control", "no-cache"),
    ],
    &[
        (":method", "GET"),
        (":scheme", "https"),
        (":path", "/index.html"),
        (":authority", "www.example.com"),
        ("custom-key", "custom-value"),
    ],
];

#[test]
fn appendix_c3_requests() {
    example(
        &mut Decoder::new(),
        &[
            ("8286 8441 0f77 7777 2e65 7861 6d70 6c65 2e63 6f6d", REQUESTS[0], &[3], 57),
            ("8286 84be 5808 6e6f 2d63 6163 6865", REQUESTS[1], &[8, 3], 110),
            (
                "8287 85bf 400a 6375 7374 6f6d 2d6b 6579 0c63 7573 746f 6d2d 7661 6c75 65",
                REQUESTS[2],
                &[13, 8, 3],
                164,
            ),
        ],
    );
}

#[test]
fn appendix_c4_requests_with_huffman() {
    example(
        &mut Decoder::new(),
        &[
            ("8286 8441 8cf1 e3c2 e5f2 3a6b a0ab 90f4 ff", REQUESTS[0], &[3], 57),
            ("8286 84be 5886 a8eb 1064 9cbf", REQUESTS[1], &[8, 3], 110),
            (
                "8287 85bf 4088 25a8 49e9 5ba9 7d7f 8925 a849 e95b b8e8 b4bf",
                REQUESTS[2],
                &[13, 8, 3],
                164,
            ),
        ],
    );
}

const RESPONSES: [&[(&str, &str)]; 3] = [
    &[
        (":status", "302"),
        ("cache-control", "private"),
        ("date", "Mon, 21 Oct 2013 20:13:21 GMT"),
        ("location", "https://www.example.com"),
    ],
    &[
        (":status", "307"),
        ("cache-control", "private"),
        ("date", "Mon, 21 Oct 2013 20:13:21 GMT"),
        ("location", "https://www.example.com"),
    ],
    &[
        (":status", "200"),
        ("cache-control", "private"),
        ("date", "Mon, 21 Oct 2013 20:13:22 GMT"),
        ("location", "https://www.example.com"),
        ("content-encoding", "gzip"),
        ("set-cookie", "foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1"),
    ],
];

/// Creates a decoder whose table has the limit used in appendices C.5 and C.6.
fn limited_to_256() -> Decoder {
    let mut decoder = Decoder::new();
    assert_eq!(decode(&mut decoder, &[0x3f, 0xe1, 0x01]), []);
    decoder
}

#[test]
fn appendix_c5_responses_with_eviction() {
    example(
        &mut limited_to_256(),
        &[
            (
                "4803 3330 3258 0770 7269 7661 7465 611d 4d6f 6e2c 2032 3120 4f63 7420 3230
                 3133 2032 303a 3133 3a32 3120 474d 546e 1768 7474 7073 3a2f 2f77 7777 2e65
                 7861 6d70 6c65 2e63 6f6d",
                RESPONSES[0],
                &[3, 2, 1, 0],
                222,
            ),
            ("4803 3330 37c1 c0bf", RESPONSES[1], &[4, 3, 2, 1], 222),
            (
                "88c1 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133 2032 303a 3133 3a32 3220
                 474d 54c0 5a04 677a 6970 7738 666f 6f3d 4153 444a 4b48 514b 425a 584f 5157
                 454f 5049 5541 5851 5745 4f49 553b 206d 6178 2d61 6765 3d33 3630 303b 2076
                 6572 7369 6f6e 3d31",
                RESPONSES[2],
                &[13, 12, 10],
                215,
            ),
        ],
    );
}

#[test]
fn appendix_c6_responses_with_huffman_and_eviction() {
    example(
        &mut limited_to_256(),
        &[
            (
                "4882 6402 5885 aec3 771a 4b61 96d0 7abe 9410 54d4 44a8 2005 9504 0b81 66e0
                 82a6 2d1b ff6e 919d 29ad 1718 63c7 8f0b 97c8 e9ae 82ae 43d3",
                RESPONSES[0],
                &[3, 2, 1, 0],
                222,
            ),
            ("4883 640e ffc1 c0bf", RESPONSES[1], &[4, 3, 2, 1], 222),
            (
                "88c1 6196 d07a be94 1054 d444 a820 0595 040b 8166 e084 a62d 1bff c05a 839b
                 d9ab 77ad 94e7 821d d7f2 e6c7 b335 dfdf cd5b 3960 d5af 2708 7f36 72c1 ab27
                 0fb5 291f 9587 3160 65c0 03ed 4ee5 b106 3d50 07",
                RESPONSES[2],
                &[13, 12, 10],
                215,
            ),
        ],
    );
}

#[test]
fn rule_violations_are_detected() {
    for (block, invalid) in [
        ("80", Invalid::Index),                // index 0
        ("be", Invalid::Index),                // beyond an empty table
        ("ff ff ff ff ff 0e", Invalid::Index), // beyond any table
        ("ff ff ff ff ff 10", Invalid::Integer),
        ("ff 80 80 80 80 80 01", Invalid::Integer),
        ("82 20", Invalid::LateLimit),
        ("04", Invalid::EndsEarly),
        ("04 05 2f", Invalid::EndsEarly),
        ("ff", Invalid::EndsEarly),
        ("04 81 ff", Invalid::Huffman),
    ] {
        let section = Decoder::new().decode(&unhex(block), &[]);
        assert_eq!(section.end, End::Invalid(invalid), "{block}");
    }
}

#[test]
fn a_violation_makes_the_table_unknown() {
    let mut decoder = Decoder::new();
    decode(&mut decoder, &unhex("4001 6101 62"));
    assert_eq!(decode(&mut decoder, &[0xbe]), [whole(b"a", b"b")]);
    assert_eq!(decoder.decode(&[0x80], &[]).end, End::Invalid(Invalid::Index));
    let unknown = Field { name: Text::UNKNOWN, value: Text::UNKNOWN };
    assert_eq!(decode(&mut decoder, &[0xbe]), [unknown]);
}

#[test]
fn an_oversized_entry_empties_the_table() {
    let mut decoder = limited_to_256();
    decode(&mut decoder, &unhex("4001 6101 62"));
    let mut block = b"\x40\x01a\x7f\x80\x02".to_vec();
    block.resize(block.len() + 127 + 256, b'x');
    assert_eq!(decode(&mut decoder, &block).len(), 1);
    assert_eq!(decoder.decode(&[0xbe], &[]).end, End::Invalid(Invalid::Index));
}

#[test]
fn a_table_joined_late_is_known_from_its_newest_entries() {
    let mut decoder = Decoder::joined();
    // An insertion with an unknown name, two known ones, then all of them.
    let fields = decode(&mut decoder, &unhex("7e 01 31 4001 6101 62 4101 63 be bf c0 c1"));
    let unnamed = Field { name: Text::UNKNOWN, value: Text::Whole(Bytes::from_static(b"1")) };
    let unknown = Field { name: Text::UNKNOWN, value: Text::UNKNOWN };
    assert_eq!(fields[3..], [whole(b":authority", b"c"), whole(b"a", b"b"), unnamed, unknown],);
    // The encoder empties its table, so nothing is unknown any more.
    let section = decoder.decode(&unhex("20 3f e1 1f be"), &[]);
    assert_eq!(section.end, End::Invalid(Invalid::Index));
}

#[test]
fn a_gap_within_a_string_costs_only_its_end() {
    let mut decoder = Decoder::new();
    // "a": "0123456789" inserted, then GET; bytes 3 to 8 of the value missing.
    let section = decoder.decode(b"\x40\x01a\x0a01289\x82", &[Gap { at: 7, len: Some(5) }]);
    let partial = Field {
        name: Text::Whole(Bytes::from_static(b"a")),
        value: Text::Start(Bytes::from_static(b"012")),
    };
    assert_eq!(section.fields, [partial.clone(), whole(b":method", b"GET")]);
    assert_eq!(section.end, End::Complete);
    assert_eq!(decode(&mut decoder, &[0xbe]), [partial]);
}

#[test]
fn a_gap_elsewhere_cuts_the_block() {
    for (block, at, fields) in [
        (&b"\x82\x84"[..], 1, vec![whole(b":method", b"GET")]),
        (b"\x82\x04\x0a/pa", 6, {
            let name = Text::Whole(Bytes::from_static(b":path"));
            let start = Text::Start(Bytes::from_static(b"/pa"));
            vec![whole(b":method", b"GET"), Field { name, value: start }]
        }),
    ] {
        let section = Decoder::new().decode(&block[..at], &[Gap { at, len: None }]);
        assert_eq!((section.fields, section.end), (fields, End::Cut));
    }
}

#[test]
fn repeated_references_to_a_long_entry_are_bounded() {
    let mut block = b"\x40\x01a\x7f\xa1\x1e".to_vec();
    block.resize(block.len() + 4000, b'x');
    block.resize(block.len() + 1_000_000, 0xbe);
    let section = Decoder::new().decode(&block, &[]);
    assert_eq!(section.end, End::Complete);
    assert_eq!(section.fields.len() as u64 + section.dropped, 1_000_001);
    assert!(section.fields.iter().map(size).sum::<usize>() <= MAX_FIELDS);
}

#[test]
fn an_endless_table_is_bounded() {
    let mut decoder = Decoder::new();
    decode(&mut decoder, &unhex("3f e1 ff ff ff 0e"));
    for i in 0..10_000u32 {
        let mut block = b"\x40\x01a\x04".to_vec();
        block.extend(i.to_be_bytes());
        decode(&mut decoder, &block);
        assert!(decoder.table.size() <= table::MAX_TABLE as usize);
    }
    // The encoder may have entries that were not kept: unknown, not an error.
    let unknown = Field { name: Text::UNKNOWN, value: Text::UNKNOWN };
    assert_eq!(decode(&mut decoder, &unhex("ff 80 3d")), [unknown]);
}

/// Runs a test case in the format of the public interoperability suite
/// (`http2jp/hpack-test-case`): a list of blocks with their fields. Returns the
/// number of blocks.
fn test_case(path: &Path) -> usize {
    let story: serde_json::Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let cases = story["cases"].as_array().unwrap();
    let mut decoder = Decoder::new();
    let mut late = Decoder::joined();
    for (number, case) in cases.iter().enumerate() {
        let block = unhex(case["wire"].as_str().unwrap());
        let truth: Vec<Field> = case["headers"]
            .as_array()
            .unwrap()
            .iter()
            .map(|header| {
                let (name, value) = header.as_object().unwrap().iter().next().unwrap();
                whole(name.as_bytes(), value.as_str().unwrap().as_bytes())
            })
            .collect();
        assert_eq!(decode(&mut decoder, &block), truth, "{} {number}", path.display());
        if number >= cases.len() / 3 {
            let fields = decode(&mut late, &block);
            assert!(is_consistent(&fields, &truth), "{} {number}, joined late", path.display());
        }
    }
    cases.len()
}

/// Runs all test cases in a directory. Returns the total number of blocks.
fn test_cases(directory: &Path) -> usize {
    let mut blocks = 0;
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            blocks += test_cases(&path);
        } else if path.extension().is_some_and(|extension| extension == "json") {
            blocks += test_case(&path);
        }
    }
    blocks
}

#[test]
fn test_cases_of_another_encoder() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/hpack");
    assert_eq!(test_cases(&directory), 150);
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
