//! Images, sound, video and fonts: what they hold as text is their metadata, such as a
//! licence, the name of a program, or where the author is found.
//!
//! ```text
//! PNG   89 "PNG" 0d 0a 1a 0a │ length:4 type:4 data crc:4 │ … │ IEND │ what was appended
//!       tEXt: keyword 0 text      zTXt: keyword 0 0 zlib     iTXt: keyword 0 z 0 … 0 … 0 text
//! ```

use memchr::memchr;

const PNG: &[u8] = b"\x89PNG\r\n\x1a\n";

/// The first bytes of other formats.
const STARTS: [&[u8]; 22] = [
    b"\xff\xd8\xff",
    b"GIF87a",
    b"GIF89a",
    b"OggS\0",
    b"ID3\x02",
    b"ID3\x03",
    b"ID3\x04",
    b"\xff\xfb",
    b"fLaC\0",
    b"wOFF",
    b"wOF2",
    b"OTTO\0",
    b"ttcf\0",
    b"\0\x01\0\0\0",
    b"\0\0\x01\0",
    b"\0\0\x02\0",
    b"II*\0",
    b"MM\0*",
    b"8BPS\0\x01",
    b"\x1a\x45\xdf\xa3",
    b"\xff\x0a",
    b"\0\0\0\x0cJXL ",
];

/// The types of RIFF files.
const RIFF: [&[u8]; 3] = [b"WEBP", b"WAVE", b"AVI "];

/// Reports whether the bytes begin like an image, sound, a video or a font.
pub(super) fn starts(bytes: &[u8]) -> bool {
    /// Shorter values are identifiers.
    const MIN: usize = 48;
    bytes.len() >= MIN
        && (is_png(bytes)
            || STARTS.iter().any(|start| bytes.starts_with(start))
            || bytes.starts_with(b"RIFF") && RIFF.iter().any(|kind| bytes[8..].starts_with(kind))
            || &bytes[4..8] == b"ftyp"
            || &bytes[36..40] == b"acsp")
}

/// Reports whether the bytes begin like a PNG.
pub(super) fn is_png(bytes: &[u8]) -> bool {
    bytes.starts_with(PNG)
}

/// A part of a PNG.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Piece<'d> {
    /// A text, with its keyword.
    Text { keyword: &'d [u8], text: &'d [u8], truncated: bool },
    /// A text that is compressed with zlib.
    Compressed { keyword: &'d [u8], data: &'d [u8], truncated: bool },
    /// Pixels and other data.
    Data(&'d [u8]),
    /// Bytes behind the image.
    Appended(&'d [u8]),
}

/// Returns the parts of a PNG.
pub(super) fn png(bytes: &[u8]) -> impl Iterator<Item = Piece<'_>> {
    /// Length of a chunk without its data.
    const AROUND: usize = 12;
    let mut rest = bytes.get(PNG.len()..).unwrap_or_default();
    let mut ended = false;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let all = std::mem::take(&mut rest);
        if ended {
            return Some(Piece::Appended(all));
        }
        let Some((&[a, b, c, d, ref kind @ ..], body)) = all.split_first_chunk::<8>() else {
            return Some(Piece::Data(all));
        };
        let len = u32::from_be_bytes([a, b, c, d]) as usize;
        let truncated = body.len() < len;
        let data = &body[..len.min(body.len())];
        rest = all.get(AROUND.saturating_add(len)..).unwrap_or_default();
        ended = kind == b"IEND";
        Some(text(kind, data, truncated).unwrap_or(Piece::Data(data)))
    })
}

fn text<'d>(kind: &[u8], data: &'d [u8], truncated: bool) -> Option<Piece<'d>> {
    let split = |bytes: &'d [u8]| {
        let at = memchr(0, bytes)?;
        Some((&bytes[..at], &bytes[at + 1..]))
    };
    let (keyword, rest) = split(data)?;
    match kind {
        b"tEXt" => Some(Piece::Text { keyword, text: rest, truncated }),
        b"zTXt" => Some(Piece::Compressed { keyword, data: rest.get(1..)?, truncated }),
        b"iTXt" => {
            let &compressed = rest.first()?;
            let (_language, rest) = split(rest.get(2..)?)?;
            let (_translated, rest) = split(rest)?;
            Some(match compressed {
                0 => Piece::Text { keyword, text: rest, truncated },
                _ => Piece::Compressed { keyword, data: rest, truncated },
            })
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunk(kind: &[u8], data: &[u8]) -> Vec<u8> {
        [&(data.len() as u32).to_be_bytes()[..], kind, data, b"http"].concat()
    }

    fn image() -> Vec<u8> {
        [
            PNG.to_vec(),
            chunk(b"IHDR", &[0; 13]),
            chunk(b"tEXt", b"Source\0https://a.test/x"),
            chunk(b"iTXt", b"Author\0\0\0en\0\0Anna"),
            chunk(b"zTXt", b"Copyright\0\0zlib"),
            chunk(b"IEND", b""),
            b"{}".to_vec(),
        ]
        .concat()
    }

    #[test]
    fn texts_end_where_their_chunks_do() {
        let image = image();
        assert!(starts(&image));
        let pieces: Vec<_> = png(&image).collect();
        let text = |keyword, text| Piece::Text { keyword, text, truncated: false };
        assert_eq!(
            pieces,
            [
                Piece::Data(&[0; 13]),
                text(b"Source", b"https://a.test/x"),
                text(b"Author", b"Anna"),
                Piece::Compressed { keyword: b"Copyright", data: b"zlib", truncated: false },
                Piece::Data(b""),
                Piece::Appended(b"{}"),
            ]
        );
    }

    #[test]
    fn a_cut_image_has_a_cut_text() {
        let image = image();
        for len in 0..image.len() {
            for piece in png(&image[..len]) {
                if let Piece::Text { text, truncated, .. } = piece {
                    let whole = [&b"https://a.test/x"[..], b"Anna"];
                    assert!(
                        whole.iter().any(|it| it == &text || truncated && it.starts_with(text))
                    );
                }
            }
        }
        assert!(!starts(&image[..20]) && !starts(&[b'{'; 64]));
    }
}
