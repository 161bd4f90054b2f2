//! The data that the sender sends, computed alike by the sender and by the test.

/// Returns the payload of the `n`th send of a process: `n` in four bytes, then a
/// pattern in which any two nearby positions differ.
pub fn payload(n: u32, len: usize) -> Vec<u8> {
    // A prime period, so that a shift by a power of two cannot go unnoticed.
    const PERIOD: usize = 251;
    let body = (4..).map(|i| ((i + n as usize * 31) % PERIOD) as u8);
    n.to_le_bytes().into_iter().chain(body).take(len).collect()
}

/// Returns the number of the send that a payload belongs to, if the payload holds
/// all four bytes of it.
pub fn number(payload: &[u8]) -> Option<u32> {
    payload.first_chunk().copied().map(u32::from_le_bytes)
}

/// Returns `count` HTTP requests, back to back. Request `n` has the path `/n` and
/// the body [`payload`]`(n, …)`, whose length depends on `n`.
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

/// Returns the body of the `n`th request of [`pipelined`], at most about 4 KiB.
pub fn body(n: u32) -> Vec<u8> {
    payload(n, 100 + n as usize * 769 % 4001)
}
