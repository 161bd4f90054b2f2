//! The samples of an experiment: messages by recipient, and their values by place.
//!
//! A place is an address within the requests to one recipient: the chain without indices of arrays.
//! The names within it are values too, since a name can be made from a page.

use std::{
    collections::{BTreeMap, HashMap, HashSet, hash_map::Entry},
    hash::{DefaultHasher, Hash as _, Hasher as _},
    sync::Arc,
};

use crate::place::without_indices;
use tracer_core::{
    address::host_of_authority,
    content::{self, Limits},
    finding::Kind,
    judge::JudgedRequest,
    proto::{NameSource, Request, ServerName},
    record::BootTime,
};

/// Number of recipients. A browser has a few dozen.
const MAX_RECIPIENTS: usize = 512;

/// Number of places, over all recipients. A telemetry request has a few hundred.
const MAX_PLACES: usize = 16_384;

/// Number of values, over all places: 24 bytes each.
const MAX_SAMPLES: usize = 1 << 19;

/// Number of values of one message at one place.
const MAX_PER_MESSAGE: usize = 64;

/// Number of messages, lookups and connections to one recipient.
const MAX_MESSAGES: usize = 4096;

/// Length of a place's name, in bytes.
const MAX_PLACE: usize = 400;

/// Number of requests that are kept whole as evidence, and the size of their bodies.
const MAX_KEPT: usize = 1024;
const MAX_KEPT_BYTES: usize = 32 << 20;

/// Number of identifiers that are noted for one message.
const MAX_IDENTIFIERS: usize = 16;

/// A value. Only its digest is kept.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sample {
    /// Index of the message.
    pub(super) message: u32,
    /// Length of the value in bytes.
    pub(super) length: u32,
    /// Digest of the value.
    pub(super) digest: u64,
}

/// A message to a recipient.
#[derive(Debug, Clone)]
pub(super) struct Message {
    /// Number of the request in the run.
    pub(super) number: u64,
    pub(super) time: BootTime,
    /// Number of bytes of target, header fields and body.
    pub(super) bytes: u64,
    /// Identifiers in it.
    pub(super) identifiers: Vec<String>,
    /// Set if its meaning is known, so that its time needs no explanation.
    pub(super) is_routine: bool,
}

/// Everything that was sent to one recipient.
#[derive(Debug, Clone, Default)]
pub(super) struct Traffic {
    pub(super) messages: Vec<Message>,
    pub(super) places: BTreeMap<String, Vec<Sample>>,
    /// Times of lookups of its names.
    pub(super) lookups: Vec<BootTime>,
    /// Times at which connections to it began.
    pub(super) connections: Vec<BootTime>,
}

/// The messages of one experiment.
#[derive(Debug, Default)]
pub(crate) struct Samples {
    pub(super) recipients: BTreeMap<String, Traffic>,
    kept: Vec<Arc<JudgedRequest>>,
    kept_bytes: usize,
    places: usize,
    values: usize,
    version: u64,
    /// Number of values and messages that were not kept.
    pub(super) dropped: u64,
}

impl Samples {
    /// Adds a request. `key` makes the digests of one run different from those of another.
    /// A `routine` is a request whose meaning is known.
    pub(crate) fn add(
        &mut self,
        decoded: &Arc<JudgedRequest>,
        routine: bool,
        recipient: &str,
        key: &str,
    ) {
        let request = &decoded.sent.message;
        let identifiers = decoded.findings().filter(|one| one.kind == Kind::Identifier);
        let identifiers = identifiers.map(|one| one.value.clone());
        let candidates = decoded.candidates.iter().map(|one| one.value.clone());
        let identifiers = identifiers.chain(candidates).take(MAX_IDENTIFIERS).collect();
        self.add_request(request, decoded.number, identifiers, routine, recipient, key);
        let bytes = request.body.data.len();
        if self.kept.len() < MAX_KEPT && self.kept_bytes + bytes <= MAX_KEPT_BYTES {
            self.kept_bytes += bytes;
            self.kept.push(Arc::clone(decoded));
        }
    }

    /// Adds the values of a request. A later version of a request replaces the earlier one.
    pub(super) fn add_request(
        &mut self,
        request: &Request,
        number: u64,
        identifiers: Vec<String>,
        is_routine: bool,
        recipient: &str,
        key: &str,
    ) {
        if request.update {
            self.forget(recipient, number);
        }
        let message =
            Message { number, time: request.time, bytes: size(request), identifiers, is_routine };
        if let Some(at) = self.message(recipient, message) {
            let names = HashSet::new();
            Values { samples: self, recipient, at, key, names }.read(request);
        }
    }

    /// Adds a name that was looked up, or the beginning of a connection to it.
    pub(crate) fn add_name(&mut self, name: &ServerName, recipient: &str, key: &str) {
        let Some(traffic) = self.recipient(recipient) else {
            return;
        };
        let times = match name.source {
            NameSource::Dns => &mut traffic.lookups,
            NameSource::Tls | NameSource::Quic => &mut traffic.connections,
        };
        if times.len() >= MAX_MESSAGES {
            self.dropped += 1;
            return;
        }
        times.push(name.time);
        // The name itself is a message of its own, whose labels are values.
        let message = Message {
            number: u64::MAX,
            time: name.time,
            bytes: name.name.len() as u64,
            identifiers: Vec::new(),
            is_routine: false,
        };
        if let Some(at) = self.message(recipient, message) {
            let place = match name.source {
                NameSource::Dns => "name looked up",
                NameSource::Tls | NameSource::Quic => "server name",
            };
            let mut values = Values { samples: self, recipient, at, key, names: HashSet::new() };
            values.host(place, &name.name);
        }
    }

    /// Returns a number that changes with everything that is added.
    pub(crate) fn version(&self) -> u64 {
        self.version
    }

    /// Returns a request that was kept.
    pub(crate) fn request(&self, number: u64) -> Option<&Arc<JudgedRequest>> {
        self.kept.iter().rfind(|kept| kept.number == number)
    }

    /// Removes an earlier version of a request.
    fn forget(&mut self, recipient: &str, number: u64) {
        self.kept.retain(|kept| kept.number != number);
        let Some(traffic) = self.recipients.get_mut(recipient) else {
            return;
        };
        let Some(at) = traffic.messages.iter().rposition(|known| known.number == number) else {
            return;
        };
        // Messages are referred to by their index, so the message stays, without values.
        let gone = at as u32;
        for samples in traffic.places.values_mut() {
            samples.retain(|sample| sample.message != gone);
        }
        let known = &mut traffic.messages[at];
        (known.number, known.bytes) = (u64::MAX, 0);
        known.identifiers.clear();
    }

    fn recipient(&mut self, name: &str) -> Option<&mut Traffic> {
        if self.recipients.len() >= MAX_RECIPIENTS && !self.recipients.contains_key(name) {
            self.dropped += 1;
            return None;
        }
        Some(self.recipients.entry(name.to_owned()).or_default())
    }

    fn message(&mut self, recipient: &str, message: Message) -> Option<u32> {
        self.version += 1;
        let traffic = self.recipient(recipient)?;
        let at = traffic.messages.len();
        if at >= MAX_MESSAGES {
            self.dropped += 1;
            return None;
        }
        traffic.messages.push(message);
        u32::try_from(at).ok()
    }

    fn sample(&mut self, recipient: &str, place: &str, sample: Sample) {
        let Some(traffic) = self.recipients.get_mut(recipient) else {
            return;
        };
        let is_new = !traffic.places.contains_key(place);
        if self.values >= MAX_SAMPLES || (is_new && self.places >= MAX_PLACES) {
            self.dropped += 1;
            return;
        }
        self.places += usize::from(is_new);
        self.values += 1;
        traffic.places.entry(place.to_owned()).or_default().push(sample);
    }
}

/// The values of one message.
struct Values<'a> {
    samples: &'a mut Samples,
    recipient: &'a str,
    at: u32,
    key: &'a str,
    /// Names within places that were added already.
    names: HashSet<u64>,
}

impl Values<'_> {
    fn read(&mut self, request: &Request) {
        let mut counts: HashMap<String, usize> = HashMap::new();
        content::unwrap(request, &Limits::default(), |value| {
            // The length of the body is examined as such.
            if value.key.is_some_and(|key| key.eq_ignore_ascii_case("content-length")) {
                return;
            }
            let place = without_indices(&value.chain.to_string());
            let place = &place[..place.floor_char_boundary(MAX_PLACE)];
            let count = match counts.entry(place.to_owned()) {
                Entry::Occupied(entry) => entry.into_mut(),
                Entry::Vacant(entry) => entry.insert(0),
            };
            *count += 1;
            if *count > MAX_PER_MESSAGE {
                self.samples.dropped += 1;
                return;
            }
            self.add(place, value.text.as_bytes());
            if *count == 1 {
                self.names(place);
            }
        });
        if let Some(authority) = &request.authority {
            self.host("host", host_of_authority(authority));
        }
        let path = request.target().split('?').next().unwrap_or_default();
        for (i, segment) in path.split('/').skip(1).enumerate().take(MAX_PER_MESSAGE) {
            self.add(&format!("path segment {}", i + 1), segment.as_bytes());
        }
        if !request.body.data.is_empty() {
            self.add("whole body", &request.body.data);
        }
    }

    /// Adds the labels of a host, counted from its end.
    fn host(&mut self, place: &str, host: &str) {
        self.add(place, host.as_bytes());
        for (i, label) in host.rsplit('.').enumerate().take(MAX_PER_MESSAGE) {
            self.add(&format!("{place}, label {} from the end", i + 1), label.as_bytes());
        }
    }

    /// Adds the names that a place consists of, each at the place of all its siblings.
    fn names(&mut self, place: &str) {
        let ends = |c: char| matches!(c, '.' | ':' | '>');
        let mut from = 0;
        while let Some(at) = place[from..].find(ends) {
            let start = from + at + 1;
            let end = place[start..].find(ends).map_or(place.len(), |end| start + end);
            let name = place[start..end].trim();
            let siblings = format!("{}*", &place[..start]);
            if self.names.insert(self.digest(&[siblings.as_bytes(), name.as_bytes()])) {
                self.add(&siblings, name.as_bytes());
            }
            from = start;
        }
    }

    fn add(&mut self, place: &str, value: &[u8]) {
        let sample = Sample {
            message: self.at,
            length: u32::try_from(value.len()).unwrap_or(u32::MAX),
            digest: self.digest(&[value]),
        };
        self.samples.sample(self.recipient, place, sample);
    }

    fn digest(&self, parts: &[&[u8]]) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.key.hash(&mut hasher);
        parts.hash(&mut hasher);
        hasher.finish()
    }
}

/// Returns the size of a request as it was sent, without framing.
fn size(request: &Request) -> u64 {
    let headers = request.headers.iter().map(|header| header.name.len() + header.value.len());
    let known = request.target().len() + headers.sum::<usize>() + request.body.data.len();
    known as u64 + request.unread_bytes
}
