//! The tools that watch, and what they report.

use std::{
    fmt, fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};

use super::{
    processes::{self, Usage},
    site::{Load, OTHER, SENDER, Site},
};
use crate::shell;

/// Time for a tool to start, and to finish what it has captured.
const PATIENCE: Duration = Duration::from_secs(120);

/// A tool, or none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Variant {
    Nothing,
    /// tracer with this hook, for another user.
    OutOfScope(&'static str),
    /// tracer with this hook, for the sender.
    InScope(&'static str),
    Tcpdump,
    Tcpflow,
    Tshark,
    Bpftrace,
}

/// tracer's hooks. Those that the kernel does not have are left out.
const HOOKS: [&str; 4] = ["kprobe", "fentry", "tcp-tracepoint", "sys-enter"];

impl Variant {
    /// Returns what is compared under a load. Tools that read no TLS are not compared under it,
    /// except for tcpdump, as the cheapest that records everything.
    pub(super) fn all(load: Load) -> Vec<Self> {
        let mut all = vec![Self::Nothing];
        if load != Load::Telemetry {
            all.extend(HOOKS.map(Self::OutOfScope));
        }
        all.extend(HOOKS.map(Self::InScope));
        all.push(Self::Tcpdump);
        match load {
            Load::Http => all.extend([Self::Tcpflow, Self::Tshark, Self::Bpftrace]),
            Load::Tls => all.push(Self::Bpftrace),
            Load::Telemetry => {}
        }
        all
    }
}

impl fmt::Display for Variant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nothing => f.write_str("nothing"),
            Self::OutOfScope(hook) => write!(f, "tracer, out of scope, {hook}"),
            Self::InScope(hook) => write!(f, "tracer, in scope, {hook}"),
            Self::Tcpdump => f.write_str("tcpdump -w"),
            Self::Tcpflow => f.write_str("tcpflow -c"),
            Self::Tshark => f.write_str("tshark"),
            Self::Bpftrace => f.write_str("bpftrace"),
        }
    }
}

/// The resources that a tool used, and the requests that it reported.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Watched {
    /// CPU time in seconds.
    pub(super) cpu: f64,
    /// Memory in MB.
    pub(super) memory: f64,
    /// Number of requests; `None` for a tool that is not asked for them.
    pub(super) reported: Option<f64>,
    /// Number of sends that the tool itself reports as lost.
    pub(super) lost: Option<f64>,
}

/// A tool that is watching.
pub(super) struct Watching {
    variant: Variant,
    load: Load,
    tool: Option<Child>,
    output: PathBuf,
    messages: PathBuf,
    /// CPU time, and what it was at the start of the load.
    usage: Usage,
    before: f64,
}

impl Watching {
    /// Starts a tool and waits until it watches.
    ///
    /// # Errors
    /// If it does not start, with the end of its messages.
    pub(super) fn start(site: &Site, tracer: &Path, variant: Variant, load: Load) -> Result<Self> {
        let [output, messages] = ["output", "messages"].map(|name| site.folder().join(name));
        for file in [&output, &messages] {
            fs::write(file, "")?;
        }
        let mut watching = Self {
            variant,
            load,
            tool: None,
            output,
            messages,
            usage: Usage::default(),
            before: 0.0,
        };
        let Some((mut command, ready)) = watching.command(site, tracer)? else {
            return Ok(watching);
        };
        command.stdin(Stdio::null());
        command.stdout(fs::OpenOptions::new().append(true).open(&watching.output)?);
        command.stderr(fs::OpenOptions::new().append(true).open(&watching.messages)?);
        let name = command.get_program().display().to_string();
        let tool = command.spawn().with_context(|| format!("cannot start {name}"))?;
        watching.tool = Some(tool);
        watching.wait_until(ready)?;
        // Until it has set up the rest.
        thread::sleep(Duration::from_millis(500));
        if let Some(tool) = &watching.tool {
            watching.usage.observe(tool.id());
        }
        watching.before = watching.usage.seconds();
        Ok(watching)
    }

    /// Returns the command of the tool, and what it says when it watches.
    fn command(&self, site: &Site, tracer: &Path) -> Result<Option<(Command, &'static str)>> {
        let port = if self.load == Load::Tls { "dst port 8443" } else { "dst port 8080" };
        let of_tracer = |uid: u32, hook: &str| {
            let mut command = Command::new(tracer);
            command.args(["run", "--uid", &uid.to_string(), "--hook", hook]);
            command.args(["--no-store", "--json"]).current_dir("/");
            (command, "watching")
        };
        Ok(Some(match self.variant {
            Variant::Nothing => return Ok(None),
            Variant::OutOfScope(hook) => of_tracer(OTHER, hook),
            Variant::InScope(hook) => of_tracer(SENDER, hook),
            Variant::Tcpdump => {
                let mut command = site.inside("tcpdump");
                // As root, since the folder is root's.
                command.args(["-Z", "root", "-i", "lo", "-w"]).arg(&self.output).arg(port);
                (command, "listening on")
            }
            Variant::Tcpflow => {
                let mut command = site.inside("tcpflow");
                command.args(["-c", "-i", "lo", port]);
                (command, "listening on")
            }
            Variant::Tshark => {
                let mut command = site.inside("tshark");
                command.args(["-l", "-i", "lo", "-f", port, "-Y", "http.request"]);
                command.args(["-T", "fields", "-e", "http.request.method"]);
                (command, "Capturing on")
            }
            Variant::Bpftrace => {
                // Outside of the namespace, in which /sys has no tracing.
                let tracing = ["-t", "tracefs", "tracefs", "/sys/kernel/tracing"];
                if !Path::new("/sys/kernel/tracing/events").exists() {
                    shell::answer(Command::new("mount").args(tracing))?;
                }
                let mut command = Command::new("bpftrace");
                command.args(["-e", &bpftrace_program(self.load)?]);
                (command, "Attaching")
            }
        }))
    }

    fn wait_until(&mut self, ready: &str) -> Result<()> {
        const STEP: Duration = Duration::from_millis(50);
        let mut waited = Duration::ZERO;
        loop {
            let said = [&self.messages, &self.output].map(fs::read).into_iter().flatten();
            let is_ready = |text: &[u8]| String::from_utf8_lossy(text).contains(ready);
            if said.into_iter().any(|text| is_ready(&text)) {
                return Ok(());
            }
            let ended = self.tool.as_mut().and_then(|tool| tool.try_wait().transpose());
            if ended.is_some() || waited >= PATIENCE {
                let text = fs::read_to_string(&self.messages).unwrap_or_default();
                let said = text.trim().lines().next().unwrap_or("it said nothing");
                bail!("it does not watch: {said}");
            }
            thread::sleep(STEP);
            waited += STEP;
        }
    }

    /// Ends the tool, and returns what it used and reported.
    ///
    /// # Errors
    /// If it does not end.
    pub(super) fn end(mut self) -> Result<Watched> {
        let Some(tool) = &mut self.tool else {
            return Ok(Watched::default());
        };
        let memory = processes::memory(tool.id());
        shell::succeeds(Command::new("kill").args(["-INT", &tool.id().to_string()]));
        self.usage.observe_to_end(tool, PATIENCE)?;
        let cpu = self.usage.seconds() - self.before;
        self.tool = None;
        let messages = fs::read_to_string(&self.messages)?;
        let mut watched = Watched { cpu, memory, reported: None, lost: None };
        match self.variant {
            Variant::Nothing | Variant::OutOfScope(_) => {}
            Variant::InScope(_) => {
                watched.reported = requests_read(&messages);
                watched.lost = Some(sends_lost(&messages));
                ensure!(watched.reported.is_some(), "tracer printed no summary: {messages}");
            }
            // Requests of the other load are of several kinds.
            _ if self.load == Load::Telemetry => {}
            Variant::Tshark => watched.reported = Some(count(&self.output, "GET")?),
            _ => watched.reported = Some(count(&self.output, &Site::mark())?),
        }
        Ok(watched)
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        if let Some(tool) = &mut self.tool {
            shell::succeeds(Command::new("kill").arg(tool.id().to_string()));
            thread::sleep(Duration::from_millis(500));
            let _ = tool.kill();
            let _ = tool.wait();
        }
    }
}

/// Returns a program that prints the beginning of what the sender writes.
fn bpftrace_program(load: Load) -> Result<String> {
    let print = format!("/uid == {SENDER}/ {{ printf(\"%s\\n\", str(arg1, 64)); }}");
    if load != Load::Tls {
        let print = print.replace("arg1", "args->buf");
        return Ok(format!("tracepoint:syscalls:sys_enter_write {print}"));
    }
    let wrk = shell::on_path("wrk").context("no wrk")?;
    let libraries = shell::answer(Command::new("ldd").arg(wrk))?;
    let library = libraries.lines().find_map(|line| {
        let (name, path) = line.trim().split_once(" => ")?;
        name.starts_with("libssl.").then(|| path.split(' ').next().unwrap_or_default())
    });
    let library = library.context("wrk has no libssl")?;
    Ok(format!("uprobe:{library}:SSL_write {print}"))
}

/// Counts a text in a file.
fn count(file: &Path, text: &str) -> Result<f64> {
    let bytes = fs::read(file)?;
    let text = text.as_bytes();
    // The first byte rarely occurs otherwise.
    let hits = bytes.windows(text.len()).filter(|window| window[0] == text[0] && *window == text);
    Ok(hits.count() as f64)
}

/// Returns the number of requests in tracer's summary.
fn requests_read(messages: &str) -> Option<f64> {
    let line =
        messages.lines().find(|line| line.contains(" sends, ") || line.contains(" send, "))?;
    let part = line.split(", ").find(|part| part.contains(" request"))?;
    digits(part)
}

/// Returns the number of sends that tracer's summary reports as lost.
fn sends_lost(messages: &str) -> f64 {
    let lines = messages.lines().map(|line| line.trim_start_matches("tracer: "));
    let lost = lines.filter(|line| {
        line.starts_with(|first: char| first.is_ascii_digit())
            && (line.contains(" lost") || line.contains("captured and not decoded"))
    });
    lost.filter_map(|line| digits(line.split(' ').next()?)).fold(0.0, |sum, lost| sum + lost)
}

fn digits(text: &str) -> Option<f64> {
    let digits: String = text.chars().filter(char::is_ascii_digit).collect();
    digits.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::{requests_read, sends_lost};

    #[test]
    fn reads_the_summary_of_a_run() {
        let messages = "tracer: watching; press Ctrl-C to stop\n\
             tracer: 438300 sends, 438291 requests read, 0 alerts, 0 reports by pages (not alerted)\n\
             tracer: 120 sends lost: the ring buffer was full; try a smaller --head-bytes\n\
             tracer: 3 sends captured and not decoded: an application sent more\n\
             tracer: 9 sends of which only the length is known\n";
        assert_eq!(requests_read(messages), Some(438_291.0));
        assert_eq!(sends_lost(messages), 123.0);
        assert_eq!(requests_read("tracer: watching"), None);
    }
}
