//! What the integration tests share.
//!
//! | tests | what they hold against what |
//! |---|---|
//! | `hooks` | the records of each hook that the kernel has against each other's |
//! | `sends` | a record's every field against what a process of ours sent |
//! | `scope` | whose sends are captured against who was to be watched |
//! | `load` | what was captured, and counted as lost, against all that was sent |
//! | `run` | the `tracer` binary, as a user meets it, and a client of others |
//! | `packages` | whose sends are captured against a list of Android's packages |
//! | `android` | the same, and what a device's surroundings do, on what looks like one |
//! | `doctor` | what `tracer doctor` says of this machine, as root and as another |
//! | `store` | what runs keep, against kills at any moment; `tracer alerts` |
//! | `tls` | an alert against what a process gave to its TLS library |
//! | `decode` | findings in recorded requests against what their manifests list |
//! | `report` | an audit's report in a browser, and audits compared, against what people need |
//! | `formats` | other tools' recordings against what they recorded; what they read of ours |
//! | `rules` | rules of a user's, and their mistakes, against what `tracer` says of them |
//! | `browsers` | alerts and recordings of real browsers over TLS against what a server got |
//! | `audit` | the answers of audits of real browsers against what is known of them |
//! | `clients` | the same of command line programs |
//! | `locate` | functions found in installed programs against what is known of them |
//!
//! All but `decode`, `report`, `rules`, `locate` and most of `formats` and `store` need
//! root; see [`skip`]. Processes that send are the [`sender`]'s, whose sends a test knows byte by
//! byte ([`payload`]).

pub mod apk;
pub mod audited;
pub mod boringssl;
pub mod browser;
pub mod corpus;
pub mod device;
pub mod devtools;
pub mod live;
pub mod openssl;
pub mod payload;
pub mod peer;
pub mod recorder;
pub mod reports;
pub mod sender;
pub mod skip;
pub mod tracer_bin;
pub mod watched;
pub mod web;
