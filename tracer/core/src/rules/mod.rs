//! Rules: knowledge about vendors, as data.
//!
//! The files in `tracer/rules` are embedded. A user's folder may contain files of
//! the same names; an entry there replaces the embedded entry with the same name, or
//! is added ([`Rules::with_overrides`]). `docs/reference/rules.md` describes the files.
//!
//! ```text
//! browsers.toml ─────┐
//! recipients.toml ───┼─▶ lists of entries ─▶ overlaid ─▶ checked ─▶ Rules
//! vocabularies.toml ─┘    (file, line)                    together    (indexed)
//! ```

mod browsers;
mod domain;
mod fields;
mod file;
mod identifiers;
mod index;
mod judgement;
mod recipients;
mod roles;
mod sdks;
mod vocabularies;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use self::index::Index;

pub use self::{
    browsers::{ApplicationError, Browser, Executable, Maker, Package, PrivateMode, Role},
    domain::{Domain, DomainError},
    fields::{Field, FieldKind, FieldText, Fields, Words},
    file::{Located, Named, Place, RulesError, RulesFile, Text, TextError, checked, overlay},
    identifiers::{
        Identifier, IdentifierForm, Identifiers, Owner, OwnerRole, Personal, PersonalForm, Shared,
    },
    index::{Ownership, Party},
    judgement::Row,
    recipients::{Routine, Service},
    roles::{NoReportSign, ReportSign, RolePlace, Roles},
    sdks::{Pattern, Sdk, Sdks, Sign, SignError},
    vocabularies::{Prefix, PrefixError, Vocabularies, Vocabulary},
};

/// The embedded files.
pub const EMBEDDED: [RulesFile<'_>; 8] = [
    browsers::EMBEDDED,
    recipients::EMBEDDED,
    identifiers::EMBEDDED,
    fields::EMBEDDED,
    roles::EMBEDDED,
    sdks::EMBEDDED,
    vocabularies::EMBEDDED,
    judgement::EMBEDDED,
];

/// Knowledge about vendors, indexed for look-ups.
#[derive(Debug, Clone)]
pub struct Rules {
    makers: Vec<Maker>,
    browsers: Vec<Arc<Browser>>,
    services: Vec<Service>,
    routines: Vec<Routine>,
    vocabularies: Vocabularies,
    identifiers: Identifiers,
    fields: Fields,
    roles: Roles,
    sdks: Sdks,
    judgement: Vec<Row>,
    index: Index,
}

impl Rules {
    /// Returns the embedded rules, overridden by the entries of `files` in order. The
    /// name of a file decides which table it contains.
    pub fn with_overrides(files: &[RulesFile<'_>]) -> Result<Self, RulesError> {
        let mut tables = Tables::default();
        for file in EMBEDDED.iter().chain(files) {
            tables.overlay(Tables::parse(*file)?);
        }
        tables.finish()
    }

    /// Returns the makers of browsers.
    pub fn makers(&self) -> &[Maker] {
        &self.makers
    }

    /// Returns the known applications: browsers and parts of systems.
    pub fn browsers(&self) -> &[Arc<Browser>] {
        &self.browsers
    }

    /// Returns the known services that receive data.
    pub fn services(&self) -> &[Service] {
        &self.services
    }

    /// Returns the requests that come with visits and whose meaning is known.
    pub fn routines(&self) -> &[Routine] {
        &self.routines
    }

    /// Returns the vocabularies, whose URLs are not findings.
    pub fn vocabularies(&self) -> &Vocabularies {
        &self.vocabularies
    }

    /// Returns the names of identifiers and personal details.
    pub fn identifiers(&self) -> &Identifiers {
        &self.identifiers
    }

    /// Returns the names of fields that disclose what the user does.
    pub fn fields(&self) -> &Fields {
        &self.fields
    }

    /// Returns the places that give URLs their role.
    pub fn roles(&self) -> &Roles {
        &self.roles
    }

    /// Returns the telemetry SDKs.
    pub fn sdks(&self) -> &Sdks {
        &self.sdks
    }

    /// Returns the rows of the judgement table, in their order.
    pub fn judgement(&self) -> &[Row] {
        &self.judgement
    }

    /// Returns the browser with this executable path, file name, Android package or
    /// Android process name (`com.android.chrome:privileged_process0`).
    ///
    /// Do not pass the name of a thread, which the application can choose freely.
    pub fn browser(&self, application: &str) -> Option<&Arc<Browser>> {
        self.index.browser(application).and_then(|at| self.browsers.get(at))
    }

    /// Returns the browser with this name in the rules, whatever its case.
    pub fn browser_named(&self, name: &str) -> Option<&Arc<Browser>> {
        self.browsers.iter().find(|browser| browser.name.as_str().eq_ignore_ascii_case(name))
    }

    /// Returns the maker of a browser.
    pub fn maker(&self, browser: &Browser) -> Option<&Maker> {
        self.makers.iter().find(|maker| maker.name == browser.maker)
    }

    /// Returns the maker that owns a host, independent of the sender. Two hosts of one
    /// maker are not third parties to each other.
    pub fn owner(&self, host: &str) -> Option<&Maker> {
        self.index.owner(host).and_then(|owner| self.makers.get(owner.maker))
    }

    /// Returns the recipient of what this browser sends to a host (without a port).
    ///
    /// The longest listed domain that contains the host decides.
    pub fn recipient(&self, host: &str, browser: Option<&Browser>) -> Party<'_> {
        let maker = browser.and_then(|browser| {
            let owner = self.index.owner(host)?;
            let maker = self.makers.get(owner.maker)?;
            let is_its_maker = maker.name == browser.maker;
            is_its_maker.then_some(Ownership { maker, embedded: owner.embedded })
        });
        let service = self.index.service(host).and_then(|at| self.services.get(at));
        Party { maker, service }
    }
}

impl Default for Rules {
    /// Returns the embedded rules.
    fn default() -> Self {
        Self::with_overrides(&[]).expect("a test reads the embedded rules")
    }
}

/// The entries of one or more files, not yet checked against each other.
#[derive(Debug, Default)]
pub struct Tables {
    makers: Vec<Located<Maker>>,
    browsers: Vec<Located<Browser>>,
    services: Vec<Located<Service>>,
    routines: Vec<Located<Routine>>,
    vocabularies: Vec<Located<Vocabulary>>,
    judgement: Vec<Located<Row>>,
    identifiers: Identifiers,
    fields: Fields,
    roles: Roles,
    sdks: Sdks,
}

impl Tables {
    /// Parses one file. References to entries in other files are not checked yet.
    pub fn parse(file: RulesFile<'_>) -> Result<Self, RulesError> {
        let mut tables = Self::default();
        match file.name.rsplit('/').next().unwrap_or_default() {
            "browsers.toml" => {
                browsers::Lists { makers: tables.makers, browsers: tables.browsers } =
                    browsers::parse(file)?;
            }
            "recipients.toml" => {
                recipients::Lists { services: tables.services, routines: tables.routines } =
                    recipients::parse(file)?;
            }
            "identifiers.toml" => tables.identifiers = Identifiers::parse(file)?,
            "fields.toml" => tables.fields = Fields::parse(file)?,
            "roles.toml" => tables.roles = Roles::parse(file)?,
            "sdks.toml" => tables.sdks = Sdks::parse(file)?,
            "judgement.toml" => tables.judgement = judgement::parse(file)?,
            "vocabularies.toml" => tables.vocabularies = vocabularies::parse(file)?,
            _ => {
                let known = EMBEDDED.map(|file| file.name).join(", ");
                return Err(file.error(
                    &(0..0),
                    format!("a file of rules cannot have this name; use one of {known}"),
                ));
            }
        }
        Ok(tables)
    }

    /// Returns the number of entries of each type that occurs, by the type's name.
    pub fn counts(&self) -> Vec<(&'static str, usize)> {
        let mut counts = vec![
            ("maker", self.makers.len()),
            ("browser", self.browsers.len()),
            ("routine", self.routines.len()),
            ("service", self.services.len()),
            ("identifier", self.identifiers.identifiers.len()),
            ("shared", self.identifiers.shared.len()),
            ("personal", self.identifiers.personal.len()),
            ("field", self.fields.fields.len()),
            ("interface", self.fields.interface.len()),
            ("place", self.roles.places.len()),
            ("report", self.roles.reports.len()),
            ("no_report", self.roles.no_reports.len()),
            ("sdk", self.sdks.0.len()),
            ("row", self.judgement.len()),
            ("vocabulary", self.vocabularies.len()),
        ];
        counts.retain(|&(_, count)| count > 0);
        counts
    }

    fn overlay(&mut self, over: Self) {
        overlay(&mut self.makers, over.makers);
        overlay(&mut self.browsers, over.browsers);
        overlay(&mut self.services, over.services);
        overlay(&mut self.routines, over.routines);
        overlay(&mut self.vocabularies, over.vocabularies);
        self.identifiers.overlay(over.identifiers);
        self.fields.overlay(over.fields);
        self.roles.overlay(over.roles);
        self.sdks.overlay(over.sdks);
        judgement::overlay(&mut self.judgement, over.judgement);
    }

    /// Checks all entries together.
    fn finish(self) -> Result<Rules, RulesError> {
        let index = Index::new(&self.makers, &self.browsers, &self.services)?;
        fn entries<T, C: FromIterator<T>>(list: Vec<Located<T>>) -> C {
            list.into_iter().map(|located| located.entry).collect()
        }
        Ok(Rules {
            makers: entries(self.makers),
            browsers: entries::<_, Vec<_>>(self.browsers).into_iter().map(Arc::new).collect(),
            services: entries(self.services),
            routines: entries(self.routines),
            vocabularies: entries(self.vocabularies),
            identifiers: self.identifiers,
            fields: self.fields,
            roles: self.roles,
            sdks: self.sdks,
            judgement: entries(self.judgement),
            index,
        })
    }
}
