#![allow(clippy::unwrap_used)]

mod tls;

use std::ffi::OsString;
use std::io::Write;
use std::os::unix::ffi::OsStringExt;

use tempfile::NamedTempFile;

use super::*;

const TWO_NODES: (&str, &str) = ("CAUSEWAY_PEERS", "0=http://node0.replication:7000,1=http://node1.replication:7000");

fn environment(variables: &[(&str, &str)]) -> Input {
    let environment = variables.iter().map(|(name, value)| (name.into(), value.into())).collect();
    Input { environment, arguments: None, terminal: false }
}

/// Node 0 of two, with more variables.
fn node0(variables: &[(&str, &str)]) -> Input {
    environment(&[&[("CAUSEWAY_NODE_ID", "0"), TWO_NODES], variables].concat())
}

fn arguments(id: &str, port: &str, peer_ports: &str) -> Input {
    let arguments = Arguments { id: id.into(), port: port.into(), peer_ports: peer_ports.into() };
    Input { arguments: Some(arguments), ..Input::default() }
}

fn file(text: &str) -> (NamedTempFile, Input) {
    let mut file = NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    let input = environment(&[("CAUSEWAY_CONFIG", file.path().to_str().unwrap())]);
    (file, input)
}

fn problems(input: &Input) -> Vec<String> {
    load(input).unwrap_err().0.iter().map(ToString::to_string).collect()
}

fn peers(config: &Config) -> Vec<(Option<u32>, &str)> {
    config.peers.iter().map(|peer| (peer.id.map(|id| id.0), &*peer.url)).collect()
}

#[test]
fn id_and_peers_are_all_it_takes() {
    let config = load(&node0(&[])).unwrap();
    assert_eq!(config.node, NodeId(0));
    assert_eq!(config.cluster, "causeway");
    assert_eq!(peers(&config), [(Some(1), "http://node1.replication:7000")]);
    assert_eq!(config.listen.to_string(), "127.0.0.1:8000");
    assert_eq!(config.peer_listen, PeerListen::WithClients);
    assert_eq!(config.data_dir, PathBuf::from("causeway-data/0"));
    assert_eq!(config.log_format, LogFormat::Json);
    let limits =
        Limits { key_bytes: 1 << 10, value_bytes: 1 << 20, request_bytes: 8 << 20, entries: 10_000, siblings: 64 };
    assert_eq!(config.limits, limits);
    let replication = Replication {
        forward_after_ms: 500,
        digest_interval_ms: 500,
        delivery_buffer_ops: 65_536,
        delivery_buffer_bytes: 64 << 20,
        state_bytes_per_second: 64 << 20,
    };
    assert_eq!(config.replication, replication);
    assert!(config.warnings.is_empty());
}

#[test]
fn the_command_line_of_the_reference() {
    let config = load(&arguments("1", "8001", "8000, 8001,8002")).unwrap();
    assert_eq!(config.node, NodeId(1));
    assert_eq!(config.listen.to_string(), "127.0.0.1:8001");
    assert_eq!(peers(&config), [(None, "http://127.0.0.1:8000"), (None, "http://127.0.0.1:8002")]);
    assert_eq!(config.peer_listen, PeerListen::WithClients);
    assert_eq!(config.data_dir, PathBuf::from("causeway-data/1"));
    assert!(config.warnings.is_empty());

    let alone = load(&arguments("0", "8000", "8000")).unwrap();
    assert!(alone.peers.is_empty() && alone.warnings.is_empty());
}

#[test]
fn an_own_port_that_is_not_listed_is_a_warning() {
    let config = load(&arguments("0", "8000", "8001")).unwrap();
    assert_eq!(peers(&config), [(None, "http://127.0.0.1:8001")]);
    assert_eq!(config.warnings, ["PEER_PORTS lacks this node's own port 8000; it is taken as if it were there"]);
}

#[test]
fn each_layer_goes_over_the_one_before() {
    let (_file, mut input) = file("node_id = 5\ncluster = \"of-the-file\"\nmax_entries = 7\nmax_siblings = 9\n");
    let add = |input: &mut Input, name: &str, value: &str| input.environment.push((name.into(), value.into()));
    add(&mut input, "CAUSEWAY_MAX_ENTRIES", "8");
    add(&mut input, "CAUSEWAY_NODE_ID", "6");
    add(&mut input, "CAUSEWAY_PEERS", "6=http://a:1");
    let config = load(&input).unwrap();
    assert_eq!((config.node, config.cluster.as_str()), (NodeId(6), "of-the-file"));
    assert_eq!((config.limits.entries, config.limits.siblings, config.limits.key_bytes), (8, 9, 1_024));

    input.arguments = arguments("7", "9000", "9000,9001").arguments;
    let config = load(&input).unwrap();
    assert_eq!((config.node, config.limits.entries), (NodeId(7), 8));
    assert_eq!(peers(&config), [(None, "http://127.0.0.1:9001")]);
}

#[test]
fn the_file_can_say_everything() {
    let (_file, input) = file(
        "node_id = 1\npeers = [\"0=http://a:1\", \"1=http://b:1/\"]\nlisten = \"[::]:8000\"\ninsecure = 1\n\
         peer_listen = \"0.0.0.0:7000\"\npeer_subnet = \"172.31.0.0/16\"\nlog_format = \"pretty\"\n",
    );
    let config = load(&input).unwrap();
    assert_eq!(peers(&config), [(Some(0), "http://a:1")]);
    assert_eq!(config.log_format, LogFormat::Pretty);
    let PeerListen::Address { address, subnet: Some(subnet) } = config.peer_listen else { panic!("{config:?}") };
    assert_eq!(address.to_string(), "0.0.0.0:7000");
    assert_eq!(subnet.to_string(), "172.31.0.0/16");
}

#[test]
fn removed_nodes_are_ids_that_are_not_in_the_list() {
    assert!(load(&node0(&[])).unwrap().removed.is_empty());
    let config = load(&node0(&[("CAUSEWAY_REMOVED", "7, 3,")])).unwrap();
    assert_eq!(config.removed, [NodeId(3), NodeId(7)].into());
    for list in ["[7, 3]", "[\"3\", \"7\"]", "\"3,7\""] {
        let (_file, mut input) = file(&format!("removed = {list}\n"));
        input.environment.extend(node0(&[]).environment);
        assert_eq!(load(&input).unwrap().removed, config.removed, "{list}");
    }
    let mut by_arguments = arguments("0", "8000", "8000,8001");
    by_arguments.environment.push(("CAUSEWAY_REMOVED".into(), "3".into()));
    assert_eq!(load(&by_arguments).unwrap().removed, [NodeId(3)].into());
    assert_eq!(
        problems(&node0(&[("CAUSEWAY_REMOVED", "0,1,x,5,5")])),
        [
            "CAUSEWAY_REMOVED is '0': expected ids of other nodes: this is this node's own",
            "CAUSEWAY_REMOVED is '1': expected ids that CAUSEWAY_PEERS does not have",
            "CAUSEWAY_REMOVED is 'x': expected ids of nodes, such as 3,4",
            "CAUSEWAY_REMOVED is '5': expected each id once",
        ]
    );
}

#[test]
fn every_problem_is_listed_at_once() {
    let input = environment(&[
        ("CAUSEWAY_NODE_ID", "007"),
        ("CAUSEWAY_CLUSTER", "two words"),
        ("CAUSEWAY_PEERS", "0=http://a:1,1=http://b,0=http://c:1,2=ftp://d:1,zero"),
        ("CAUSEWAY_LISTEN", "8000"),
        ("CAUSEWAY_MAX_REQUEST_BYTES", "33554433"),
        ("CAUSEWAY_MAX_KEY_BYTES", "1e3"),
        ("CAUSEWAY_LOG_FORMAT", "xml"),
        ("CAUSEWAY_TRACES_URL", "http://localhost:16686/trace/"),
        ("CAUSEWAY_LOG", "a=b=c"),
        ("CAUSEWAY_PEER_SUBNET", "172.31.0.0/33"),
        ("CAUSEWAY_LISTNE", "127.0.0.1:8000"),
        ("CAUSEWAY_COLOUR_OF_THE_BRIDGE", "red"),
    ]);
    let problems = problems(&input);
    let starts = [
        "CAUSEWAY_COLOUR_OF_THE_BRIDGE is not a setting",
        "CAUSEWAY_LISTNE is not a setting; did you mean CAUSEWAY_LISTEN?",
        "CAUSEWAY_NODE_ID is '007': expected a whole number from 0 to 4294967295, without leading zeros",
        "CAUSEWAY_CLUSTER is 'two words': expected 1 to 64 letters",
        "CAUSEWAY_LISTEN is '8000': expected an IP address and a port",
        "CAUSEWAY_PEER_SUBNET is '172.31.0.0/33': expected a range of addresses",
        "CAUSEWAY_PEERS is '1=http://b': expected ID=http://HOST:PORT",
        "CAUSEWAY_PEERS is '0=http://c:1': expected each id once",
        "CAUSEWAY_PEERS is '2=ftp://d:1': expected ID=http://HOST:PORT",
        "CAUSEWAY_PEERS is 'zero': expected ID=http://HOST:PORT",
        "CAUSEWAY_LOG is 'a=b=c': expected a log filter",
        "CAUSEWAY_LOG_FORMAT is 'xml': expected pretty or json",
        "CAUSEWAY_TRACES_URL is 'http://localhost:16686/trace/': expected an http:// or https:// address with {trace_id} in it",
        "CAUSEWAY_MAX_KEY_BYTES is '1e3': expected a whole number from 1 to 65534",
        "CAUSEWAY_MAX_REQUEST_BYTES is '33554433': expected a whole number from 1024 to 33554432",
    ];
    assert_eq!(problems.len(), starts.len(), "{problems:#?}");
    for (problem, start) in problems.iter().zip(starts) {
        assert!(problem.starts_with(start), "{problem}, expected {start}");
    }
}

#[test]
fn what_must_be_set_is_named() {
    let all = load(&environment(&[])).unwrap_err().to_string();
    assert_eq!(
        all,
        "2 problems in the configuration:\n  \
         - CAUSEWAY_NODE_ID is not set: expected a whole number from 0 to 4294967295, without leading zeros\n  \
         - CAUSEWAY_PEERS is not set: expected all nodes, this one too, such as 0=http://node0:8000,1=http://node1:8000"
    );
    assert_eq!(problems(&environment(&[("CAUSEWAY_NODE_ID", ""), TWO_NODES])).len(), 1, "empty counts as not set");
}

#[test]
fn problems_name_the_setting_as_it_was_written() {
    let (file, mut input) = file("node_id = -1\npears = \"\"\nmax_entries = true\ncluster = 7\n");
    input.environment.push((TWO_NODES.0.into(), TWO_NODES.1.into()));
    let path = file.path().to_str().unwrap();
    let problems = problems(&input);
    assert_eq!(problems[0], format!("pears (in {path}) is not a setting; did you mean peers (in {path})?"));
    assert!(problems[1].starts_with(&format!("node_id (in {path}) is '-1': expected a whole number")));
    assert!(problems[2].starts_with(&format!("cluster (in {path}) is '7': expected a text in quotes")));
    assert!(problems[3].starts_with(&format!("max_entries (in {path}) is 'true': expected a whole number")));
    assert_eq!(problems.len(), 4);

    let problems = self::problems(&arguments("x", "0", "8000,port,8000"));
    assert!(problems[0].starts_with("ID is 'x': expected a whole number"));
    assert_eq!(problems[1], "PORT is '0': expected a port from 1 to 65535");
    assert_eq!(problems[2], "PEER_PORTS is 'port': expected ports from 1 to 65535, such as 8000,8001");
    assert_eq!(problems[3], "PEER_PORTS is '8000': expected each port once");
    assert_eq!(problems.len(), 4);
}

#[test]
fn a_file_that_cannot_be_used_hides_no_other_problem() {
    let input = environment(&[("CAUSEWAY_CONFIG", "/nowhere/causeway.toml"), ("CAUSEWAY_NODE_ID", "x"), TWO_NODES]);
    let listed = problems(&input);
    assert!(listed[0].starts_with("CAUSEWAY_CONFIG is '/nowhere/causeway.toml': No such file"), "{listed:?}");
    assert!(listed[1].starts_with("CAUSEWAY_NODE_ID"), "{listed:?}");

    let (_file, input) = file("node_id = 007\n");
    assert!(problems(&input)[0].starts_with("CAUSEWAY_CONFIG is '"));
}

#[test]
fn the_list_of_nodes_must_hold_this_one() {
    let listed = problems(&environment(&[("CAUSEWAY_NODE_ID", "2"), TWO_NODES]));
    assert_eq!(listed.len(), 1);
    assert!(listed[0].ends_with("expected this node's id, 2, in it too: the list is the same for all nodes"));
}

#[test]
fn two_nodes_at_one_address_are_refused() {
    let input = environment(&[("CAUSEWAY_NODE_ID", "0"), ("CAUSEWAY_PEERS", "0=http://a:1, 1=http://a:1/")]);
    assert_eq!(problems(&input), ["CAUSEWAY_PEERS is '1=http://a:1/': expected each address once"]);
}

#[test]
fn peers_are_served_where_a_name_points_to() {
    let insecure = ("CAUSEWAY_INSECURE", "1");
    let config = load(&node0(&[("CAUSEWAY_PEER_LISTEN", "node0.replication:7000"), insecure])).unwrap();
    assert_eq!(config.peer_listen, PeerListen::Name { host: "node0.replication".to_owned(), port: 7_000 });
    for wrong in ["7000", "node0.replication", "300.0.0.1:7000", ":7000", "node0:0", "no de:7000"] {
        let listed = problems(&node0(&[("CAUSEWAY_PEER_LISTEN", wrong)]));
        assert!(listed[0].contains("expected ADDRESS:PORT or NAME:PORT"), "{listed:?}");
    }
    let subnet = ("CAUSEWAY_PEER_SUBNET", "10.0.0.0/8");
    for without_address in [&[subnet][..], &[subnet, insecure, ("CAUSEWAY_PEER_LISTEN", "node0.replication:7000")]] {
        let listed = problems(&node0(without_address));
        assert!(listed[0].starts_with("CAUSEWAY_PEER_SUBNET is '10.0.0.0/8': expected that"), "{listed:?}");
    }
}

const SECRET: &str = "a secret that is long enough for anybody";

fn secret_file(text: &str) -> (NamedTempFile, String) {
    let mut file = NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    let path = file.path().to_str().unwrap().to_owned();
    (file, path)
}

#[test]
fn without_a_secret_only_this_machine_is_listened_to() {
    let on = |key: &'static str, address: &'static str| node0(&[(key, address)]);
    for local in ["127.0.0.1:8000", "127.8.9.1:80", "[::1]:8000", "[::ffff:127.0.0.1]:8000"] {
        for key in ["CAUSEWAY_LISTEN", "CAUSEWAY_PEER_LISTEN"] {
            assert_eq!(load(&on(key, local)).unwrap().warnings, [] as [String; 0], "{key}={local}");
        }
    }
    load(&on("CAUSEWAY_PEER_LISTEN", "localhost:7000")).unwrap();
    let open = [
        ("CAUSEWAY_LISTEN", "0.0.0.0:8000"),
        ("CAUSEWAY_LISTEN", "[::]:8000"),
        ("CAUSEWAY_LISTEN", "192.168.1.4:8000"),
        ("CAUSEWAY_PEER_LISTEN", "0.0.0.0:7000"),
        ("CAUSEWAY_PEER_LISTEN", "[2001:db8::1]:7000"),
        ("CAUSEWAY_PEER_LISTEN", "node0.replication:7000"),
        ("CAUSEWAY_PEER_LISTEN", "localhost.example.com:7000"),
    ];
    let (_file, path) = secret_file(SECRET);
    for (key, address) in open {
        let listed = problems(&on(key, address));
        assert_eq!(listed.len(), 1, "{listed:?}");
        let expected = format!("{key} is '{address}': expected an address of this machine alone");
        assert!(listed[0].starts_with(&expected), "{listed:?}");
        assert!(listed[0].contains("CAUSEWAY_SECRET_FILE") && listed[0].contains("CAUSEWAY_INSECURE=1"), "{listed:?}");
        let warnings = load(&node0(&[(key, address), ("CAUSEWAY_INSECURE", "1")])).unwrap().warnings;
        assert!(warnings[0].contains(address) && warnings.len() == 1, "{warnings:?}");
        let config = load(&node0(&[(key, address), ("CAUSEWAY_SECRET_FILE", &path)])).unwrap();
        assert!(config.secrets.is_some() && config.warnings.is_empty());
    }
    let both = node0(&[("CAUSEWAY_LISTEN", "0.0.0.0:8000"), ("CAUSEWAY_PEER_LISTEN", "0.0.0.0:7000")]);
    assert_eq!(problems(&both).len(), 2);
    assert!(problems(&on("CAUSEWAY_INSECURE", "yes"))[0].starts_with("CAUSEWAY_INSECURE is 'yes': expected"));
}

#[test]
fn secrets_are_read_at_the_start_and_never_shown() {
    let (_file, path) = secret_file(&format!("# of the cluster\n{SECRET}\n"));
    let config = load(&node0(&[("CAUSEWAY_SECRET_FILE", &path)])).unwrap();
    assert_eq!(config.secrets.as_ref().unwrap().0.to_str(), Some(&*path));
    assert!(!format!("{config:?}").contains("long enough"));
    let (_short, short) = secret_file("hunter2");
    let listed = problems(&node0(&[("CAUSEWAY_SECRET_FILE", &short), ("CAUSEWAY_MAX_ENTRIES", "x")]));
    assert_eq!(listed.len(), 2);
    let expected = format!(
        "CAUSEWAY_SECRET_FILE is '{short}': expected a file with a secret of at least 32 characters, or several, one a \
         line; it has a secret of 7 characters in line 1; at least 32 are needed"
    );
    assert_eq!(listed[0], expected);
    let nowhere = problems(&node0(&[("CAUSEWAY_SECRET_FILE", "/nowhere/secrets"), ("CAUSEWAY_LISTEN", "0.0.0.0:1")]));
    assert_eq!(nowhere.len(), 1, "what it would protect is no problem of its own: {nowhere:?}");
    assert!(nowhere[0].contains("it can't be read: No such file"), "{nowhere:?}");
}

#[test]
fn tokens_protect_what_is_for_clients_alone() {
    let (_file, path) = secret_file(&format!("shop read * {}\n", "5f".repeat(32)));
    let open = [("CAUSEWAY_TOKENS_FILE", &*path), ("CAUSEWAY_LISTEN", "0.0.0.0:8000")];
    let with = |peers: &'static str| node0(&[&open[..], &[("CAUSEWAY_PEER_LISTEN", peers)]].concat());
    let config = load(&with("localhost:7000")).unwrap();
    assert!(config.tokens.is_some() && config.warnings.is_empty());
    let listed = [problems(&node0(&open)), problems(&with("0.0.0.0:7000"))].concat();
    assert!(
        listed.len() == 2 && listed[0].starts_with("CAUSEWAY_LISTEN is"),
        "peers are served there, too: {listed:?}"
    );
    assert!(listed[1].starts_with("CAUSEWAY_PEER_LISTEN is"), "{listed:?}");
    let (_bad, bad) = secret_file("shop read * causeway_secret");
    let listed = problems(&node0(&[("CAUSEWAY_TOKENS_FILE", &bad)]));
    assert!(listed.len() == 1 && listed[0].contains("it has a hash that is not 64"), "{listed:?}");
    assert!(!listed[0].contains("causeway_secret"));
}

#[test]
fn a_node_is_called_by_the_names_that_are_configured_and_by_its_own() {
    let hosts = |variables: &[(&str, &str)]| load(&node0(variables)).unwrap().hosts;
    let own = hosts(&[]);
    let more = hosts(&[("CAUSEWAY_HOSTS", "kv.example.com, .edge,*")]);
    assert_eq!(more[..3], ["kv.example.com", ".edge", "*"]);
    assert_eq!(more[3..], own);
    let named = hosts(&[
        ("CAUSEWAY_PEERS", "0=http://node0.replication:7000,1=http://node1.replication:7000"),
        ("CAUSEWAY_PEER_LISTEN", "localhost:7000"),
    ]);
    assert_eq!(named, ["localhost", "node0.replication"]);
    let wrong = problems(&node0(&[("CAUSEWAY_HOSTS", "node0:8000,http://x,.,a..b,*.edge,ok")]));
    assert_eq!(wrong.len(), 5, "{wrong:?}");
    assert!(wrong[0].starts_with("CAUSEWAY_HOSTS is 'node0:8000': expected names without a port"), "{wrong:?}");
}

#[test]
fn variables_of_others_and_odd_bytes() {
    let mut input = node0(&[("CAUSEWAYS_X", "1"), ("PATH", "/bin"), ("CAUSEWAY_JAEGER_IMAGE", "x:local")]);
    load(&input).unwrap();
    input.environment.push(("CAUSEWAY_CLUSTER".into(), OsString::from_vec(vec![0xff])));
    assert_eq!(problems(&input), ["CAUSEWAY_CLUSTER is '\u{fffd}': expected UTF-8"]);
}

#[test]
fn a_health_check_needs_only_the_address() {
    let own = |variables: &[(&str, &str)]| load_own(&environment(variables));
    let (listen, certificate) = own(&[]).unwrap();
    assert_eq!((listen.to_string().as_str(), certificate), ("127.0.0.1:8000", None));
    let (listen, certificate) =
        own(&[("CAUSEWAY_LISTEN", "0.0.0.0:80"), ("CAUSEWAY_TLS_CERT_FILE", "node.pem")]).unwrap();
    assert_eq!((listen.to_string().as_str(), certificate), ("0.0.0.0:80", Some("node.pem".into())));
    assert!(own(&[("CAUSEWAY_LISTEN", "somewhere")]).is_err());
}

/// The document lists just the settings there are, with their defaults and what they mean.
#[test]
fn the_document_says_what_the_code_does() {
    let document = include_str!("../../docs/configuration.md");
    let listed = document.lines().filter(|line| line.starts_with("| `CAUSEWAY_"));
    let rows = SETTINGS.iter().map(|setting| {
        let default = setting.default.map_or(String::new(), |default| format!("`{default}`"));
        format!("| `{}` | {default} | {} |", setting.variable(), setting.about)
    });
    assert_eq!(listed.collect::<Vec<_>>(), rows.collect::<Vec<_>>());
}

#[test]
fn the_longest_key_that_can_be_allowed_can_be_stored() {
    assert_eq!(LONGEST_KEY_BYTES, crate::format::op::MAX_KEY_BYTES as u64);
}
