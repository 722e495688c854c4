"""What kustomize makes of deploy/kubernetes."""

import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]
MANIFESTS = ROOT / "deploy/kubernetes"
README = (MANIFESTS / "README.md").read_text()


def render(kustomize, directory):
    """The documents of a kustomization."""
    done = subprocess.run([*kustomize, str(directory)], capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{directory} can't be rendered: {done.stderr}")
    # What is rendered with a warning uses something that will be gone.
    if done.stderr:
        sys.exit(f"{directory} is rendered with a warning: {done.stderr}")
    return list(yaml.safe_load_all(done.stdout))


def of_the_readme(kustomize):
    """The documents of the kustomizations that the README shows, as they stand there: of five nodes, and of three again."""
    shown = re.findall(r"```yaml\n(# overlays/.*?)```", README, re.DOTALL)
    with tempfile.TemporaryDirectory() as copy:
        shutil.copytree(MANIFESTS, copy, dirs_exist_ok=True)
        rendered = []
        for number, text in enumerate(shown):
            overlay = Path(copy) / f"overlays/{number}"
            overlay.mkdir()
            (overlay / "kustomization.yaml").write_text(text)
            rendered.append(render(kustomize, overlay))
    [five, three_again] = rendered
    return five, three_again


def one(documents, kind, name=None):
    """The only document of a kind, or of that and a name."""
    [found] = [document for document in documents
               if document["kind"] == kind and name in (None, document["metadata"]["name"])]
    return found
