//! Network namespaces: a test that uses fixed ports and iptables runs in one of its own and touches nothing
//! else of the machine.

use std::process::Command;

use super::skip;

/// Set inside.
const INSIDE: &str = "CAUSEWAY_TEST_INSIDE_NAMESPACE";

/// Whether to go on: `true` inside the namespace. Outside, it runs the test of this name once more inside, says
/// how that went, and `false` is returned; or says why that is not possible here.
pub(crate) fn enter(test: &str) -> bool {
    if std::env::var_os(INSIDE).is_some() {
        run("ip", &["link", "set", "lo", "up"]);
        return true;
    }
    let mut inside = match unshare() {
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

/// `unshare` with a network of its own, tried out: as root, else in a user namespace. Else why it can't be.
fn unshare() -> Result<Command, String> {
    let script = "ip link set lo up && iptables -A INPUT -p tcp --dport 1 -j DROP && iptables -F";
    let mut why = String::new();
    for options in [&["--net"][..], &["--net", "--map-root-user"]] {
        match Command::new("unshare").args(options).args(["sh", "-c", script]).output() {
            Ok(output) if output.status.success() => {
                let mut command = Command::new("unshare");
                command.args(options);
                return Ok(command);
            }
            Ok(output) => why = String::from_utf8_lossy(&output.stderr).trim().to_owned(),
            Err(error) => why = error.to_string(),
        }
    }
    Err(format!("needs root or user namespaces, util-linux's unshare, iproute2 and iptables: {why}"))
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
