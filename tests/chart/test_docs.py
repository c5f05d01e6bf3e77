"""The pages' helm commands and values files render."""

import re
import shlex
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from hack.docs.code import commands, documents, everything

from .conftest import CHART, Json, Rendered

Helm = Callable[..., subprocess.CompletedProcess[str]]

INSTALLATIONS = [
    (piece.where, words)
    for piece in everything()
    for words in commands(piece)
    if words[0] == "helm" and "charts/reranker-operator" in words
]
NOT_OF_TEMPLATE = ("--create-namespace", "--wait", "--reset-then-reuse-values")
VALUES = [(piece.where, piece) for piece in everything() if re.match("# values-[a-z0-9]+.yaml", piece.text)]


@pytest.mark.parametrize(("where", "words"), INSTALLATIONS, ids=[where for where, _ in INSTALLATIONS])
def test_an_installation_renders(where: str, words: list[str], helm: Helm) -> None:
    _, action, release, *rest = (word.replace("$", "") for word in words)  # a variable's name stands for its value
    done = helm("template", release, *(word for word in rest if word not in NOT_OF_TEMPLATE))
    assert done.returncode == 0, f"{shlex.join(words)}: {done.stderr}"
    images = {each["image"] for each in containers(done.stdout)}
    assert action in ("install", "upgrade")
    assert action == "upgrade" or all("/reranker-operator:" in image for image in images), images


def containers(rendered: str) -> list[Json]:
    """Return the containers of the deployments."""
    objects = [each for each in yaml.safe_load_all(rendered) if each and each["kind"] == "Deployment"]
    return [container for each in objects for container in each["spec"]["template"]["spec"]["containers"]]


@pytest.mark.parametrize("cloud", ["values-eks.yaml", "values-gke.yaml"])
@pytest.mark.parametrize(("where", "piece"), VALUES, ids=[where for where, _ in VALUES])
def test_a_values_file_is_taken_after_a_clouds(where: str, piece: Any, cloud: str, helm: Helm) -> None:
    (values,) = documents(piece)
    done = helm("lint", "--strict", CHART, "--values", CHART / cloud, values=values)
    assert done.returncode == 0, done.stdout


def test_a_node_groups_values_take_karpenters_label_out(helm: Helm, tmp_path: Path) -> None:
    (text,) = [piece.text for _, piece in VALUES if "nodegroup" in piece.text]
    (tmp_path / "values.yaml").write_text(text)
    done = helm("template", "x", CHART, "--values", CHART / "values-eks.yaml", "--values", tmp_path / "values.yaml")
    rendered = Rendered(each for each in yaml.safe_load_all(done.stdout) if each)
    (container,) = rendered.one("Deployment")["spec"]["template"]["spec"]["containers"]
    environment = {each["name"]: each.get("value", "") for each in container["env"]}
    selectors = [value for value in environment.values() if "g6.xlarge" in value]
    assert len(selectors) == 1
    assert "karpenter" not in selectors[0]
