use std::io::Write;

use flate2::{Compression, write};
use proptest::prelude::*;
use ruzstd::encoding::{CompressionLevel, compress_to_vec};

use super::*;
use crate::content::tests::Noise;

const NO_LIMIT: usize = 1 << 24;

fn gzip_of(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = write::GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn zlib_of(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = write::ZlibEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn deflate_of(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = write::DeflateEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn zstd_of(bytes: &[u8]) -> Vec<u8> {
    compress_to_vec(bytes, CompressionLevel::Fastest)
}

fn lz4_of(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = lz4_flex::frame::FrameEncoder::new(Vec::new());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// Encodes a block behind its length.
fn lz4_block_of(bytes: &[u8]) -> Vec<u8> {
    lz4_flex::block::compress_prepend_size(bytes)
}

fn snappy_of(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = snap::write::FrameEncoder::new(Vec::new());
    encoder.write_all(bytes).unwrap();
    encoder.into_inner().unwrap()
}

fn snappy_block_of(bytes: &[u8]) -> Vec<u8> {
    snap::raw::Encoder::new().compress_vec(bytes).unwrap()
}

fn bzip2_of(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = ::bzip2::write::BzEncoder::new(Vec::new(), ::bzip2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn xz_of(bytes: &[u8]) -> Vec<u8> {
    let options = lzma_rust2::XzOptions::with_preset(6);
    let mut encoder = lzma_rust2::XzWriter::new(Vec::new(), options).unwrap();
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn lzma_of(bytes: &[u8]) -> Vec<u8> {
    let options = lzma_rust2::LzmaOptions::with_preset(1);
    let length = Some(bytes.len() as u64);
    let mut encoder = lzma_rust2::LzmaWriter::new_use_header(Vec::new(), &options, length).unwrap();
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// The body of the recorded Sentry request.
fn brotli_of_sentry() -> Vec<u8> {
    let request = include_bytes!("../../../../../tests/fixtures/corpus/py-sentry-br.http");
    let head = memchr::memmem::find(request, b"\r\n\r\n").unwrap() + 4;
    request[head..].to_vec()
}

/// Returns text that does not compress to almost nothing.
fn sample(len: usize) -> Vec<u8> {
    let mut state = 1u32;
    let mut words = String::new();
    while words.len() < len {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        words +=
            &format!("{{\"n\":{},\"url\":\"https://news.example.org/{}\"}}\n", state, state % 97);
    }
    words.truncate(len);
    words.into_bytes()
}

fn streams() -> Vec<(Coding, Vec<u8>, Vec<u8>)> {
    let plain = sample(300_000);
    let brotli = brotli_of_sentry();
    let sentry = decode(Coding::Brotli, &brotli, NO_LIMIT).bytes;
    vec![
        (Coding::Gzip, gzip_of(&plain), plain.clone()),
        (Coding::Zlib, zlib_of(&plain), plain.clone()),
        (Coding::Deflate, deflate_of(&plain), plain.clone()),
        (Coding::Lz4, lz4_of(&plain), plain.clone()),
        (Coding::Lz4, lz4_block_of(&plain), plain.clone()),
        (Coding::Lz4, [b"mozLz40\0", &*lz4_block_of(&plain)].concat(), plain.clone()),
        (Coding::Snappy, snappy_of(&plain), plain.clone()),
        (Coding::Snappy, snappy_block_of(&plain), plain.clone()),
        (Coding::Bzip2, bzip2_of(&plain), plain.clone()),
        (Coding::Xz, xz_of(&plain), plain.clone()),
        (Coding::Lzma, lzma_of(&plain), plain.clone()),
        (Coding::Zstd, zstd_of(&plain), plain),
        (Coding::Brotli, brotli, sentry),
    ]
}

#[test]
fn decodes_whole_streams() {
    for (coding, stream, plain) in streams() {
        let decoded = decode(coding, &stream, NO_LIMIT);
        assert_eq!(decoded.end, End::Complete, "{coding:?}");
        assert!(decoded.bytes == plain, "{coding:?}");
        assert_eq!(decoded.used, stream.len(), "{coding:?}");
    }
    let sentry = decode(Coding::Brotli, &brotli_of_sentry(), NO_LIMIT).bytes;
    assert!(sentry.starts_with(b"{\""));
}

#[test]
fn a_truncated_stream_yields_a_prefix() {
    for (coding, stream, plain) in streams() {
        let step = stream.len() / 97 + 1;
        let mut longest = 0;
        for len in (0..stream.len()).step_by(step) {
            let decoded = decode(coding, &stream[..len], NO_LIMIT);
            assert!(plain.starts_with(&decoded.bytes), "{coding:?} {len}");
            assert!(decoded.bytes.len() >= longest, "{coding:?} {len}");
            longest = decoded.bytes.len();
            // A gzip member ends before its trailer, the only part that is not
            // needed.
            // A series of snappy frames may end after any of them.
            if len + 16 < stream.len() && coding != Coding::Snappy {
                assert_ne!(decoded.end, End::Complete, "{coding:?} {len}");
            }
        }
        // A Zstandard block has 128 KiB of output and is decoded completely or
        // not at all.
        assert!(longest >= plain.len() / 3, "{coding:?} {longest} of {}", plain.len());
    }
}

#[test]
fn output_stays_below_the_limit() {
    let zeros = vec![0; 4 << 20];
    let bombs = [
        (Coding::Gzip, gzip_of(&zeros)),
        (Coding::Xz, xz_of(&zeros)),
        (Coding::Lzma, lzma_of(&zeros)),
        (Coding::Zlib, zlib_of(&zeros)),
        (Coding::Deflate, deflate_of(&zeros)),
        (Coding::Zstd, zstd_of(&zeros)),
        (Coding::Lz4, lz4_of(&zeros)),
        (Coding::Lz4, lz4_block_of(&zeros)),
        (Coding::Snappy, snappy_of(&zeros)),
        (Coding::Snappy, snappy_block_of(&zeros)),
        (Coding::Bzip2, bzip2_of(&zeros)),
        (Coding::Brotli, brotli_of_sentry()),
    ];
    for (coding, bomb) in bombs {
        for limit in [0, 1, 500] {
            let decoded = decode(coding, &bomb, limit);
            assert_eq!(decoded.end, End::Full, "{coding:?} {limit}");
            assert_eq!(decoded.bytes.len(), limit, "{coding:?}");
        }
    }
    let exact = gzip_of(b"four");
    assert_eq!(decode(Coding::Gzip, &exact, 4).end, End::Complete);
}

#[test]
fn gzip_members_and_header_fields() {
    let mut stream = b"\x1f\x8b\x08\x1e\0\0\0\0\0\x03\x02\0xyname\0comment\0hc".to_vec();
    stream.extend_from_slice(&deflate_of(b"one, "));
    stream.extend_from_slice(&[0; 8]);
    stream.extend_from_slice(&gzip_of(b"two"));
    let decoded = decode(Coding::Gzip, &stream, NO_LIMIT);
    assert_eq!((&*decoded.bytes, decoded.end), (&b"one, two"[..], End::Complete));
    stream.extend_from_slice(b"\0\0padding");
    assert_eq!(decode(Coding::Gzip, &stream, NO_LIMIT).bytes, b"one, two");
}

#[test]
fn deflate_with_and_without_zlib() {
    assert_eq!(decode(Coding::Zlib, &deflate_of(b"raw"), NO_LIMIT).bytes, b"raw");
    assert_eq!(decode(Coding::Zlib, &zlib_of(b"wrapped"), NO_LIMIT).bytes, b"wrapped");
}

#[test]
fn zstd_frames_and_large_windows() {
    let mut stream = b"\x5a\x2a\x4d\x18\x03\0\0\0abc".to_vec();
    stream.extend_from_slice(&zstd_of(b"one, "));
    stream.extend_from_slice(&zstd_of(b"two"));
    let decoded = decode(Coding::Zstd, &stream, NO_LIMIT);
    assert_eq!((&*decoded.bytes, decoded.end), (&b"one, two"[..], End::Complete));
    // A window of 1 GiB: exponent 20.
    // A dictionary that is not known: identifier 7.
    let unknown = b"\x28\xb5\x2f\xfd\x21\x07\x20\x01\x01\x00abcdefghijklmnopqrstuvwxyz012345";
    let decoded = decode(Coding::Zstd, unknown, NO_LIMIT);
    assert_eq!((decoded.bytes.len(), decoded.end), (0, End::Malformed));
    let huge = b"\x28\xb5\x2f\xfd\x00\xa0\x01\x00\x00rest of the frame";
    let decoded = decode(Coding::Zstd, huge, NO_LIMIT);
    assert_eq!((decoded.bytes.len(), decoded.end), (0, End::Malformed));
}

#[test]
fn magic_numbers() {
    for (coding, stream, _) in streams() {
        let is_block =
            stream == lz4_block_of(&sample(300_000)) || stream == snappy_block_of(&sample(300_000));
        let marked = !is_block && !matches!(coding, Coding::Deflate | Coding::Brotli);
        assert_eq!(magic(&stream), marked.then_some(coding));
    }
    assert_eq!(magic(b"https://"), None);
    assert_eq!(magic(b""), None);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    /// Corrupt streams never cause a panic or exceed the limit.
    #[test]
    fn broken_streams(
        which in 0usize..10,
        flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        cut in any::<prop::sample::Index>(),
    ) {
        let plain = sample(3000);
        let (coding, mut stream) = match which {
            0 => (Coding::Gzip, gzip_of(&plain)),
            1 => (Coding::Zlib, zlib_of(&plain)),
            2 => (Coding::Deflate, deflate_of(&plain)),
            3 => (Coding::Zstd, zstd_of(&plain)),
            4 => (Coding::Lz4, lz4_of(&plain)),
            5 => (Coding::Lz4, lz4_block_of(&plain)),
            6 => (Coding::Snappy, snappy_of(&plain)),
            7 => (Coding::Snappy, snappy_block_of(&plain)),
            8 => (Coding::Bzip2, bzip2_of(&plain)),
            _ => (Coding::Brotli, brotli_of_sentry()),
        };
        for (at, byte) in flips {
            let at = at.index(stream.len());
            stream[at] = byte;
        }
        stream.truncate(cut.index(stream.len()) + 1);
        prop_assert!(decode(coding, &stream, 100_000).bytes.len() <= 100_000);
    }

    #[test]
    fn noise(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        for coding in Coding::ALL {
            prop_assert!(decode(coding, &bytes, 10_000).bytes.len() <= 10_000);
        }
    }
}

#[test]
fn what_cannot_be_deflate_is_not() {
    let mut random = Noise::new(1);
    let (mut rejected, mut all) = (0, 0);
    for _ in 0..4000 {
        let noise = random.bytes(40);
        all += 1;
        if !may_be_deflate(&noise) {
            rejected += 1;
            let decoded = decode(Coding::Deflate, &noise, 1 << 20);
            assert_eq!((decoded.end, decoded.bytes.len()), (End::Malformed, 0), "{noise:?}");
        }
    }
    assert!(rejected * 10 > all * 6, "{rejected} of {all}");
    for level in 0..10 {
        let text = "https://news.example.org/politics/story-42?q=private ".repeat(9);
        let mut encoder = write::DeflateEncoder::new(Vec::new(), Compression::new(level));
        encoder.write_all(text.as_bytes()).unwrap();
        assert!(may_be_deflate(&encoder.finish().unwrap()), "{level}");
    }
}
