//! Conversion of records from and to the binary format of the eBPF programs.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use bytes::Bytes;
use thiserror::Error;
use tracer_ebpf::{ABI_VERSION, RecordHeader, flag, net};

use super::{BootTime, Connection, Hook, Process, Record, Transport};

/// An error in a ring buffer entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Malformed {
    /// The entry is shorter than its header and the payload that it declares.
    #[error("the entry is truncated: {0} bytes")]
    Cut(usize),
    /// The entry has another ABI version.
    #[error("ABI version {0} is not supported; this tracer reads version {ABI_VERSION}")]
    Version(u16),
    /// A field has an undefined value.
    #[error("unknown {0}: {1}")]
    Value(&'static str, u16),
}

impl Record {
    /// Parses a ring buffer entry.
    pub fn from_kernel(entry: &[u8]) -> Result<Self, Malformed> {
        let header = RecordHeader::read(entry).ok_or(Malformed::Cut(entry.len()))?;
        if header.version != ABI_VERSION {
            return Err(Malformed::Version(header.version));
        }
        let payload = entry
            .get(RecordHeader::SIZE..)
            .and_then(|rest| rest.get(..header.captured as usize))
            .ok_or(Malformed::Cut(entry.len()))?;
        let transport = match header.protocol {
            net::TCP | net::MPTCP => Transport::Tcp,
            net::UDP => Transport::Udp,
            net::TLS => Transport::Tls,
            net::QUIC => Transport::Quic,
            net::RAW => Transport::Raw,
            other => return Err(Malformed::Value("protocol", other)),
        };
        let address = |addr: [u8; 16], port| match header.family {
            net::AF_INET => {
                let [a, b, c, d, ..] = addr;
                Ok(endpoint(Ipv4Addr::new(a, b, c, d).into(), port))
            }
            net::AF_INET6 => Ok(endpoint(Ipv6Addr::from(addr).to_canonical(), port)),
            0 if transport.is_before_encryption() || transport == Transport::Raw => Ok(None),
            other => Err(Malformed::Value("family", other)),
        };
        Ok(Self {
            hook: Hook::from_number(header.hook)
                .ok_or(Malformed::Value("hook", header.hook.into()))?,
            time: BootTime(header.time),
            process: Process {
                uid: header.uid,
                tgid: header.tgid,
                tid: header.tid,
                comm: comm(&header.comm),
            },
            connection: Connection {
                key: header.key,
                transport,
                local: address(header.local_addr, header.local_port)?,
                remote: address(header.remote_addr, header.remote_port)?,
            },
            within_tls: (header.tls_key != 0).then_some(header.tls_key),
            position: (header.flags & flag::POSITION != 0).then_some(header.position),
            offset: header.offset,
            len: (header.flags & flag::LEN_UNKNOWN == 0).then_some(header.len),
            payload: Bytes::copy_from_slice(payload),
        })
    }

    /// Returns the header that [`Record::from_kernel`] would parse to this
    /// record.
    pub(super) fn header(&self) -> RecordHeader {
        let v4 = |addr: Option<SocketAddr>| addr.is_none_or(|addr| addr.is_ipv4());
        let family = if v4(self.connection.local) && v4(self.connection.remote) {
            net::AF_INET
        } else {
            net::AF_INET6
        };
        let octets = |addr: Option<SocketAddr>| match addr.map(|addr| addr.ip()) {
            None => [0; 16],
            Some(IpAddr::V4(ip)) if family == net::AF_INET => {
                let mut octets = [0; 16];
                octets[..4].copy_from_slice(&ip.octets());
                octets
            }
            Some(IpAddr::V4(ip)) => ip.to_ipv6_mapped().octets(),
            Some(IpAddr::V6(ip)) => ip.octets(),
        };
        let mut flags = 0;
        if self.position.is_some() {
            flags |= flag::POSITION;
        }
        if self.len.is_none() {
            flags |= flag::LEN_UNKNOWN;
        }
        let mut comm = [0; 16];
        let name = self.process.comm.as_bytes();
        let len = name.len().min(comm.len());
        comm[..len].copy_from_slice(&name[..len]);
        let captured = self.payload.len() as u32;
        RecordHeader {
            version: ABI_VERSION,
            hook: self.hook as u8,
            flags,
            policy: 0,
            time: self.time.0,
            key: self.connection.key,
            tls_key: self.within_tls.unwrap_or(0),
            position: self.position.unwrap_or(0),
            uid: self.process.uid,
            tgid: self.process.tgid,
            tid: self.process.tid,
            comm,
            family,
            protocol: match self.connection.transport {
                Transport::Tcp => net::TCP,
                Transport::Udp => net::UDP,
                Transport::Tls => net::TLS,
                Transport::Quic => net::QUIC,
                Transport::Raw => net::RAW,
            },
            local_port: self.connection.local.map_or(0, |addr| addr.port()),
            remote_port: self.connection.remote.map_or(0, |addr| addr.port()),
            local_addr: octets(self.connection.local),
            remote_addr: octets(self.connection.remote),
            offset: self.offset,
            len: self.len.unwrap_or(captured),
            captured,
            reserved: 0,
        }
    }
}

/// Returns an endpoint of a socket; `None` if it has neither address nor port.
fn endpoint(ip: IpAddr, port: u16) -> Option<SocketAddr> {
    (port != 0 || !ip.is_unspecified()).then_some(SocketAddr::new(ip, port))
}

/// Returns a thread name. The process chooses it, so invalid UTF-8 is replaced. What replaces it is
/// longer: the end is dropped, so that a header has room for the name.
fn comm(bytes: &[u8; 16]) -> String {
    let name = bytes.split(|&b| b == 0).next().unwrap_or_default();
    let mut name = String::from_utf8_lossy(name).into_owned();
    name.truncate(name.floor_char_boundary(bytes.len() - 1));
    name
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn sample() -> Record {
        Record {
            hook: Hook::SysEnter,
            time: BootTime(5),
            process: Process { uid: 1000, tgid: 2, tid: 3, comm: "client".into() },
            connection: Connection {
                key: 7,
                transport: Transport::Tcp,
                local: Some("10.0.0.1:40000".parse().unwrap()),
                remote: Some("10.0.0.2:80".parse().unwrap()),
            },
            within_tls: None,
            position: Some(9),
            offset: 0,
            len: Some(100),
            payload: Bytes::from_static(b"GET / HTTP/1.1\r\n"),
        }
    }

    fn entry(record: &Record) -> Vec<u8> {
        let mut entry = record.header().bytes().to_vec();
        entry.extend(&record.payload);
        entry
    }

    #[test]
    fn records_round_trip() {
        let mut record = sample();
        assert_eq!(Record::from_kernel(&entry(&record)), Ok(record.clone()));
        record.connection.remote = Some("[2001:db8::1]:443".parse().unwrap());
        record.connection.local = None;
        record.connection.transport = Transport::Udp;
        record.position = None;
        record.len = None;
        assert_eq!(Record::from_kernel(&entry(&record)), Ok(record.clone()));
        for transport in [Transport::Quic, Transport::Raw] {
            record.connection.transport = transport;
            assert_eq!(Record::from_kernel(&entry(&record)), Ok(record.clone()));
        }
        // As the programs write it.
        let header = RecordHeader { family: 0, protocol: net::RAW, captured: 0, ..record.header() };
        let record = Record::from_kernel(&header.bytes()).unwrap();
        assert_eq!((record.connection.local, record.connection.remote), (None, None));
    }

    #[test]
    fn every_name_of_a_thread_round_trips() {
        for comm in [[0xff; 16], *b"\xe4\xf6\xfc browser \xff\xff\0\0", *b"sixteen letters!"] {
            let header = RecordHeader { comm, ..sample().header() };
            let bytes = [&header.bytes(), &sample().payload[..]].concat();
            let record = Record::from_kernel(&bytes).unwrap();
            assert!(record.process.comm.len() < 16, "{:?}", record.process.comm);
            assert_eq!(Record::from_kernel(&entry(&record)), Ok(record));
        }
    }

    #[test]
    fn every_hook_round_trips() {
        for hook in Hook::ALL {
            let record = Record { hook, ..sample() };
            assert_eq!(Record::from_kernel(&entry(&record)), Ok(record));
        }
    }

    #[test]
    fn every_truncation_is_detected() {
        let entry = entry(&sample());
        for len in 0..entry.len() {
            assert_eq!(Record::from_kernel(&entry[..len]), Err(Malformed::Cut(len)));
        }
    }

    #[test]
    fn another_abi_version_is_rejected() {
        let mut entry = entry(&sample());
        entry[0] = 0xff;
        assert!(matches!(Record::from_kernel(&entry), Err(Malformed::Version(_))));
    }

    #[test]
    fn an_ipv4_peer_of_an_ipv6_socket_is_ipv4() {
        let mut header = sample().header();
        header.family = net::AF_INET6;
        header.remote_addr = Ipv4Addr::LOCALHOST.to_ipv6_mapped().octets();
        header.captured = 0;
        let record = Record::from_kernel(&header.bytes()).unwrap();
        assert_eq!(record.connection.remote, Some("127.0.0.1:80".parse().unwrap()));
    }
}
