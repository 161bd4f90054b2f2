//! Numbers and names of the formats, shared by reader and writer.

/// Block types (draft-ietf-opsawg-pcapng, section 4).
pub(super) mod block {
    /// Reads the same in both byte orders.
    pub(in super::super) const SECTION_HEADER: u32 = 0x0a0d_0d0a;
    pub(in super::super) const INTERFACE: u32 = 1;
    /// Obsolete.
    pub(in super::super) const PACKET: u32 = 2;
    pub(in super::super) const SIMPLE_PACKET: u32 = 3;
    pub(in super::super) const INTERFACE_STATISTICS: u32 = 5;
    pub(in super::super) const ENHANCED_PACKET: u32 = 6;
    pub(in super::super) const DECRYPTION_SECRETS: u32 = 10;
    /// Custom block that tools may copy to another file, and one that they must
    /// not copy.
    pub(in super::super) const CUSTOM: [u32; 2] = [0x0bad, 0x4000_0bad];
}

/// Codes of options. Each block type has its own.
pub(super) mod option {
    pub(in super::super) const END: u16 = 0;
    pub(in super::super) const COMMENT: u16 = 1;

    pub(in super::super) const SECTION_APPLICATION: u16 = 4;

    pub(in super::super) const INTERFACE_NAME: u16 = 2;
    pub(in super::super) const INTERFACE_DESCRIPTION: u16 = 3;
    pub(in super::super) const INTERFACE_RESOLUTION: u16 = 9;
    pub(in super::super) const INTERFACE_OFFSET: u16 = 14;

    pub(in super::super) const PACKET_FLAGS: u16 = 2;
    pub(in super::super) const PACKET_DROPPED: u16 = 4;

    pub(in super::super) const STATISTICS_DROPPED: u16 = 5;
    pub(in super::super) const STATISTICS_DROPPED_BY_SYSTEM: u16 = 7;
}

/// Follows the length of a section header, in the section's byte order.
pub(super) const BYTE_ORDER_MAGIC: u32 = 0x1a2b_3c4d;

/// Link types (tcpdump.org/linktypes.html).
pub(super) mod link {
    pub(in super::super) const NULL: u16 = 0;
    pub(in super::super) const ETHERNET: u16 = 1;
    pub(in super::super) const RAW: u16 = 101;
    pub(in super::super) const LOOP: u16 = 108;
    pub(in super::super) const LINUX_SLL: u16 = 113;
    pub(in super::super) const IPV4: u16 = 228;
    pub(in super::super) const IPV6: u16 = 229;
    /// Exported PDUs: plaintext behind [tags](super::tag).
    pub(in super::super) const UPPER_PDU: u16 = 252;
    pub(in super::super) const LINUX_SLL2: u16 = 276;
    /// Linux's NFLOG: a packet behind attributes.
    pub(in super::super) const NFLOG: u16 = 239;
    /// macOS's PKTAP, as written by Apple and as registered.
    pub(in super::super) const PKTAP: [u16; 2] = [149, 258];
    /// EtherType of PPP over Ethernet.
    pub(in super::super) const PPPOE_SESSION: u16 = 0x8864;
    /// Numbers of [`RAW`] in files that BSDs write.
    pub(in super::super) const BSD_RAW: [u16; 2] = [12, 14];
}

/// Tags of exported PDUs (Wireshark's `epan/exported_pdu.h`).
///
/// ```text
/// tag u16 │ length u16 │ value      … tag 0 ends them │ the bytes
/// ```
///
/// All numbers are in network byte order, whatever the file's order is.
pub(super) mod tag {
    pub(in super::super) const END: u16 = 0;
    pub(in super::super) const DISSECTOR: u16 = 12;
    pub(in super::super) const IPV4_SOURCE: u16 = 20;
    pub(in super::super) const IPV4_DESTINATION: u16 = 21;
    pub(in super::super) const IPV6_SOURCE: u16 = 22;
    pub(in super::super) const IPV6_DESTINATION: u16 = 23;
    /// Protocol that the ports belong to: [`PORT_TYPE_TCP`].
    pub(in super::super) const PORT_TYPE: u16 = 24;
    pub(in super::super) const SOURCE_PORT: u16 = 25;
    pub(in super::super) const DESTINATION_PORT: u16 = 26;
    /// `version u16 │ seq u32 │ next seq u32 │ last ack u32 │ reassembled u8 │
    /// flags u16 │ urgent u16`.
    pub(in super::super) const TCP_INFO: u16 = 34;

    pub(in super::super) const PORT_TYPE_TCP: u32 = 2;
}

/// TCP flags (RFC 9293, section 3.1).
pub(super) mod tcp_flags {
    pub(in super::super) const SYN: u16 = 0x02;
    pub(in super::super) const PUSH: u16 = 0x08;
    pub(in super::super) const ACK: u16 = 0x10;
}

/// Starts the names of interfaces that tracer writes plaintext of TLS to.
pub(super) const PLAINTEXT_INTERFACE: &str = "tracer-tls";

/// Starts the names of interfaces that tracer writes unencrypted sends to.
pub(super) const CLEAR_INTERFACE: &str = "tracer-tcp";

/// Starts the comment that names the UID of a packet's sender, in PCAPdroid's
/// form: `u-10123`.
pub(super) const UID_COMMENT: &str = "u-";
