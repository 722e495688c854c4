"""Checks deploy/kubernetes without a cluster: `check.py KUSTOMIZE...`, where KUSTOMIZE renders a directory.

Whatever is rendered has to be valid by the schemas of Kubernetes, strictly, and its parts have to agree with each other and
with the product (agreement.py). Mistakes planted into what is right have to be noticed (mistakes.py).
"""

import json
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import jsonschema
import kubernetes_validate
import yaml

from agreement import problems_of, problems_of_restore
from mistakes import MISTAKES

ROOT = Path(__file__).resolve().parents[2]
MANIFESTS = ROOT / "deploy/kubernetes"
# The oldest that deploy/kubernetes/README.md names, and the newest that there are schemas of.
VERSIONS = ["1.30", kubernetes_validate.latest_version()]
OWN_SCHEMAS = {"ServiceMonitor": json.loads((Path(__file__).parent / "servicemonitor.json").read_text())}


def render(kustomize, directory):
    """The documents of a kustomization."""
    done = subprocess.run([*kustomize, str(directory)], capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{directory} can't be rendered: {done.stderr}")
    # What is rendered with a warning uses something that will be gone.
    if done.stderr:
        sys.exit(f"{directory} is rendered with a warning: {done.stderr}")
    return list(yaml.safe_load_all(done.stdout))


def schema_problems(documents):
    """What the schemas say."""
    problems = []
    for document in documents:
        name = f"{document['kind']} {document['metadata']['name']}"
        try:
            if document["kind"] in OWN_SCHEMAS:
                jsonschema.validate(document, OWN_SCHEMAS[document["kind"]])
                continue
            for version in VERSIONS:
                kubernetes_validate.validate(document, version, strict=True)
        except jsonschema.ValidationError as error:
            problems.append(f"{name}: {'.'.join(map(str, error.path))}: {error.message}")
    return problems


def listing_problems():
    """Files that no kustomization names; those that are named and not there are told by kustomize."""
    problems = []
    for kustomization in MANIFESTS.rglob("kustomization.yaml"):
        listed = yaml.safe_load(kustomization.read_text())
        named = {*listed.get("resources", []), *(patch["path"] for patch in listed.get("patches", []))}
        files = {file.name for file in kustomization.parent.glob("*.yaml")} - {"kustomization.yaml"}
        problems += [f"{kustomization} does not name {file}" for file in sorted(files - named)]
    return problems


def of_the_readme():
    """The kustomizations that the README shows, as they stand there."""
    text = (MANIFESTS / "README.md").read_text()
    return re.findall(r"```yaml\n(# overlays/.*?)```", text, re.DOTALL)


def main(kustomize):
    rendered = {name: render(kustomize, MANIFESTS / name) for name in ["base", "overlays/example"]}
    shown = of_the_readme()
    with tempfile.TemporaryDirectory() as copy:
        shutil.copytree(MANIFESTS, copy, dirs_exist_ok=True)
        for number, text in enumerate(shown):
            overlay = Path(copy) / f"overlays/{number}"
            overlay.mkdir()
            (overlay / "kustomization.yaml").write_text(text)
            rendered[f"README.md, kustomization {number + 1}"] = render(kustomize, overlay)
    problems = listing_problems()
    if len(shown) < 2:
        problems.append("README.md shows no kustomizations of five nodes, and of three after them")
    for name, documents in rendered.items():
        problems += [f"{name}: {problem}" for problem in schema_problems(documents) + problems_of(documents, ROOT)]
    restore = render(kustomize, MANIFESTS / "restore")
    problems += [f"restore: {problem}" for problem in schema_problems(restore) + problems_of_restore(restore, rendered["base"], ROOT)]
    if problems:
        sys.exit("\n".join(problems))
    for mistake in MISTAKES:
        documents = render(kustomize, MANIFESTS / "overlays/example")
        mistake(documents)
        if not schema_problems(documents) + problems_of(documents, ROOT):
            sys.exit(f"nobody notices: {mistake.__doc__}")
    count = len(restore) + sum(map(len, rendered.values()))
    print(f"{len(rendered) + 1} kustomizations, {count} documents, Kubernetes {' and '.join(VERSIONS)}: valid, and they agree;"
          f" {len(MISTAKES)} planted mistakes were noticed")


main(sys.argv[1:])
