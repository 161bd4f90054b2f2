//! Prints the requests of a file.

use std::{
    collections::VecDeque,
    io::{self, Write},
    path::Path,
};

use tracer_core::{
    alert::{json, printable},
    extensions::Extensions,
    finding::Recipient,
    judge::{Disclosure, JudgedRequest},
    pipeline::Output,
    wording::counted,
};

/// Prints requests in their order. A request is judged again if the page that it reports is opened
/// later. The last requests are held back, so that the new result replaces the old one.
pub(super) struct Printer<'a, W> {
    source: String,
    json: bool,
    held: VecDeque<(u64, Vec<u8>)>,
    /// The text that was printed last; kept to reuse its allocation.
    spare: Vec<u8>,
    /// The highest number so far.
    newest: Option<u64>,
    has_notes: bool,
    out: &'a mut W,
}

/// Number of requests to hold back: several times the number that waits to be judged again.
const HELD: usize = 1024;

impl<'a, W: Write> Printer<'a, W> {
    pub(super) fn new(path: &Path, json: bool, out: &'a mut W) -> Self {
        Self {
            source: path.display().to_string(),
            json,
            held: VecDeque::new(),
            spare: Vec::new(),
            newest: None,
            has_notes: false,
            out,
        }
    }

    pub(super) fn outputs(
        &mut self,
        outputs: &mut Vec<Output>,
        extensions: &Extensions,
    ) -> io::Result<()> {
        for output in outputs.drain(..) {
            match output {
                Output::Request(judged) => self.hold(&judged, extensions)?,
                Output::Repeated { .. } => {}
                Output::Lost { loss, count, .. } => {
                    self.note(&loss.explain(count))?;
                }
            }
        }
        Ok(())
    }

    fn hold(&mut self, judged: &JudgedRequest, extensions: &Extensions) -> io::Result<()> {
        let mut text = std::mem::take(&mut self.spare);
        text.clear();
        self.request(judged, extensions, &mut text)?;
        // Numbers ascend, and return when a request is judged again.
        let is_new = self.newest.is_none_or(|newest| judged.number > newest);
        self.newest = self.newest.max(Some(judged.number));
        let mut held = self.held.iter_mut();
        if !is_new && let Some(held) = held.find(|(number, _)| *number == judged.number) {
            held.1 = text;
            return Ok(());
        }
        self.held.push_back((judged.number, text));
        if self.held.len() > HELD
            && let Some((_, text)) = self.held.pop_front()
        {
            self.out.write_all(&text)?;
            self.spare = text;
        }
        Ok(())
    }

    /// Prints the requests that are held back.
    pub(super) fn finish(&mut self) -> io::Result<()> {
        self.held.drain(..).try_for_each(|(_, text)| self.out.write_all(&text))
    }

    fn request(
        &self,
        judged: &JudgedRequest,
        extensions: &Extensions,
        out: &mut Vec<u8>,
    ) -> io::Result<()> {
        let index = judged.number;
        if self.json {
            json::write_request(&self.source, index, judged, extensions, out);
            return Ok(());
        }
        let request = &judged.sent.message;
        write!(
            out,
            "{}#{index}: {} {}{}",
            printable(&self.source),
            printable(request.method.as_deref().unwrap_or("(unknown method)")),
            printable(&host(judged)),
            printable(request.path.as_deref().unwrap_or("(unknown path)"))
        )?;
        let sdk = judged.sdk.as_ref().map(|sdk| format!(", in the format of {sdk}"));
        let to = match &judged.recipient {
            Recipient::ThirdParty | Recipient::Unknown => String::new(),
            known => format!(" to {}", known.describe()),
        };
        let by = judged.sender().as_str();
        let name = judged.extension(extensions).map(|one| format!(" \"{}\"", printable(&one.name)));
        let name = name.unwrap_or_default();
        writeln!(out, "  [{by}{name}{to}{}]", printable(&sdk.unwrap_or_default()))?;
        if let Some(verdict) = judged.verdict() {
            writeln!(out, "    {}: {}", verdict.severity.label(), printable(&verdict.reason))?;
        }
        if let Some(reason) = request.never_sent {
            writeln!(out, "    never sent: {}", reason.explain())?;
        }
        if !request.complete {
            writeln!(
                out,
                "    incomplete: at least {} missing",
                counted(request.unread_bytes, "byte")
            )?;
        }
        let opaque = judged.opaque_bytes();
        if opaque > 0 {
            writeln!(
                out,
                "    not decoded: {} of the content, in an unknown encoding",
                counted(opaque, "byte")
            )?;
        }
        for Disclosure { finding, verdict, .. } in &judged.disclosures {
            writeln!(
                out,
                "    {}{} {} ({}){}\n        {}",
                finding.kind.as_str(),
                finding.class.as_ref().map(|class| format!(" {class}")).unwrap_or_default(),
                printable(&finding.value),
                verdict.severity.as_str(),
                if finding.truncated { "… (truncated)" } else { "" },
                printable(&finding.chain)
            )?;
        }
        Ok(())
    }

    /// Reports whether there was nothing to print.
    pub(super) fn is_silent(&self) -> bool {
        self.newest.is_none() && !self.has_notes
    }

    /// Prints a note about the file.
    pub(super) fn note(&mut self, text: &str) -> io::Result<()> {
        self.out.flush()?;
        self.has_notes = true;
        message!("{}: {text}", printable(&self.source));
        Ok(())
    }
}

/// Returns the host of a request, and its source if it is derived.
fn host(judged: &JudgedRequest) -> String {
    match (&judged.sent.message.authority, &judged.derived_host) {
        (Some(authority), _) => authority.clone(),
        (None, Some(host)) => format!("{} ({})", host.name, host.from.describe()),
        (None, None) => "(unknown host)".to_owned(),
    }
}
