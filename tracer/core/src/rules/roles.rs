//! Places that give URLs their role: `rules/roles.toml`.

use serde::Deserialize;
use toml::Spanned;

use super::{Located, Named, RulesError, RulesFile, Text, overlay};
use crate::finding::UrlRole;

/// The embedded file.
pub(super) const EMBEDDED: RulesFile<'_> =
    RulesFile { name: "roles.toml", text: include_str!("../../../rules/roles.toml") };

/// Places that give URLs their role, and signs of requests that report.
#[derive(Debug, Clone, Default)]
pub struct Roles {
    /// The places.
    pub places: Vec<Located<RolePlace>>,
    /// The signs of reports.
    pub reports: Vec<Located<ReportSign>>,
    /// The signs of requests that report nothing.
    pub no_reports: Vec<Located<NoReportSign>>,
    /// Programs that contain a browser engine but are not browsers.
    pub no_browsers: Vec<Located<NoBrowser>>,
}

/// A place that gives a URL its role.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RolePlace {
    /// Name of the entry.
    pub name: Text,
    /// The role of URLs at the place.
    pub role: UrlRole,
    /// Names of the fields, attributes or elements that hold the URL. Any name matches if
    /// the list is empty.
    #[serde(default)]
    pub names: Vec<Text>,
    /// Names in exactly this spelling, beside `names`: the mark before `$ref` makes it another
    /// name than `ref`.
    #[serde(default)]
    pub spelled: Vec<Text>,
    /// Starts of URLs, without the scheme. Such a URL has the role in any field.
    #[serde(default)]
    pub starts: Vec<Text>,
    /// Names of which one must enclose the field. Any field matches if the list is empty.
    #[serde(default)]
    pub within: Vec<Text>,
    /// Ends of the URL's path, of which one must match. Any path matches if the list is
    /// empty.
    #[serde(default)]
    pub extensions: Vec<Text>,
    /// Set if the place gives the role only in requests that report, because its name is
    /// in general use.
    #[serde(default)]
    pub in_reports: bool,
    /// Reason for the entry.
    pub reason: Text,
    /// Source of that reason.
    pub source: Text,
}

/// A sign that a request reports what happened in an application.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReportSign {
    /// Name of the entry.
    pub name: Text,
    /// Words of which the request's path must contain one.
    #[serde(default)]
    pub path: Vec<Text>,
    /// Names of which one must enclose the URL.
    #[serde(default)]
    pub within: Vec<Text>,
    /// Values of which a field must have one, in any case.
    #[serde(default)]
    pub values: Vec<Text>,
    /// Set if the sign counts only in requests of programs that call themselves browsers,
    /// because other services have such words as well.
    #[serde(default)]
    pub of_browsers: bool,
    /// Reason for the entry.
    pub reason: Text,
    /// Source of that reason.
    pub source: Text,
}

/// A sign that a request reports nothing, although its words may be those of reports.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NoReportSign {
    /// Name of the entry.
    pub name: Text,
    /// Words of which the request's path must contain one.
    #[serde(default)]
    pub path: Vec<Text>,
    /// Media types of which the request's content must have one.
    #[serde(default)]
    pub types: Vec<Text>,
    /// Reason for the entry.
    pub reason: Text,
    /// Source of that reason.
    pub source: Text,
}

/// Programs that contain the engine of a browser, and name it in their `User-Agent`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NoBrowser {
    /// Name of the entry.
    pub name: Text,
    /// Parts of `User-Agent`, of which one must be in it.
    pub agents: Vec<Text>,
    /// Reason for the entry.
    pub reason: Text,
    /// Source of that reason.
    pub source: Text,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    place: Vec<Spanned<RolePlace>>,
    #[serde(default)]
    report: Vec<Spanned<ReportSign>>,
    #[serde(default)]
    no_report: Vec<Spanned<NoReportSign>>,
    #[serde(default)]
    no_browser: Vec<Spanned<NoBrowser>>,
}

impl Roles {
    /// Parses a file.
    pub fn parse(file: RulesFile<'_>) -> Result<Self, RulesError> {
        let File { place, report, no_report, no_browser } = file.parse()?;
        let roles = Self {
            places: file.entries(place)?,
            reports: file.entries(report)?,
            no_reports: file.entries(no_report)?,
            no_browsers: file.entries(no_browser)?,
        };
        for Located { entry, place } in &roles.places {
            let conditions =
                [&entry.names, &entry.spelled, &entry.starts, &entry.within, &entry.extensions];
            let is_free = conditions.iter().all(|list| list.is_empty());
            if is_free {
                return Err(place.error(format!(
                    "`{}` matches every URL; add `names` or another condition",
                    entry.name()
                )));
            }
        }
        Ok(roles)
    }

    /// Adds the entries of `over`, which replace entries with the same name.
    pub fn overlay(&mut self, over: Self) {
        overlay(&mut self.places, over.places);
        overlay(&mut self.reports, over.reports);
        overlay(&mut self.no_reports, over.no_reports);
        overlay(&mut self.no_browsers, over.no_browsers);
    }
}

impl Named for RolePlace {
    fn name(&self) -> &str {
        self.name.as_str()
    }
}

impl Named for NoReportSign {
    fn name(&self) -> &str {
        self.name.as_str()
    }
}

impl Named for NoBrowser {
    fn name(&self) -> &str {
        self.name.as_str()
    }
}

impl Named for ReportSign {
    fn name(&self) -> &str {
        self.name.as_str()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_embedded_file_has_every_role() {
        let roles = Roles::parse(EMBEDDED).unwrap();
        for role in [
            UrlRole::Page,
            UrlRole::Resource,
            UrlRole::Callback,
            UrlRole::Reference,
            UrlRole::Software,
        ] {
            assert!(roles.places.iter().any(|place| place.entry.role == role), "{role:?}");
        }
        assert!(!roles.reports.is_empty());
    }

    #[test]
    fn a_place_without_conditions_is_refused() {
        let text = "[[place]]\nname = 'all'\nrole = 'page'\nreason = 'r'\nsource = 's'\n";
        let err = Roles::parse(RulesFile { name: "roles.toml", text }).unwrap_err();
        assert_eq!(err.line, 1, "{err}");
    }
}
