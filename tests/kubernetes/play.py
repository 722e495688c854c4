"""Plays what deploy/kubernetes says of pods with containers of the Docker engine: `play.py IMAGE KUSTOMIZE...`.

The settings, the names, the user, the limits, the files and the probes are those of the manifests, and the steps those of their
README, whose commands are run as they stand there: a first write, from three nodes to five, back to three, to five again, a backup,
and the whole cluster restored from it. What Kubernetes itself would do is played only: who is started, replaced and stopped when.
"""

import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from urllib.request import urlopen

from manifests import MANIFESTS, README, of_the_readme, one, render

NAME = "causeway-pods-test"
UNITS = {"Mi": "m", "Gi": "g"}
PATIENCE = 60


def docker(*arguments, check=True):
    """Runs `docker`; what it printed. It must succeed, unless it need not."""
    done = subprocess.run(["docker", *map(str, arguments)], capture_output=True, text=True)
    if check and done.returncode != 0:
        sys.exit(f"docker {' '.join(map(str, arguments))}: exit code {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout.strip()


def of_pod(pod):
    """How `docker run` is told what a pod's one container may do and take."""
    [container] = pod["containers"]
    user, own = pod["securityContext"], container["securityContext"]
    memory = container["resources"]["limits"]["memory"]
    options = ["--user", f"{user['runAsUser']}:{user['runAsGroup']}", "--memory", memory[:-2] + UNITS[memory[-2:]]]
    options += ["--read-only"] if own["readOnlyRootFilesystem"] else []
    options += [] if own["allowPrivilegeEscalation"] else ["--security-opt", "no-new-privileges"]
    return options + [f"--cap-drop={capability}" for capability in own["capabilities"]["drop"]]


class Cluster:
    """The pods of a StatefulSet, in a network in which they have the names that the services would give them."""

    def __init__(self, image, secret):
        self.image, self.secret, self.environments = image, secret, {}
        docker("network", "create", NAME)

    def apply(self, documents, replicas=None):
        """What follows on `kubectl apply`: surplus pods go, missing ones come, then the others are replaced one by one."""
        one(documents, "StatefulSet")["spec"]["replicas"] = wanted = replicas or one(documents, "StatefulSet")["spec"]["replicas"]
        environment = one(documents, "ConfigMap")["data"]
        for ordinal in [ordinal for ordinal in self.environments if ordinal >= wanted]:
            self.stop(ordinal)
        missing = [ordinal for ordinal in range(wanted) if ordinal not in self.environments]
        for ordinal in missing:
            self.start(documents, ordinal, environment)
        for ordinal in missing:
            self.until_ready(documents, ordinal)
        for ordinal in reversed(range(wanted)):
            if self.environments[ordinal] != environment:
                self.stop(ordinal)
                self.start(documents, ordinal, environment)
                self.until_ready(documents, ordinal)

    def start(self, documents, ordinal, environment):
        spec = one(documents, "StatefulSet")["spec"]
        pod = spec["template"]["spec"]
        [container] = pod["containers"]
        mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
        name = f"causeway-{ordinal}"
        options = [option for key, value in environment.items() for option in ("--env", f"{key}={value}")]
        # The ordinal is what the label has that CAUSEWAY_NODE_ID is taken from.
        options += ["--env", f"CAUSEWAY_NODE_ID={ordinal}", "--env", f"OTEL_SERVICE_NAME={name}"]
        options += ["--volume", f"{NAME}-{ordinal}:{mounts['data']}", "--volume", f"{self.secret}:{mounts['secret']}:ro"]
        options += ["--network", NAME, "--network-alias", f"{name}.{spec['serviceName']}", "--network-alias", "causeway"]
        options += ["--publish", f"127.0.0.1::{container['ports'][0]['containerPort']}"]
        docker("run", "--detach", "--name", f"{NAME}-{ordinal}", *options, *of_pod(pod), self.image)
        self.environments[ordinal] = environment

    def stop(self, ordinal):
        """As a kubelet does. It must end by itself, well before it would be killed."""
        container = f"{NAME}-{ordinal}"
        docker("stop", "--time", 10, container)
        status = docker("inspect", "--format", "{{.State.ExitCode}}", container)
        if status != "0":
            sys.exit(f"{container} ended with {status}: {docker('logs', container)}")
        docker("rm", container)
        del self.environments[ordinal]

    def until_ready(self, documents, ordinal):
        """Until its probes say so."""
        [container] = one(documents, "StatefulSet")["spec"]["template"]["spec"]["containers"]
        ports = {port["name"]: port["containerPort"] for port in container["ports"]}
        for probe in ["startupProbe", "livenessProbe", "readinessProbe"]:
            request = container[probe]["httpGet"]
            mapped = docker("port", f"{NAME}-{ordinal}", ports[request["port"]]).splitlines()[0]
            deadline = time.monotonic() + PATIENCE
            while not answers(f"http://{mapped}{request['path']}"):
                if time.monotonic() > deadline:
                    sys.exit(f"{probe} of {ordinal} fails: {subprocess.getoutput(f'docker logs {NAME}-{ordinal}')}")
                time.sleep(0.1)

    def execute(self, command):
        """A command of the README, such as `causeway-0 -- /causeway members`, which must succeed."""
        pod, arguments = command.split(" -- ")
        return docker("exec", f"{NAME}-{pod.removeprefix('causeway-')}", *arguments.split())

    def until_reads(self, ordinal, key, value):
        deadline = time.monotonic() + PATIENCE
        while (read := docker("exec", f"{NAME}-{ordinal}", "/causeway", "get", key, check=False)) != value:
            if time.monotonic() > deadline:
                sys.exit(f"{key} reads {read!r} at {ordinal}, not {value}")
            time.sleep(0.1)

    def job(self, pod, volumes, **replaced):
        """Runs the pod of a job to its end."""
        [container] = pod["containers"]
        arguments = [" ".join(container["args"])]
        for old, new in replaced.items():
            arguments = [argument.replace(f"$({old})", new).replace(f"/{old}.", f"/{new}.") for argument in arguments]
        mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
        options = [option for volume, mount in mounts.items() for option in ("--volume", f"{volumes[volume]}:{mount}")]
        return docker("run", "--rm", "--network", NAME, *options, *of_pod(pod), self.image, *arguments[0].split())

    def forget(self, *ordinals):
        docker("volume", "rm", *(f"{NAME}-{ordinal}" for ordinal in ordinals))


def answers(url):
    try:
        return urlopen(url, timeout=2).status == 200
    except OSError:
        return False


def commands(section):
    """What the README has pods execute in a section."""
    text = README.split(f"## {section}\n")[1].split("\n## ")[0]
    return re.findall(r"exec (causeway-\d -- /causeway [^`\n]+)", text)


def grow(cluster, five):
    """The list first, the nodes after it."""
    cluster.apply(five, replicas=3)
    cluster.apply(five, replicas=5)
    for ordinal in range(5):
        cluster.until_reads(ordinal, "greeting", "hello")
        docker("exec", f"{NAME}-{ordinal}", "/causeway", "set", f"of-{ordinal}", "five", "--acks", "all")
    for command in commands("From three nodes to five"):
        cluster.execute(command)


def play(cluster, kustomize, backups):
    base, example = render(kustomize, MANIFESTS / "base"), render(kustomize, MANIFESTS / "overlays/example")
    five, three_again = of_the_readme(kustomize)
    cluster.apply(base)
    [write, read, status] = commands("First write")
    cluster.execute(write)
    cluster.until_reads(2, "greeting", "hello")
    cluster.execute(read), cluster.execute(status)
    grow(cluster, five)

    [*drains, members] = commands("And back to three")
    for command in drains:
        cluster.execute(command)
    cluster.apply(three_again)
    cluster.execute(members)
    for ordinal in range(3):
        cluster.until_reads(ordinal, "of-4", "five")

    cluster.forget(3, 4)
    grow(cluster, five)

    job = one(example, "CronJob")["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    cluster.job(job, {"backups": backups}, JOB="causeway-backup-1")
    for ordinal in list(cluster.environments):
        cluster.stop(ordinal)
    cluster.forget(0, 1, 2, 3, 4)
    job = one(render(kustomize, MANIFESTS / "restore"), "Job")["spec"]["template"]["spec"]
    cluster.job(job, {"backups": backups, "data": f"{NAME}-0"}, FILE="causeway-backup-1")
    cluster.apply(base)
    for ordinal in range(3):
        cluster.until_reads(ordinal, "of-4", "five")


def clean():
    for kind, remove in [("ps --all", "rm --force"), ("volume ls", "volume rm"), ("network ls", "network rm")]:
        for found in docker(*kind.split(), "--quiet", "--filter", f"name={NAME}").split():
            docker(*remove.split(), found, check=False)


def main(image, *kustomize):
    clean()
    try:
        with tempfile.TemporaryDirectory() as directory:
            # As a secret is there: root's, and readable by the group of the pod.
            (secret := Path(directory) / "secret").mkdir(mode=0o755)
            (secret / "secret").write_text("0123456789abcdef" * 4 + "\n")
            subprocess.run(["chown", "0:65532", str(secret / "secret")], check=True)
            (secret / "secret").chmod(0o440)
            Path(directory).chmod(0o755)
            (backups := Path(directory) / "backups").mkdir()
            backups.chmod(0o777)
            play(Cluster(image, secret), kustomize, backups)
    finally:
        clean()
    print("three nodes, five, three, five, a backup and a restore of it: as the README says")


if __name__ == "__main__":
    main(*sys.argv[1:])
