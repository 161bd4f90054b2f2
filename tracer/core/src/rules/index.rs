//! The index from domains, packages and executables to entries, and the check that
//! nothing is listed twice.

use std::collections::{HashMap, HashSet};

use super::{
    Browser, Executable, Located, Maker, Named, Package, RulesError, Service, domain::Domains,
};

/// The recipient of a request. Both fields can be set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Party<'r> {
    /// Set if the host belongs to the browser's own maker.
    pub maker: Option<Ownership<'r>>,
    /// The service at this host.
    pub service: Option<&'r Service>,
}

/// The ownership of a host by the browser's maker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ownership<'r> {
    /// The maker.
    pub maker: &'r Maker,
    /// Set if pages of other sites send there too, so that header fields that attribute
    /// a request to a page are plausible.
    pub embedded: bool,
}

/// The maker that owns a host, as an index into the list.
#[derive(Debug, Clone, Copy)]
pub(super) struct Owner {
    pub(super) maker: usize,
    pub(super) embedded: bool,
}

/// Maps domains, packages and executables to entries.
#[derive(Debug, Clone, Default)]
pub(super) struct Index {
    owners: Domains<Owner>,
    services: Domains<usize>,
    /// Keyed by package name.
    packages: HashMap<String, usize>,
    /// Keyed by an executable's absolute path or file name.
    executables: HashMap<String, usize>,
}

impl Index {
    pub(super) fn new(
        makers: &[Located<Maker>],
        browsers: &[Located<Browser>],
        services: &[Located<Service>],
    ) -> Result<Self, RulesError> {
        let mut index = Self::default();
        for (at, located) in makers.iter().enumerate() {
            index.add_maker(at, located, makers)?;
        }
        let names: HashSet<_> = makers.iter().map(|maker| maker.entry.name.as_str()).collect();
        for (at, located) in browsers.iter().enumerate() {
            index.add_browser(at, located, browsers, &names)?;
        }
        for (at, located) in services.iter().enumerate() {
            let Located { entry, place } = located;
            if entry.domains.is_empty() {
                return Err(place.error(format!("`{}` has no domain; list one", entry.name)));
            }
            for domain in &entry.domains {
                let other = index.services.insert(domain.clone(), at);
                only_here(services, at, other, domain.as_str())?;
            }
        }
        Ok(index)
    }

    fn add_maker(
        &mut self,
        maker: usize,
        located: &Located<Maker>,
        makers: &[Located<Maker>],
    ) -> Result<(), RulesError> {
        let Maker { domains, page_domains, .. } = &located.entry;
        // Page domains are inserted last, so that they take precedence.
        let strict = domains.iter().map(|domain| (domain, false));
        let listed = strict.chain(page_domains.iter().map(|domain| (domain, true)));
        for (domain, embedded) in listed {
            let other = self.owners.insert(domain.clone(), Owner { maker, embedded });
            // One maker may have a domain in both lists, but not twice in one.
            let other = other.filter(|other| other.maker != maker || other.embedded == embedded);
            only_here(makers, maker, other.map(|other| other.maker), domain.as_str())?;
        }
        Ok(())
    }

    fn add_browser(
        &mut self,
        at: usize,
        located: &Located<Browser>,
        browsers: &[Located<Browser>],
        makers: &HashSet<&str>,
    ) -> Result<(), RulesError> {
        let Browser { name, maker, packages, executables, .. } = &located.entry;
        if !makers.contains(maker.as_str()) {
            return Err(located.place.error(format!(
                "`{name}` is made by `{maker}`, which has no entry; add a [[maker]] with that name"
            )));
        }
        if packages.is_empty() && executables.is_empty() {
            return Err(located.place.error(format!(
                "`{name}` has neither packages nor executables; list at least one, so that it can be recognised"
            )));
        }
        for package in packages.iter().map(Package::as_str) {
            let other = self.packages.insert(package.to_owned(), at);
            only_here(browsers, at, other, package)?;
        }
        for executable in executables.iter().map(Executable::as_str) {
            let other = self.executables.insert(executable.to_owned(), at);
            only_here(browsers, at, other, executable)?;
        }
        Ok(())
    }

    pub(super) fn browser(&self, application: &str) -> Option<usize> {
        // The kernel appends this to the path of a file that was replaced while it ran.
        let application = application.strip_suffix(" (deleted)").unwrap_or(application);
        if let Some((_, name)) = application.rsplit_once('/') {
            return self
                .executables
                .get(application)
                .or_else(|| self.executables.get(name))
                .copied();
        }
        let package = application.split(':').next().unwrap_or(application);
        self.packages.get(package).or_else(|| self.executables.get(application)).copied()
    }

    pub(super) fn owner(&self, host: &str) -> Option<&Owner> {
        self.owners.longest(host)
    }

    pub(super) fn service(&self, host: &str) -> Option<usize> {
        self.services.longest(host).copied()
    }
}

/// Fails if `other` has already listed `what`.
fn only_here<T: Named>(
    list: &[Located<T>],
    at: usize,
    other: Option<usize>,
    what: &str,
) -> Result<(), RulesError> {
    let entry = |at: usize| list.get(at);
    let (Some(here), Some(other)) = (entry(at), other.and_then(entry)) else {
        return Ok(());
    };
    let (name, other) = (here.entry.name(), other.entry.name());
    Err(here.place.error(format!(
        "`{what}` is listed by both `{name}` and `{other}`; remove it from one of them, \
         or override the entry `{other}` without it in a file of your own"
    )))
}
