"""CRDs, then the operator, then the models, in both pipelines; and each part is where the pipeline looks for it."""

import itertools
from pathlib import Path
from typing import Any

import pytest
import yaml

from hack.repository import ROOT

EXAMPLES = ROOT / "examples/gitops"
ORDER = ["reranker-crds", "reranker-operator", "reranker-models"]
WAVE = "argocd.argoproj.io/sync-wave"

Json = dict[str, Any]


def documents(folder: Path, kind: str) -> dict[str, Json]:
    found = [each for path in folder.glob("*.yaml") for each in yaml.safe_load_all(path.read_text())]
    return {each["metadata"]["name"]: each for each in found if each["kind"] == kind}


APPLICATIONS = documents(EXAMPLES / "argocd/applications", "Application")
KUSTOMIZATIONS = documents(EXAMPLES / "flux", "Kustomization")


def test_argo_cd_s_waves_are_in_order() -> None:
    waves = {name: int(each["metadata"]["annotations"][WAVE]) for name, each in APPLICATIONS.items()}
    assert waves == dict(zip(ORDER, (-2, -1, 0), strict=True))


def test_what_a_model_needs_comes_in_a_wave_before_it() -> None:
    objects = [yaml.safe_load(path.read_text()) for path in (EXAMPLES / "models").glob("*.yaml")]
    waves = {each["kind"]: int(each["metadata"].get("annotations", {}).get(WAVE, 0)) for each in objects}
    assert max(waves["Namespace"], waves["ConfigMap"]) < waves["RerankerModel"]


def test_flux_waits_for_each_part_before_the_next() -> None:
    assert KUSTOMIZATIONS.keys() == set(ORDER)
    for before, after in itertools.pairwise(ORDER):
        assert KUSTOMIZATIONS[before]["spec"]["wait"] is True
        assert KUSTOMIZATIONS[after]["spec"]["dependsOn"] == [{"name": before}]


def test_no_pipeline_prunes_the_crds_or_installs_them_twice() -> None:
    assert APPLICATIONS["reranker-crds"]["spec"]["syncPolicy"]["automated"]["prune"] is False
    assert KUSTOMIZATIONS["reranker-crds"]["spec"]["prune"] is False
    release = documents(EXAMPLES / "flux/operator", "HelmRelease")["reranker-operator"]
    assert release["spec"]["values"]["crds"] == {"install": False}
    assert APPLICATIONS["reranker-operator"]["spec"]["source"]["helm"]["valuesObject"]["crds"] == {"install": False}


def paths() -> list[str]:
    release = documents(EXAMPLES / "flux/operator", "HelmRelease")["reranker-operator"]["spec"]["chart"]["spec"]
    root = documents(EXAMPLES / "argocd", "Application")["rerankers"]
    applications = [each["spec"]["source"]["path"] for each in (root, *APPLICATIONS.values())]
    return [
        *applications,
        *(each["spec"]["path"] for each in KUSTOMIZATIONS.values()),
        release["chart"],
        *release["valuesFiles"],
    ]


@pytest.mark.parametrize("path", paths())
def test_what_a_pipeline_names_is_in_the_repository(path: str) -> None:
    assert (ROOT / path).exists()
