//! What is delivered: the bill of materials, the package, what images say of themselves, and that containers have no
//! rights they do not need. Reads files as text; the manifests for Kubernetes are checked by `tests/run kubernetes`.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;

use crate::support::free_ports;
use crate::support::process::Launch;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn text(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn output(command: &mut Command) -> String {
    let output = command.current_dir(root()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn cargo(arguments: &[&str]) -> String {
    output(Command::new(env!("CARGO")).args(arguments).arg("--locked"))
}

/// The lines of a block of YAML: below the line `head`, as far as they are indented more than that.
fn block<'a>(text: &'a str, head: &str) -> Vec<&'a str> {
    let indent = |line: &str| line.len() - line.trim_start().len();
    let mut lines = text.lines().skip_while(|line| line.trim_end() != head);
    let own = indent(lines.next().unwrap_or_else(|| panic!("no {head}")));
    lines.take_while(|line| line.trim().is_empty() || indent(line) > own).map(str::trim).collect()
}

#[test]
fn the_bill_of_materials_names_every_crate_with_licence_and_checksum() {
    let directory = TempDir::new().unwrap();
    output(Command::new(root().join("deploy/bill-of-materials")).arg(directory.path()));
    let bill = fs::read(directory.path().join("causeway.cdx.json")).unwrap();
    let bill: Value = serde_json::from_slice(&bill).unwrap();
    assert_eq!((&bill["bomFormat"], &bill["specVersion"]), (&Value::from("CycloneDX"), &Value::from("1.5")));
    let name = |part: &Value| format!("{} v{}", part["name"].as_str().unwrap(), part["version"].as_str().unwrap());

    let tree = cargo(&["tree", "--package", "causeway", "--edges", "normal", "--prefix", "none", "--format", "{p}"]);
    let crates = tree.lines().map(|line| line.split(' ').take(2).collect::<Vec<_>>().join(" "));
    let mut expected: BTreeSet<String> = crates.collect();
    assert!(expected.len() > 100, "{expected:?}");
    expected.remove(&name(&bill["metadata"]["component"]));
    let components = bill["components"].as_array().unwrap();
    let (crates, others): (Vec<&Value>, Vec<_>) = components.iter().partition(|part| part["purl"].is_string());
    assert_eq!(crates.iter().map(|part| name(part)).collect::<BTreeSet<_>>(), expected);
    assert_eq!(crates.len(), expected.len());
    // What is linked besides crates.
    assert_eq!(others.iter().map(|part| &part["bom-ref"]).collect::<Vec<_>>(), ["rust-std", "glibc"]);

    let lock = text("Cargo.lock");
    let licences = fs::read_to_string(directory.path().join("licences.txt")).unwrap();
    for part in components {
        let licence = part["licenses"][0]["expression"].as_str().unwrap();
        assert!(!licence.is_empty() && !licence.contains('/'), "{part}");
    }
    for part in crates {
        let hash = part["hashes"][0]["content"].as_str().unwrap();
        assert!(lock.contains(&format!("checksum = \"{hash}\"")), "{part}");
        assert!(licences.contains(&name(part).replace(" v", " ")), "{part}");
    }
    // What depends on what has all of them, and nothing else.
    let referred = bill["dependencies"].as_array().unwrap().iter();
    let referred = referred.flat_map(|of| of["dependsOn"].as_array().unwrap()).collect::<Vec<_>>();
    for part in components {
        assert!(referred.contains(&&part["bom-ref"]), "nothing depends on {part}");
    }
    for reference in referred {
        assert!(components.iter().any(|part| part["bom-ref"] == *reference), "{reference}");
    }
}

#[test]
fn the_package_has_what_its_users_need_and_nothing_else() {
    let listed = cargo(&["package", "--list", "--allow-dirty"]);
    let allowed = |file: &&str| {
        let generated = [".cargo_vcs_info.json", "Cargo.lock", "Cargo.toml", "Cargo.toml.orig"];
        let beside = ["ARCHITECTURE.md", "CHANGELOG.md", "LICENSE-APACHE", "LICENSE-MIT", "README.md", "SECURITY.md"];
        let document = file.strip_prefix("docs/").is_some_and(|name| name.ends_with(".md"));
        generated.contains(file) || beside.contains(file) || document || file.starts_with("src/")
    };
    assert_eq!(listed.lines().filter(|file| !allowed(file)).collect::<Vec<_>>(), [""; 0]);
    for needed in ["Cargo.lock", "LICENSE-APACHE", "LICENSE-MIT", "README.md", "SECURITY.md", "src/main.rs"] {
        assert!(listed.lines().any(|file| file == needed), "{needed} is missing");
    }
}

/// All scripts, and the Dockerfile, with lines that go on made one.
fn scripts() -> Vec<(PathBuf, String)> {
    let mut scripts = vec![root().join("Dockerfile"), root().join(".ci/run")];
    for directory in ["deploy", "deploy/offline", "tests"] {
        let files = fs::read_dir(root().join(directory)).unwrap().map(|entry| entry.unwrap().path());
        scripts.extend(files.filter(|path| path.is_file() && path.extension().is_none_or(|suffix| suffix == "sh")));
    }
    assert!(scripts.len() > 10, "{scripts:?}");
    scripts.into_iter().map(|path| (path.clone(), fs::read_to_string(&path).unwrap().replace("\\\n", " "))).collect()
}

#[test]
fn no_script_lets_cargo_choose_other_versions() {
    let commands = ["bench", "build", "check", "clippy", "doc", "install", "package", "rustc", "test", "tree"];
    let mut found = 0;
    for (path, script) in scripts() {
        for line in script.lines().filter(|line| !line.trim_start().starts_with('#')) {
            let words: Vec<&str> = line.split_whitespace().collect();
            if words.windows(2).any(|pair| pair[0] == "cargo" && commands.contains(&pair[1])) {
                found += 1;
                assert!(words.contains(&"--locked"), "{}: {line}", path.display());
            }
        }
    }
    assert!(found > 15, "{found}");
}

#[test]
fn the_image_says_what_it_is_and_runs_as_nobody() {
    let dockerfile = text("Dockerfile");
    let last = &dockerfile[dockerfile.rfind("\nFROM ").unwrap()..];
    for wanted in [
        "\nFROM scratch\n",
        "\nUSER 65532:65532\n",
        "/image/causeway.cdx.json /image/licences.txt /\n",
        &format!("\nARG VERSION={}\n", env!("CARGO_PKG_VERSION")),
        "org.opencontainers.image.title=\"Causeway\"",
        &format!("org.opencontainers.image.description=\"{}\"", env!("CARGO_PKG_DESCRIPTION")),
        &format!("org.opencontainers.image.licenses=\"{}\"", env!("CARGO_PKG_LICENSE")),
        "org.opencontainers.image.version=\"${VERSION}\"",
        "org.opencontainers.image.revision=\"${REVISION}\"",
    ] {
        assert!(last.contains(wanted), "the image's last stage has no {wanted}");
    }
    for script in ["deploy/up", "deploy/offline/node-image"] {
        let wanted = "--build-arg \"VERSION=$(version)\" --build-arg \"REVISION=$(revision)\"";
        assert!(text(script).contains(wanted), "{script}");
    }
}

#[test]
fn containers_have_no_rights_that_they_do_not_need() {
    let compose = text("docker-compose.yml");
    let swarm = text("deploy/swarm.yml");
    let node = ["read_only: true", "cap_drop: [ALL]", "ulimits: {core: 1}"];
    // Swarm leaves `security_opt` out. There is nothing in the image that gives rights.
    for (text, wanted) in [(&compose, &["security_opt: [\"no-new-privileges:true\"]"][..]), (&swarm, &[])] {
        let defaults = block(text, "x-node: &node");
        for line in node.iter().chain(wanted) {
            assert!(defaults.contains(line), "nodes have no {line}");
        }
        for service in ["  node0:", "  node1:", "  node2:"] {
            let own = block(text, service);
            assert!(own.contains(&"<<: *node"), "{service}");
            assert!(
                !own.iter().any(|line| node.iter().any(|wanted| line.starts_with(wanted.split(' ').next().unwrap())))
            );
        }
        let given = ["privileged", "cap_add", "unconfined", "network_mode", "docker.sock", "devices", "user:", "pid:"];
        let code = text.lines().map(|line| line.split('#').next().unwrap());
        let bad: Vec<&str> = code.filter(|line| given.iter().any(|word| line.contains(word))).collect();
        assert_eq!(bad.into_iter().filter(|line| !line.contains("no-new-privileges")).collect::<Vec<_>>(), [""; 0]);
    }
    for service in ["  jaeger:", "  prometheus:"] {
        let own = block(&compose, service);
        assert!(own.contains(&"cap_drop: [ALL]") && own.contains(&"security_opt: [\"no-new-privileges:true\"]"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_leaves_no_core_dump() {
    let directory = TempDir::new().unwrap();
    let [port] = free_ports();
    let node = Launch::by_arguments(directory.path(), 0, port, &[port]).start_ready().await;
    let limits = fs::read_to_string(format!("/proc/{}/limits", node.id())).unwrap();
    let core = limits.lines().find_map(|line| line.strip_prefix("Max core file size")).unwrap();
    let core: Vec<u64> = core.split_whitespace().take(2).map(|limit| limit.parse().unwrap()).collect();
    // Not even one that goes to a program, for which one byte is asked for where that is allowed.
    assert!(core.iter().all(|limit| *limit <= 1), "{limits}");
}
