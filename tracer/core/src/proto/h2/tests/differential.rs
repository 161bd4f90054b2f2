//! Decodes traffic of the client in the `h2` crate. The requests seen by its
//! server side are the truth, and whatever is cut, lost or joined late, no
//! decoded request may contradict them.

use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use bytes::Bytes;
use proptest::prelude::*;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::super::frame::Frame;
use super::*;
use crate::proto::{Body, Header};

/// A request as made by the client.
#[derive(Debug, Clone)]
struct Truth {
    method: String,
    authority: String,
    path: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    trailers: Vec<(String, String)>,
}

/// An I/O object that records every write.
struct Tap<T>(T, Arc<Mutex<Vec<Vec<u8>>>>);

impl<T: AsyncRead + Unpin> AsyncRead for Tap<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Tap<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        let poll = Pin::new(&mut self.0).poll_write(cx, buf);
        if let Poll::Ready(Ok(len)) = poll {
            self.1.lock().unwrap().push(buf[..len].to_vec());
        }
        poll
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

/// A reproducible pseudo-random sequence (xorshift64).
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }

    fn text(&mut self, len: u64) -> String {
        (0..len).map(|_| char::from(b' ' + 1 + self.below(93) as u8)).collect()
    }
}

/// Generates a request with recurring parts, unique parts, and occasionally a
/// head that takes several frames.
fn truth(number: usize, numbers: &mut Numbers) -> Truth {
    let posts = numbers.below(2) == 0;
    let mut headers = vec![
        ("user-agent".to_owned(), "Mozilla/5.0 (X11; Linux x86_64)".to_owned()),
        ("x-number".to_owned(), number.to_string()),
    ];
    for _ in 0..numbers.below(6) {
        let name = format!("x-{}", numbers.below(8));
        let len = [1, 8, 60, 700][numbers.below(4) as usize];
        headers.push((name, format!("{number}-{}", numbers.text(len))));
    }
    for crumb in 0..numbers.below(3) {
        headers.push(("cookie".to_owned(), format!("c{crumb}={}", numbers.below(3))));
    }
    if numbers.below(12) == 0 {
        headers.push(("x-long".to_owned(), numbers.text(30_000)));
    }
    let long = if numbers.below(10) == 0 { 20_000 } else { 10 };
    let lines = if posts { numbers.below(1500) } else { 0 };
    let trailers = lines > 0 && numbers.below(3) == 0;
    Truth {
        method: if posts { "POST" } else { "GET" }.to_owned(),
        authority: format!("host{}.example", numbers.below(3)),
        path: format!("/{number}/{}?q=1", "p".repeat(numbers.below(long) as usize)),
        headers,
        body: (0..lines).flat_map(|i| format!("{number}:{i};").into_bytes()).collect(),
        trailers: if trailers { vec![("x-sum".into(), number.to_string())] } else { Vec::new() },
    }
}

/// Returns the writes of a client that makes these requests concurrently to a
/// server that allows a header table of `table` bytes.
fn traffic(truths: &[Truth], table: u32) -> Vec<Vec<u8>> {
    let writes = Arc::new(Mutex::new(Vec::new()));
    let (client, server) = tokio::io::duplex(1 << 14);
    let client = Tap(client, writes.clone());
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async move {
        let mut builder = ::h2::server::Builder::new();
        builder.header_table_size(table).max_header_list_size(1 << 20);
        tokio::spawn(async move {
            let mut connection = builder.handshake::<_, Bytes>(server).await.unwrap();
            while let Some(accepted) = connection.accept().await {
                let (request, mut respond) = accepted.unwrap();
                tokio::spawn(async move {
                    let mut body = request.into_body();
                    while let Some(data) = body.data().await {
                        body.flow_control().release_capacity(data.unwrap().len()).unwrap();
                    }
                    respond.send_response(http::Response::new(()), true).unwrap();
                });
            }
        });
        let (mut sender, connection) = ::h2::client::handshake(client).await.unwrap();
        tokio::spawn(async move { connection.await.unwrap() });
        let mut responses = Vec::new();
        for truth in truths {
            let uri = format!("https://{}{}", truth.authority, truth.path);
            let mut request = http::Request::builder().method(&truth.method[..]).uri(uri);
            for (name, value) in &truth.headers {
                request = request.header(name, value);
            }
            sender = sender.ready().await.unwrap();
            let ends = truth.body.is_empty();
            let (response, mut body) =
                sender.send_request(request.body(()).unwrap(), ends).unwrap();
            for (i, part) in truth.body.chunks(5000).enumerate() {
                let last = (i + 1) * 5000 >= truth.body.len() && truth.trailers.is_empty();
                body.send_data(Bytes::copy_from_slice(part), last).unwrap();
            }
            if !truth.trailers.is_empty() {
                let field = |(name, value): &(String, String)| {
                    let name = name.parse::<http::HeaderName>().unwrap();
                    (name, value.parse::<http::HeaderValue>().unwrap())
                };
                body.send_trailers(truth.trailers.iter().map(field).collect()).unwrap();
            }
            responses.push(response);
        }
        for response in responses {
            response.await.unwrap();
        }
    });
    std::mem::take(&mut writes.lock().unwrap())
}

/// Generates requests and their traffic.
fn requests_and_traffic(seed: u64, table: u32) -> (Vec<Truth>, Vec<Vec<u8>>) {
    let mut numbers = Numbers(seed);
    let truths: Vec<Truth> = (0..60).map(|number| truth(number, &mut numbers)).collect();
    let writes = traffic(&truths, table);
    (truths, writes)
}

fn sorted(fields: impl Iterator<Item = (String, String)>) -> Vec<(String, String)> {
    let mut fields: Vec<_> = fields.collect();
    fields.sort();
    fields
}

/// Returns the fields of a request, with cookies split into pairs.
fn fields(headers: &[Header]) -> impl Iterator<Item = (String, String)> {
    let string = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    headers.iter().flat_map(move |header| {
        let name = string(&header.name);
        let separator = if name == "cookie" { "; " } else { "\0" };
        let value = string(&header.value);
        let crumbs: Vec<String> = value.split(separator).map(str::to_owned).collect();
        crumbs.into_iter().map(move |crumb| (name.clone(), crumb))
    })
}

/// Reports whether the request matches the truth completely.
fn matches(request: &Request, truth: &Truth) -> bool {
    let sent = truth.headers.iter().chain(&truth.trailers).cloned();
    request.complete
        && request.partial.is_empty()
        && request.method.as_ref() == Some(&truth.method)
        && request.authority.as_ref() == Some(&truth.authority)
        && request.path.as_ref() == Some(&truth.path)
        && request.body.data == truth.body
        && sorted(fields(&request.headers)) == sorted(sent)
}

/// Reports whether the known parts of the request match the truth.
fn agrees(request: &Request, truth: &Truth) -> bool {
    if request.complete {
        return matches(request, truth);
    }
    let sent: Vec<(String, String)> = [
        (":method".to_owned(), truth.method.clone()),
        (":scheme".to_owned(), "https".to_owned()),
        (":authority".to_owned(), truth.authority.clone()),
        (":path".to_owned(), truth.path.clone()),
    ]
    .into_iter()
    .chain(truth.headers.iter().chain(&truth.trailers).cloned())
    .collect();
    let known = |text: &Text, truth: &str| match text {
        Text::Whole(bytes) => bytes == truth,
        Text::Start(start) => truth.as_bytes().starts_with(start),
    };
    let cut = request.partial.iter().any(|field| field.name.known() == ":path");
    let path = |path: &String| {
        if cut { truth.path.starts_with(path) } else { *path == truth.path }
    };
    request.method.as_ref().is_none_or(|method| *method == truth.method)
        && request.authority.as_ref().is_none_or(|authority| *authority == truth.authority)
        && request.path.as_ref().is_none_or(path)
        && fields(&request.headers).all(|field| sent.contains(&field))
        && request
            .partial
            .iter()
            .all(|field| sent.iter().any(|(n, v)| known(&field.name, n) && known(&field.value, v)))
        && within(&request.body, &truth.body)
}

/// Reports whether the known bytes of the body occur in the truth at the
/// positions that the gaps allow.
fn within(body: &Body, truth: &[u8]) -> bool {
    /// Reports whether the pieces, each followed by its gap, occur in `truth`:
    /// at its start, or anywhere in it.
    fn fit(pieces: &[(&[u8], Option<u64>)], truth: &[u8], anywhere: bool) -> bool {
        let Some((&(known, gap), rest)) = pieces.split_first() else {
            return true;
        };
        let fits_at = |at: usize| {
            let after = truth[at..].strip_prefix(known);
            let after = after.and_then(|after| after.get(gap.unwrap_or(0) as usize..));
            after.is_some_and(|after| fit(rest, after, gap.is_none()))
        };
        (0..=if anywhere { truth.len() } else { 0 }).any(fits_at)
    }
    let ends = body.gaps.iter().map(|gap| (gap.at, gap.len));
    let mut from = 0;
    let pieces: Vec<_> = ends
        .chain([(body.data.len(), Some(0))])
        .map(|(at, gap)| (&body.data[std::mem::replace(&mut from, at)..at], gap))
        .collect();
    fit(&pieces, truth, false)
}

fn read<'a>(pieces: impl IntoIterator<Item = Piece<'a>>) -> (Vec<Request>, Counters) {
    let (mut connection, mut out) = (Connection::new(), Vec::new());
    for piece in pieces {
        match piece {
            Piece::Bytes(bytes) => connection.data(bytes, true, BootTime(0), &mut out),
            Piece::Gap(len) => connection.gap(len, &mut out),
        }
    }
    connection.end(&mut out);
    (out, connection.counters())
}

enum Piece<'a> {
    Bytes(&'a [u8]),
    Gap(Option<u64>),
}

fn assert_all(out: &[Request], truths: &[Truth]) {
    assert_eq!(out.len(), truths.len());
    for truth in truths {
        assert!(out.iter().any(|request| matches(request, truth)), "{:?}", truth.path);
    }
}

fn assert_none_wrong(out: &[Request], truths: &[Truth]) {
    assert!(out.len() <= truths.len());
    for request in out {
        assert!(truths.iter().any(|truth| agrees(request, truth)), "{request:?}");
    }
}

/// Splits a complete stream into its preface and its frames.
fn frames(bytes: &[u8]) -> Vec<&[u8]> {
    let (preface, mut rest) = bytes.split_at(PREFACE.len());
    let mut frames = vec![preface];
    while let Some(frame) = Frame::first(rest) {
        let (frame, after) = rest.split_at(HEADER_LEN + frame.len as usize);
        frames.push(frame);
        rest = after;
    }
    frames
}

#[test]
fn every_request_is_read() {
    for (seed, table) in [(1, 4096), (2, 0), (3, 200), (4, 1 << 16)] {
        let (truths, writes) = requests_and_traffic(seed, table);
        let bytes = writes.concat();
        assert!(frames(&bytes).iter().any(|frame| frame[3] == CONTINUATION));
        let (out, counters) = read(writes.iter().map(|write| Piece::Bytes(write)));
        assert_all(&out, &truths);
        assert_eq!(counters, Counters::default());
        let (out, _) = read(bytes.chunks(1).map(Piece::Bytes).skip(1).collect::<Vec<_>>());
        assert_none_wrong(&out, &truths);
    }
}

#[test]
fn joining_at_any_frame_yields_no_wrong_request() {
    let (truths, writes) = requests_and_traffic(5, 4096);
    let bytes = writes.concat();
    let frames = frames(&bytes);
    let mut known = 0;
    for join in 1..frames.len() {
        let (out, _) = read(frames[join..].iter().map(|frame| Piece::Bytes(frame)));
        assert_none_wrong(&out, &truths);
        known += out.iter().filter(|request| request.path.is_some()).count();
    }
    // All paths differ, so the client sends each one as a literal, and joining
    // late hides none of the later ones.
    let heads =
        frames.iter().enumerate().filter(|(_, frame)| frame[3] == HEADERS && frame.len() > 40);
    let expected: usize = heads.map(|(at, _)| at.min(frames.len() - 1)).sum();
    assert!(known * 10 >= expected * 9, "{known} of {expected}");
}

#[test]
fn every_prefix_is_consistent() {
    let (truths, writes) = requests_and_traffic(6, 4096);
    let bytes = writes.concat();
    for cut in (0..bytes.len()).step_by(997) {
        let (out, _) = read([Piece::Bytes(&bytes[..cut])]);
        assert_none_wrong(&out, &truths);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn the_split_into_writes_does_not_matter(
        seed in 1u64..u64::MAX,
        lens in proptest::collection::vec(10usize..5000, 1..50),
    ) {
        let (truths, writes) = requests_and_traffic(seed, (seed % 9000) as u32);
        let bytes = writes.concat();
        let (mut rest, mut pieces) = (&bytes[..], Vec::new());
        for len in lens.into_iter().cycle() {
            let (piece, after) = rest.split_at(len.min(rest.len()));
            pieces.push(Piece::Bytes(piece));
            rest = after;
            if rest.is_empty() {
                break;
            }
        }
        let (out, counters) = read(pieces);
        assert_all(&out, &truths);
        prop_assert_eq!(counters, Counters::default());
    }

    #[test]
    fn losses_yield_no_wrong_request(
        seed in 1u64..u64::MAX,
        gaps in proptest::collection::vec((1u64..60_000, 1u64..9000, any::<bool>()), 1..20),
        heads in prop_oneof![Just(usize::MAX), 50usize..3000],
        by_frame: bool,
    ) {
        let (truths, writes) = requests_and_traffic(seed, 4096);
        let bytes = writes.concat();
        let writes = if by_frame { frames(&bytes) } else { writes.iter().map(|w| &w[..]).collect() };
        let mut gaps = gaps.into_iter();
        let mut next = gaps.next();
        let (mut at, mut pieces) = (0, Vec::new());
        for mut write in writes {
            // The head of each write, sometimes with a gap in it.
            let cut = write.split_off(heads.min(write.len())..).unwrap_or_default();
            while let Some((distance, len, counted)) = next {
                let start = distance.saturating_sub(at);
                if start >= write.len() as u64 {
                    break;
                }
                let (before, after) = write.split_at(start as usize);
                let lost = (len as usize).min(after.len());
                pieces.push(Piece::Bytes(before));
                pieces.push(Piece::Gap(counted.then_some(lost as u64)));
                at = 0;
                write = &after[lost..];
                next = gaps.next();
            }
            pieces.push(Piece::Bytes(write));
            at += write.len() as u64;
            if !cut.is_empty() {
                pieces.push(Piece::Gap(Some(cut.len() as u64)));
            }
        }
        let (out, _) = read(pieces);
        assert_none_wrong(&out, &truths);
    }
}
