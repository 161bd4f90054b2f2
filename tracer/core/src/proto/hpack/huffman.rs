//! The Huffman code of HPACK (RFC 7541 section 5.2 and appendix B).
//!
//! The code is canonical: codes of equal length are consecutive numbers in the
//! order of their symbols, and a longer code is greater than every shorter one
//! (both left-aligned). The lengths alone therefore define the code, and the
//! length of a code is found by comparing the next 32 bits with one limit per
//! length.

use super::Invalid;

/// Length of the code of each symbol, in bits. The last one is end-of-string.
const LENGTHS: [u8; 257] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, //
    28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 28, //
    6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6, //
    5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10, //
    13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, //
    7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6, //
    15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5, //
    6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28, //
    20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23, //
    24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24, //
    22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23, //
    21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23, //
    26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25, //
    19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27, //
    20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23, //
    26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26, //
    30,
];

/// Length of the shortest code, in bits.
const MIN_LENGTH: usize = 5;
/// Length of the longest code, in bits.
const MAX_LENGTH: usize = 30;

/// The code in a form suited to decoding.
struct Code {
    /// For each length, the first 32-bit window (left-aligned) that does not
    /// start with a code of this length or a shorter one.
    limits: [u64; MAX_LENGTH + 1],
    /// For each length, the position of its symbols in `symbols`.
    offsets: [usize; MAX_LENGTH + 1],
    /// The symbols in the order of their codes; 256 is end-of-string.
    symbols: [u16; 257],
}

static CODE: Code = Code::new();

impl Code {
    const fn new() -> Code {
        let mut code =
            Code { limits: [0; MAX_LENGTH + 1], offsets: [0; MAX_LENGTH + 1], symbols: [0; 257] };
        let (mut placed, mut limit, mut length) = (0, 0u64, MIN_LENGTH);
        while length <= MAX_LENGTH {
            code.offsets[length] = placed;
            let mut symbol = 0;
            while symbol < LENGTHS.len() {
                if LENGTHS[symbol] as usize == length {
                    code.symbols[placed] = symbol as u16;
                    placed += 1;
                    limit += 1 << (32 - length);
                }
                symbol += 1;
            }
            code.limits[length] = limit;
            length += 1;
        }
        assert!(placed == LENGTHS.len() && limit == 1 << 32, "the code is not complete");
        code
    }

    /// Returns the symbol at the start of `window` (the next 32 bits) and the
    /// length of its code. The code is complete, so there is always one.
    fn symbol(&self, window: u32) -> (u16, u32) {
        let window = u64::from(window);
        let mut length = MIN_LENGTH;
        while length < MAX_LENGTH && window >= self.limits[length] {
            length += 1;
        }
        let first = self.limits[length - 1];
        let nth = (window - first) >> (32 - length);
        (self.symbols[self.offsets[length] + nth as usize], length as u32)
    }
}

/// Decodes `input`, appending to `out`. If `whole` is false, the input was
/// truncated, and the bits of an incomplete symbol at its end are ignored.
///
/// # Errors
///
/// Fails if the string contains end-of-string, or if the padding is longer than
/// seven bits or not a prefix of the end-of-string code.
pub(super) fn decode(input: &[u8], whole: bool, out: &mut Vec<u8>) -> Result<(), Invalid> {
    // The next bits, left-aligned, and the number of them that are input.
    let (mut bits, mut have) = (0u64, 0u32);
    let mut input = input.iter();
    loop {
        while have <= 56 {
            let Some(&byte) = input.next() else { break };
            bits |= u64::from(byte) << (56 - have);
            have += 8;
        }
        let (symbol, length) = CODE.symbol((bits >> 32) as u32);
        if length > have {
            break;
        }
        // Only end-of-string, the 257th symbol, is not a byte.
        out.push(u8::try_from(symbol).map_err(|_| Invalid::Huffman)?);
        bits <<= length;
        have -= length;
    }
    let padded = have < 8 && bits.leading_ones() >= have;
    if whole && !padded { Err(Invalid::Huffman) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Encodes with the same table, bit by bit. The examples of appendix C and
    /// the differential tests verify the table itself.
    fn encode(text: &[u8]) -> Vec<u8> {
        let mut bits = Vec::new();
        for &byte in text {
            let length = usize::from(LENGTHS[usize::from(byte)]);
            let at = CODE.symbols.iter().position(|&s| s == u16::from(byte)).unwrap();
            let nth = (at - CODE.offsets[length]) as u64;
            let code = (CODE.limits[length - 1] >> (32 - length)) + nth;
            bits.extend((0..length).rev().map(|bit| code >> bit & 1 == 1));
        }
        bits.resize(bits.len().next_multiple_of(8), true);
        bits.chunks(8).map(|b| b.iter().fold(0, |byte, &bit| byte << 1 | u8::from(bit))).collect()
    }

    fn decoded(input: &[u8], whole: bool) -> Result<Vec<u8>, Invalid> {
        let mut out = Vec::new();
        decode(input, whole, &mut out).map(|()| out)
    }

    #[test]
    fn padding_is_checked() {
        // "0" is 00000, followed by three bits of padding.
        assert_eq!(decoded(&[0b0000_0111], true), Ok(b"0".to_vec()));
        assert_eq!(decoded(&[0b0000_0110], true), Err(Invalid::Huffman));
        assert_eq!(decoded(&[0b0000_0111, 0xff], true), Err(Invalid::Huffman));
        assert_eq!(decoded(&[0xff], true), Err(Invalid::Huffman));
        assert_eq!(decoded(&[0xff; 4], true), Err(Invalid::Huffman));
        // End-of-string is rejected in truncated strings too.
        assert_eq!(decoded(&[0xff; 4], false), Err(Invalid::Huffman));
        assert_eq!(decoded(&[], true), Ok(Vec::new()));
    }

    proptest! {
        #[test]
        fn text_round_trips_and_prefixes_are_consistent(text: Vec<u8>) {
            let encoded = encode(&text);
            prop_assert_eq!(decoded(&encoded, true), Ok(text.clone()));
            for cut in 0..encoded.len() {
                let start = decoded(&encoded[..cut], false).unwrap();
                prop_assert!(text.starts_with(&start));
            }
        }

        #[test]
        fn any_bytes_are_decoded_or_rejected(input: Vec<u8>, whole: bool) {
            if let Ok(out) = decoded(&input, whole) {
                prop_assert!(out.len() * MIN_LENGTH <= input.len() * 8);
            }
        }
    }
}
