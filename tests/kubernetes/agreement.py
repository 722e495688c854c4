"""Do the parts of a deployment agree with each other, and with the product? What no schema says."""

import re
from urllib.parse import urlsplit

MIB = 1 << 20
UNITS = {"Mi": MIB, "Gi": MIB << 10}
# docs/configuration.md: "SIGTERM and SIGINT stop a node within five seconds".
STOP_SECONDS = 5
RESTRICTED = {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}}


def settings(root):
    """The product's settings and their defaults, as docs/configuration.md has them; a test holds that against the product."""
    text = (root / "docs/configuration.md").read_text()
    return dict(re.findall(r"^\| `(CAUSEWAY_\w+)` \| `?([^`|]*?)`? \|", text, re.MULTILINE))


def problems_of(documents, root):
    """Everything that does not agree in a whole deployment."""
    deployment = Deployment(documents, root)
    return [text for check in CHECKS for text in check(deployment)] + list(security(documents, root))


def problems_of_restore(documents, base, root):
    """Everything that does not agree in what makes a node's volume, with the deployment that it is for."""
    [claim] = [document for document in documents if document["kind"] == "PersistentVolumeClaim"]
    [template] = Deployment(base, root).set["spec"]["volumeClaimTemplates"]
    problems = [] if claim["spec"] == template["spec"] else [f"the volume is not as the nodes have them: {claim['spec']}"]
    if claim["metadata"]["name"] != f"{template['metadata']['name']}-causeway-0":
        problems.append("the volume is not that of node 0")
    return problems + list(security(documents, root))


def pods(documents):
    """The specification of every pod that is made, with what it is made by."""
    for document in documents:
        spec = document.get("spec", {})
        spec = spec.get("jobTemplate", {}).get("spec", spec)
        if "containers" in spec.get("template", {}).get("spec", {}):
            yield f"{document['kind']} {document['metadata']['name']}", spec["template"]["spec"]


class Deployment:
    """The documents, and what the checks ask for."""

    def __init__(self, documents, root):
        self.root = root
        self.documents = documents
        [self.set] = self.all("StatefulSet")
        self.pod = self.set["spec"]["template"]["spec"]
        self.labels = self.set["spec"]["template"]["metadata"]["labels"]
        [self.container] = self.pod["containers"]
        self.ports = {port["name"]: port["containerPort"] for port in self.container["ports"]}
        maps = {map["metadata"]["name"]: map["data"] for map in self.all("ConfigMap")}
        self.environment = {}
        for source in self.container["envFrom"]:
            self.environment |= maps.get(source["configMapRef"]["name"], {})
        self.known = settings(root)

    def all(self, kind):
        return [document for document in self.documents if document["kind"] == kind]

    def bytes(self, name):
        name = f"CAUSEWAY_{name}_BYTES"
        return int(self.environment.get(name, self.known[name]))

    def selected_by(self, labels):
        return labels.items() <= self.labels.items()


def nodes(deployment):
    """Ids, list, names and ports."""
    service = deployment.set["spec"]["serviceName"]
    peers = dict(peer.split("=", 1) for peer in deployment.environment.get("CAUSEWAY_PEERS", "").split(",") if peer)
    name, port = deployment.set["metadata"]["name"], deployment.ports["peers"]
    expected = {str(id): f"http://{name}-{id}.{service}:{port}" for id in range(deployment.set["spec"]["replicas"])}
    if peers != expected:
        yield f"CAUSEWAY_PEERS is not the list of the replicas: {peers}"
    removed = {id.strip() for id in deployment.environment.get("CAUSEWAY_REMOVED", "").split(",")}
    if removed & expected.keys():
        yield f"{sorted(removed & expected.keys())} are removed, and run"
    for setting, port in [("CAUSEWAY_LISTEN", "clients"), ("CAUSEWAY_PEER_LISTEN", "peers")]:
        if urlsplit(f"//{deployment.environment.get(setting)}").port != deployment.ports[port]:
            yield f"{setting} is not at the port {port}"
    ids = [variable for variable in deployment.container["env"] if variable["name"] == "CAUSEWAY_NODE_ID"]
    path = "metadata.labels['apps.kubernetes.io/pod-index']"
    if [variable["valueFrom"]["fieldRef"]["fieldPath"] for variable in ids] != [path]:
        yield "CAUSEWAY_NODE_ID is not the ordinal"


def environment(deployment):
    """Whatever the product is told, it has to know: it refuses to start with other names."""
    names = {*deployment.environment, *(variable["name"] for variable in deployment.container["env"])}
    for name in sorted(names):
        if name not in deployment.known and not name.startswith("OTEL_"):
            yield f"{name} is no setting"


def services(deployment):
    """Who stands behind the names."""
    by_name = {service["metadata"]["name"]: service["spec"] for service in deployment.all("Service")}
    own = by_name.get(deployment.set["spec"]["serviceName"], {})
    if own.get("clusterIP") != "None" or own.get("publishNotReadyAddresses") is not True:
        yield "the nodes have no names of their own, or only while they are ready"
    for name, service in by_name.items():
        if not deployment.selected_by(service["selector"]):
            yield f"the service {name} selects no node"
        for port in service["ports"]:
            if deployment.ports.get(port["targetPort"]) != port["port"]:
                yield f"the service {name} leads to no port {port}"
    if "peers" in {port["name"] for port in by_name["causeway"]["ports"]}:
        yield "the clients' service leads to the port of peers"


def selectors(deployment):
    """Everything that is said of the nodes is said of these pods."""
    spec = deployment.set["spec"]
    found = [("StatefulSet", spec["selector"])]
    found += [(kind, document["spec"][key]) for kind, key in [("PodDisruptionBudget", "selector"), ("NetworkPolicy", "podSelector")]
              for document in deployment.all(kind)]
    spread = deployment.pod["topologySpreadConstraints"]
    found += [("spread", constraint["labelSelector"]) for constraint in spread]
    for what, selector in found:
        if not selector.get("matchLabels") or not deployment.selected_by(selector["matchLabels"]):
            yield f"{what}: {selector} does not select the nodes"
    if {constraint["topologyKey"] for constraint in spread} != {"kubernetes.io/hostname", "topology.kubernetes.io/zone"}:
        yield "the nodes are not spread over hosts and zones"
    if [budget["spec"].get("maxUnavailable") for budget in deployment.all("PodDisruptionBudget")] != [1]:
        yield "more than one node may be taken away at once"


def network(deployment):
    """Peers come from peers only, and nobody from everywhere."""
    policies = [policy["spec"] for policy in deployment.all("NetworkPolicy")]
    if {"Ingress", "Egress"} - {kind for policy in policies for kind in policy["policyTypes"]}:
        yield "what no policy names is not forbidden"
    for policy in policies:
        for rule in policy.get("ingress", []):
            ports = {port["port"] for port in rule.get("ports", [])}
            labels = [source.get("podSelector", {}).get("matchLabels") for source in rule.get("from", [])]
            if not ports or not ports <= deployment.ports.keys() or not labels or None in labels:
                yield f"who may come in, and where: {rule}"
            if "peers" in ports and labels != [policy["podSelector"]["matchLabels"]]:
                yield f"others than peers may come in as peers: {rule}"


def probes(deployment):
    """They ask for what there is."""
    routes = set(re.findall(r"`GET (/\w+)", (deployment.root / "docs/http-api.md").read_text()))
    wanted = {"startupProbe": "/livez", "livenessProbe": "/livez", "readinessProbe": "/readyz"}
    for probe, path in wanted.items():
        request = deployment.container.get(probe, {}).get("httpGet", {})
        if request.get("path") != path or path not in routes or request.get("port") != "clients":
            yield f"{probe} does not ask for {path}"


def security(documents, root):
    """The restricted profile of Kubernetes, and a root that can't be written."""
    dockerfile = (root / "Dockerfile").read_text()
    user, group = map(int, re.search(r"^USER (\d+):(\d+)$", dockerfile, re.MULTILINE).groups())
    wanted = {"runAsNonRoot": True, "runAsUser": user, "runAsGroup": group, "fsGroup": group,
              "seccompProfile": {"type": "RuntimeDefault"}}
    for name, pod in pods(documents):
        context = pod.get("securityContext", {})
        for key, value in wanted.items():
            if context.get(key) != value:
                yield f"{name}: securityContext.{key} is {context.get(key)}"
        for container in pod["containers"]:
            if container.get("securityContext") != RESTRICTED:
                yield f"{name}: the container's securityContext is {container.get('securityContext')}"
        if pod.get("automountServiceAccountToken") is not False:
            yield f"{name} has a token for the API of Kubernetes"
        if pod.get("enableServiceLinks") is not False:
            yield f"{name}: a variable for each service, such as CAUSEWAY_PORT, gets into the environment"


def volumes(deployment):
    """The data and the secret are where the product looks for them."""
    mounts = {mount["name"]: mount for mount in deployment.container["volumeMounts"]}
    claims = {claim["metadata"]["name"] for claim in deployment.set["spec"]["volumeClaimTemplates"]}
    directory = re.search(r"CAUSEWAY_DATA_DIR=(\S+)", (deployment.root / "Dockerfile").read_text()).group(1)
    if [mounts[claim]["mountPath"] for claim in claims if claim in mounts] != [directory]:
        yield f"{directory} is no volume"
    [volume] = [volume for volume in deployment.pod["volumes"] if "secret" in volume]
    files = {f"{mounts[volume['name']]['mountPath']}/{item['path']}" for item in volume["secret"]["items"]}
    if deployment.environment.get("CAUSEWAY_SECRET_FILE") not in files:
        yield "CAUSEWAY_SECRET_FILE is no file of the secret"
    name, [item] = volume["secret"]["secretName"], volume["secret"]["items"]
    readme = (deployment.root / "deploy/kubernetes/README.md").read_text()
    if f"create secret generic {name} --from-file={item['key']}=" not in readme:
        yield f"the README does not say how the secret {name} is made"


def resources(deployment):
    """Room for what the documents say that a node takes at most, and time to stop (docs/operations.md, Memory)."""
    most = 50 * MIB + 5 * 32 * MIB + 8 * 16 * MIB + deployment.bytes("CACHE") + deployment.bytes("MAX_BODIES")
    most += deployment.bytes("MAX_ANSWERS") + deployment.bytes("MAX_DELIVERY_BUFFER") + 2 * deployment.bytes("MAX_WAITING")
    amounts = deployment.container["resources"]
    memory = amounts["limits"]["memory"]
    if int(memory[:-2]) * UNITS[memory[-2:]] < most:
        yield f"a node may take {most // MIB} MiB of memory, and gets {memory}"
    if amounts["requests"]["memory"] != memory:
        yield "memory is promised that need not be there"
    grace = deployment.pod.get("terminationGracePeriodSeconds", 30)
    before = deployment.container["lifecycle"]["preStop"]["sleep"]["seconds"]
    if grace < before + STOP_SECONDS:
        yield f"a node is killed {grace - before} s after it was told to stop"


def monitoring(deployment):
    """Each node is scraped once, ready or not, in the job that the alerts ask for."""
    for monitor in deployment.all("ServiceMonitor"):
        spec = monitor["spec"]
        services = [service for service in deployment.all("Service")
                    if spec["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()]
        if [service["metadata"]["name"] for service in services] != [deployment.set["spec"]["serviceName"]]:
            yield f"{len(services)} services are scraped"
        elif [endpoint["port"] for endpoint in spec["endpoints"]] != ["clients"]:
            yield "metrics are at the port of clients"
        elif services[0]["metadata"]["labels"].get(spec["jobLabel"]) != "causeway":
            yield "the alerts ask for the job causeway"


def namespaces(deployment):
    """All of it is in one."""
    found = {document["metadata"].get("namespace") for document in deployment.documents if document["kind"] != "Namespace"}
    if len(found) != 1:
        yield f"it is in several namespaces: {found}"


CHECKS = [nodes, environment, services, selectors, network, probes, volumes, resources, monitoring, namespaces]
