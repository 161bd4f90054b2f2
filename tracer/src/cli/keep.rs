//! Where a run keeps its alerts.

use std::{path::PathBuf, time::Duration};

use anyhow::Context as _;

use crate::store::{Keep, News, Place, Store, default_place};

/// The options of the store.
#[derive(Debug, clap::Args)]
#[group(id = "keep", multiple = true)]
pub(super) struct Args {
    /// Keep the alerts in this file [default: /var/lib/tracer/tracer.db, or in
    /// the user's state folder; docs/reference/store.md]
    #[arg(long, value_name = "FILE", conflicts_with = "no_store")]
    store: Option<PathBuf>,
    /// Keep no alerts
    #[arg(long)]
    no_store: bool,
    /// Forget alerts that were last seen so many days ago
    #[arg(long, value_name = "N", default_value_t = 90,
          value_parser = clap::value_parser!(u32).range(1..=36_500))]
    keep_days: u32,
    /// Forget the oldest alerts when the store grows beyond so many MiB
    #[arg(long, value_name = "N", default_value_t = 256,
          value_parser = clap::value_parser!(u32).range(1..=1 << 20))]
    keep_mib: u32,
}

impl Args {
    /// The store that the user named: not to have it is an error.
    pub(super) fn open_named(&self) -> anyhow::Result<Option<Store>> {
        let Some(path) = &self.store else {
            return Ok(None);
        };
        let store = Store::open(&Place::Named(path.clone()))
            .with_context(|| format!("for --store: cannot keep alerts in {}", path.display()))?;
        Ok(Some(store))
    }

    /// The default store, if the user named no other: without it, alerts are
    /// still shown.
    pub(super) fn open_default(&self) -> Option<Store> {
        if self.no_store || self.store.is_some() {
            return None;
        }
        let Some(place) = default_place() else {
            message!("alerts are not kept: there is no home to keep them in (--store)");
            return None;
        };
        Store::open(&place)
            .inspect_err(|err| {
                let path = place.path().display();
                message!("alerts are not kept: cannot use {path}: {err} (--store, --no-store)");
            })
            .ok()
    }

    /// How much is kept.
    pub(super) fn keep(&self) -> Keep {
        const DAY: Duration = Duration::from_secs(24 * 60 * 60);
        Keep { age: DAY * self.keep_days, size: u64::from(self.keep_mib) << 20 }
    }
}

/// Says what the store has to say.
pub(super) fn tell(news: &News) {
    match news {
        News::Forgotten { old, surplus, identifiers } => {
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
            message!("the store has forgotten {}", parts.join(", "));
        }
        News::Failed(why) => message!("the store cannot be written to: {why}"),
    }
}
