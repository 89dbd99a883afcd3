//! The `livedex` binary: the worker, and the commands that a person would type.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use livedex_local::child::Child;
use livedex_local::{DataDir, LocalError, Progress, Stop, config, port};
use livedex_wire::reply::ReplyV1;

use super::http;
use crate::console;

/// How long loading the models may take: seconds on any machine, more while it compiles something.
const READY_DEADLINE: Duration = Duration::from_secs(180);

/// More than `livedex` gives its own waves and replies to finish, and takes to clean up.
const GRACE: Duration = Duration::from_secs(25);

/// How often a command's end is looked for.
const EVERY: Duration = Duration::from_millis(10);

/// The binary, with the configuration that it is called with.
#[derive(Debug)]
pub(crate) struct Livedex {
    binary: PathBuf,
    config: PathBuf,
}

impl Livedex {
    /// The binary beside this one.
    pub(crate) fn find() -> anyhow::Result<Self> {
        let own = std::env::current_exe().context("cannot find my own file")?;
        let binary = own.with_file_name("livedex");
        if !binary.is_file() {
            bail!(
                "no livedex beside {}: build it first (cargo build --bin livedex)",
                console::short(&own)
            );
        }
        Ok(Self { binary, config: PathBuf::new() })
    }

    /// Calls it with that configuration from now on.
    pub(crate) fn with_config(self, config: PathBuf) -> Self {
        Self { config, ..self }
    }

    /// What a person would type.
    pub(crate) fn typed(&self, args: &[impl AsRef<str>]) -> String {
        let binary = console::short(&self.binary);
        // A shell looks for a bare name elsewhere.
        let bare = !binary.contains('/');
        let mut words = vec![if bare { format!("./{binary}") } else { binary }];
        words.extend(args.iter().map(|arg| quoted(arg.as_ref())));
        words.extend(["--config".to_owned(), quoted(&console::short(&self.config))]);
        words.join(" ")
    }

    fn command(&self, args: &[String]) -> Command {
        let mut command = Command::new(&self.binary);
        command.args(args).arg("--config").arg(&self.config);
        // The demo shows what its livedex.toml does, not what the caller's environment adds to it.
        for (name, _) in std::env::vars_os() {
            let text = name.to_string_lossy();
            if text.starts_with("LIVEDEX__") || text.starts_with("LIVEDEX_CONFIG") {
                command.env_remove(&name);
            }
        }
        command
    }

    /// Runs a command to its end; what it prints is shown.
    pub(crate) fn run(&self, args: &[String], stop: &Stop) -> anyhow::Result<ExitStatus> {
        let child = Child::spawn_with_output("livedex", self.command(args), &self.config)?;
        Ok(wait(&mut child.with_grace(GRACE), stop)?)
    }

    /// Shows a command as it would be typed, then what it prints.
    pub(super) fn show(
        &self,
        args: &[String],
        shown: &[String],
        stop: &Stop,
    ) -> anyhow::Result<()> {
        console::line(&format!("  $ {}", self.typed(shown)));
        self.run(args, stop)?
            .success()
            .then_some(())
            .with_context(|| format!("`livedex {}` failed: its reason is above", args[0]))
    }

    /// Asks a question, with the command and its table shown.
    pub(super) fn ask(&self, question: &str, more: &[&str], stop: &Stop) -> anyhow::Result<()> {
        let args = ask(question, more);
        self.show(&args, &args, stop)?;
        console::line("");
        Ok(())
    }

    /// Asks a question for the reply itself.
    pub(super) fn reply(
        &self,
        question: &str,
        more: &[&str],
        stop: &Stop,
    ) -> anyhow::Result<ReplyV1> {
        let mut args = ask(question, more);
        args.push("--json".to_owned());
        let reply = self.output(&args, stop)?;
        ReplyV1::from_json(reply.as_bytes()).context("`livedex query --json` gave no reply.v1")
    }

    /// Runs a command for what it prints to standard output.
    pub(super) fn output(&self, args: &[String], stop: &Stop) -> anyhow::Result<String> {
        let mut command = self.command(args);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = Child::spawn_with_output("livedex", command, &self.config)?;
        let (out, err) = (child.process().stdout.take(), child.process().stderr.take());
        let out = std::thread::spawn(move || read(out));
        let err = std::thread::spawn(move || read(err));
        let status = wait(&mut child, stop)?;
        let (out, err) = (out.join().unwrap_or_default(), err.join().unwrap_or_default());
        if !status.success() {
            let reason = err.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("no reason");
            bail!("`livedex {}` failed: {reason}", args.join(" "));
        }
        Ok(out)
    }
}

/// The arguments of a query.
pub(super) fn ask(question: &str, more: &[&str]) -> Vec<String> {
    ["query", question].iter().chain(more).map(|&arg| arg.to_owned()).collect()
}

fn read(pipe: Option<impl std::io::Read>) -> String {
    let mut bytes = Vec::new();
    if let Some(mut pipe) = pipe {
        // What was read until an error is what there is.
        let _ = pipe.read_to_end(&mut bytes);
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn wait(child: &mut Child, stop: &Stop) -> Result<ExitStatus, LocalError> {
    loop {
        if let Some(status) = child.wait_timeout(EVERY) {
            return Ok(status);
        }
        stop.check()?;
    }
}

/// A word as a shell needs it.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+=:,…@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else if word.contains('\'') {
        format!("\"{word}\"")
    } else {
        format!("'{word}'")
    }
}

/// A running `livedex run`. Dropping it lets it finish what is in flight, then ends it.
#[derive(Debug)]
pub(super) struct Worker {
    child: Child,
    http: SocketAddr,
}

impl Worker {
    /// Starts it and waits until it is ready: models loaded, self-test passed, service announced.
    pub(super) fn start(
        livedex: &Livedex,
        data: &DataDir,
        progress: &Progress,
        stop: &Stop,
    ) -> anyhow::Result<Self> {
        let http = endpoint(&livedex.config, progress)?;
        console::line(&format!("  $ {}", livedex.typed(&["run"])));
        let step = progress.begin("loading the models", None);
        let log = data.logs().join("livedex.log");
        let command = livedex.command(&["run".to_owned()]);
        let child = Child::spawn("livedex", command, &log)?.with_grace(GRACE);
        let mut worker = Self { child, http };
        let deadline = Instant::now() + READY_DEADLINE;
        while http::get(http, "/readyz").is_none() {
            worker.check()?;
            if stop.wait(Duration::from_millis(50)) {
                return Err(LocalError::Stopped.into());
            }
            if Instant::now() > deadline {
                let seconds = READY_DEADLINE.as_secs();
                return Err(LocalError::NotReady { name: "livedex", seconds, log }.into());
            }
        }
        step.done(&format!("ready: it logs to {}", console::short(&log)));
        Ok(worker)
    }

    /// Fails if it has ended.
    pub(super) fn check(&mut self) -> Result<(), LocalError> {
        self.child.ended().map_or(Ok(()), Err)
    }

    /// Its metrics in the Prometheus text format; empty if it does not answer just now.
    pub(super) fn metrics(&self) -> String {
        http::get(self.http, "/metrics").unwrap_or_default()
    }
}

/// The worker's HTTP endpoint of the configuration, moved to a free port if that one is taken.
fn endpoint(path: &Path, progress: &Progress) -> anyhow::Result<SocketAddr> {
    let listen = config::get(path, "http", "listen")?.unwrap_or_default();
    if let Ok(address) = listen.parse::<SocketAddr>() {
        if !port::in_use(address.port()) {
            return Ok(address);
        }
        progress.line(&format!("  port {} is in use: the worker takes a free one", address.port()));
    }
    // Free a moment ago: the worker says so if another was faster.
    let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
    config::set_http_listen(path, &free.to_string())?;
    Ok(free)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_can_be_typed() {
        assert_eq!(quoted("livedex.toml"), "livedex.toml");
        assert_eq!(quoted("What is it?"), "'What is it?'");
        assert_eq!(quoted("What's this?"), "\"What's this?\"");
        assert_eq!(quoted(""), "''");
    }

    #[test]
    fn a_query_keeps_its_text_whole() {
        assert_eq!(ask("a b", &["--json"]), ["query", "a b", "--json"]);
    }
}
