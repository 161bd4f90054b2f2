//! Finding entries by what they list, and the checks that nothing is listed
//! twice.

use std::collections::HashMap;

use super::{Browser, Domain, Located, Maker, RulesError, Service, domain::Domains};

/// Who receives a request: both can be true.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Party<'r> {
    /// The host is of the browser's own maker.
    pub maker: Option<Ownership<'r>>,
    /// The service that receives there.
    pub service: Option<&'r Service>,
}

/// How a host belongs to the browser's maker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ownership<'r> {
    /// The maker.
    pub maker: &'r Maker,
    /// Pages of other sites send there too: header fields which say that a page
    /// made a request may be believed.
    pub embedded: bool,
}

/// A host's maker, by its place in the list.
#[derive(Debug, Clone, Copy)]
pub(super) struct Owner {
    pub(super) maker: usize,
    pub(super) embedded: bool,
}

/// From domains, packages and executables to entries.
#[derive(Debug, Clone, Default)]
pub(super) struct Index {
    owners: Domains<Owner>,
    services: Domains<usize>,
    /// By package.
    packages: HashMap<String, usize>,
    /// By an executable's path, where it begins with a slash, or its file's name.
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
        for (at, located) in browsers.iter().enumerate() {
            index.add_browser(at, located, browsers, makers)?;
        }
        for (at, located) in services.iter().enumerate() {
            let Located { entry, place } = located;
            if entry.domains.is_empty() {
                return Err(place.error(format!("`{}` has no domain: list one", entry.name)));
            }
            for domain in &entry.domains {
                if let Some(other) = index.services.insert(domain.clone(), at) {
                    let other = services.get(other).map(|other| other.entry.name.as_str());
                    return Err(listed_twice(located, domain.as_str(), entry.name.as_str(), other));
                }
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
        let Maker { name, domains, page_domains, .. } = &located.entry;
        // Page domains come last, so that they win where a domain is in both.
        let strict = domains.iter().map(|domain| (domain, false));
        let listed = strict.chain(page_domains.iter().map(|domain| (domain, true)));
        for (domain, embedded) in listed {
            if let Some(other) = self.owners.exact(domain).filter(|other| {
                // The same maker may have a domain in both lists, not twice in one.
                other.maker != maker || other.embedded == embedded
            }) {
                let other = makers.get(other.maker).map(|other| other.entry.name.as_str());
                return Err(listed_twice(located, domain.as_str(), name.as_str(), other));
            }
            self.owners.insert(Domain::clone(domain), Owner { maker, embedded });
        }
        Ok(())
    }

    fn add_browser(
        &mut self,
        at: usize,
        located: &Located<Browser>,
        browsers: &[Located<Browser>],
        makers: &[Located<Maker>],
    ) -> Result<(), RulesError> {
        let Browser { name, maker, packages, executables, .. } = &located.entry;
        if !makers.iter().any(|known| known.entry.name == *maker) {
            return Err(located.place.error(format!(
                "`{name}` is made by `{maker}`, who has no entry: add a [[maker]] of that name"
            )));
        }
        if packages.is_empty() && executables.is_empty() {
            return Err(located.place.error(format!(
                "`{name}` has neither packages nor executables: list one, or nothing is known by it"
            )));
        }
        for package in packages {
            if let Some(other) = self.packages.insert(package.as_str().to_owned(), at) {
                let other = browsers.get(other).map(|other| other.entry.name.as_str());
                return Err(listed_twice(located, package.as_str(), name.as_str(), other));
            }
        }
        for executable in executables {
            if let Some(other) = self.executables.insert(executable.as_str().to_owned(), at) {
                let other = browsers.get(other).map(|other| other.entry.name.as_str());
                return Err(listed_twice(located, executable.as_str(), name.as_str(), other));
            }
        }
        Ok(())
    }

    pub(super) fn browser(&self, application: &str) -> Option<usize> {
        // The kernel says it of files that were replaced while they ran.
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

fn listed_twice<T>(
    located: &Located<T>,
    what: &str,
    name: &str,
    other: Option<&str>,
) -> RulesError {
    let other = other.unwrap_or(name);
    located.place.error(format!(
        "`{what}`, which `{name}` lists, is in `{other}`'s list: leave it in one of them, \
         or give a file of yours an entry `{other}` without it"
    ))
}
