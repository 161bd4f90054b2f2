//! Recordings of other tools.

use std::io::{BufReader, Read as _};

use tracer_formats::{Recording, detect_foreign, har, pcapng, unpack};

use crate::split::parts;

/// Bytes of unpacked content that are read.
const MAX_UNPACKED: u64 = 8 << 20;

pub(super) fn har(input: &[u8]) -> u64 {
    let mut reader = har::Reader::new(BufReader::with_capacity(512, input));
    while let Ok(Some(_)) = reader.request() {}
    std::hint::black_box(reader.counters().explain().count());
    input.len() as u64
}

pub(super) fn pcapng(input: &[u8]) -> u64 {
    let secrets = pcapng::Secrets::collect(input);
    let mut reader = pcapng::Reader::with_secrets(input, secrets);
    while let Ok(Some(_)) = reader.event() {}
    std::hint::black_box(reader.counters().explain().count());
    input.len() as u64
}

/// Packets with correct lengths in a file with a correct header. The first two bytes are the type
/// of the link.
pub(super) fn packets(input: &[u8]) -> u64 {
    let Some((&[low, high], rest)) = input.split_first_chunk() else { return 0 };
    let mut file = vec![0xd4, 0xc3, 0xb2, 0xa1, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0];
    file.extend([low, high, 0, 0]);
    for (time, part) in parts(rest) {
        let len = (part.len() as u32).to_le_bytes();
        file.extend([time, 0, 0, 0, 0, 0, 0, 0]);
        file.extend([len, len].as_flattened());
        file.extend(part);
    }
    pcapng(&file)
}

pub(super) fn packed(input: &[u8]) -> u64 {
    let Ok(mut content) = unpack(input) else { return input.len() as u64 };
    let mut unpacked = Vec::new();
    // Damage behind the start is an error.
    let _ = content.reader.by_ref().take(MAX_UNPACKED).read_to_end(&mut unpacked);
    (input.len() + unpacked.len()) as u64
}

/// The first bytes of a file.
pub(super) fn foreign(input: &[u8]) -> u64 {
    Recording::detect(input);
    detect_foreign(input, None);
    detect_foreign(input, std::str::from_utf8(input).ok());
    input.len() as u64
}
