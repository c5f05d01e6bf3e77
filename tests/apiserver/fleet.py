"""Stands in for the node: pods that start, read the serving manifest as the kubelet brings it, and answer the operator.

Each pod gets a loopback address of its own, on which a worker by the contract's rules answers on the internal port.
Loading takes a moment and fails where a test says so, and scores are what it says; everything else comes from the
documents alone.
"""

import asyncio
import contextlib
import itertools
import json
import math
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Self

import httpx
from aiohttp import web

from hack.ports import free_port
from tests.apiserver.kube import Json, Kube

#: Stands for the internal port, where a real worker may run on this machine; the operator under test is told so.
INTERNAL_PORT = free_port("0.0.0.0")
ANNOTATION = "reranker.dev/serving-manifest"
ADDRESSES = (
    f"127.{second}.{third}.{fourth}"
    for second, third, fourth in itertools.product(range(90, 100), range(250), range(2, 250))
)
NODE = "simulated"
LIVE_DOCUMENTS = 4


@dataclass
class Worker:
    """One pod's processes."""

    pod: str
    template: str
    labels: dict[str, str]
    ip: str
    load_s: float
    fails: dict[str, tuple[str, str]]
    scores: dict[str, list[float]]
    manifest: Json = field(default_factory=lambda: {"generation": 0, "models": [], "adapters": [], "serve": {}})
    loading_since: dict[str, float] = field(default_factory=dict)
    served: str | None = None
    draining: bool = False
    runner: web.AppRunner | None = None

    async def start(self) -> None:
        app = web.Application()
        app.router.add_get("/state", self._state)
        app.router.add_post("/score", self._score)
        app.router.add_get("/samples", self._samples)
        self.runner = web.AppRunner(app, access_log=None)
        await self.runner.setup()
        await web.TCPSite(self.runner, self.ip, INTERNAL_PORT).start()

    async def stop(self) -> None:
        if self.runner is not None:
            await self.runner.cleanup()

    def read(self, *contents: str | None) -> None:
        """Take the newest of the documents that the kubelet has brought."""
        for content in contents:
            if content and (document := json.loads(content))["generation"] > self.manifest["generation"]:
                self.manifest = document
        in_use = {entry["revision"] for entry in (*self.models(), *self.manifest["adapters"])}
        known = self.loading_since
        self.loading_since = {revision: known.get(revision, time.monotonic()) for revision in in_use}
        self.flip()

    def models(self) -> list[Json]:
        """What this worker should have: what answers, what is to answer, and the candidate."""
        serve, candidates = self.manifest["serve"], self.manifest.get("candidates", {})
        in_use = {self.served, serve.get(self.template), candidates.get(self.template)}
        return [entry for entry in self.manifest["models"] if entry["revision"] in in_use]

    def flip(self) -> None:
        """Answer with what is wanted once it may and is loaded, until then with what answered before while it may."""
        own, admitted = self.own(), self.manifest.get("admitted", [])
        if own is not None and own["revision"] in admitted and self.outcome(own)["phase"] == "Loaded":
            self.served = own["revision"]
        elif self.served not in admitted:
            self.served = None

    def outcome(self, entry: Json) -> dict[str, str]:
        uri = entry["source"]["uri"]
        if uri in self.fails:
            reason, message = self.fails[uri]
            return {"phase": "Failed", "reason": reason, "message": message}
        done = time.monotonic() - self.loading_since[entry["revision"]] >= self.load_s
        return {"phase": "Loaded" if done else "Loading", "reason": "", "message": ""}

    def own(self) -> Json | None:
        revision = self.manifest["serve"].get(self.template)
        return next((m for m in self.manifest["models"] if m["revision"] == revision), None)

    def answers(self) -> str | None:
        """The revision that a client would be answered by."""
        self.flip()
        return self.served

    def ready(self) -> bool:
        required = [a for a in self.manifest["adapters"] if a.get("required")]
        loaded = {a["name"] for a in self.manifest["adapters"] if self.outcome(a)["phase"] == "Loaded"}
        return self.answers() is not None and not self.draining and all(a["name"] in loaded for a in required)

    def state(self) -> Json:
        adapters = [
            {"name": a["name"], "revision": a["revision"], "digest": "", **self.outcome(a)}
            for a in self.manifest["adapters"]
        ]
        models = [
            {
                "revision": entry["revision"],
                "digest": "",
                "admitted": entry["revision"] in self.manifest["admitted"],
                "serving": self.answers() == entry["revision"],
                "adapters": adapters,
                **self.outcome(entry),
            }
            for entry in self.models()
        ]
        return {
            "bootId": self.ip,
            "pod": self.pod,
            "template": self.template,
            "observedGeneration": self.manifest["generation"],
            "ready": self.ready(),
            "draining": self.draining,
            "reason": "",
            "message": "",
            "models": models,
            "adapters": adapters,
        }

    async def _state(self, _: web.Request) -> web.Response:
        return web.json_response(self.state())

    async def _samples(self, _: web.Request) -> web.Response:
        """What clients asked while the manifest wants it: always the same, of documents that stand in good order."""
        documents = [f"document {number}" for number in range(LIVE_DOCUMENTS)]
        scores = [1.0 - number / 10 for number in range(LIVE_DOCUMENTS)]
        sample = {"number": 1, "revision": self.served, "adapter": None, "query": "q", "documents": documents}
        asked = bool(self.manifest.get("shadow", {}).get("percent"))
        return web.json_response({"samples": [{**sample, "scores": scores}] if asked else []})

    async def _score(self, request: web.Request) -> web.Response:
        asked = await request.json()
        held = {m["revision"]: m for m in self.in_memory()}
        if asked["revision"] not in held:
            message = f"{asked['revision']} isn't in memory; {', '.join(held)} are"
            return web.json_response({"error": {"code": "NotFound", "message": message}}, status=404)
        uri, number = held[asked["revision"]]["source"]["uri"], len(asked["documents"])
        # As a rule a model ranks the documents as they are listed.
        scores = self.scores.get(uri, [1.0 - place / 100 for place in range(number)])[:number]
        if not all(map(math.isfinite, scores)):
            error = {"code": "ScoringFailed", "message": "a score isn't finite"}
            return web.json_response({"error": error}, status=500)
        said = {"revision": asked["revision"], "adapterRevision": None, "scores": scores, "milliseconds": 5.0}
        return web.json_response(said)

    def in_memory(self) -> list[Json]:
        """Entries of the models that are loaded."""
        return [entry for entry in self.models() if self.outcome(entry)["phase"] == "Loaded"]


class Fleet:
    """Runs every pod of a namespace until closed."""

    def __init__(self, kube: Kube, *, load_s: float = 0.3, drain_s: float = 0.3) -> None:
        self.kube = kube
        self.load_s, self.drain_s = load_s, drain_s
        self.fails: dict[str, tuple[str, str]] = {}
        self.scores: dict[str, list[float]] = {}
        self.room: int | None = None
        self.workers: dict[str, Worker] = {}
        self.selector: dict[str, str] = {}
        self.answered: set[str] = set()
        self.least_ready: int | None = None
        self._reported: dict[str, bool] = {}
        self._node_reported_at = 0.0
        self._drained: dict[str, float] = {}
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._run())
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._task is not None
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task
        for worker in self.workers.values():
            await worker.stop()

    def reached(self) -> list[Worker]:
        """Workers that the Service selects."""
        return [worker for worker in self.workers.values() if self.selector.items() <= worker.labels.items()]

    def ready(self) -> list[Worker]:
        """Workers that clients are led to."""
        return [worker for worker in self.reached() if worker.ready()]

    def watch_readiness(self) -> None:
        """From now on keep the smallest number of ready workers that was seen."""
        self.least_ready = len(self.ready())

    async def _run(self) -> None:
        while True:
            try:
                await self._step()
            except httpx.TransportError:
                await asyncio.sleep(0.2)  # the API server is away, as some tests want it
            except httpx.HTTPStatusError as error:
                if error.response.status_code not in {404, 409, 503}:  # a pod went meanwhile, or the server does
                    raise
            await asyncio.sleep(0.03)

    async def _keep_node(self) -> None:
        # Without a node that reports, the controllers would take its pods away.
        if time.monotonic() - self._node_reported_at < 5:
            return
        self._node_reported_at = time.monotonic()
        try:
            await self.kube.request("POST", "/api/v1/nodes", body={"metadata": {"name": NODE}})
        except httpx.HTTPStatusError as error:
            if error.response.status_code != 409:
                raise
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        ready = {"type": "Ready", "status": "True", "reason": "Simulated", "message": "", "lastHeartbeatTime": now}
        await self.kube.request(
            "PATCH",
            f"/api/v1/nodes/{NODE}/status",
            body={"status": {"conditions": [ready]}},
            content_type="application/strategic-merge-patch+json",
        )

    async def _step(self) -> None:
        await self._keep_node()
        pods = {pod["metadata"]["name"]: pod for pod in await self.kube.items("pods")}
        for name in [name for name in self.workers if name not in pods]:
            await self.workers.pop(name).stop()
        for service in await self.kube.items("services"):
            self.selector = service["spec"].get("selector") or {}
        configs = {c["metadata"]["name"]: c for c in await self.kube.items("configmaps")}
        for name, pod in pods.items():
            worker = self.workers.get(name) or await self._start(pod, configs)
            if worker is not None:
                worker.read((pod["metadata"].get("annotations") or {}).get(ANNOTATION))
                await self._report(worker, pod)
        self.answered |= {revision for w in self.reached() if (revision := w.answers())}
        if self.least_ready is not None:
            self.least_ready = min(self.least_ready, len(self.ready()))

    async def _start(self, pod: Json, configs: dict[str, Json]) -> Worker | None:
        volumes = {v["name"]: v for v in pod["spec"]["volumes"]}
        config = configs.get(volumes["serving"]["configMap"]["name"])
        name, container = pod["metadata"]["name"], pod["spec"]["containers"][0]
        if config is None or "deletionTimestamp" in pod["metadata"] or "args" not in container:
            return None
        template = next(a for a in container["args"] if a.startswith("--template=")).partition("=")[2]
        if self.room is not None and len(self.workers) >= self.room:
            await self._refuse(pod)
            return None
        target = {"apiVersion": "v1", "kind": "Node", "name": NODE}
        await self.kube.request(
            "POST", self.kube.path("pods", name) + "/binding", body={"metadata": {"name": name}, "target": target}
        )
        worker = Worker(
            name,
            template,
            pod["metadata"]["labels"],
            next(ADDRESSES),
            self.load_s,
            self.fails,
            self.scores,
        )
        await worker.start()
        worker.read(config["data"]["manifest.json"])
        self.workers[name] = worker
        return worker

    async def _refuse(self, pod: Json) -> None:
        """Say what a scheduler says of a pod that fits nowhere."""
        if (pod.get("status") or {}).get("conditions"):
            return
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        refused = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "lastTransitionTime": now}
        status = {"conditions": [{**refused, "message": "0/1 nodes are available: 1 Insufficient nvidia.com/gpu."}]}
        await self.kube.patch("pods", pod["metadata"]["name"], {"status": status}, "status")

    async def _report(self, worker: Worker, pod: Json) -> None:
        if "deletionTimestamp" in pod["metadata"]:
            worker.draining = True
            since = self._drained.setdefault(worker.pod, time.monotonic())
            if time.monotonic() - since > self.drain_s:
                await self.kube.delete("pods", worker.pod, gracePeriodSeconds=0)
                return
        if self._reported.get(worker.pod) != worker.ready():
            self._reported[worker.pod] = worker.ready()
            status: dict[str, Any] = {
                "phase": "Running",
                "podIP": worker.ip,
                "podIPs": [{"ip": worker.ip}],
                "conditions": [{"type": kind, "status": str(worker.ready())} for kind in ("Ready", "ContainersReady")],
            }
            await self.kube.patch("pods", worker.pod, {"status": status}, "status")
