//! The JSON and the text form of [`Located`].

use std::fmt;

use serde::{Serialize, Serializer};

use super::prologue::Cost;
use super::{Arch, Findings, Function, Library, Located, Method, Missing, Name, Unread};

/// The object that `tracer locate --json` prints.
#[derive(Serialize)]
struct Report<'a> {
    file: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    entry: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    offsets_in: Option<&'a str>,
    arch: Option<Arch>,
    build_id: Option<&'a str>,
    libraries: &'a [Library],
    functions: Vec<ReportFunction<'a>>,
    missing: Vec<ReportMissing>,
    unread: Vec<ReportUnread>,
}

#[derive(Serialize)]
struct ReportFunction<'a> {
    name: Name,
    library: Library,
    /// Offsets in the file: of the entry, and for probes.
    file_offset: u64,
    virtual_address: u64,
    probe_offset: u64,
    probe_instruction: &'a str,
    probe_cost: Cost,
    /// The return address is at `sp + sp_adjust` when the probe is hit.
    sp_adjust: u64,
    return_probe_offset: u64,
    return_probe_cost: Cost,
    method: Method,
    /// The function that is probed in its place.
    #[serde(skip_serializing_if = "Option::is_none")]
    probed_instead: Option<Name>,
}

#[derive(Serialize)]
struct ReportMissing {
    name: Name,
    reason: String,
}

#[derive(Serialize)]
struct ReportUnread {
    library: Library,
    reason: String,
}

impl<'a> ReportFunction<'a> {
    fn new(function: &'a Function, findings: &Findings) -> Self {
        Self {
            probed_instead: findings.probed_instead_of(function.name),
            name: function.name,
            library: function.library,
            file_offset: function.file_offset,
            virtual_address: function.virtual_address,
            probe_offset: function.probe_offset(),
            probe_instruction: &function.probes.arguments.instruction,
            probe_cost: function.probes.arguments.cost,
            sp_adjust: function.probes.arguments.sp_adjust,
            return_probe_offset: function.return_probe_offset(),
            return_probe_cost: function.probes.returns.cost,
            method: function.method,
        }
    }
}

impl From<&Missing> for ReportMissing {
    fn from(missing: &Missing) -> Self {
        Self { name: missing.name, reason: missing.reason.to_string() }
    }
}

impl From<&Unread> for ReportUnread {
    fn from(unread: &Unread) -> Self {
        Self { library: unread.library, reason: unread.reason.to_string() }
    }
}

impl Serialize for Located {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let findings = &self.findings;
        Report {
            file: &self.file,
            entry: self.entry.as_deref(),
            offsets_in: self.offsets_in.as_deref(),
            arch: findings.arch,
            build_id: findings.build_id.as_deref(),
            libraries: &findings.libraries,
            functions: findings
                .functions
                .iter()
                .map(|f| ReportFunction::new(f, findings))
                .collect(),
            missing: findings.missing.iter().map(Into::into).collect(),
            unread: findings.unread.iter().map(Into::into).collect(),
        }
        .serialize(serializer)
    }
}

/// ```text
/// /usr/lib/x86_64-linux-gnu/libssl.so.3: OpenSSL, x86_64, build id 4bcf…
///   SSL_write     export       at 0x35b80, probed at +0x16 (js)
///   SSL_write_ex  not found: the library has no symbol of that name
/// ```
impl fmt::Display for Located {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if let Some(entry) = &self.entry {
            write!(f, "!{entry}")?;
        }
        let findings = &self.findings;
        let mut facts: Vec<String> = findings.libraries.iter().map(Library::to_string).collect();
        if facts.is_empty() {
            facts.push("no TLS library".into());
        }
        facts.extend(findings.arch.map(|arch| arch.to_string()));
        facts.extend(findings.build_id.as_ref().map(|id| format!("build id {id}")));
        write!(f, ": {}", facts.join(", "))?;
        if let Some(part) = &self.offsets_in {
            write!(f, " (offsets in {part}, once it is unpacked)")?;
        }

        let names = findings.functions.iter().map(|function| function.name);
        let names = names.chain(findings.missing.iter().map(|missing| missing.name));
        let width = names.map(|name| name.symbol().len()).max().unwrap_or(0);
        for function in &findings.functions {
            let name = function.name.symbol();
            let method = function.method.to_string();
            write!(f, "\n  {name:width$}  {method:13}  at {:#x}", function.file_offset)?;
            if let Some(inner) = findings.probed_instead_of(function.name) {
                write!(f, ", probed in {inner}")?;
                continue;
            }
            let probe = &function.probes.arguments;
            match probe.delta {
                0 => f.write_str(", probed there")?,
                delta => write!(f, ", probed at +{delta:#x}")?,
            }
            match probe.instruction.as_str() {
                "" => write!(f, " ({})", probe.cost)?,
                instruction => write!(f, " ({instruction}: {})", probe.cost)?,
            }
            let returns = function.probes.returns.cost;
            if returns != probe.cost && function.name.has_return_probe() {
                write!(f, ", its return {returns}")?;
            }
        }
        for missing in &findings.missing {
            let name = missing.name.symbol();
            write!(f, "\n  {name:width$}  not found: {}", missing.reason)?;
        }
        for unread in &findings.unread {
            write!(f, "\n  {}  not read: {}", unread.library, unread.reason)?;
        }
        Ok(())
    }
}
