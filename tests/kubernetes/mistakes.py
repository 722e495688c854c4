"""Mistakes that somebody could make; each says what is wrong, and makes it so in rendered documents."""

from manifests import one


def pod(documents):
    return one(documents, "StatefulSet")["spec"]["template"]["spec"]


def container(documents):
    return pod(documents)["containers"][0]


def unknown_field(documents):
    """a field that Kubernetes does not have"""
    container(documents)["volumeMount"] = []


def field_of_the_monitor(documents):
    """a field that ServiceMonitor does not have"""
    one(documents, "ServiceMonitor")["spec"]["endpoint"] = []


def replicas(documents):
    """more replicas than peers"""
    one(documents, "StatefulSet")["spec"]["replicas"] = 5


def peer_port(documents):
    """peers at the port of clients"""
    data = one(documents, "ConfigMap")["data"]
    data["CAUSEWAY_PEERS"] = data["CAUSEWAY_PEERS"].replace(":7000", ":8000")


def removed(documents):
    """a node that runs, named as removed"""
    one(documents, "ConfigMap")["data"]["CAUSEWAY_REMOVED"] = "2"


def unknown_setting(documents):
    """a setting that the product does not have"""
    one(documents, "ConfigMap")["data"]["CAUSEWAY_CACHE_BYTE"] = "1"


def other_settings(documents):
    """settings of another ConfigMap"""
    container(documents)["envFrom"][0]["configMapRef"]["name"] = "causeway"


def node_id(documents):
    """the same id for all"""
    container(documents)["env"][0]["valueFrom"]["fieldRef"]["fieldPath"] = "metadata.namespace"


def service_links(documents):
    """variables for services"""
    pod(documents)["enableServiceLinks"] = True


def not_ready(documents):
    """peers that find each other only when they are ready"""
    del one(documents, "Service", "causeway-nodes")["spec"]["publishNotReadyAddresses"]


def wrong_service(documents):
    """names that are not those of the peers"""
    one(documents, "StatefulSet")["spec"]["serviceName"] = "causeway"


def lost_selector(documents):
    """a budget for other pods"""
    one(documents, "PodDisruptionBudget")["spec"]["selector"]["matchLabels"] = {"app": "causeway"}


def spread(documents):
    """nodes that need not be on hosts of their own"""
    del pod(documents)["topologySpreadConstraints"][0]


def open_peers(documents):
    """clients that may come in as peers"""
    one(documents, "NetworkPolicy", "causeway")["spec"]["ingress"][1]["ports"].append({"port": "peers"})


def open_to_all(documents):
    """a rule without a sender"""
    del one(documents, "NetworkPolicy", "causeway")["spec"]["ingress"][1]["from"]


def probe(documents):
    """a restart of nodes that are not ready"""
    container(documents)["livenessProbe"]["httpGet"]["path"] = "/readyz"


def root(documents):
    """a root that can be written"""
    container(documents)["securityContext"]["readOnlyRootFilesystem"] = False


def seccomp(documents):
    """all system calls"""
    del pod(documents)["securityContext"]["seccompProfile"]


def token(documents):
    """a token for the API of Kubernetes"""
    del pod(documents)["automountServiceAccountToken"]


def backup_links(documents):
    """variables for services, for a command"""
    one(documents, "CronJob")["spec"]["jobTemplate"]["spec"]["template"]["spec"]["enableServiceLinks"] = True


def secret(documents):
    """a secret that is mounted elsewhere"""
    container(documents)["volumeMounts"][1]["mountPath"] = "/run/causeway"


def memory(documents):
    """less memory than a flood may take"""
    container(documents)["resources"] = {"requests": {"memory": "1Gi"}, "limits": {"memory": "1Gi"}}


def stop(documents):
    """less time than a stop may take"""
    pod(documents)["terminationGracePeriodSeconds"] = 9


def scraped_twice(documents):
    """a monitor that finds every node twice"""
    del one(documents, "ServiceMonitor")["spec"]["selector"]["matchLabels"]["app.kubernetes.io/component"]


def elsewhere(documents):
    """a part in another namespace"""
    one(documents, "Service", "causeway")["metadata"]["namespace"] = "default"


MISTAKES = [value for value in list(globals().values())
            if callable(value) and value.__doc__ and value.__module__ == __name__]
