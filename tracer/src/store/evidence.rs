//! Evidence: the bytes of a request.

use tracer_core::proto::{HeadCut, Protocol, Request};

/// Maximum number of bytes to store of a request.
pub(super) const MAX_EVIDENCE: usize = 64 << 10;

/// Maximum number of pieces. Each costs a row, and a sender can make gaps at will.
pub(super) const MAX_PIECES: usize = 64;

/// The bytes of one request, in pieces. Between two pieces, sent bytes are missing.
///
/// ```text
/// piece 0   POST /v1 HTTP/1.1\r\nHost: …\r\n\r\n{"url":"https://…
/// (a gap)
/// piece 1   …"}
/// ```
///
/// The head is written as in HTTP/1.1 if it was compressed (HTTP/2) or comes from a WebSocket's
/// handshake. The body is written without chunk framing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Evidence {
    /// The pieces.
    pub(super) pieces: Vec<Vec<u8>>,
    /// Number of known bytes that exceed the limit and are in no piece.
    pub(super) left_out: u64,
}

impl Evidence {
    /// Takes the bytes of a request.
    pub(super) fn new(request: &Request) -> Self {
        let mut evidence = Self { pieces: vec![Vec::new()], left_out: 0 };
        let mut room = MAX_EVIDENCE;
        evidence.add(&head(request), &mut room);
        let data = &request.body.data;
        let mut from = 0;
        for gap in &request.body.gaps {
            let at = gap.at.clamp(from, data.len());
            evidence.add(&data[from..at], &mut room);
            evidence.cut();
            from = at;
        }
        evidence.add(&data[from..], &mut room);
        evidence.pieces.retain(|piece| !piece.is_empty());
        evidence
    }

    /// Returns the number of bytes.
    pub(super) fn size(&self) -> usize {
        self.pieces.iter().map(Vec::len).sum()
    }

    fn add(&mut self, bytes: &[u8], room: &mut usize) {
        if self.left_out > 0 || self.pieces.len() > MAX_PIECES {
            *room = 0;
        }
        let (kept, left) = bytes.split_at(bytes.len().min(*room));
        if let Some(piece) = self.pieces.last_mut() {
            piece.extend_from_slice(kept);
        }
        *room -= kept.len();
        self.left_out += left.len() as u64;
    }

    fn cut(&mut self) {
        let is_begun = self.pieces.last().is_some_and(|piece| !piece.is_empty());
        if is_begun && self.pieces.len() <= MAX_PIECES {
            self.pieces.push(Vec::new());
        }
    }
}

/// Writes the head in the form of HTTP/1.1 (RFC 9112, section 2.1).
fn head(request: &Request) -> Vec<u8> {
    let mut head = Vec::new();
    let method = request.method.as_deref().unwrap_or("?");
    head.extend_from_slice(method.as_bytes());
    head.push(b' ');
    head.extend_from_slice(request.target().as_bytes());
    if request.head_cut == Some(HeadCut::Target) {
        return head;
    }
    head.extend_from_slice(match request.protocol {
        Protocol::Http2 => b" HTTP/2\r\n",
        Protocol::Http3 => b" HTTP/3\r\n",
        Protocol::Http1 | Protocol::WebSocket | Protocol::Dns => b" HTTP/1.1\r\n",
    });
    if let Some(authority) = &request.authority
        && request.header("host").is_none()
    {
        field(&mut head, b"host", authority.as_bytes());
    }
    for header in &request.headers {
        field(&mut head, &header.name, &header.value);
    }
    if request.head_cut.is_none() {
        head.extend_from_slice(b"\r\n");
    }
    head
}

fn field(head: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    for part in [name, b": ", value, b"\r\n"] {
        head.extend_from_slice(part);
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use tracer_core::{
        alert::fixtures,
        proto::{Body, Gap, parse_http1},
    };

    fn request(body: &[u8], gaps: &[usize]) -> Request {
        let gaps = gaps.iter().map(|&at| Gap { at, len: None }).collect();
        let body = Body { data: Bytes::copy_from_slice(body), gaps, ..Body::default() };
        Request { body, ..fixtures::judged().sent.message }
    }

    #[test]
    fn evidence_equals_the_sent_bytes() {
        let sent = b"POST /a?b=c HTTP/1.1\r\nHost: a.test\r\nContent-Length: 4\r\n\r\nbody";
        let (requests, _) = parse_http1(sent);
        let evidence = Evidence::new(&requests[0]);
        assert_eq!(evidence, Evidence { pieces: vec![sent.to_vec()], left_out: 0 });
        for len in 0..sent.len() {
            for request in parse_http1(&sent[..len]).0 {
                let evidence = Evidence::new(&request);
                let [piece] = &evidence.pieces[..] else { panic!("{evidence:?}") };
                // A truncated header is terminated.
                let piece = piece.strip_suffix(b"\r\n").unwrap_or(piece);
                assert!(sent.starts_with(piece) || piece.starts_with(b"? "), "{piece:?}");
            }
        }
    }

    #[test]
    fn gaps_separate_pieces() {
        let head = b"POST /v1?id=private HTTP/1.1\r\nhost: collector.example\r\n\r\n";
        let pieces = |request: &Request| Evidence::new(request).pieces;
        let whole = |parts: &[&[u8]]| parts.concat();
        assert_eq!(
            pieces(&request(b"abcdef", &[2, 2, 4, 6])),
            [whole(&[head, b"ab"]), b"cd".to_vec(), b"ef".to_vec()]
        );
        assert_eq!(pieces(&request(b"", &[0])), [head.to_vec()]);
        // Impossible gaps are clamped.
        assert_eq!(pieces(&request(b"ab", &[9, 1])), [whole(&[head, b"ab"])]);
    }

    #[test]
    fn size_is_bounded_and_omitted_bytes_are_counted() {
        let body = vec![b'x'; 2 * MAX_EVIDENCE];
        let long = Evidence::new(&request(&body, &[10]));
        assert_eq!(long.size(), MAX_EVIDENCE);
        assert_eq!(long.pieces.len(), 2);
        let torn = Evidence::new(&request(&body[..1000], &(1..1000).collect::<Vec<_>>()));
        assert_eq!(torn.pieces.len(), MAX_PIECES);
        let head = Evidence::new(&request(b"", &[])).size() as u64;
        for (evidence, len) in [(long, body.len()), (torn, 1000)] {
            assert_eq!(evidence.size() as u64 + evidence.left_out, head + len as u64);
        }
    }
}
