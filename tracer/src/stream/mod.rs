//! Byte streams: what each connection sent, in order, with known gaps.
//!
//! Heads are cut by design, records can be lost, and a process can send the
//! same bytes again when the kernel did not take them. A [`Streams`] table
//! turns [`Record`]s into [`Chunk`]s that say exactly which bytes are known.
