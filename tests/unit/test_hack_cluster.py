"""The local cluster: its texts, the records that tell its processes from others, and what builds once."""

import json
import os
import ssl
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from hack.cluster import certificates, configs, containers, golang, gomod, machine, smallimages
from hack.cluster.__main__ import main
from hack.cluster.certificates import Party
from hack.cluster.cluster import Cluster, Record, ensure_record, existing, orphans
from hack.cluster.components import CONTROL_PLANE_PORTS, NODE_PORTS, ControlPlane, Layout, startup_waves
from hack.cluster.golang import GoProgram
from hack.cluster.paths import build_once
from hack.cluster.processes import Identity, Process, ProcessTable, client_context, identity_of, is_ready
from hack.cluster.progress import StepError, duration, run_logged
from hack.ports import free_port

PROGRAMS = ("etcd", "containerd", "coredns", "kubelet", "kube-proxy", *CONTROL_PLANE_PORTS[2:])


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """State and cache folders of the test's own."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path


@pytest.fixture
def table(tmp_path: Path) -> ProcessTable:
    """A process table of the test's own."""
    return ProcessTable(tmp_path / "processes", tmp_path / "logs")


def plane() -> ControlPlane:
    ports = {name: 20000 + number for number, name in enumerate([*CONTROL_PLANE_PORTS, *NODE_PORTS])}
    return ControlPlane(Layout(Path("/s")), "127.0.0.1", ports, {name: Path("/bin") / name for name in PROGRAMS})


@pytest.mark.parametrize(
    ("alone", "controllers", "expected"),
    [
        (True, False, [["etcd", "kube-apiserver"]]),
        (True, True, [["etcd", "kube-apiserver"], ["kube-controller-manager"]]),
        (
            False,
            True,
            [
                ["etcd", "kube-apiserver", "containerd"],
                ["kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy", "coredns"],
            ],
        ),
    ],
    ids=["control plane", "with controllers", "whole node"],
)
def test_what_starts_follows_from_the_clusters_shape(alone: bool, controllers: bool, expected: list[list[str]]) -> None:
    waves = startup_waves(plane(), alone=alone, controllers=controllers, node={})
    assert [[process.name for process in wave] for wave in waves] == expected


@pytest.mark.parametrize(("controllers", "disabled"), [(True, False), (False, True)], ids=["with", "without"])
def test_pods_need_no_service_account_where_no_controller_makes_one(controllers: bool, disabled: bool) -> None:
    apiserver = startup_waves(plane(), alone=True, controllers=controllers, node={})[0][1]
    assert ("--disable-admission-plugins=ServiceAccount" in apiserver.argv) is disabled


def test_kubernetes_builds_from_its_published_staging_modules() -> None:
    required = {"k8s.io/kubernetes": "1.34.4", "example.com/also": "2.0.0"}
    text = gomod.beside_kubernetes(required, "1.24.0", ["k8s.io/client-go", "k8s.io/api"])
    assert "require (\n\tk8s.io/kubernetes v1.34.4\n\texample.com/also v2.0.0\n)\n" in text
    assert "\tk8s.io/api => k8s.io/api v0.34.4\n\tk8s.io/client-go => k8s.io/client-go v0.34.4\n" in text


def test_a_server_of_kubernetes_knows_its_version() -> None:
    assert "-X k8s.io/component-base/version.gitVersion=v1.34.4" in golang.linker_flags(golang.KUBE_APISERVER)


@pytest.mark.parametrize(
    ("version", "toolchain", "enough"),
    [
        pytest.param("go1.26.7", "local", True, id="the one that is asked for"),
        pytest.param("go1.27rc1", "local", True, id="a candidate of the next one"),
        pytest.param("go1.26.6", "local", False, id="an older one"),
        pytest.param("go1.24.4", "auto", True, id="an older one that fetches"),
        pytest.param("go1.24.4", "go1.24.4+auto", True, id="an older one that fetches beyond its default"),
        pytest.param("go1.24.4", "path", False, id="one that only looks on PATH"),
        pytest.param("go1.19.8", "", False, id="one that knows of no toolchains"),
        pytest.param("go1.19.8", "auto", False, id="one that doesn't know its setting"),
        pytest.param("devel go1.28-4dae5b1", "local", True, id="one that is nobody's release"),
    ],
)
def test_a_go_builds_what_asks_for_it_or_an_older_one(version: str, toolchain: str, enough: bool) -> None:
    assert golang.builds(version, toolchain, (1, 26, 7)) is enough


def test_a_go_that_is_too_old_is_named_before_anything_is_built(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    go = state / "bin" / "go"
    go.parent.mkdir()
    go.write_text("#!/bin/sh\necho go1.19.8\necho\n")
    go.chmod(0o755)
    monkeypatch.setenv("PATH", f"{go.parent}:{os.environ['PATH']}")
    with pytest.raises(StepError, match=r"^kubectl: .* needs Go 1\.24\.0 or later; this is go1\.19\.8"):
        golang.build(golang.KUBECTL)


def test_images_are_never_collected_since_there_is_no_registry() -> None:
    kubelet = json.loads(configs.kubelet(Path("/pki"), Path("/run/c.sock"), Path("/s"), 20001, image_volumes=False))
    assert kubelet["imageGCHighThresholdPercent"] == 100
    assert kubelet["containerRuntimeEndpoint"] == "unix:///run/c.sock"


def test_certificates_are_taken_by_a_strict_client(tmp_path: Path) -> None:
    pki = tmp_path / "pki"
    certificates.make(pki, [Party("admin", "admin", "system:masters"), Party("front-proxy-client", "proxy")])
    client_context(pki / "ca.crt", pki / "admin.crt", pki / "admin.key")
    shown = subprocess.run(
        ["openssl", "verify", "-x509_strict", "-CAfile", pki / "ca.crt", pki / "admin.crt"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert shown.stdout.endswith("OK\n"), shown.stderr


def test_an_archive_of_small_images_is_the_same_for_the_same_content() -> None:
    archives = [
        smallimages.docker_archive(smallimages.layer_of({"bin/pause": b"program"}), "pause:1", ["/bin/pause"])
        for _ in range(2)
    ]
    assert archives[0] == archives[1]


def test_mount_points_with_spaces_are_read() -> None:
    line = r"36 35 98:0 / /mnt/a\040b rw,noatime shared:1 - ext4 /dev/root rw"
    assert machine.mount_points(line) == ["/mnt/a b"]


def test_descendants_are_children_and_theirs_but_not_the_root() -> None:
    assert containers.descendants([1], {2: 1, 3: 2, 4: 9}) == {2, 3}


def test_a_process_is_started_once_and_ended(table: ProcessTable) -> None:
    process = Process("sleeper", [sys.executable, "-c", "import time; time.sleep(60)"], "unix:///nowhere")
    assert table.start(process)
    assert not table.start(process)
    pid = table.pid("sleeper")
    assert pid is not None
    table.stop("sleeper")
    assert identity_of(pid) is None
    assert table.names() == []


def test_a_process_whose_first_thread_ended_still_runs(table: ProcessTable) -> None:
    script = "import ctypes, threading, time; threading.Thread(target=time.sleep, args=(60,)).start();"
    table.start(Process("threads", [sys.executable, "-c", f"{script} ctypes.CDLL(None).pthread_exit(None)"], ready=""))
    pid = table.pid("threads")
    stat = Path(f"/proc/{pid}/stat")
    deadline = time.monotonic() + 30
    while ") Z " not in stat.read_text() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert ") Z " in stat.read_text()
    assert table.pid("threads") == pid
    table.stop("threads")
    assert table.pid("threads") is None


def test_a_reused_pid_is_not_taken_for_ours(table: ProcessTable, tmp_path: Path) -> None:
    other = Identity(os.getpid(), started="1", boot="another")
    (tmp_path / "processes").mkdir()
    (tmp_path / "processes" / "victim.json").write_text(json.dumps(other.__dict__))
    assert table.pid("victim") is None
    table.stop("victim")  # which would end this very test


def test_a_process_that_ends_early_is_reported_with_its_log(table: ProcessTable, tmp_path: Path) -> None:
    process = Process("broken", [sys.executable, "-c", "import time; time.sleep(.2); print('no port')"], "unix:///no")
    table.start(process)
    context = _context(tmp_path)
    with pytest.raises(StepError, match=r"broken ended before it was ready; its log is .*broken\.log(?s:.*)no port"):
        table.wait_ready(process, context, timeout_s=20)


def test_nothing_that_listens_is_not_ready(tmp_path: Path) -> None:
    assert not is_ready(f"http://127.0.0.1:{free_port()}/healthz", _context(tmp_path))


def _context(folder: Path) -> ssl.SSLContext:
    certificates.make(folder / "pki", [Party("admin", "admin")])
    return client_context(folder / "pki/ca.crt", folder / "pki/admin.crt", folder / "pki/admin.key")


def test_ports_stay_the_same_from_one_up_to_the_next(state: Path) -> None:
    cluster = Cluster("test", control_plane_only=True, controllers=False)
    assert ensure_record(cluster, None) == ensure_record(cluster, None)
    assert existing("test") == cluster
    assert existing("other") is None


@pytest.mark.usefixtures("state")
def test_whoever_asks_while_the_record_is_written_finds_none_or_a_whole_one(monkeypatch: pytest.MonkeyPatch) -> None:
    found = []

    def written_in_two_steps(path: Path, text: str) -> None:
        with path.open("w") as file:
            found.append(existing("test"))
            file.write(text)

    monkeypatch.setattr(Path, "write_text", written_in_two_steps)
    ensure_record(Cluster("test"), None)
    assert [*found, existing("test")] == [None, Cluster("test")]


def test_a_cluster_is_not_changed_into_another_shape(state: Path) -> None:
    ensure_record(Cluster("test", control_plane_only=True, controllers=False), None)
    with pytest.raises(StepError, match="up in another shape"):
        ensure_record(Cluster("test"), None)


def test_a_control_plane_whose_owner_ended_is_an_orphan(state: Path) -> None:
    mine, gone = identity_of(os.getpid()), Identity(os.getpid(), "1", "another")
    ensure_record(Cluster("mine", control_plane_only=True), mine)
    ensure_record(Cluster("gone", control_plane_only=True), gone)
    assert [cluster.name for cluster in orphans()] == ["gone"]


def test_the_whole_clusters_api_server_has_a_known_port(state: Path) -> None:
    record: Record = ensure_record(Cluster("test"), None)
    assert record.ports["kube-apiserver"] == 6443


def test_a_build_that_fails_leaves_nothing_behind(tmp_path: Path) -> None:
    def fail(folder: Path) -> None:
        (folder / "half").touch()
        raise StepError("no space")

    with pytest.raises(StepError):
        build_once(tmp_path / "tool", fail)
    assert not (tmp_path / "tool").exists()
    assert build_once(tmp_path / "tool", lambda folder: (folder / "whole").touch()).joinpath("whole").exists()


def test_a_failed_command_names_its_log_and_its_end(tmp_path: Path) -> None:
    with pytest.raises(StepError, match=r"compiling failed \(exit status 3\); its log is .*build\.log(?s:.*)no such"):
        run_logged("compiling", ["sh", "-c", "echo no such file; exit 3"], log=tmp_path / "build.log")


@pytest.mark.parametrize(("seconds", "text"), [(0.44, "0.4s"), (59.7, "1m00s"), (12.2, "12s"), (181, "3m01s")], ids=str)
def test_durations_read_as_people_write_them(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_the_command_line_says_what_is_not_up(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["kubeconfig"]) == 1
    assert "cluster local is not up" in capsys.readouterr().err
    assert main(["down"]) == 0


def test_a_program_of_ours_is_built_with_the_replacements_of_the_module_that_it_is_built_against() -> None:
    required = {"example.com/against": "1.0.0", "example.com/also": "2.0.0"}
    described = {
        "Go": "1.25.5",
        "Replace": [
            {"Old": {"Path": "k8s.io/api"}, "New": {"Path": "k8s.io/api", "Version": "v0.34.0"}},
            {"Old": {"Path": "example.com/part"}, "New": {"Path": "./part"}},  # which no published module carries
        ],
    }
    lines = gomod.beside("program", required, described).splitlines()
    assert "require example.com/against v1.0.0" in lines
    assert "require example.com/also v2.0.0" in lines
    assert [line for line in lines if line.startswith("replace")] == ["replace k8s.io/api => k8s.io/api v0.34.0"]


def test_a_program_of_ours_is_built_again_when_its_source_changes(state: Path, tmp_path: Path) -> None:
    source = tmp_path / "main.go"
    paths = []
    for text in ("package main", "package main // changed"):
        source.write_text(text)
        paths.append(golang.program_path(replace(golang.COREDNS, main=source)))
    assert len(set(paths)) == 2


def test_programs_of_one_module_or_with_kubernetes_share_a_build(monkeypatch: pytest.MonkeyPatch, state: Path) -> None:
    built: list[list[str]] = []

    def compile_nothing(programs: Sequence[GoProgram], folder: Path) -> None:
        built.append([program.name for program in programs])
        for program in programs:
            (folder / program.name).write_text("a binary")

    monkeypatch.setattr(golang, "_compile", compile_nothing)
    wanted = [golang.KUBELET, golang.HELM_DOCS, golang.HELM, golang.KUBECTL]
    for _ in range(2):
        paths = golang.build_all(wanted)
    assert built == [["helm-docs"], ["kubelet", "helm", "kubectl"]]
    assert all(path.read_text() == "a binary" for path in paths.values())
