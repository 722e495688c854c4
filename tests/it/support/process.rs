//! One node as a process of the real binary.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use super::api::Api;
use super::{PATIENCE, until};

/// How a node is started; can be started again.
#[derive(Clone, Debug)]
pub(crate) struct Launch {
    /// Where clients find it.
    pub(crate) port: u16,
    arguments: Vec<String>,
    environment: Vec<(String, String)>,
    /// A command that the node is started with, such as `strace` and its options.
    wrapper: Vec<String>,
    /// The program, when it is not the one under test.
    program: Option<PathBuf>,
    /// Who has issued its certificate, where it speaks TLS.
    authorities: Vec<String>,
    /// Its working directory; `causeway-data/ID` and its log are below it.
    directory: PathBuf,
}

impl Launch {
    /// `causeway ID PORT PEER_PORTS`.
    pub(crate) fn by_arguments(directory: &Path, id: u32, port: u16, peer_ports: &[u16]) -> Self {
        let peer_ports = peer_ports.iter().map(u16::to_string).collect::<Vec<_>>().join(",");
        let arguments = vec![id.to_string(), port.to_string(), peer_ports];
        let directory = directory.to_owned();
        let (environment, wrapper, authorities) = (Vec::new(), Vec::new(), Vec::new());
        Self { port, arguments, environment, wrapper, program: None, authorities, directory }
    }

    /// By its environment; `peers` are all nodes and where this one finds them.
    pub(crate) fn by_environment(directory: &Path, id: u32, port: u16, peers: &[(u32, u16)]) -> Self {
        Self::by_urls(directory, id, port, peers, "http")
    }

    /// The same with peers that are called in this way.
    pub(crate) fn by_urls(directory: &Path, id: u32, port: u16, peers: &[(u32, u16)], scheme: &str) -> Self {
        let peers = peers.iter().map(|(id, port)| format!("{id}={scheme}://127.0.0.1:{port}"));
        let mut launch = Self::by_arguments(directory, id, port, &[]);
        launch.arguments.clear();
        launch
            .with("CAUSEWAY_NODE_ID", &id.to_string())
            .with("CAUSEWAY_LISTEN", &format!("127.0.0.1:{port}"))
            .with("CAUSEWAY_PEERS", &peers.collect::<Vec<_>>().join(","))
    }

    /// Started by a command that ends up as the node itself: the process is the node's.
    pub(crate) fn under(mut self, wrapper: Vec<String>) -> Self {
        self.wrapper = wrapper;
        self
    }

    /// As another program, or as the one under test.
    pub(crate) fn of(mut self, program: Option<&Path>) -> Self {
        self.program = program.map(Path::to_owned);
        self
    }

    /// With one more variable.
    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Called over TLS, with these authorities trusted.
    pub(crate) fn called_over_tls(mut self, authorities: &[String]) -> Self {
        self.authorities = authorities.to_vec();
        self
    }

    /// Where it has its data, unless it was told otherwise.
    pub(crate) fn data_dir(&self, id: u32) -> PathBuf {
        self.directory.join("causeway-data").join(id.to_string())
    }

    /// Starts it, and does not wait for anything.
    pub(crate) fn start(&self) -> Process {
        fs::create_dir_all(&self.directory).unwrap();
        let log_path = self.directory.join(format!("{}.log", self.port));
        let log = OpenOptions::new().create(true).append(true).open(&log_path).unwrap();
        let program = self.program.as_ref().map_or_else(under_test, |program| program.into());
        let child = node(program, &self.wrapper)
            .args(&self.arguments)
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .current_dir(&self.directory)
            .stdout(clone(&log))
            .stderr(log)
            .spawn()
            .unwrap();
        let api = match &self.authorities[..] {
            [] => Api::new(self.port),
            authorities => Api::over_tls(self.port, authorities),
        };
        Process { child, log_path, api }
    }

    /// Starts it and waits until it is ready.
    pub(crate) async fn start_ready(&self) -> Process {
        let mut process = self.start();
        process.until_ready().await;
        process
    }
}

/// The binary under test, with an environment that holds no settings. `CAUSEWAY_TEST_BINARY` names another.
pub(crate) fn causeway() -> Command {
    node(under_test(), &[])
}

fn under_test() -> OsString {
    std::env::var_os("CAUSEWAY_TEST_BINARY").unwrap_or_else(|| env!("CARGO_BIN_EXE_causeway").into())
}

fn node(program: OsString, wrapper: &[String]) -> Command {
    let mut command = match wrapper {
        [] => Command::new(program),
        [first, options @ ..] => {
            let mut command = Command::new(first);
            command.args(options).arg(program);
            command
        }
    };
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("CAUSEWAY_") || name.to_string_lossy().starts_with("OTEL_") {
            command.env_remove(name);
        }
    }
    command.stdin(Stdio::null());
    command
}

fn clone(file: &File) -> File {
    file.try_clone().unwrap()
}

/// A node that was started. Dropped, it is killed.
pub(crate) struct Process {
    child: Child,
    log_path: PathBuf,
    /// Its client.
    pub(crate) api: Api,
}

impl Process {
    /// Waits until it takes requests.
    pub(crate) async fn until_ready(&mut self) {
        if let Some(status) = self.until_ready_or_ended().await {
            panic!("the node ended with {status}:\n{}", self.log());
        }
    }

    /// Waits until it takes requests, or has ended; says how it ended.
    pub(crate) async fn until_ready_or_ended(&mut self) -> Option<ExitStatus> {
        let api = self.api.clone();
        let (child, log_path) = (&mut self.child, &self.log_path);
        let ready = async || match child.try_wait().unwrap() {
            Some(status) => Some(Some(status)),
            None => api.is_ready().await.then_some(None),
        };
        until(ready, async || format!("not ready:\n{}", fs::read_to_string(log_path).unwrap())).await
    }

    /// Its number.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Bytes of memory that it has had at most.
    pub(crate) fn most_memory(&self) -> usize {
        let status = fs::read_to_string(format!("/proc/{}/status", self.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() * 1024
    }

    /// Ends it at once, as a crash would.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Sends a signal, such as `TERM`.
    pub(crate) fn signal(&self, name: &str) {
        let status = Command::new("kill").args([&format!("-{name}"), &self.child.id().to_string()]).status().unwrap();
        assert!(status.success(), "kill -{name} failed");
    }

    /// Waits until it has ended; says how, and how long that took.
    pub(crate) async fn ended(&mut self) -> (ExitStatus, Duration) {
        let began = Instant::now();
        let child = &mut self.child;
        let log_path = &self.log_path;
        let status = until(
            async || child.try_wait().unwrap(),
            async || format!("still running:\n{}", fs::read_to_string(log_path).unwrap()),
        );
        let status = status.await;
        assert!(began.elapsed() < PATIENCE);
        (status, began.elapsed())
    }

    /// Where it logs.
    pub(crate) fn log_path(&self) -> PathBuf {
        self.log_path.clone()
    }

    /// Sends SIGTERM and waits for the end; says how, and how long that took.
    pub(crate) async fn terminate(mut self) -> (ExitStatus, Duration) {
        self.signal("TERM");
        self.ended().await
    }

    /// What it has logged so far, in all its starts.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(&self.log_path).unwrap()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- {}\n{}", self.log_path.display(), self.log());
        }
    }
}
