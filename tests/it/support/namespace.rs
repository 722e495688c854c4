//! Namespaces: a test that uses fixed ports and iptables, or that mounts something, runs in one of its own and touches
//! nothing else of the machine.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::skip;

/// Set inside.
const INSIDE: &str = "CAUSEWAY_TEST_INSIDE_NAMESPACE";

/// What a namespace is of.
struct Kind {
    /// The option of `unshare`.
    option: &'static str,
    /// Tries out whether it can be used.
    trial: &'static str,
    needs: &'static str,
}

const NETWORK: Kind = Kind {
    option: "--net",
    trial: "ip link set lo up && iptables -A INPUT -p tcp --dport 1 -j DROP && iptables -F",
    needs: "needs root or user namespaces, util-linux's unshare, iproute2 and iptables",
};

const MOUNTS: Kind = Kind {
    option: "--mount",
    trial: "at=$(mktemp -d) && mount -t tmpfs none $at; status=$?; umount $at; rmdir $at; exit $status",
    needs: "needs root or user namespaces, and util-linux's unshare and mount",
};

/// Whether to go on: `true` inside a network namespace. Outside, it runs the test of this name once more inside, says
/// how that went, and `false` is returned; or says why that is not possible here.
pub(crate) fn enter(test: &str) -> bool {
    let inside = enter_one_of(test, &NETWORK);
    if inside {
        run("ip", &["link", "set", "lo", "up"]);
    }
    inside
}

/// The same with a namespace of mounts.
pub(crate) fn enter_mounts(test: &str) -> bool {
    enter_one_of(test, &MOUNTS)
}

fn enter_one_of(test: &str, kind: &Kind) -> bool {
    if std::env::var_os(INSIDE).is_some() {
        return true;
    }
    let mut inside = match unshare(kind) {
        Ok(command) => command,
        Err(why) => {
            skip(&format!("{test}: {why}"));
            return false;
        }
    };
    inside.arg(std::env::current_exe().unwrap()).args(["--exact", test, "--nocapture"]).env(INSIDE, "1");
    let output = inside.output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    assert!(output.status.success(), "inside the namespace:\n{}", String::from_utf8_lossy(&text));
    false
}

/// `unshare` with a namespace of this kind, tried out: as root, else in a user namespace. Else why it can't be.
fn unshare(kind: &Kind) -> Result<Command, String> {
    let mut why = String::new();
    for options in [&[kind.option][..], &[kind.option, "--map-root-user"]] {
        match Command::new("unshare").args(options).args(["sh", "-c", kind.trial]).output() {
            Ok(output) if output.status.success() => {
                let mut command = Command::new("unshare");
                command.args(options);
                return Ok(command);
            }
            Ok(output) => why = String::from_utf8_lossy(&output.stderr).trim().to_owned(),
            Err(error) => why = error.to_string(),
        }
    }
    Err(format!("{}: {why}", kind.needs))
}

/// A file system in memory, of a size; gone when this is dropped. Only inside a namespace of mounts.
pub(crate) struct SmallDisk(PathBuf);

impl SmallDisk {
    pub(crate) fn mount(at: &Path, bytes: u64) -> Self {
        fs::create_dir_all(at).unwrap();
        run("mount", &["-t", "tmpfs", "-o", &format!("size={bytes}"), "none", at.to_str().unwrap()]);
        Self(at.to_owned())
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: what still runs there may be ending.
        run("umount", &["--lazy", self.0.to_str().unwrap()]);
    }
}

/// Drops everything to and from the port, as the reference does.
pub(crate) fn block(port: u16) {
    for (chain, side) in [("INPUT", "--dport"), ("OUTPUT", "--sport")] {
        for protocol in ["tcp", "udp"] {
            run("iptables", &["-A", chain, "-p", protocol, side, &port.to_string(), "-j", "DROP"]);
        }
    }
}

/// Takes all rules away.
pub(crate) fn heal() {
    run("iptables", &["-F"]);
}

fn run(command: &str, arguments: &[&str]) {
    let output = Command::new(command).args(arguments).output().unwrap();
    assert!(output.status.success(), "{command} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}
