//! Wiring only: the configuration is taken apart, each part is started with its own share, and all are stopped
//! in order.

use std::io::{self, IsTerminal};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::num::NonZero;
use std::panic::resume_unwind;
use std::process::ExitCode;
use std::sync::Arc;
use std::thread::available_parallelism;
use std::time::Duration;

use causeway::auth::Clients;
use causeway::cli;
use causeway::config::{self, Arguments, Config, Input, LogFormat, PeerListen, Problem, Problems, SETTINGS};
use causeway::console;
use causeway::http::{self, HttpOptions};
use causeway::listen::{self, ListenOptions, OnlyLocal, Stopped, Workers};
use causeway::metrics::{self, MetricsOptions, NodeMetrics, limits, limits::Limit};
use causeway::node::{self, AdmissionLimit, Both, NodeHandle, NodeOptions, Observer, Running};
use causeway::peers::{self, EndpointOptions, SenderOptions};
use causeway::replica::{ReplicaOptions, Seed};
use causeway::secrets;
use causeway::storage::{DiskOptions, DiskStorage, Identity, OpenError};
use causeway::telemetry::{self, Telemetry, TelemetryError, TraceOptions};
use causeway::tls::Tls;
use futures_util::future::join_all;
use prometheus::Registry;
use tokio::net::TcpListener;
use tokio::runtime::{Handle, Runtime};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::timeout;
use tracing::{error, info, warn};

/// A write's memory is often freed by another thread than the one that asked for it, which costs the system's allocator a
/// sixth of all CPU time (docs/performance.md).
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// What of the source this was built from, where `deploy/binary` built it.
const REVISION: Option<&str> = option_env!("CAUSEWAY_REVISION");

/// How the five seconds of a stop are spent: on requests under way, on the last commit, on the last spans.
const REQUESTS_GRACE: Duration = Duration::from_secs(3);
const NODE_GRACE: Duration = Duration::from_secs(1);
const SPANS_GRACE: Duration = Duration::from_millis(750);

/// Why a node did not start.
#[derive(Debug, thiserror::Error)]
enum StartError {
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error("can't listen on {address}: {source}")]
    Listen { address: SocketAddr, source: io::Error },
    #[error("{what}: {source}")]
    System { what: &'static str, source: io::Error },
    #[error("no random bits: {0}")]
    Random(#[from] getrandom::Error),
    #[error(transparent)]
    Telemetry(#[from] TelemetryError),
}

fn system(what: &'static str) -> impl FnOnce(io::Error) -> StartError {
    move |source| StartError::System { what, source }
}

fn main() -> ExitCode {
    let line =
        cli::parse(REVISION, SETTINGS.iter().map(|setting| (setting.variable(), setting.default, setting.about)));
    let input = Input {
        environment: std::env::vars_os().collect(),
        arguments: line.node.map(|node| Arguments { id: node.id, port: node.port, peer_ports: node.peer_ports }),
        terminal: io::stderr().is_terminal(),
    };
    if let Some(command) = &line.command {
        let own = || {
            let (listen, certificate) = config::load_own(&input).map_err(|problems| problems.to_string())?;
            Ok(cli::Own { listen, certificate })
        };
        return cli::run(command, &own);
    }
    match settings(&input) {
        Ok((config, traces)) => run(config, traces),
        Err(problems) => {
            eprintln!("causeway: {problems}");
            ExitCode::from(2)
        }
    }
}

/// All settings, or all that is wrong with any of them.
fn settings(input: &Input) -> Result<(Config, Option<TraceOptions>), Problems> {
    let read = |name: &str| {
        let (_, value) = input.environment.iter().find(|(variable, _)| variable == name)?;
        value.to_str().map(str::to_owned)
    };
    let traces = TraceOptions::from_environment(read).map_err(|variables| {
        let problems = variables.into_iter().map(|variable| Problem::Invalid {
            name: variable.name.to_owned(),
            value: variable.value,
            expected: variable.expected,
        });
        Problems(problems.collect())
    });
    match (config::load(input), traces) {
        (Ok(config), Ok(traces)) => Ok((config, traces)),
        (config, traces) => {
            let problems = config.err().into_iter().chain(traces.err()).flat_map(|problems| problems.0);
            Err(Problems(problems.collect()))
        }
    }
}

fn run(config: Config, traces: Option<TraceOptions>) -> ExitCode {
    let format = match config.log_format {
        LogFormat::Pretty => telemetry::LogFormat::Pretty,
        LogFormat::Json => telemetry::LogFormat::Json,
    };
    if let Err(error) = telemetry::init_logs(&config.log, format) {
        eprintln!("causeway: {error}");
        return ExitCode::FAILURE;
    }
    if let Err(error) = secrets::keep_out_of_core_dumps() {
        warn!(%error, "a core dump of this process may have secrets in it");
    }
    config.warnings.iter().for_each(|warning| warn!("{warning}"));
    let outcome = Runtime::new().map_err(system("can't start the runtime")).and_then(|runtime| {
        let outcome = runtime.block_on(start_and_stop(Arc::new(config), traces));
        // What still runs is of no use to anybody, and must not hold up the end.
        runtime.shutdown_background();
        outcome
    });
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            error!(%error, "this node did not start");
            ExitCode::FAILURE
        }
    }
}

/// Runs a node until it is told to stop; says whether everything under way was finished.
async fn start_and_stop(config: Arc<Config>, traces: Option<TraceOptions>) -> Result<bool, StartError> {
    let mut signals = Signals::new().map_err(system("can't wait for signals"))?;
    let telemetry = Telemetry::start(config.node, traces)?;
    let registry = Registry::new();
    telemetry.register(&registry);
    let metrics = Arc::new(NodeMetrics::register(&registry, &metrics_options(&config)));
    let observer: Arc<dyn Observer> = Arc::new(Both(telemetry.observer(), metrics.clone()));
    info!(data_dir = %config.data_dir.display(), "opening the data");
    let opening = {
        let (config, observer) = (config.clone(), observer.clone());
        spawn_blocking(move || start_node(&config, observer))
    };
    let mut running = tokio::select! {
        running = opening => running.unwrap_or_else(|error| resume_unwind(error.into_panic()))?,
        name = signals.next() => {
            // Opening may take long, changes nothing that was acknowledged, and can be done again.
            info!("{name}: stopped before the data was open");
            return Ok(true);
        }
    };
    telemetry.attach(running.handle.clone());
    metrics.attach(&registry, running.handle.clone(), metrics_options(&config));
    let listeners = bind(&config).await?;
    let urls = config.peers.iter().map(|peer| peer.url.clone()).collect();
    let (orders, questions) = (std::mem::take(&mut running.orders), std::mem::take(&mut running.questions));
    // They end with the node; dropped with this function, whatever is left of them.
    let state_bytes_per_second = NonZero::new(config.replication.state_bytes_per_second);
    let (keys, _watching) = secrets::start(config.secrets.clone(), &config.cluster, &registry);
    let (clients, _watching_tokens) = secrets::start_tokens(config.tokens.clone(), &registry);
    let (files, material) = config.tls.clone();
    let (tls, _watching_tls) = secrets::start_tls(files, material, &registry);
    let options =
        SenderOptions { state_bytes_per_second, keys: keys.clone(), tls: tls.clone(), ..SenderOptions::default() };
    let _senders = peers::spawn(urls, orders, questions, running.handle.clone(), observer, options);
    let (stop, _) = watch::channel(false);
    let workers = Workers::start(available_parallelism().map_or(1, NonZero::get), node::run_courier);
    let workers = Arc::new(workers.map_err(system("can't start the threads that serve"))?);
    metrics::process::register(&registry, workers.runtimes().chain([Handle::current()]).collect());
    let endpoint = EndpointOptions { keys, boot: getrandom::u64()?, metrics: peers::Metrics::register(&registry) };
    let servers =
        serve(&config, (&running, &telemetry, &registry), (endpoint, clients, tls), listeners, (&stop, &workers));
    banner(&config);
    let name = tokio::select! {
        name = signals.next() => name,
        _ = &mut running.ended => {
            error!("the node's own thread has ended: a bug; the process ends with it");
            return Ok(false);
        }
    };
    info!("{name}: stopping; a second signal ends this process at once");
    tokio::select! {
        finished = finish(running, servers, stop, telemetry) => Ok(finished),
        name = signals.next() => {
            warn!("{name}: ended before everything under way was finished");
            Ok(false)
        }
    }
}

fn start_node(config: &Config, observer: Arc<dyn Observer>) -> Result<Running, StartError> {
    let identity = Identity { cluster: config.cluster.clone(), node: config.node };
    let options = DiskOptions::with_caches(config.cache_bytes).with_log_limit(config.max_log_bytes);
    let (storage, recovered) = DiskStorage::open_with(&config.data_dir, &identity, options)?;
    let peers = config.peers.iter().map(|peer| peer.id).collect();
    let options = NodeOptions {
        replica: ReplicaOptions {
            removed: config.removed.clone(),
            max_siblings: config.limits.siblings,
            max_waiting_ops: config.replication.delivery_buffer_ops,
            max_waiting_bytes: config.replication.delivery_buffer_bytes,
            forward_after_ms: config.replication.forward_after_ms,
            digest_interval_ms: config.replication.digest_interval_ms,
            ..ReplicaOptions::new(&config.cluster, config.node, peers)
        },
        seed: Seed { boot: getrandom::u64()?, random: getrandom::u64()? },
        admission: admission(config),
        addresses: config.peers.iter().map(|peer| peer.url.clone()).collect(),
        min_free_bytes: config.min_free_bytes,
        max_log_bytes: config.max_log_bytes,
    };
    node::start(options, Arc::new(storage), recovered, observer).map_err(system("can't start the node's threads"))
}

fn admission(config: &Config) -> AdmissionLimit {
    AdmissionLimit {
        requests: config.max_waiting_requests,
        bytes: config.max_waiting_bytes,
        wait: Duration::from_millis(config.max_waiting_ms),
    }
}

fn metrics_options(config: &Config) -> MetricsOptions {
    let peers = config.peers.iter().map(|peer| metrics::Peer { node: peer.id, address: peer.url.clone() });
    MetricsOptions {
        peers: peers.collect(),
        admission: admission(config),
        max_delivery_buffer_ops: config.replication.delivery_buffer_ops,
        max_delivery_buffer_bytes: config.replication.delivery_buffer_bytes,
        revision: REVISION,
    }
}

/// Where clients and, if that is elsewhere, peers come in.
struct Listeners {
    clients: TcpListener,
    peers: Option<(TcpListener, Option<OnlyLocal>)>,
}

async fn bind(config: &Config) -> Result<Listeners, StartError> {
    let clients = bind_to(config.listen).await?;
    let peers = match &config.peer_listen {
        PeerListen::WithClients => None,
        PeerListen::Address { address, subnet } => Some((bind_to(*address).await?, subnet.map(OnlyLocal::Subnet))),
        PeerListen::Name { host, port } => {
            // All addresses of both families, where there is IPv6.
            let listener = match bind_to((Ipv6Addr::UNSPECIFIED, *port).into()).await {
                Ok(listener) => listener,
                Err(_) => bind_to((Ipv4Addr::UNSPECIFIED, *port).into()).await?,
            };
            Some((listener, Some(OnlyLocal::name(host))))
        }
    };
    Ok(Listeners { clients, peers })
}

async fn bind_to(address: SocketAddr) -> Result<TcpListener, StartError> {
    TcpListener::bind(address).await.map_err(|source| StartError::Listen { address, source })
}

type Server = JoinHandle<Stopped>;

fn serve(
    config: &Config,
    (running, telemetry, registry): (&Running, &Telemetry, &Registry),
    (endpoint, admitted, tls): (EndpointOptions, Clients, Tls),
    listeners: Listeners,
    (stop, workers): (&watch::Sender<bool>, &Arc<Workers>),
) -> Vec<Server> {
    let (tracer, new_traces) = (telemetry.tracer(), telemetry.new_traces());
    let stopping = Some(stop.subscribe());
    let requests = http::Metrics::register(registry);
    let metrics = requests.clone();
    let options = HttpOptions { tracer, new_traces, stopping, metrics, clients: admitted, ..http_options(config) };
    let clients = http::app(running.handle.clone(), options).merge(console::router());
    let peers = peers::router(running.handle.clone(), endpoint);
    let mut limits = request_limits(running.handle.clone(), requests);
    let max_connections = max_connections(config, 1 + usize::from(listeners.peers.is_some()));
    let mut listen = |listener, router, only_local, tls, whose: &'static str| {
        let workers = Some(workers.clone());
        let connections = listen::Metrics::register(registry, whose);
        limits.push(connection_limit(whose, connections.clone()));
        let stop_grace = REQUESTS_GRACE;
        let metrics = connections;
        let options = ListenOptions {
            stop_grace,
            workers,
            only_local,
            tls,
            metrics,
            max_connections,
            ..ListenOptions::default()
        };
        let mut stopping = stop.subscribe();
        let shutdown = async move {
            // Nobody is left to say so: that is a stop too.
            let _ = stopping.wait_for(|stop| *stop).await;
        };
        tokio::spawn(listen::serve(listener, router, options, shutdown))
    };
    let servers = match listeners.peers {
        None => vec![listen(listeners.clients, clients.merge(peers), None, tls.clients(), "clients")],
        Some((listener, only_local)) => vec![
            listen(listeners.clients, clients, None, tls.clients(), "clients"),
            listen(listener, peers, only_local, tls.peers(), "peers"),
        ],
    };
    // It ends with the runtime.
    tokio::spawn(limits::watch(limits, running.handle.clone()));
    servers
}

/// Files that are kept for the data, for peers and for the moment when connections are refused.
const OTHER_FILES: u64 = 512;

/// How many connections each of the listeners may have: as many as are configured, or as this process may open files for.
fn max_connections(config: &Config, listeners: usize) -> usize {
    let wanted = config.max_connections;
    let files = listen::raise_open_files();
    let possible = usize::try_from(files.saturating_sub(OTHER_FILES)).unwrap_or(usize::MAX) / listeners;
    if possible < wanted {
        warn!("this process may open {files} files: {possible} connections may be open at once, not {wanted}");
    }
    // Some, also where there is no room for any: it is better to be asked than not to be.
    wanted.min(possible.max(16))
}

fn request_limits(node: NodeHandle, requests: http::Metrics) -> Vec<Limit> {
    let answers = requests.clone();
    vec![
        Limit {
            what: "bytes of answers are not taken, or requests for many keys are under way",
            refused: Box::new(move || answers.refused_answers()),
        },
        Limit { what: "requests wait for the disk", refused: Box::new(move || node.status().refused_requests) },
        Limit { what: "bytes of requests are in memory", refused: Box::new(move || requests.refused_bodies()) },
    ]
}

fn connection_limit(whose: &'static str, connections: listen::Metrics) -> Limit {
    let what = if whose == "peers" { "connections of peers are open" } else { "connections are open" };
    Limit { what, refused: Box::new(move || connections.refused_connections()) }
}

fn http_options(config: &Config) -> HttpOptions {
    let limits = http::Limits {
        key_bytes: config.limits.key_bytes,
        value_bytes: config.limits.value_bytes,
        request_bytes: config.limits.request_bytes,
        entries: config.limits.entries,
        bodies_bytes: config.max_bodies_bytes,
        answers_bytes: config.max_answers_bytes,
        ..http::Limits::default()
    };
    let hosts = http::Hosts::new(config.hosts.iter().map(String::as_str));
    let traces_url = config.traces_url.clone();
    HttpOptions { limits, hosts, traces_url, revision: REVISION, ..HttpOptions::default() }
}

fn banner(config: &Config) {
    let peers: Vec<&str> = config.peers.iter().map(|peer| peer.url.as_str()).collect();
    info!(
        version = env!("CARGO_PKG_VERSION"),
        revision = REVISION,
        node = config.node.0,
        cluster = config.cluster,
        listen = %config.listen,
        peer_listen = %config.peer_listen,
        peers = peers.join(","),
        data_dir = %config.data_dir.display(),
        "causeway runs",
    );
}

/// Stops in order: no more requests, those under way, the node with its last commit, the last spans. Says
/// whether all of it but the spans was finished in time: a collector that is away is no failure of the node.
async fn finish(running: Running, servers: Vec<Server>, stop: watch::Sender<bool>, telemetry: Telemetry) -> bool {
    stop.send_replace(true);
    let stopped = join_all(servers).await;
    let cut: usize = stopped.iter().map(|stopped| stopped.as_ref().map_or(1, |stopped| stopped.cut)).sum();
    if cut > 0 {
        warn!("{cut} connections were cut: their requests took longer than {REQUESTS_GRACE:?}");
    }
    let node = timeout(NODE_GRACE, spawn_blocking(|| running.stop())).await;
    let node_stopped = matches!(node, Ok(Ok(())));
    if !node_stopped {
        warn!("the last commit was not finished within {NODE_GRACE:?}; what was acknowledged is on disk");
    }
    if !telemetry.shutdown(SPANS_GRACE).await {
        warn!("the last spans were not exported within {SPANS_GRACE:?}");
    }
    info!("stopped");
    cut == 0 && node_stopped
}

/// The signals that stop a node.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}
