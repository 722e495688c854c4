//! Processes that are measured: they end with the driver, and say what they cost.

use std::fs::{self, File};
use std::io;
use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process, set_parent_process_death_signal};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// Linux counts a process's time in hundredths of a second, whatever its own clock does.
const TICKS_PER_SECOND: f64 = 100.0;

/// How long a system may take to start or to stop.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// A started process. Dropped, it is killed.
pub struct Process {
    child: Child,
    name: String,
    log: PathBuf,
}

impl Process {
    /// Starts a program; what it prints goes to a file in `directory`.
    ///
    /// It is started by way of `bench child`, which ends it when the driver ends, however that happens. So this
    /// must be called by the driver's main thread.
    pub fn start(name: &str, directory: &Path, command: &Command) -> Result<Self> {
        fs::create_dir_all(directory)?;
        let log = directory.join(format!("{name}.log"));
        let output = File::options().create(true).append(true).open(&log)?;
        let mut wrapped = Command::new(std::env::current_exe()?);
        wrapped.arg("child").arg(command.get_program()).args(command.get_args()).current_dir(directory);
        for (variable, _) in std::env::vars_os() {
            // A measurement is not to depend on the settings of who starts it.
            if variable.to_string_lossy().starts_with("CAUSEWAY_") || variable.to_string_lossy().starts_with("OTEL_") {
                wrapped.env_remove(variable);
            }
        }
        for (variable, value) in command.get_envs() {
            wrapped.env(variable, value.context("variables are only set")?);
        }
        let child = wrapped.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output).spawn();
        Ok(Self { child: child.with_context(|| format!("{name} can't be started"))?, name: name.to_owned(), log })
    }

    /// Its id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Waits until `ready` says so.
    pub fn until(&mut self, what: &str, mut ready: impl FnMut() -> bool) -> Result<()> {
        let began = Instant::now();
        while !ready() {
            if let Some(status) = self.child.try_wait()? {
                bail!("{} ended with {status}:\n{}", self.name, self.last_lines());
            }
            ensure!(began.elapsed() < PATIENCE, "{} is not {what} in time:\n{}", self.name, self.last_lines());
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    }

    /// Stops it in order, as an operator would.
    pub fn stop(mut self) -> Result<()> {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, Signal::TERM)?;
        let began = Instant::now();
        while self.child.try_wait()?.is_none() {
            ensure!(began.elapsed() < PATIENCE, "{} doesn't stop", self.name);
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    fn last_lines(&self) -> String {
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended on its own.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The processors, half for what is measured and half for its load: neither takes the other's, as on two machines. With a
/// single one, both have that.
pub struct Halves {
    all: CpuSet,
    first: CpuSet,
    second: CpuSet,
}

impl Halves {
    /// Of those that this thread may run on.
    pub fn of_all() -> Result<Self> {
        let all = sched_getaffinity(None)?;
        let mine: Vec<usize> = (0..CpuSet::MAX_CPU).filter(|cpu| all.is_set(*cpu)).collect();
        let (first, second) = mine.split_at(mine.len() / 2);
        let set = |of: &[usize]| {
            let mut set = CpuSet::new();
            of.iter().for_each(|cpu| set.set(*cpu));
            set
        };
        Ok(Self { all, first: set(if first.is_empty() { second } else { first }), second: set(second) })
    }

    /// Starts something on the first half, and keeps this thread, with what it starts later, to the second.
    pub fn start<T>(&self, start: impl FnOnce() -> Result<T>) -> Result<T> {
        sched_setaffinity(None, &self.first)?;
        let started = start();
        sched_setaffinity(None, &self.second)?;
        started
    }
}

impl Drop for Halves {
    fn drop(&mut self) {
        // It could be set to less, so it can be set to this.
        let _ = sched_setaffinity(None, &self.all);
    }
}

/// `bench child PROGRAM ARGUMENTS`: becomes that program, and is killed when its parent ends.
pub fn become_child(command: &[String]) -> Result<()> {
    set_parent_process_death_signal(Some(Signal::KILL))?;
    let (program, arguments) = command.split_first().context("no program")?;
    Err(Command::new(program).args(arguments).exec()).with_context(|| format!("{program} can't be started"))
}

/// Processor seconds that these processes have used so far.
pub fn cpu_seconds(processes: &[u32]) -> Result<f64> {
    processes.iter().map(|id| cpu_seconds_of(&id.to_string())).sum()
}

/// Waits until processes have nothing to do any more, such as tables to merge.
pub fn until_idle(processes: &[u32]) -> Result<()> {
    const LOOK: Duration = Duration::from_millis(500);
    let began = Instant::now();
    loop {
        let before = cpu_seconds(processes)?;
        std::thread::sleep(LOOK);
        if cpu_seconds(processes)? - before < 0.05 * LOOK.as_secs_f64() {
            return Ok(());
        }
        ensure!(began.elapsed() < PATIENCE, "the processes {processes:?} don't come to rest");
    }
}

/// Processor seconds that the driver has used so far; its load generator, that is.
pub fn own_cpu_seconds() -> Result<f64> {
    cpu_seconds_of("self")
}

fn cpu_seconds_of(process: &str) -> Result<f64> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat"))?;
    // The name stands in parentheses and may hold anything; utime and stime are the 12th and 13th field behind it.
    let (_, fields) = stat.rsplit_once(')').context("/proc/PID/stat has another shape")?;
    let ticks = fields.split_whitespace().skip(11).take(2).map(str::parse::<u64>);
    Ok(ticks.sum::<Result<u64, _>>()? as f64 / TICKS_PER_SECOND)
}

/// Memory of a process, in bytes.
#[derive(Clone, Copy, Debug)]
pub struct Memory {
    /// Resident: its own and mapped files.
    pub resident: u64,
    /// Resident and its own: what it allocated.
    pub anonymous: u64,
}

/// What memory a process has now.
pub fn memory(process: u32) -> Result<Memory> {
    let status = fs::read_to_string(format!("/proc/{process}/status"))?;
    let field = |name: &str| -> Result<u64> {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).context("/proc/PID/status lacks a field")?;
        Ok(line.trim_start_matches(':').trim().trim_end_matches(" kB").parse::<u64>()? * 1024)
    };
    Ok(Memory { resident: field("VmRSS")?, anonymous: field("RssAnon")? })
}

/// Bytes that all files below a directory take. Those that go meanwhile take none.
pub fn disk_bytes(directory: &Path) -> io::Result<u64> {
    use std::os::unix::fs::MetadataExt;
    let mut bytes = 0;
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let of_entry = entry.metadata().and_then(|metadata| {
            if metadata.is_dir() { disk_bytes(&entry.path()) } else { Ok(metadata.blocks() * 512) }
        });
        bytes += match of_entry {
            Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
            other => other?,
        };
    }
    Ok(bytes)
}

/// Ports of this machine that nobody uses.
pub fn free_ports(count: usize) -> Result<Vec<u16>> {
    // All at once, or the same would be given again.
    let listeners: Vec<TcpListener> =
        (0..count).map(|_| TcpListener::bind(("127.0.0.1", 0))).collect::<Result<_, _>>()?;
    listeners.iter().map(|listener| Ok(listener.local_addr()?.port())).collect()
}
