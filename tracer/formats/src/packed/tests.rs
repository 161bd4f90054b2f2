use std::io::{Read as _, Write as _};

use flate2::{
    Compression,
    write::{DeflateEncoder, GzEncoder, ZlibEncoder},
};

use super::*;

const HAR: &[u8] = b"{\"log\":{\"version\":\"1.2\",\"entries\":[]}}";

fn content(file: &[u8]) -> Result<Vec<u8>, String> {
    let content = unpack(file).map_err(|err| match err {
        UnpackError::Io(err) => err.to_string(),
        err => err.to_string(),
    })?;
    let mut all = Vec::new();
    let mut reader = content.reader;
    reader.read_to_end(&mut all).map_err(|err| err.to_string())?;
    assert!(all.starts_with(&content.head));
    Ok(all)
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut out = GzEncoder::new(Vec::new(), Compression::default());
    out.write_all(bytes).unwrap();
    out.finish().unwrap()
}

fn zlib(bytes: &[u8]) -> Vec<u8> {
    let mut out = ZlibEncoder::new(Vec::new(), Compression::default());
    out.write_all(bytes).unwrap();
    out.finish().unwrap()
}

fn deflate(bytes: &[u8]) -> Vec<u8> {
    let mut out = DeflateEncoder::new(Vec::new(), Compression::default());
    out.write_all(bytes).unwrap();
    out.finish().unwrap()
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    ruzstd::encoding::compress_to_vec(bytes, ruzstd::encoding::CompressionLevel::Fastest)
}

/// The form in which an entry of an archive is written.
#[derive(Clone, Copy, PartialEq)]
enum Way {
    Stored,
    Deflated,
    /// Deflated, with its sizes behind the data.
    Streamed,
    StreamedWithoutSignature,
    Zip64,
    Encrypted,
    Method(u16),
}

fn zip_entry(name: &str, bytes: &[u8], way: Way) -> Vec<u8> {
    let data = if way == Way::Stored { bytes.to_vec() } else { deflate(bytes) };
    let streamed = matches!(way, Way::Streamed | Way::StreamedWithoutSignature);
    let (flags, method) = match way {
        Way::Stored => (0, 0),
        Way::Deflated | Way::Zip64 => (0, 8),
        Way::Streamed | Way::StreamedWithoutSignature => (SIZES_FOLLOW, 8),
        Way::Encrypted => (1, 8),
        Way::Method(method) => (0, method),
    };
    let size = |len: usize| match way {
        Way::Zip64 => u32::MAX,
        _ if streamed => 0,
        _ => len as u32,
    };
    let mut out = b"PK\x03\x04\x14\0".to_vec();
    out.extend((flags as u16).to_le_bytes());
    out.extend(method.to_le_bytes());
    out.extend([0; 8]);
    out.extend(size(data.len()).to_le_bytes());
    out.extend(size(bytes.len()).to_le_bytes());
    out.extend((name.len() as u16).to_le_bytes());
    out.extend((if way == Way::Zip64 { 20_u16 } else { 0 }).to_le_bytes());
    out.extend(name.as_bytes());
    if way == Way::Zip64 {
        out.extend([1, 0, 16, 0]);
        out.extend((bytes.len() as u64).to_le_bytes());
        out.extend((data.len() as u64).to_le_bytes());
    }
    out.extend(&data);
    if streamed {
        if way == Way::Streamed {
            out.extend(b"PK\x07\x08");
        }
        out.extend([1, 2, 3, 4]);
        out.extend((data.len() as u32).to_le_bytes());
        out.extend((bytes.len() as u32).to_le_bytes());
    }
    out
}

const SIZES_FOLLOW: i32 = 8;

/// Returns an archive. Its directory is not read.
fn zip(entries: &[Vec<u8>]) -> Vec<u8> {
    let mut out = entries.concat();
    out.extend(b"PK\x01\x02");
    out.extend([0; 42]);
    out.extend(b"PK\x05\x06");
    out.extend([0; 18]);
    out
}

fn utf16(text: &str, little: bool, mark: bool) -> Vec<u8> {
    let mark = if mark { "\u{feff}" } else { "" };
    let units = mark.encode_utf16().chain(text.encode_utf16());
    units.flat_map(|unit| if little { unit.to_le_bytes() } else { unit.to_be_bytes() }).collect()
}

#[test]
fn files_are_unpacked_whatever_their_packing() {
    let text = std::str::from_utf8(HAR).unwrap();
    let one = |way| zip(&[zip_entry("capture.har", HAR, way)]);
    for (name, file) in [
        ("plain", HAR.to_vec()),
        ("gzip", gzip(HAR)),
        ("two members", [gzip(&HAR[..9]), gzip(&HAR[9..])].concat()),
        ("zlib", zlib(HAR)),
        ("zstd", zstd(HAR)),
        (
            "two frames",
            [zstd(&HAR[..9]), b"\x50\x2a\x4d\x18\x03\0\0\0abc".to_vec(), zstd(&HAR[9..])].concat(),
        ),
        ("zip", one(Way::Deflated)),
        ("stored", one(Way::Stored)),
        ("streamed", one(Way::Streamed)),
        ("without signature", one(Way::StreamedWithoutSignature)),
        ("zip64", one(Way::Zip64)),
        ("utf-16", utf16(text, true, true)),
        ("utf-16be", utf16(text, false, true)),
        ("utf-16 without a mark", utf16(text, true, false)),
        ("utf-16be without a mark", utf16(text, false, false)),
        ("gzip of utf-16", gzip(&utf16(text, true, true))),
        (
            "zip of gzip of utf-16",
            zip(&[zip_entry("a.har.gz", &gzip(&utf16(text, true, true)), Way::Stored)]),
        ),
    ] {
        assert_eq!(content(&file).as_deref(), Ok(HAR), "{name}");
    }
}

#[test]
fn the_recording_in_an_archive_is_found() {
    let read_me = zip_entry("README.txt", b"a recording of today", Way::Streamed);
    let folder = zip_entry("captures/", b"", Way::Stored);
    let mac = zip_entry("__MACOSX/._a.har", b"\0\x05\x16\x07", Way::Deflated);
    let har = zip_entry("captures/a.har", HAR, Way::Streamed);
    let bare = zip_entry("recording", b"GET / HTTP/1.1\r\n\r\n", Way::Stored);
    let file = zip(&[folder.clone(), mac.clone(), read_me.clone(), har.clone(), read_me.clone()]);
    assert_eq!(content(&file).as_deref(), Ok(HAR));
    assert_eq!(
        content(&zip(std::slice::from_ref(&bare))).as_deref(),
        Ok(&b"GET / HTTP/1.1\r\n\r\n"[..])
    );

    for (file, words) in [
        (zip(std::slice::from_ref(&read_me)), &["no file", "README.txt"][..]),
        (zip(&[har.clone(), bare]), &["captures/a.har", "recording", "unpack"]),
        (zip(&[zip_entry("a.har", HAR, Way::Encrypted)]), &["a.har", "encrypted"]),
        (zip(&[zip_entry("a.har", HAR, Way::Method(12))]), &["a.har", "method 12"]),
        (zip(&[zip_entry("raw/1_c.txt", b"GET / HTTP/1.1\r\n\r\n", Way::Stored)]), &["Fiddler"]),
        (
            zip(&[
                zip_entry("[Content_Types].xml", b"<?xml version=\"1.0\"?><Types/>", Way::Deflated),
                zip_entry("raw/01_c.txt", b"GET / HTTP/1.1\r\n\r\n", Way::Deflated),
            ]),
            &["Fiddler"],
        ),
        (zip(&[zip_entry("f", b"59:4:type;4:http;7:version;2:21#", Way::Stored)]), &["mitmdump"]),
    ] {
        let err = content(&file).unwrap_err();
        assert!(words.iter().all(|word| err.contains(word)), "{err}");
    }
}

#[test]
fn packings_that_are_not_supported_are_named_with_a_command() {
    let mut tar = vec![0; 512];
    tar[257..262].copy_from_slice(b"ustar");
    for (head, command) in [
        (&b"BZh91AY&SY"[..], "bunzip2"),
        (b"\xfd7zXZ\0\0\x04", "xz -d"),
        (b"\x04\x22\x4d\x18\x64", "lz4 -d"),
        (b"7z\xbc\xaf\x27\x1c\0\x04", "7z x"),
        (b"Rar!\x1a\x07\x01\0", "unrar x"),
        (b"\xff\xfe\0\0{\0\0\0", "iconv"),
        (&tar, "tar -xf"),
    ] {
        let err = content(head).unwrap_err();
        assert!(err.contains(command), "{err}");
    }
    let mut deep = HAR.to_vec();
    for _ in 0..=MAX_LAYERS {
        deep = gzip(&deep);
    }
    assert!(content(&deep).unwrap_err().contains("packed"));
}

#[test]
fn what_is_readable_of_a_cut_file_is_read_before_the_error() {
    let text = (0..9999).map(|i| i.to_string()).collect::<String>();
    let text = text.as_bytes();
    for (name, file) in [
        ("gzip", gzip(text)),
        ("zlib", zlib(text)),
        ("zip", zip(&[zip_entry("a.har", text, Way::Deflated)])),
        ("gzip in zip", zip(&[zip_entry("a.gz", &gzip(text), Way::Deflated)])),
    ] {
        for cut in [60, 200, file.len() / 2] {
            let mut reader = unpack(&file[..file.len() - cut]).expect("a start").reader;
            let mut known = Vec::new();
            let read = reader.read_to_end(&mut known);
            // The directory of an archive is not needed.
            assert!(read.is_err() || known == text, "{name} {cut}");
            assert!(known.len() > 1000 && text.starts_with(&known), "{name} {cut}");
        }
    }
}

#[test]
fn content_out_of_proportion_is_an_error() {
    let zeros = gzip(&vec![b' '; 80 << 20]);
    for file in [zeros.clone(), zip(&[zip_entry("a.har", &vec![b' '; 80 << 20], Way::Deflated)])] {
        let err = content(&file).unwrap_err();
        assert!(err.contains("200 times"), "{err}");
    }
    // An entry that is skipped.
    let skipped = zip(&[zip_entry("a.bin", &vec![b'x'; 80 << 20], Way::Deflated)]);
    assert!(content(&skipped).unwrap_err().contains("200 times"));
    // A small file may be out of proportion.
    assert_eq!(content(&gzip(&vec![b' '; 1 << 20])).map(|all| all.len()), Ok(1 << 20));
}

#[test]
fn every_prefix_of_a_packed_file_ends_or_is_an_error() {
    let text = std::str::from_utf8(HAR).unwrap();
    let entries = [
        zip_entry("x.txt", b"other", Way::Streamed),
        zip_entry("a.har", HAR, Way::Zip64),
        zip_entry("b.har", HAR, Way::Streamed),
    ];
    for file in [gzip(HAR), zlib(HAR), zstd(HAR), zip(&entries), utf16(text, true, true)] {
        for len in 0..file.len() {
            if let Ok(part) = content(&file[..len]) {
                // Not unpacked, because it is too short to be recognised, or a part.
                assert!(
                    len < 40 || HAR.starts_with(&part) || part.ends_with("\u{fffd}".as_bytes())
                );
            }
        }
        for at in 0..file.len() {
            let mut damaged = file.clone();
            damaged[at] ^= 0x55;
            let _ = content(&damaged);
        }
    }
}
