//! Innocent bodies of each kind.

use std::io::Write as _;

use data_encoding::{BASE32, BASE32HEX_NOPAD, BASE64, BASE64URL_NOPAD, HEXLOWER, HEXUPPER};
use flate2::{Compression, write};

use super::{files::Files, random::Random};

/// A kind of body, by the first words of its description.
pub(crate) type Kind = (&'static str, fn(&mut Random, &Files) -> Body);

/// A body and its `Content-Type`.
pub(crate) struct Body {
    pub(crate) kind: &'static str,
    pub(crate) bytes: Vec<u8>,
}

/// Every kind. A body is of each of them in turn.
pub(crate) const KINDS: [Kind; 14] = [
    ("random bytes", random),
    ("encrypted messages", encrypted),
    ("encrypted text (JOSE, PGP, age, Fernet, SSH)", encrypted_text),
    ("random bytes, compressed", compressed_random),
    ("text, compressed", compressed_text),
    ("compressed, cut or damaged", damaged),
    ("random bytes in text encodings", encoded),
    ("fields with random values", fields),
    ("numbers, measurements, coordinates of drawings", numbers),
    ("binary records and counters", records),
    ("text of words", words),
    ("pieces of files: images, fonts, sound", |random, files| media(random, files)),
    ("whole files: images", images),
    ("text and source code of packages", |random, files| texts(random, files)),
];

const OCTETS: &str = "application/octet-stream";
const MAX: usize = 4096;

fn body(kind: &'static str, bytes: Vec<u8>) -> Body {
    Body { kind, bytes }
}

fn random(random: &mut Random, _: &Files) -> Body {
    let len = random.len(MAX);
    let kinds = [
        OCTETS,
        "",
        "application/x-protobuf",
        "application/grpc",
        "text/plain",
        "application/json",
        "application/x-www-form-urlencoded",
        "application/msgpack",
        "application/cbor",
        "image/jpeg",
        "application/bond-compact-binary",
        "application/thrift",
        "application/vnd.kafka.avro.v2",
    ];
    body(random.pick(&kinds), random.bytes(len))
}

fn encrypted(random: &mut Random, _: &Files) -> Body {
    let len = random.len(MAX);
    let cipher = random.bytes(len);
    let bytes = match random.below(8) {
        // A version, a key's number, a nonce.
        0 => [&[1, 0, 0, 0, 7][..], &random.bytes(12), &cipher].concat(),
        1 => [&b"Salted__"[..], &random.bytes(8), &cipher].concat(),
        // Whole blocks of 16 bytes, some of which repeat (ECB).
        2 => {
            let blocks: Vec<Vec<u8>> = (0..4).map(|_| random.bytes(16)).collect();
            (0..1 + len / 16).flat_map(|_| blocks[random.below(4)].clone()).collect()
        }
        // The same, after a length.
        3 => [&(len as u32).to_be_bytes()[..], &cipher].concat(),
        4 => [&(len as u32).to_le_bytes()[..], &cipher].concat(),
        5 => {
            let mut record = vec![0x17, 3, 3];
            record.extend((len as u16).to_be_bytes());
            [record, cipher].concat()
        }
        // Keys and messages in protobuf.
        6 => {
            let (key, tag) = (random.bytes(33), random.bytes(16));
            let mut message = vec![0x0a, 33];
            message.extend(key);
            message.extend([0x10, random.next() as u8 & 0x7f, 0x22]);
            message.extend(varint(cipher.len()));
            message.extend(cipher);
            message.extend([0x2a, 16]);
            message.extend(tag);
            message
        }
        // Text under a key that is as long as itself.
        _ => {
            let mut text = sentence(random, len);
            text.iter_mut().for_each(|byte| *byte ^= random.next() as u8);
            text
        }
    };
    body(random.pick(&[OCTETS, "", "application/x-protobuf", "application/x-binary"]), bytes)
}

fn encrypted_text(random: &mut Random, _: &Files) -> Body {
    let len = random.len(1500);
    let b64 = |random: &mut Random, len| BASE64.encode(&random.bytes(len));
    let url = |random: &mut Random, len| BASE64URL_NOPAD.encode(&random.bytes(len));
    let lines = |text: String, width: usize| {
        let lines: Vec<_> = text.as_bytes().chunks(width).map(String::from_utf8_lossy).collect();
        lines.join("\n")
    };
    let text = match random.below(9) {
        0 => {
            let head = BASE64URL_NOPAD.encode(br#"{"alg":"RSA-OAEP-256","enc":"A256GCM"}"#);
            let parts = [url(random, 256), url(random, 12), url(random, len), url(random, 16)];
            format!("{head}.{}", parts.join("."))
        }
        1 => format!(
            "-----BEGIN PGP MESSAGE-----\n\n{}\n={}\n-----END PGP MESSAGE-----\n",
            lines(b64(random, len), 64),
            b64(random, 3)
        ),
        2 => format!(
            "age-encryption.org/v1\n-> X25519 {}\n{}\n--- {}\n{}",
            url(random, 32),
            url(random, 32),
            url(random, 32),
            b64(random, len)
        ),
        // Fernet: a version, a time, a vector, the message, a signature.
        3 => {
            let mut token = vec![0x80, 0, 0, 0, 0];
            token.extend(random.bytes(4 + 16 + len.next_multiple_of(16) + 32));
            data_encoding::BASE64URL.encode(&token)
        }
        4 => format!("{{\"v\":1,\"iv\":\"{}\",\"ct\":\"{}\"}}", b64(random, 12), b64(random, len)),
        5 => format!("U2FsdGVkX1{}", b64(random, len)),
        6 => HEXLOWER.encode(&random.bytes(len)),
        7 => format!(
            "data={}",
            BASE64.encode(&random.bytes(len)).replace('+', "%2B").replace('=', "%3D")
        ),
        _ => format!(
            "<EncryptedData><CipherData><CipherValue>{}</CipherValue></CipherData></EncryptedData>",
            b64(random, len)
        ),
    };
    body(random.pick(&["text/plain", "", "application/json", "application/jose"]), text.into())
}

/// Compresses bytes in one of the formats.
fn compress(random: &mut Random, bytes: &[u8]) -> Vec<u8> {
    let level = Compression::new(random.below(10) as u32);
    let done = "writing to memory cannot fail";
    match random.below(8) {
        0 | 1 => {
            let mut to = write::GzEncoder::new(Vec::new(), level);
            to.write_all(bytes).expect(done);
            to.finish().expect(done)
        }
        2 => {
            let mut to = write::ZlibEncoder::new(Vec::new(), level);
            to.write_all(bytes).expect(done);
            to.finish().expect(done)
        }
        3 => {
            let mut to = write::DeflateEncoder::new(Vec::new(), level);
            to.write_all(bytes).expect(done);
            to.finish().expect(done)
        }
        4 => ruzstd::encoding::compress_to_vec(bytes, ruzstd::encoding::CompressionLevel::Fastest),
        5 => snap::raw::Encoder::new().compress_vec(bytes).expect(done),
        6 => lz4_flex::block::compress_prepend_size(bytes),
        _ => {
            let mut to = lz4_flex::frame::FrameEncoder::new(Vec::new());
            to.write_all(bytes).expect(done);
            to.finish().expect(done)
        }
    }
}

fn compressed_random(random: &mut Random, _: &Files) -> Body {
    let len = random.len(MAX);
    let plain = random.bytes(len);
    let bytes = compress(random, &plain);
    body(random.pick(&[OCTETS, "", "application/x-protobuf"]), bytes)
}

fn compressed_text(random: &mut Random, files: &Files) -> Body {
    let plain = match random.below(3) {
        0 => texts(random, files).bytes,
        1 => numbers(random, files).bytes,
        _ => {
            let len = random.len(MAX);
            sentence(random, len)
        }
    };
    let bytes = compress(random, &plain);
    body(random.pick(&[OCTETS, "", "application/gzip"]), bytes)
}

fn damaged(random: &mut Random, files: &Files) -> Body {
    let mut whole = compressed_text(random, files);
    let len = whole.bytes.len();
    match random.below(3) {
        0 => whole.bytes.truncate(1 + random.below(len)),
        1 => drop(whole.bytes.drain(..random.below(len))),
        _ => {
            for _ in 0..1 + random.below(8) {
                let at = random.below(len);
                whole.bytes[at] = random.next() as u8;
            }
        }
    }
    whole
}

/// Encodes bytes as text in one of the ways that tracer reads.
fn encode(random: &mut Random, bytes: &[u8]) -> String {
    match random.below(12) {
        0 | 1 => BASE64.encode(bytes),
        2 => BASE64URL_NOPAD.encode(bytes),
        3 => HEXLOWER.encode(bytes),
        4 => HEXUPPER.encode(bytes),
        5 => BASE32.encode(bytes),
        6 => BASE32HEX_NOPAD.encode(bytes),
        7 => bytes.iter().map(|byte| format!("%{byte:02X}")).collect(),
        8 => bytes.iter().map(|&byte| char::from(byte)).collect(),
        9 => format!("{bytes:?}"),
        10 => bytes.chunks(4).flat_map(ascii85).collect(),
        // Characters at random.
        _ => bytes.iter().map(|byte| char::from(b' ' + byte % 95)).collect(),
    }
}

fn ascii85(word: &[u8]) -> Vec<char> {
    let mut padded = [0; 4];
    padded[..word.len()].copy_from_slice(word);
    let number = u32::from_be_bytes(padded);
    let digit = |at: u32| char::from(b'!' + (number / 85u32.pow(at) % 85) as u8);
    (0..5).rev().map(digit).take(word.len() + 1).collect()
}

fn encoded(random: &mut Random, _: &Files) -> Body {
    let len = random.len(2048);
    let mut bytes = random.bytes(len);
    if random.below(4) == 0 {
        bytes = compress(random, &bytes);
    }
    let text = encode(random, &bytes);
    body(random.pick(&["text/plain", "", "application/json", OCTETS]), text.into())
}

/// Names of fields that say nothing about their values.
const NAMES: [&str; 24] = [
    "data", "d", "payload", "p", "body", "v", "value", "m", "blob", "content", "x", "y", "t", "k",
    "ct", "iv", "tag", "hmac", "nonce", "sig", "state", "buf", "seq", "checksum",
];

fn fields(random: &mut Random, _: &Files) -> Body {
    let count = 1 + random.below(8);
    let pairs: Vec<(&str, String)> = (0..count)
        .map(|_| {
            let len = random.len(600);
            let bytes = random.bytes(len);
            (random.pick(&NAMES), encode(random, &bytes))
        })
        .collect();
    match random.below(4) {
        0 => {
            let object: serde_json::Map<_, _> =
                pairs.into_iter().map(|(name, text)| (name.to_owned(), text.into())).collect();
            body("application/json", serde_json::Value::from(object).to_string().into())
        }
        1 => {
            let escape = |text: String| -> String {
                text.bytes()
                    .map(|byte| match byte {
                        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' => {
                            char::from(byte).to_string()
                        }
                        _ => format!("%{byte:02X}"),
                    })
                    .collect()
            };
            let pairs: Vec<_> =
                pairs.into_iter().map(|(name, text)| format!("{name}={}", escape(text))).collect();
            body("application/x-www-form-urlencoded", pairs.join("&").into())
        }
        2 => {
            let mut bytes = Vec::new();
            for (name, text) in pairs {
                bytes.extend(
                    format!(
                        "--b7\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{text}\r\n"
                    )
                    .into_bytes(),
                );
            }
            bytes.extend(b"--b7--\r\n");
            body("multipart/form-data; boundary=b7", bytes)
        }
        _ => {
            let lines: Vec<_> =
                pairs.into_iter().map(|(name, text)| format!("{name}: {text}")).collect();
            body("text/plain", lines.join("\n").into())
        }
    }
}

fn numbers(random: &mut Random, _: &Files) -> Body {
    let count = random.len(400);
    let number = |random: &mut Random| match random.below(4) {
        0 => random.below(256).to_string(),
        1 => format!("{}.{:04}", random.below(2000), random.below(10_000)),
        2 => format!("-{}e-{}", random.below(1000), random.below(30)),
        _ => (random.next() >> random.below(60)).to_string(),
    };
    let list: Vec<String> = (0..count).map(|_| number(random)).collect();
    match random.below(4) {
        0 => body("application/json", format!("{{\"samples\":[{}]}}", list.join(",")).into()),
        1 => body(
            "text/csv",
            list.chunks(6).map(|row| row.join(",") + "\n").collect::<String>().into(),
        ),
        2 => {
            let path: Vec<_> =
                list.chunks(2).map(|point| format!("L{}", point.join(" "))).collect();
            let text = format!("<svg viewBox='0 0 24 24'><path d='M0 0{}Z'/></svg>", path.concat());
            body("image/svg+xml", text.into())
        }
        _ => body("text/plain", list.join(" ").into()),
    }
}

fn varint(mut number: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
    bytes
}

fn records(random: &mut Random, _: &Files) -> Body {
    let count = random.len(300);
    let bytes: Vec<u8> = match random.below(5) {
        // Numbers of 16, 32 and 64 bits that grow.
        0 => (0..count).flat_map(|n| ((n * 3 + random.below(9)) as u16).to_le_bytes()).collect(),
        1 => (0..count).flat_map(|n| ((n * 977) as u32).to_be_bytes()).collect(),
        2 => {
            let mut sample = |_| (random.below(1000) as f32 / 7.0).to_le_bytes();
            (0..count).flat_map(&mut sample).collect()
        }
        // Protobuf: numbers by their fields.
        3 => (0..count)
            .flat_map(|_| {
                let field = vec![(1 + random.below(15) as u8) << 3];
                [field, varint(random.next() as usize >> random.below(63))].concat()
            })
            .collect(),
        // Sound, as samples of 16 bits.
        _ => {
            let mut level = 0i16;
            (0..count * 4)
                .flat_map(|_| {
                    level = level.wrapping_add(random.below(512) as i16 - 256);
                    level.to_le_bytes()
                })
                .collect()
        }
    };
    body(random.pick(&[OCTETS, "", "application/x-protobuf", "audio/wav"]), bytes)
}

/// Syllables of words in several scripts.
const SYLLABLES: [&str; 40] = [
    "ka", "lo", "mi", "ter", "an", "ver", "den", "sch", "ing", "tion", "re", "el", "is", "ou",
    "pre", "sta", "ne", "u", "o", "ble", "wor", "th", "é", "ü", "ñ", "ção", "при", "вет", "мир",
    "ста", "日", "本", "語", "世", "界", "안", "녕", "سل", "ام", "χα",
];

fn word(random: &mut Random) -> String {
    (0..1 + random.below(4)).map(|_| random.pick(&SYLLABLES)).collect()
}

fn sentence(random: &mut Random, len: usize) -> Vec<u8> {
    let mut text = String::new();
    while text.len() < len {
        text += &word(random);
        text += random.pick(&[" ", " ", " ", " ", ", ", ". ", "; ", "\n", " - ", ": ", " (", ") "]);
    }
    text.into_bytes()
}

fn words(random: &mut Random, _: &Files) -> Body {
    let len = random.len(MAX);
    let text = sentence(random, len);
    match random.below(3) {
        0 => {
            let text = String::from_utf8_lossy(&text).into_owned();
            let document = serde_json::json!({ "m": [{ "role": "x", "d": text }] });
            body("application/json", document.to_string().into())
        }
        1 => {
            let units = String::from_utf8_lossy(&text);
            body("text/plain", units.encode_utf16().flat_map(u16::to_le_bytes).collect())
        }
        _ => body("text/plain", text),
    }
}

fn media(random: &mut Random, files: &Files) -> Body {
    let file = files.plain_media(random);
    let start = random.below(file.len());
    let len = random.len(MAX).min(file.len() - start);
    body(random.pick(&[OCTETS, "", "image/png", "video/mp4"]), file[start..start + len].to_vec())
}

fn images(random: &mut Random, files: &Files) -> Body {
    body(random.pick(&["image/png", OCTETS, ""]), files.media(random).to_vec())
}

fn texts(random: &mut Random, files: &Files) -> Body {
    let file = files.text(random);
    let start = file.floor_char_boundary(random.below(file.len()));
    let end = file.floor_char_boundary((start + random.len(MAX)).min(file.len()));
    body(random.pick(&["text/plain", "", OCTETS]), file.as_bytes()[start..end].to_vec())
}
