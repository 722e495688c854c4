//! The settings there are, and the layers that their values come from.

use std::ffi::OsString;
use std::fs;

use config::{Config as Merged, ConfigError, Environment, File, FileFormat, Map, Source, Value, ValueKind};

use super::parse::Count;
use super::problem::{Problem, Problems, nearest};

/// What every variable starts with. In the file the same names stand without it, in lower case.
const PREFIX: &str = "CAUSEWAY_";

/// The variable that names the file.
const FILE_VARIABLE: &str = "CAUSEWAY_CONFIG";

/// Variables of the same prefix that are for commands, for `deploy/` and for the tests: a shell in which they are
/// exported can start a node all the same.
const FOR_OTHERS: &[&str] = &[
    "CAUSEWAY_EDGE_NETWORK",
    "CAUSEWAY_IMAGE",
    "CAUSEWAY_IMAGES",
    "CAUSEWAY_JAEGER_IMAGE",
    "CAUSEWAY_MEMORY",
    "CAUSEWAY_NODE",
    "CAUSEWAY_OTLP_ENDPOINT",
    "CAUSEWAY_PORT_0",
    "CAUSEWAY_PORT_1",
    "CAUSEWAY_PORT_2",
    "CAUSEWAY_PROMETHEUS_IMAGE",
    "CAUSEWAY_REPLICATION_NETWORK",
    "CAUSEWAY_SECRET_NAME",
    "CAUSEWAY_TEST_BINARY",
    "CAUSEWAY_TEST_COMPOSE",
    "CAUSEWAY_TEST_SWARM",
    "CAUSEWAY_TOKEN",
    "CAUSEWAY_TOKEN_FILE",
];

/// One setting.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    /// Its key in the file; in capitals after `CAUSEWAY_` the name of its variable.
    pub key: &'static str,
    /// Its value when no layer has one.
    pub default: Option<&'static str>,
    /// What it is, for people.
    pub about: &'static str,
}

impl Setting {
    /// The name of its variable.
    pub fn variable(&self) -> String {
        variable(self.key)
    }
}

/// All settings.
pub const SETTINGS: &[Setting] = &[
    setting("node_id", None, "This node's id, a whole number"),
    setting("cluster", Some("causeway"), "The cluster's name; nodes of another are refused"),
    setting("peers", None, "All nodes, this one too: 0=http://node0.replication:7000,1=http://... (or https://)"),
    setting(
        "removed",
        None,
        "Ids of nodes that were taken out of the cluster for good, with commas: what they push is refused",
    ),
    setting("listen", Some("127.0.0.1:8000"), "Where clients are served"),
    setting("peer_listen", None, "Where peers are served, ADDRESS:PORT or NAME:PORT [default: with the clients]"),
    setting("peer_subnet", None, "Peers must come in on a local address of this range, such as 172.31.0.0/16"),
    setting(
        "secret_file",
        None,
        "A file with the cluster's secrets, one a line: the first signs, any is accepted, changes are taken over",
    ),
    setting(
        "tokens_file",
        None,
        "A file with clients' tokens, NAME SCOPES PREFIXES HASH a line: clients need one, changes are taken over",
    ),
    setting(
        "tls_cert_file",
        None,
        "A file with this node's certificate and those between it and its authority, PEM: all its listeners speak TLS",
    ),
    setting("tls_key_file", None, "A file with the certificate's key, PEM, without a password"),
    setting(
        "tls_ca_file",
        None,
        "A file with authorities, PEM, whose certificates are trusted: of peers at https://, and of who comes to CAUSEWAY_PEER_LISTEN",
    ),
    setting("hosts", None, "Further names that clients call this node by, with commas; .edge: all that end so, *: any"),
    setting("insecure", Some("0"), "1: listen without a secret where others than this machine can connect"),
    setting("data_dir", None, "Where the data is [default: ./causeway-data/ID]"),
    setting("log", Some("info,lsm_tree=warn"), "What is logged, such as causeway=debug,warn"),
    setting("log_format", None, "pretty or json [default: pretty on a terminal]"),
    setting("traces_url", None, "Where people see a trace, with {trace_id} for its id: the console links there"),
    setting("max_key_bytes", Some("1024"), "Longest key"),
    setting("max_value_bytes", Some("1048576"), "Longest value"),
    setting("max_request_bytes", Some("8388608"), "Longest request body, at most 33554432"),
    setting("max_entries", Some("10000"), "Most entries of a write"),
    setting("max_siblings", Some("64"), "Most siblings of a key that a write with a context may make"),
    setting("max_waiting", Some("4096"), "Most requests that may wait for the disk"),
    setting("max_waiting_bytes", Some("67108864"), "Most bytes of keys and values that may wait for the disk"),
    setting(
        "max_waiting_ms",
        Some("25"),
        "How long writes may wait for the disk on average before fewer than that many may wait",
    ),
    setting("max_connections", Some("4096"), "Most connections at once, of clients, and of peers as many again"),
    setting("max_bodies_bytes", Some("100663296"), "Most bytes of requests that are under way"),
    setting("max_answers_bytes", Some("67108864"), "Most bytes of large answers that clients have not yet taken"),
    setting(
        "min_free_bytes",
        Some("1073741824"),
        "With less of the disk free, writes are refused until there is more; 0: never",
    ),
    setting(
        "log_max_bytes",
        Some("1073741824"),
        "About how much the op log may take on disk; a peer that lacks older ops gets the whole state",
    ),
    setting(
        "cache_bytes",
        Some("201326592"),
        "Memory for caches: three eighths for keys that are read often, as much for what writes have to know, the rest for the engine's blocks",
    ),
    setting(
        "state_max_bytes_per_second",
        Some("67108864"),
        "How fast this node's whole state is sent to a peer that lacks ops which the log does not have any more; 0: as fast as it goes",
    ),
    setting("forward_after_ms", Some("500"), "When a peer gets no ops of a third node for so long, forward them"),
    setting(
        "digest_interval_ms",
        Some("500"),
        "How often an idle peer is asked what it has; of more than eight, each less often",
    ),
    setting("max_delivery_buffer_ops", Some("65536"), "Most ops that may wait for ops they depend on"),
    setting("max_delivery_buffer_bytes", Some("67108864"), "Most bytes of keys and values of these"),
];

const fn setting(key: &'static str, default: Option<&'static str>, about: &'static str) -> Setting {
    Setting { key, default, about }
}

/// What a configuration is made from, besides the file.
#[derive(Clone, Debug, Default)]
pub struct Input {
    /// The process's environment.
    pub environment: Vec<(OsString, OsString)>,
    /// The arguments, when the command line gave them.
    pub arguments: Option<Arguments>,
    /// Whether the log goes to a terminal.
    pub terminal: bool,
}

/// `causeway ID PORT PEER_PORTS`, as it was written.
#[derive(Clone, Debug)]
pub struct Arguments {
    /// ID.
    pub id: String,
    /// PORT.
    pub port: String,
    /// PEER_PORTS.
    pub peer_ports: String,
}

/// The merged values, not looked at yet, and the problems found so far.
pub(super) struct Values {
    /// The origin of each is its name as its user wrote it; defaults have none.
    merged: Map<String, Value>,
    problems: Vec<Problem>,
    pub(super) has_arguments: bool,
}

impl Values {
    /// Merges the layers.
    pub(super) fn collect(input: &Input) -> Self {
        let mut problems = Vec::new();
        let environment = environment(&input.environment, &mut problems);
        let file = input.environment.iter().find(|(name, value)| name == FILE_VARIABLE && !value.is_empty());
        let file = file.and_then(|(_, path)| file_layer(path, &mut problems)).unwrap_or_default();
        let defaults =
            SETTINGS.iter().filter_map(|setting| Some((setting.key.to_owned(), Value::new(None, setting.default?))));
        let layers = [
            Layer(defaults.collect()),
            file,
            environment,
            input.arguments.as_ref().map(argument_layer).unwrap_or_default(),
        ];
        let builder = layers.into_iter().fold(Merged::builder(), |builder, layer| builder.add_source(layer));
        let merged = builder.build().and_then(|merged| merged.collect());
        let merged = merged.expect("every layer holds a flat map that was read before");
        Self { merged, problems, has_arguments: input.arguments.is_some() }
    }

    /// The result, unless there were problems.
    pub(super) fn finish<T>(self, result: Option<T>) -> Result<T, Problems> {
        match result {
            Some(result) if self.problems.is_empty() => Ok(result),
            _ => Err(Problems(self.problems)),
        }
    }

    /// A text that has a default. `None`: a problem was noted.
    pub(super) fn text<T>(&mut self, key: &str, parse: fn(&str) -> Result<T, String>) -> Option<T> {
        let parsed = self.optional_text(key, parse)?;
        Some(parsed.expect("a setting with a default is in some layer"))
    }

    /// A text that need not be set. `None`: a problem was noted.
    pub(super) fn optional_text<T>(&mut self, key: &str, parse: fn(&str) -> Result<T, String>) -> Option<Option<T>> {
        let Some(value) = self.merged.get(key) else { return Some(None) };
        let parsed = match &value.kind {
            ValueKind::String(text) => parse(text),
            // In the file only: a number or a list is not taken for a text that looks like it.
            _ => Err("a text in quotes".to_owned()),
        };
        match parsed {
            Ok(parsed) => Some(Some(parsed)),
            Err(expected) => self.invalid(key, &expected),
        }
    }

    /// A number that must be set. `None`: a problem was noted.
    pub(super) fn number(&mut self, key: &str, count: Count) -> Option<u64> {
        let Some(value) = self.merged.get(key) else {
            self.problems.push(Problem::Missing { name: variable(key), expected: count.to_string() });
            return None;
        };
        let written = match &value.kind {
            ValueKind::String(_) | ValueKind::I64(_) => count.parse(&value.kind.to_string()),
            _ => None,
        };
        if written.is_none() { self.invalid(key, &count.to_string()) } else { written }
    }

    /// A list that need not be set. `None`: a problem was noted.
    pub(super) fn optional_list(&mut self, key: &str, expected: &str) -> Option<Vec<String>> {
        if self.merged.contains_key(key) { self.list(key, expected) } else { Some(Vec::new()) }
    }

    /// A list: of the file, or a text with commas. Blanks around its parts don't count, nor do empty parts.
    pub(super) fn list(&mut self, key: &str, expected: &str) -> Option<Vec<String>> {
        let Some(value) = self.merged.get(key) else {
            self.problems.push(Problem::Missing { name: variable(key), expected: expected.to_owned() });
            return None;
        };
        let text = |value: &Value| match &value.kind {
            ValueKind::String(text) => Some(text.clone()),
            // In the file only.
            ValueKind::I64(number) => Some(number.to_string()),
            _ => None,
        };
        let parts = match &value.kind {
            ValueKind::Array(parts) => parts.iter().map(text).collect::<Option<Vec<_>>>(),
            _ => text(value).map(|text| text.split(',').map(str::to_owned).collect()),
        };
        let Some(parts) = parts else { return self.invalid(key, expected) };
        let parts = parts.into_iter().map(|part| part.trim().to_owned());
        Some(parts.filter(|part| !part.is_empty()).collect())
    }

    /// Notes that the value of `key` is wrong.
    pub(super) fn invalid<T>(&mut self, key: &str, expected: &str) -> Option<T> {
        let value = self.merged.get(key).map(|value| value.kind.to_string()).unwrap_or_default();
        self.invalid_part(key, &value, expected)
    }

    /// Notes that a part of the value of `key` is wrong.
    pub(super) fn invalid_part<T>(&mut self, key: &str, part: &str, expected: &str) -> Option<T> {
        let origin = self.merged.get(key).and_then(Value::origin);
        let name = origin.map_or_else(|| variable(key), str::to_owned);
        self.problems.push(Problem::Invalid { name, value: part.to_owned(), expected: expected.to_owned() });
        None
    }
}

fn variable(key: &str) -> String {
    format!("{PREFIX}{}", key.to_uppercase())
}

/// One layer: values by key, each with its name for people as its origin.
#[derive(Clone, Debug, Default)]
struct Layer(Map<String, Value>);

impl Source for Layer {
    fn clone_into_box(&self) -> Box<dyn Source + Send + Sync> {
        Box::new(self.clone())
    }

    fn collect(&self) -> Result<Map<String, Value>, ConfigError> {
        Ok(self.0.clone())
    }
}

impl Layer {
    /// Takes the known keys; the others are problems.
    fn checked(values: Map<String, Value>, name: impl Fn(&str) -> String, problems: &mut Vec<Problem>) -> Self {
        let mut known = Map::new();
        let mut unknown = Vec::new();
        for (key, value) in values {
            if SETTINGS.iter().any(|setting| setting.key == key) {
                known.insert(key.clone(), Value::new(Some(&name(&key)), value.kind));
            } else {
                let nearest = nearest(&key, SETTINGS.iter().map(|setting| setting.key)).map(&name);
                unknown.push(Problem::Unknown { name: name(&key), nearest });
            }
        }
        // The map has no order of its own.
        unknown.sort_by_key(ToString::to_string);
        problems.extend(unknown);
        Self(known)
    }
}

/// Variables that are set but empty count as not set.
fn environment(environment: &[(OsString, OsString)], problems: &mut Vec<Problem>) -> Layer {
    let mut texts = Map::new();
    for (name, value) in environment {
        let is_ours = |name: &&str| name.starts_with(PREFIX) && *name != FILE_VARIABLE && !FOR_OTHERS.contains(name);
        let Some(name) = name.to_str().filter(is_ours) else { continue };
        match value.to_str() {
            Some(text) => drop(texts.insert(name.to_owned(), text.to_owned())),
            None => problems.push(Problem::Invalid {
                name: name.to_owned(),
                value: value.to_string_lossy().into_owned(),
                expected: "UTF-8".to_owned(),
            }),
        }
    }
    let source = Environment::with_prefix("CAUSEWAY").ignore_empty(true).source(Some(texts));
    let values = source.collect().expect("every value is a text");
    Layer::checked(values, variable, problems)
}

fn file_layer(path: &OsString, problems: &mut Vec<Problem>) -> Option<Layer> {
    let shown = path.to_string_lossy().into_owned();
    let file = fs::read_to_string(path).map_err(|error| error.to_string());
    // Not by its path: the crate would then take a file of another name when there is none of this.
    let values = file.and_then(|text| {
        File::from_str(&text, FileFormat::Toml).collect().map_err(|error| error.to_string().trim_end().to_owned())
    });
    match values {
        Ok(values) => Some(Layer::checked(values, |key| format!("{key} (in {shown})"), problems)),
        Err(problem) => {
            problems.push(Problem::File { path: shown, problem });
            None
        }
    }
}

fn argument_layer(arguments: &Arguments) -> Layer {
    let Arguments { id, port, peer_ports } = arguments;
    let argument = |key: &str, name: &str, value: &str| (key.to_owned(), Value::new(Some(&name.to_owned()), value));
    Layer(Map::from_iter([
        argument("node_id", "ID", id),
        argument("listen", "PORT", port),
        argument("peers", "PEER_PORTS", peer_ports),
    ]))
}
