//! Options of `tracer run` for the store.

use std::{path::PathBuf, time::Duration};

use anyhow::Context as _;

use tracer_core::alert::printable;

use crate::store::{Place, Retention, Store, StoreEvent, default_place};

/// Options of the store.
#[derive(Debug, clap::Args)]
#[group(id = "keep", multiple = true)]
pub(super) struct Args {
    /// Keep the alerts in this store [default: /var/lib/tracer/tracer.db for root, otherwise in
    /// ~/.local/state/tracer; see docs/reference/store.md]
    #[arg(long, value_name = "FILE", conflicts_with = "no_store")]
    store: Option<PathBuf>,
    /// Do not keep alerts
    #[arg(long)]
    no_store: bool,
    /// Remove stored alerts that were last seen more than N days ago
    #[arg(long, value_name = "N", default_value_t = 90,
          value_parser = clap::value_parser!(u32).range(1..=36_500))]
    keep_days: u32,
    /// Remove the oldest alerts when the store grows beyond N MiB
    #[arg(long, value_name = "N", default_value_t = 256,
          value_parser = clap::value_parser!(u32).range(1..=1 << 20))]
    keep_mib: u32,
}

impl Args {
    /// Opens the store that the user named. Failing to open it is an error.
    pub(super) fn open_named(&self) -> anyhow::Result<Option<Store>> {
        let Some(path) = &self.store else {
            return Ok(None);
        };
        let store = Store::open(&Place::Named(path.clone()))
            .with_context(|| format!("--store {}", path.display()))?;
        Ok(Some(store))
    }

    /// Opens the default store, unless the user chose otherwise. Without it, alerts are still
    /// shown.
    pub(super) fn open_default(&self) -> Option<Store> {
        if self.no_store || self.store.is_some() {
            return None;
        }
        let Some(place) = default_place() else {
            message!(
                "alerts are not kept, because HOME is not set; name a store with --store FILE"
            );
            return None;
        };
        Store::open(&place)
            .inspect_err(|err| {
                let path = place.path().display();
                message!(
                    "alerts are not kept, because {path} cannot be used: {err} (use another one \
                     with --store FILE, or none with --no-store)"
                );
            })
            .ok()
    }

    /// Returns the limits of the store.
    pub(super) fn limits(&self) -> Retention {
        const DAY: Duration = Duration::from_secs(24 * 60 * 60);
        Retention { age: DAY * self.keep_days, size: u64::from(self.keep_mib) << 20 }
    }
}

/// Reports an event of the store.
pub(super) fn report(event: &StoreEvent) {
    match event {
        StoreEvent::Removed { old, surplus, identifiers } => {
            let parts = [
                (*old, "alerts older than --keep-days"),
                (*surplus, "alerts beyond --keep-mib"),
                (*identifiers, "identifiers"),
            ];
            let parts: Vec<_> = parts
                .iter()
                .filter(|(count, _)| *count > 0)
                .map(|(count, what)| format!("{count} {what}"))
                .collect();
            message!("removed from the store: {}", parts.join(", "));
        }
        StoreEvent::Failed(reason) => message!("cannot write to the store: {reason}"),
        StoreEvent::Damaged(place) => message!(
            "the store is damaged ({}), so stored alerts can be missing or wrong; move the file \
             away to start a new one",
            printable(place)
        ),
    }
}
