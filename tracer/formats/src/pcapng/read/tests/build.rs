//! Builders of packets and files.

/// A TCP segment in IPv4 in Ethernet.
#[derive(Debug, Clone)]
pub(super) struct Tcp<'a> {
    pub(super) from: u16,
    pub(super) to: u16,
    pub(super) seq: u32,
    pub(super) ack: u32,
    /// FIN 1, SYN 2, RST 4, PSH 8, ACK 16.
    pub(super) flags: u8,
    pub(super) payload: &'a [u8],
}

pub(super) const SYN: u8 = 2;
pub(super) const PSH: u8 = 8;
pub(super) const ACK: u8 = 16;

pub(super) const CLIENT: u16 = 40_000;
pub(super) const SERVER: u16 = 80;

pub(super) fn client(seq: u32, flags: u8, payload: &[u8]) -> Tcp<'_> {
    Tcp { from: CLIENT, to: SERVER, seq, ack: 1, flags, payload }
}

pub(super) fn server(ack: u32, flags: u8, payload: &[u8]) -> Tcp<'_> {
    Tcp { from: SERVER, to: CLIENT, seq: 1, ack, flags, payload }
}

impl Tcp<'_> {
    pub(super) fn segment(&self) -> Vec<u8> {
        let mut out = Vec::new();
        out.extend(self.from.to_be_bytes());
        out.extend(self.to.to_be_bytes());
        out.extend(self.seq.to_be_bytes());
        out.extend(self.ack.to_be_bytes());
        out.extend([0x60, self.flags, 0xff, 0xff, 0, 0, 0, 0, 1, 1, 1, 0]);
        out.extend(self.payload);
        out
    }

    /// The port determines the address, so that the endpoints differ.
    pub(super) fn ipv4(&self) -> Vec<u8> {
        let ip = |port| if port == CLIENT { [10, 0, 0, 1] } else { [10, 0, 0, 2] };
        ipv4(ip(self.from), ip(self.to), 6, 0, &self.segment())
    }

    pub(super) fn ethernet(&self) -> Vec<u8> {
        ethernet(0x0800, &self.ipv4())
    }
}

pub(super) fn udp(from: u16, to: u16, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    out.extend(from.to_be_bytes());
    out.extend(to.to_be_bytes());
    out.extend((payload.len() as u16 + 8).to_be_bytes());
    out.extend([0, 0]);
    out.extend(payload);
    out
}

pub(super) fn ipv4(
    from: [u8; 4],
    to: [u8; 4],
    protocol: u8,
    fragment: u16,
    body: &[u8],
) -> Vec<u8> {
    let mut out = vec![0x46, 0];
    out.extend((body.len() as u16 + 24).to_be_bytes());
    out.extend([0, 1]);
    out.extend(fragment.to_be_bytes());
    out.extend([64, protocol, 0, 0]);
    out.extend(from);
    out.extend(to);
    // Options.
    out.extend([1, 1, 1, 0]);
    out.extend(body);
    out
}

/// Returns a packet with a fragment header.
pub(super) fn ipv6(protocol: u8, fragment: u16, body: &[u8]) -> Vec<u8> {
    let mut out = vec![0x60, 0, 0, 0];
    out.extend((body.len() as u16 + 16).to_be_bytes());
    out.extend([0, 64]);
    for last in [1, 2] {
        out.extend([0x20, 1, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, last]);
    }
    out.extend([44, 0, 1, 4, 0, 0, 0, 0]);
    out.extend([protocol, 0]);
    out.extend(fragment.to_be_bytes());
    out.extend([0, 0, 0, 9]);
    out.extend(body);
    out
}

pub(super) fn ethernet(kind: u16, packet: &[u8]) -> Vec<u8> {
    let mut out = vec![0; 12];
    out.extend(kind.to_be_bytes());
    out.extend(packet);
    // Short frames are padded.
    if out.len() < 60 {
        out.resize(60, 0xaa);
    }
    out
}

/// A file in either byte order.
pub(super) struct File {
    pub(super) big: bool,
    pub(super) bytes: Vec<u8>,
}

impl File {
    pub(super) fn new(big: bool) -> Self {
        let mut file = Self { big, bytes: Vec::new() };
        file.section();
        file
    }

    /// Creates a file with one interface of this link type.
    pub(super) fn with_link(link: u16) -> Self {
        let mut file = Self::new(false);
        file.interface(link, &[]);
        file
    }

    pub(super) fn u32(&self, number: u32) -> [u8; 4] {
        if self.big { number.to_be_bytes() } else { number.to_le_bytes() }
    }

    pub(super) fn u16(&self, number: u16) -> [u8; 2] {
        if self.big { number.to_be_bytes() } else { number.to_le_bytes() }
    }

    pub(super) fn block(&mut self, kind: u32, body: &[u8]) {
        let len = body.len().next_multiple_of(4) as u32 + 12;
        let (kind, len) = (self.u32(kind), self.u32(len));
        self.bytes.extend(kind);
        self.bytes.extend(len);
        self.bytes.extend(body);
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
        self.bytes.extend(len);
    }

    pub(super) fn section(&mut self) {
        let mut body = self.u32(0x1a2b_3c4d).to_vec();
        body.extend(self.u16(1));
        body.extend(self.u16(0));
        body.extend([0xff; 8]);
        self.block(0x0a0d_0d0a, &body);
    }

    pub(super) fn options(&self, options: &[(u16, &[u8])]) -> Vec<u8> {
        let mut out = Vec::new();
        for (code, value) in options {
            out.extend(self.u16(*code));
            out.extend(self.u16(value.len() as u16));
            out.extend(*value);
            out.resize(out.len().next_multiple_of(4), 0);
        }
        out.extend([0; 4]);
        out
    }

    pub(super) fn interface(&mut self, link: u16, options: &[(u16, &[u8])]) {
        let mut body = self.u16(link).to_vec();
        body.extend([0, 0]);
        body.extend(self.u32(0));
        body.extend(self.options(options));
        self.block(1, &body);
    }

    /// Adds a packet of the first interface.
    pub(super) fn packet(&mut self, ticks: u64, bytes: &[u8]) {
        self.cut_packet(0, ticks, bytes, bytes.len(), &[]);
    }

    pub(super) fn cut_packet(
        &mut self,
        interface: u32,
        ticks: u64,
        bytes: &[u8],
        len: usize,
        options: &[(u16, &[u8])],
    ) {
        let mut body = Vec::new();
        for number in
            [interface, (ticks >> 32) as u32, ticks as u32, bytes.len() as u32, len as u32]
        {
            body.extend(self.u32(number));
        }
        body.extend(bytes);
        body.resize(body.len().next_multiple_of(4), 0);
        body.extend(self.options(options));
        self.block(6, &body);
    }
}

/// Returns a file of Ethernet frames, one per millisecond.
pub(super) fn file(segments: &[Tcp<'_>]) -> Vec<u8> {
    let mut file = File::with_link(1);
    for (i, segment) in segments.iter().enumerate() {
        file.packet(1000 * i as u64, &segment.ethernet());
    }
    file.bytes
}
