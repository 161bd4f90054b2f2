//! Properties that hold for any input.

use proptest::prelude::*;
use ruzstd::encoding::{CompressionLevel, compress_to_vec};

use super::*;

/// A transformation that an SDK applies to its events before sending them.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Layer {
    Gzip,
    Zlib,
    Zstd,
    Base64,
    Base64Url,
    Hex,
    Percent,
    Form,
    JsonString,
    JsonArray,
    Protobuf,
    Multipart,
    Numbers,
    Characters,
    Xml,
    Zip,
    Snappy,
    Lz4,
    Bzip2,
    Xz,
    Lzma,
    Base32,
    Base45,
    Base85,
    Number,
    Bits,
    Octal,
    Escapes,
    Units,
    Utf32,
    Rot47,
    ZipLzma,
    Armour,
    Appended,
}

const LAYERS: [Layer; 34] = [
    Layer::Gzip,
    Layer::Zlib,
    Layer::Zstd,
    Layer::Base64,
    Layer::Base64Url,
    Layer::Hex,
    Layer::Percent,
    Layer::Form,
    Layer::JsonString,
    Layer::JsonArray,
    Layer::Protobuf,
    Layer::Multipart,
    Layer::Numbers,
    Layer::Characters,
    Layer::Xml,
    Layer::Zip,
    Layer::Snappy,
    Layer::Lz4,
    Layer::Bzip2,
    Layer::Xz,
    Layer::Lzma,
    Layer::Base32,
    Layer::Base45,
    Layer::Base85,
    Layer::Number,
    Layer::Bits,
    Layer::Octal,
    Layer::Escapes,
    Layer::Units,
    Layer::Utf32,
    Layer::Rot47,
    Layer::ZipLzma,
    Layer::Armour,
    Layer::Appended,
];

impl Layer {
    fn apply(self, bytes: Vec<u8>) -> Vec<u8> {
        // Text formats hold only text.
        let text = String::from_utf8(bytes.clone());
        match self {
            Self::Gzip => gzip(&bytes),
            Self::Zlib => zlib(&bytes),
            Self::Zstd => compress_to_vec(&bytes[..], CompressionLevel::Fastest),
            Self::Base64 => encode(&bytes, Alphabet::Standard, true).into_bytes(),
            Self::Base64Url => encode(&bytes, Alphabet::Url, false).into_bytes(),
            Self::Hex => bytes.iter().flat_map(|b| format!("{b:02x}").into_bytes()).collect(),
            Self::Percent => percent(&bytes).into_bytes(),
            Self::Form => format!("v=1&data={}&n=2", percent(&bytes)).into_bytes(),
            Self::JsonString => match text {
                Ok(text) => serde_json::json!({ "n": 1, "data": text }).to_string().into_bytes(),
                Err(_) => bytes,
            },
            Self::JsonArray => match text {
                Ok(text) => serde_json::json!([text, 2]).to_string().into_bytes(),
                Err(_) => bytes,
            },
            Self::Protobuf => {
                let mut message = vec![0x08, 0x01, 0x12];
                let mut len = bytes.len();
                while len >= 0x80 {
                    message.push((len & 0x7f) as u8 | 0x80);
                    len >>= 7;
                }
                message.push(len as u8);
                message.extend_from_slice(&bytes);
                message.extend_from_slice(b"\x1a\x07session");
                message
            }
            Self::Numbers => serde_json::json!({ "n": 1, "data": bytes }).to_string().into_bytes(),
            Self::Characters => {
                let text: String = bytes.iter().map(|&b| char::from(b)).collect();
                serde_json::json!({ "data": text }).to_string().into_bytes()
            }
            Self::Xml => match text {
                // XML has no control characters below U+0020.
                Ok(text) if !text.contains(|c| c < ' ') => {
                    let text =
                        text.replace('&', "&amp;").replace('<', "&lt;").replace('\'', "&apos;");
                    format!("<r xmlns='http://s.test/1'><n>1</n><data v='{text}'/></r>")
                        .into_bytes()
                }
                _ => bytes,
            },
            Self::Zip => formats::zip("data.bin", 0, 0, &bytes, bytes.len()),
            Self::Snappy => {
                let mut encoder = snap::write::FrameEncoder::new(Vec::new());
                encoder.write_all(&bytes).unwrap();
                encoder.into_inner().unwrap()
            }
            Self::Lz4 => {
                let mut encoder = lz4_flex::frame::FrameEncoder::new(Vec::new());
                encoder.write_all(&bytes).unwrap();
                encoder.finish().unwrap()
            }
            Self::Bzip2 => {
                let mut encoder =
                    bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
                encoder.write_all(&bytes).unwrap();
                encoder.finish().unwrap()
            }
            Self::Base32 => data_encoding::BASE32.encode(&bytes).into_bytes(),
            // Binary documents begin like nothing in particular.
            Self::Base45 => match text {
                Ok(text) if !text.contains(char::is_control) => {
                    radix::base45_of(text.as_bytes()).into_bytes()
                }
                _ => radix::base45_of(&gzip(&bytes)).into_bytes(),
            },
            // The number's bytes have to begin like a document.
            Self::Number if base64::has_known_start(&bytes) && bytes.len() < 1000 => {
                positional::encode(&bytes, positional::BASE58).into_bytes()
            }
            Self::Number => bytes,
            Self::Bits => {
                let bits: Vec<String> = bytes.iter().map(|b| format!("{b:08b}")).collect();
                bits.join(" ").into_bytes()
            }
            Self::Octal => {
                bytes.iter().map(|b| format!("\\{b:03o}")).collect::<String>().into_bytes()
            }
            Self::Escapes => {
                bytes.iter().map(|b| format!("\\x{b:02x}")).collect::<String>().into_bytes()
            }
            Self::Units => match text {
                Ok(text) => {
                    let units = text.encode_utf16().map(|unit| format!("\\u{unit:04x}"));
                    units.collect::<String>().into_bytes()
                }
                Err(_) => bytes,
            },
            Self::Utf32 => match text {
                Ok(text) if !text.contains(char::is_control) => {
                    text.chars().flat_map(|c| u32::from(c).to_le_bytes()).collect()
                }
                _ => bytes,
            },
            // The scheme has to show the shift, and binary formats hide where the text ends.
            Self::Rot47 => match text {
                Ok(text) if text.contains("https://") && !text.contains(char::is_control) => {
                    Shift::Printable(47).undo(&text).unwrap().into_bytes()
                }
                _ => bytes,
            },
            Self::ZipLzma => {
                let lzma = Self::Lzma.apply(bytes.clone());
                let data = [&[26, 3, 5, 0], &lzma[..5], &lzma[13..]].concat();
                formats::zip("data.bin", 14, 2, &data, bytes.len())
            }
            // Binary documents begin like nothing in particular.
            Self::Base85 => match text {
                Ok(text) if !text.contains(char::is_control) => {
                    base85(text.as_bytes()).into_bytes()
                }
                _ => base85(&gzip(&bytes)).into_bytes(),
            },
            Self::Xz => {
                let options = lzma_rust2::XzOptions::with_preset(0);
                let mut encoder = lzma_rust2::XzWriter::new(Vec::new(), options).unwrap();
                encoder.write_all(&bytes).unwrap();
                encoder.finish().unwrap()
            }
            Self::Lzma => {
                let options = lzma_rust2::LzmaOptions::with_preset(0);
                let mut encoder =
                    lzma_rust2::LzmaWriter::new_use_header(Vec::new(), &options, None).unwrap();
                encoder.write_all(&bytes).unwrap();
                encoder.finish().unwrap()
            }
            Self::Armour => {
                let text = encode(&bytes, Alphabet::Standard, true).into_bytes();
                let lines: Vec<_> = text.chunks(64).map(String::from_utf8_lossy).collect();
                let text = lines.join("\n");
                format!("-----BEGIN DATA-----\n{text}\n-----END DATA-----\n").into_bytes()
            }
            // Behind an image of one pixel.
            Self::Appended => {
                let mut image = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR".to_vec();
                image.extend([0, 0, 0, 1, 0, 0, 0, 1, 8, 0, 0, 0, 0, 1, 2, 3, 4]);
                image.extend(b"\0\0\0\0IEND\xaeB`\x82");
                image.extend_from_slice(&bytes);
                image
            }
            Self::Multipart => {
                // Nested layers need distinct boundaries.
                let len = bytes.len();
                let head =
                    format!("--b{len}\r\nContent-Disposition: form-data; name=\"data\"\r\n\r\n");
                [head.as_bytes(), &bytes, format!("\r\n--b{len}--\r\n").as_bytes()].concat()
            }
        }
    }
}

/// Encodes base85 in the alphabet of Git.
pub(super) fn base85(bytes: &[u8]) -> String {
    let digits = |word: &[u8]| {
        let mut padded = [0; 4];
        padded[..word.len()].copy_from_slice(word);
        let number = u32::from_be_bytes(padded);
        let digit = move |at| radix::GIT[(number / 85u32.pow(at) % 85) as usize];
        (0..5).rev().map(digit).take(word.len() + 1).map(char::from).collect::<String>()
    };
    bytes.chunks(4).map(digits).collect()
}

pub(crate) fn layers() -> impl Strategy<Value = Vec<Layer>> {
    prop::collection::vec(prop::sample::select(&LAYERS[..]), 0..5)
}

/// Generates an event and the random URL in it.
fn event() -> impl Strategy<Value = (String, String)> {
    ("[a-z]{3,12}", "[a-z0-9-]{1,40}", "[ -~]{0,60}").prop_map(|(host, slug, title)| {
        let url = format!("https://{host}.example.org/{slug}?q=1");
        let event = serde_json::json!({ "title": title, "url": url, "ts": 1_795_382_061 });
        (url, event.to_string())
    })
}

pub(crate) fn wrap(layers: &[Layer], event: &str) -> Vec<u8> {
    layers.iter().fold(event.as_bytes().to_vec(), |bytes, layer| layer.apply(bytes))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// The URL is found whatever layers are nested.
    #[test]
    fn nested_encodings_are_decoded((url, event) in event(), layers in layers()) {
        let body = wrap(&layers, &event);
        let (values, report) = body_report(&body, false);
        prop_assert!(
            values.iter().any(|v| v.text == url && v.key.as_deref() == Some("url")),
            "{layers:?}: {:#?}", lines(&values)
        );
        prop_assert!(!report.reached.any());
    }

    /// A truncated body yields no new values: each value that counts as
    /// complete is also found in the whole body. Its chain may differ where the
    /// end of the body determines the format.
    #[test]
    fn truncation_adds_no_values(
        (_, event) in event(),
        layers in layers(),
        cut in any::<prop::sample::Index>(),
    ) {
        let body = wrap(&layers, &event);
        let whole = body_values(&body);
        let (values, _) = body_report(&body[..cut.index(body.len() + 1)], true);
        // A block without a mark is not recognised by its first bytes, whose literals are
        // then runs of text.
        let has_block = layers.iter().any(|layer| matches!(layer, Layer::Snappy | Layer::Lz4));
        let is_literal = |value: &&Seen| has_block && value.chain.contains(" > text");
        // Without the address, nothing shows that characters were replaced.
        let is_replaced = layers.iter().any(|layer| matches!(layer, Layer::Rot47));
        let counts = |v: &&Seen| !v.truncated && !is_literal(v) && (!is_replaced || v.text.contains("://"));
        for value in values.iter().filter(counts) {
            prop_assert!(
                whole.iter().any(|w| w.text == value.text),
                "{layers:?}: {value:?} is not in {:#?}", lines(&whole)
            );
        }
    }

    /// The work stays within the limits for any bytes in any place.
    #[test]
    fn work_is_bounded_for_any_bytes(
        bytes in prop::collection::vec(any::<u8>(), 0..2000),
        layers in layers(),
        truncated: bool,
        content_type in prop::sample::select(vec![
            "", "application/x-protobuf", "application/grpc", "application/msgpack",
            "application/cbor", "multipart/mixed; boundary=b", "application/x-www-form-urlencoded",
        ]),
        content_encoding in prop::sample::select(vec!["", "gzip", "deflate", "br", "zstd", "br, gzip"]),
    ) {
        let body = layers.iter().fold(bytes, |bytes, layer| layer.apply(bytes));
        let limits = Limits { output: 100_000, work: 1 << 20, values: 1000, depth: 12 };
        let (values, report) = collect(|visit| {
            let (kind, encoding) = (content_type.as_bytes(), content_encoding.as_bytes());
            unwrap_body(&body, Some(kind), Some(encoding), truncated, &limits, visit)
        });
        prop_assert!(report.output <= limits.output);
        prop_assert!(report.work <= limits.work);
        prop_assert!(values.len() <= limits.values);
        prop_assert_eq!(values.len(), report.values);
        prop_assert!(values.iter().all(|v| v.chain.matches(" > ").count() < limits.depth));
    }

    /// Random bytes are not decoded as anything.
    #[test]
    fn noise_is_not_decoded(bytes in prop::collection::vec(any::<u8>(), 200..800)) {
        let (values, report) = body_report(&bytes, false);
        for value in &values {
            let is_run = ["body > text", "body > string"].iter().any(|it| value.chain.starts_with(it));
            prop_assert!(is_run, "{value:?}");
        }
        prop_assert!(report.opaque * 10 >= bytes.len() as u64 * 8, "{report:?}");
    }

    /// Random identifiers are reported as values and not decoded further.
    #[test]
    fn identifiers_are_not_decoded(
        id in "[A-Za-z0-9_-]{8,43}|[0-9a-f]{32}|[0-9a-f]{40}|[0-9a-f]{64}|[0-9]{10,24}",
    ) {
        let body = serde_json::json!({ "id": id }).to_string();
        prop_assert_eq!(lines(&body_values(body.as_bytes())), [format!("body > json.id = {id}")]);
    }

    /// Shuffled syntax of every format neither panics nor exhausts the limits.
    #[test]
    fn shuffled_syntax_is_harmless(
        scraps in prop::collection::vec(
            prop::sample::select(vec![
                "{\"", "\":", "[", "]", "}", "\"", "\\", "\\u00", ",", "&", "=", "?", "%", "%25",
                "%2", "\n", "\r\n", "--b", "--b--", "content-type:", "\u{1}", "\u{0}", "é", "eyJh",
                "H4sI", "data:", ";base64,", "http://", "\u{12}\u{3}abc", "length", "1", "a",
            ]),
            0..60,
        ),
        truncated: bool,
    ) {
        let body = scraps.concat();
        let (_, report) = body_report(body.as_bytes(), truncated);
        // Allows for a hundred decompressor starts.
        prop_assert!(report.work <= 40 * body.len() as u64 + (100 << 13), "{report:?}");
    }
}
