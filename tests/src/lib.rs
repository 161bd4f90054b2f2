//! Helpers of the integration tests.
//!
//! | tests | check |
//! |---|---|
//! | `hooks` | that all hooks of the running kernel deliver the same records |
//! | `sends` | every field of a record against the send that it describes |
//! | `scope` | that sends of watched processes are captured, and no others |
//! | `load` | that captured and lost sends add up to all that were sent |
//! | `run` | `tracer run` as users run it, and with a third-party client |
//! | `packages` | that watching Android packages captures their sends, and no others |
//! | `android` | the same on a simulated device, in the environment of Android |
//! | `doctor` | the output of `tracer doctor` on this machine, as root and as another user |
//! | `store` | that stored alerts survive a kill at any moment; `tracer alerts` |
//! | `tls` | alerts for data that a process writes to its TLS library |
//! | `decode` | findings in recorded requests against their manifests |
//! | `report` | an audit's report in a browser, and the comparison of audits |
//! | `formats` | that tracer reads other tools' recordings, and they read its exports |
//! | `rules` | users' rule files, and the error messages for mistakes in them |
//! | `browsers` | alerts and recordings of real browsers over TLS against the server's log |
//! | `clients` | the same for command line programs |
//! | `audit` | the answers of audits of real browsers whose behaviour is known |
//! | `channels` | that audits notice each of many channels of an extension |
//! | `locate` | functions found in installed programs against their known offsets |
//!
//! All but `decode`, `report`, `rules`, `locate` and most of `formats` and `store`
//! need root; see [`skip`]. Most of them send with the [`sender`], a process whose
//! sends a test knows byte for byte ([`payload`]).

pub mod alerting;
pub mod apk;
pub mod audited;
pub mod boringssl;
pub mod browser;
pub mod corpus;
pub mod device;
pub mod devtools;
pub mod leaker;
pub mod live;
pub mod names;
pub mod openssl;
pub mod payload;
pub mod peer;
pub mod private;
pub mod recorder;
pub mod reports;
#[cfg(feature = "schemas")]
pub mod schema;
pub mod sender;
pub mod skip;
pub mod tracer_bin;
pub mod watched;
pub mod web;
