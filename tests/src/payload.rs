//! What the sender sends, known to it and to the test.

/// The `n`th send of a process: `n` in four bytes, then bytes that tell any two
/// places apart for a while.
pub fn payload(n: u32, len: usize) -> Vec<u8> {
    // A prime period: no power of two of a shift goes unnoticed.
    const PERIOD: usize = 251;
    let body = (4..).map(|i| ((i + n as usize * 31) % PERIOD) as u8);
    n.to_le_bytes().into_iter().chain(body).take(len).collect()
}

/// Which send of its process a payload is, where it holds all four bytes.
pub fn number(payload: &[u8]) -> Option<u32> {
    payload.first_chunk().copied().map(u32::from_le_bytes)
}

/// HTTP requests back to back. The `n`th asks for `/n`, and its body, of a
/// length of its own, is [`payload`]`(n, …)`.
pub fn pipelined(count: u32) -> Vec<u8> {
    let mut bytes = Vec::new();
    for n in 0..count {
        let body = body(n);
        let head =
            format!("POST /{n} HTTP/1.1\r\nHost: a.test\r\nContent-Length: {}\r\n\r\n", body.len());
        bytes.extend_from_slice(head.as_bytes());
        bytes.extend_from_slice(&body);
    }
    bytes
}

/// The body of the `n`th request of [`pipelined`]: up to some 4 KiB.
pub fn body(n: u32) -> Vec<u8> {
    payload(n, 100 + n as usize * 769 % 4001)
}
