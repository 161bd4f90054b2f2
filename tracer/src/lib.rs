//! tracer catches browsers that report the pages their users visit.
//!
//! Data flows one way, and the modules stand in its order:
//! [`hook`] → [`record`] → [`stream`] → [`proto`] → [`content`] → [`detect`] →
//! [`judge`] → [`sink`]; [`pipeline`] joins the middle ones, and [`store`] keeps
//! what the last one shows. Past `content`, a
//! second way leads from `proto` by [`account`] to `sink`: what was not read.
//!
//! [`import`] reads recordings of other tools in place of what `hook` captures,
//! and [`export`] writes requests for them.
//!
//! [`audit`] makes answers of what was done to a browser and what it sent.
//!
//! [`rules`] is what is known of vendors, as data, for `detect` and `judge`.
//! [`locate`] finds the functions in TLS libraries that `hook` attaches to,
//! [`packages`] the applications of Android that it watches by name. [`doctor`]
//! says what of all this works on a machine.
//!
//! `stream`, `proto`, `content`, `rules` (but for reading a user's files), `detect`,
//! `judge`, `account`, `pipeline`, `packages`, `audit`, `import` and `export` are
//! pure: bytes and a timestamp in, values out. `ARCHITECTURE.md` names the invariants.

#![forbid(unsafe_code)]

pub mod hook;
pub mod record;
pub mod stream;
pub mod proto;
pub mod content;
pub mod rules;
pub mod detect;
pub mod judge;
pub mod account;
pub mod pipeline;
pub mod audit;
pub mod sink;
pub mod store;

pub mod import;
pub mod export;

pub mod locate;
pub mod packages;
pub mod doctor;

pub mod cli;
