//! Real processes: started on free ports of 127.0.0.1, watched, and ended by their own handle.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

/// How often a condition outside this process is looked at again.
const POLL_EVERY: Duration = Duration::from_millis(50);

/// Waits until `condition` gives a value; there is no event to wait for in somebody else's process.
///
/// # Errors
/// After `patience`, with what the last look said.
pub fn wait_for<T>(what: &str, patience: Duration, mut condition: impl FnMut() -> Result<T>) -> Result<T> {
    let deadline = Instant::now() + patience;
    loop {
        match condition() {
            Ok(value) => return Ok(value),
            Err(e) if Instant::now() >= deadline => {
                return Err(e).with_context(|| format!("waited {patience:?} for {what}"));
            }
            Err(_) => std::thread::sleep(POLL_EVERY),
        }
    }
}

/// A port that nobody listens on at the moment.
pub fn free_port() -> Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

/// A binary of this workspace that was built with these tests.
pub fn built(name: &str) -> Result<PathBuf> {
    let me = std::env::current_exe()?;
    let folder = me.ancestors().nth(2).context("a test binary lies in <target>/<profile>/deps")?;
    let path = folder.join(name);
    ensure!(
        path.exists(),
        "{} is missing: run `cargo build --workspace` or `cargo xtask test e2e`",
        path.display()
    );
    Ok(path)
}

/// A running program. Dropping it kills it.
pub struct Process {
    child: Child,
    name: String,
    log: PathBuf,
}

impl Process {
    /// Starts `command` with its stderr, and its stdout unless that is piped, in `<dir>/<name>.log`.
    pub fn start(name: &str, dir: &Path, command: &mut Command) -> Result<Self> {
        let log = dir.join(format!("{name}.log"));
        let file = File::options().create(true).append(true).open(&log)?;
        command.stdin(Stdio::null()).stderr(file.try_clone()?);
        let child = command.spawn().with_context(|| format!("cannot start {name}"))?;
        Ok(Process { child, name: name.to_owned(), log })
    }

    /// Starts a program that writes its stdout into the log too.
    pub fn quiet(name: &str, dir: &Path, command: &mut Command) -> Result<Self> {
        let out = File::options().create(true).append(true).open(dir.join(format!("{name}.log")))?;
        command.stdout(out);
        Self::start(name, dir, command)
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// SIGKILL, at once.
    pub fn kill(mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// SIGTERM; gives the exit code.
    pub fn terminate(self, patience: Duration) -> Result<i32> {
        let status = Command::new("kill").args(["-TERM", &self.pid().to_string()]).status()?;
        ensure!(status.success(), "cannot signal {}", self.name);
        self.wait(patience)
    }

    /// Waits until the program ends by itself; gives its exit code.
    pub fn wait(mut self, patience: Duration) -> Result<i32> {
        let ended = wait_for("its end", patience, || self.child.try_wait()?.context("still running"));
        ended?.code().context("ended by a signal")
    }

    /// The last lines that the program logged.
    pub fn log_tail(&self) -> String {
        let mut text = String::new();
        if let Ok(mut f) = File::open(&self.log) {
            let _ = f.read_to_string(&mut text);
        }
        let lines: Vec<_> = text.lines().collect();
        lines[lines.len().saturating_sub(30)..].join("\n")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- end of the log of {}\n{}", self.name, self.log_tail());
        }
    }
}

/// A running cairn with its addresses.
pub struct Cairn {
    pub process: Process,
    pub http: String,
    pub write: String,
}

impl Cairn {
    /// Starts the all-in-one on free ports, data in `data`, and waits for its ready line.
    pub fn start(dir: &Path, data: &Path, args: &[&str]) -> Result<Self> {
        Self::start_as(Command::new(built("cairn")?), dir, data, args)
    }

    /// The same with a command of the caller's that becomes cairn.
    pub fn start_as(mut command: Command, dir: &Path, data: &Path, args: &[&str]) -> Result<Self> {
        for address in ["--http-address", "--remote-write.address", "--grpc-address", "--peer-address"] {
            command.args([address, "127.0.0.1:0"]);
        }
        command.arg("--data-dir").arg(data).args(args).stdout(Stdio::piped());
        let mut process = Process::start("cairn", dir, &mut command)?;
        let stdout = process.child.stdout.take().context("piped above")?;
        let mut lines = BufReader::new(stdout).lines();
        let Some(ready) = lines.next() else {
            bail!("cairn ended before it was ready:\n{}", process.log_tail());
        };
        let ready = ready?;
        // Whatever else it says must not fill the pipe.
        std::thread::spawn(move || lines.for_each(drop));
        let field = |key: &str| {
            let found = ready.split(' ').find_map(|w| w.strip_prefix(key)?.strip_prefix('='));
            found.map(str::to_owned).with_context(|| format!("no {key}= in {ready:?}"))
        };
        ensure!(ready.starts_with("cairn ready "), "the first line is {ready:?}");
        Ok(Cairn { process, http: field("http")?, write: field("write")? })
    }
}
