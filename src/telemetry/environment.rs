//! The variables that OpenTelemetry defines, as far as they say something about traces over gRPC. All are
//! judged here, so that a wrong one is told at the start; the exporter itself reads only
//! `OTEL_EXPORTER_OTLP_HEADERS` and its kin, and the SDK the limits of spans (`OTEL_SPAN_*`).

use std::time::Duration;

use axum::http::Uri;
use percent_encoding::percent_decode_str;

/// Which spans are made, and where they go.
#[derive(Clone, Debug, PartialEq)]
pub struct TraceOptions {
    /// The collector: `http://HOST:PORT`, OTLP over gRPC.
    pub endpoint: String,
    /// How long one export may take.
    pub timeout: Duration,
    /// Which traces are recorded.
    pub sampling: Sampling,
    /// What spans say of this process, `service.name` included.
    pub resource: Vec<(String, String)>,
    /// How spans are gathered.
    pub batch: BatchOptions,
}

/// How spans are gathered for an export.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchOptions {
    /// How many wait at most; what comes on top is dropped.
    pub queue: usize,
    /// How many go with one export.
    pub batch: usize,
    /// How long they wait for others.
    pub delay: Duration,
}

/// Which traces are recorded.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sampling {
    /// How many of those that begin here, 0 to 1. (Without `parent_based`: of all, the same on every node.)
    pub ratio: f64,
    /// Whether a trace that comes from outside is recorded just if it was there; the ratio is for new ones.
    pub parent_based: bool,
}

/// A variable that can't be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{name} is '{value}': expected {expected}")]
pub struct BadVariable {
    /// Which.
    pub name: &'static str,
    /// What it is.
    pub value: String,
    /// What would have been right.
    pub expected: String,
}

impl TraceOptions {
    /// The defaults of OpenTelemetry, for a collector.
    pub fn new(endpoint: &str) -> Self {
        Self {
            endpoint: endpoint.to_owned(),
            timeout: Duration::from_secs(10),
            sampling: Sampling { ratio: 1.0, parent_based: true },
            resource: vec![("service.name".to_owned(), "causeway".to_owned())],
            batch: BatchOptions { queue: 2048, batch: 512, delay: Duration::from_secs(5) },
        }
    }

    /// What the environment says; `None` when it names no collector or turns traces off. `read` gives the
    /// value of a variable. Lists all that is wrong.
    pub fn from_environment(read: impl Fn(&str) -> Option<String>) -> Result<Option<Self>, Vec<BadVariable>> {
        let mut variables = Variables { read: &read, bad: Vec::new() };
        if variables.get("OTEL_SDK_DISABLED").is_some_and(|value| value.eq_ignore_ascii_case("true"))
            || variables.get("OTEL_TRACES_EXPORTER").as_deref() == Some("none")
        {
            return Ok(None);
        }
        let Some(endpoint) = variables.endpoint() else {
            return if variables.bad.is_empty() { Ok(None) } else { Err(variables.bad) };
        };
        variables.one_of(&["OTEL_TRACES_EXPORTER"], "otlp");
        variables.one_of(&["OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"], "grpc");
        variables.one_of(&["OTEL_EXPORTER_OTLP_TRACES_COMPRESSION", "OTEL_EXPORTER_OTLP_COMPRESSION"], "none");
        let mut options = Self::new(&endpoint);
        options.timeout = variables.timeout(options.timeout);
        options.sampling = variables.sampling(options.sampling);
        options.batch = variables.batch(options.batch);
        variables.resource(&mut options.resource);
        if variables.bad.is_empty() { Ok(Some(options)) } else { Err(variables.bad) }
    }
}

/// The most that any count may be.
const MAX_COUNT: u64 = 1_000_000;

/// The most milliseconds that any time may have.
const MAX_MS: u64 = 600_000;

struct Variables<'a> {
    read: &'a dyn Fn(&str) -> Option<String>,
    bad: Vec<BadVariable>,
}

impl Variables<'_> {
    /// An empty variable counts as one that is not set.
    fn get(&self, name: &str) -> Option<String> {
        (self.read)(name).filter(|value| !value.is_empty())
    }

    /// The first of these that is set: the more special ones stand first.
    fn first(&self, names: &[&'static str]) -> Option<(&'static str, String)> {
        names.iter().find_map(|name| Some((*name, self.get(name)?)))
    }

    fn refuse(&mut self, name: &'static str, value: String, expected: &str) {
        self.bad.push(BadVariable { name, value, expected: expected.to_owned() });
    }

    fn one_of(&mut self, names: &[&'static str], supported: &str) {
        if let Some((name, value)) = self.first(names).filter(|(_, value)| value != supported) {
            self.refuse(name, value, &format!("{supported}: nothing else is built in"));
        }
    }

    fn endpoint(&mut self) -> Option<String> {
        let (name, value) = self.first(&["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"])?;
        let uri: Option<Uri> = value.parse().ok();
        if uri.is_some_and(|uri| uri.scheme_str() == Some("http") && uri.authority().is_some()) {
            return Some(value);
        }
        self.refuse(name, value, "http://HOST:PORT of a collector that takes OTLP over gRPC, without TLS");
        None
    }

    fn number(&mut self, name: &'static str, default: u64, least: u64, most: u64) -> u64 {
        let Some(value) = self.get(name) else { return default };
        match value.parse() {
            Ok(number) if (least..=most).contains(&number) => number,
            _ => {
                self.refuse(name, value, &format!("a whole number from {least} to {most}"));
                default
            }
        }
    }

    fn timeout(&mut self, default: Duration) -> Duration {
        let all = self.number("OTEL_EXPORTER_OTLP_TIMEOUT", default.as_millis() as u64, 1, MAX_MS);
        let traces = self.number("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", all, 1, MAX_MS);
        let export = self.number("OTEL_BSP_EXPORT_TIMEOUT", 30_000, 1, MAX_MS);
        Duration::from_millis(traces.min(export))
    }

    fn batch(&mut self, default: BatchOptions) -> BatchOptions {
        let queue = self.number("OTEL_BSP_MAX_QUEUE_SIZE", default.queue as u64, 1, MAX_COUNT);
        let batch = self.number("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", queue.min(default.batch as u64), 1, MAX_COUNT);
        let delay = self.number("OTEL_BSP_SCHEDULE_DELAY", default.delay.as_millis() as u64, 1, MAX_MS);
        BatchOptions { queue: queue as usize, batch: batch.min(queue) as usize, delay: Duration::from_millis(delay) }
    }

    fn sampling(&mut self, default: Sampling) -> Sampling {
        const NAME: &str = "OTEL_TRACES_SAMPLER";
        let Some(value) = self.get(NAME) else { return default };
        let (parent_based, root) = match value.strip_prefix("parentbased_") {
            Some(root) => (true, root),
            None => (false, &*value),
        };
        let ratio = match root {
            "always_on" => 1.0,
            "always_off" => 0.0,
            "traceidratio" => self.sampler_argument(),
            _ => {
                let expected = "always_on, always_off or traceidratio, each also with parentbased_ before it";
                self.refuse(NAME, value, expected);
                return default;
            }
        };
        Sampling { ratio, parent_based }
    }

    fn sampler_argument(&mut self) -> f64 {
        const NAME: &str = "OTEL_TRACES_SAMPLER_ARG";
        let Some(value) = self.get(NAME) else { return 1.0 };
        match value.parse() {
            Ok(ratio) if (0.0..=1.0).contains(&ratio) => ratio,
            _ => {
                self.refuse(NAME, value, "a number from 0 to 1");
                1.0
            }
        }
    }

    fn resource(&mut self, resource: &mut Vec<(String, String)>) {
        const NAME: &str = "OTEL_RESOURCE_ATTRIBUTES";
        if let Some(list) = self.get(NAME) {
            for part in list.split(',').map(str::trim).filter(|part| !part.is_empty()) {
                let decoded = |text: &str| Some(percent_decode_str(text.trim()).decode_utf8().ok()?.into_owned());
                match part.split_once('=').and_then(|(key, value)| Some((decoded(key)?, decoded(value)?))) {
                    // Of two with one key the later counts.
                    Some(pair) if !pair.0.is_empty() => resource.push(pair),
                    _ => self.refuse(NAME, part.to_owned(), "KEY=VALUE, with commas between"),
                }
            }
        }
        resource.extend(self.get("OTEL_SERVICE_NAME").map(|name| ("service.name".to_owned(), name)));
    }
}
