"""Checks deploy/kubernetes without a cluster: `check.py KUSTOMIZE...`, where KUSTOMIZE renders a directory.

Whatever is rendered has to be valid by the schemas of Kubernetes, strictly, and its parts have to agree with each other and
with the product (agreement.py). Mistakes planted into what is right have to be noticed (mistakes.py).
"""

import copy
import json
import sys
from pathlib import Path

import jsonschema
import kubernetes_validate
import yaml

from agreement import problems_of, problems_of_restore
from manifests import MANIFESTS, ROOT, of_the_readme, render
from mistakes import MISTAKES

# The oldest that deploy/kubernetes/README.md names, and the newest that there are schemas of.
VERSIONS = ["1.30", kubernetes_validate.latest_version()]
OWN_SCHEMAS = {"ServiceMonitor": json.loads((Path(__file__).parent / "servicemonitor.json").read_text())}


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


def main(kustomize):
    rendered = {name: render(kustomize, MANIFESTS / name) for name in ["base", "overlays/example"]}
    rendered["five nodes"], rendered["three again"] = of_the_readme(kustomize)
    problems = listing_problems()
    for name, documents in rendered.items():
        problems += [f"{name}: {problem}" for problem in schema_problems(documents) + problems_of(documents, ROOT)]
    restore = render(kustomize, MANIFESTS / "restore")
    of_restore = schema_problems(restore) + problems_of_restore(restore, rendered["base"], ROOT)
    problems += [f"restore: {problem}" for problem in of_restore]
    if problems:
        sys.exit("\n".join(problems))
    for mistake in MISTAKES:
        documents = copy.deepcopy(rendered["overlays/example"])
        mistake(documents)
        if not (problems_of(documents, ROOT) or schema_problems(documents)):
            sys.exit(f"nobody notices: {mistake.__doc__}")
    count = len(restore) + sum(map(len, rendered.values()))
    print(f"{len(rendered) + 1} kustomizations, {count} documents, Kubernetes {' and '.join(VERSIONS)}: valid, and they agree;"
          f" {len(MISTAKES)} planted mistakes were noticed")


if __name__ == "__main__":
    main(sys.argv[1:])
