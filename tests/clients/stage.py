"""The served model that the tests meet, and its cues; standard library only, since every client's Python runs it."""

import json
import os
import urllib.request
from dataclasses import dataclass
from typing import Any

from tests.clients.client import Ask, Ranking

#: Set by `python -m hack.clients`, which has a stage; without one these tests aren't collected.
VARIABLE = "RERANKER_CLIENTS"
_TIMEOUT_S = 120


@dataclass(frozen=True)
class Stage:
    """Where things are and what they are called."""

    url: str
    cues: str
    key: str
    model: str
    adapter: str

    def ask(self, **members: Any) -> Ask:
        """Return a ranking to ask for; members replace its own."""
        return Ask(**{"url": self.url, "key": self.key, "model": self.model, **members})

    def cue(self, name: str) -> str:
        """Have something happen, and return the cold worker's URL once it has."""
        with urllib.request.urlopen(urllib.request.Request(f"{self.cues}/{name}", b""), timeout=_TIMEOUT_S) as answer:
            said: str = answer.read().decode()
        return said

    def direct(self, ask: Ask) -> Ranking:
        """Return the ranking as plain HTTP has it."""
        headers = {"content-type": "application/json", "authorization": f"Bearer {ask.key}"}
        body = {"query": ask.query, "documents": list(ask.documents), "model": ask.model}
        request = urllib.request.Request(f"{ask.url}/v1/rerank", json.dumps(body).encode(), headers)
        with urllib.request.urlopen(request, timeout=_TIMEOUT_S) as answer:
            results = json.load(answer)["results"]
        return [(result["index"], result["relevance_score"]) for result in results]


def stage_from_environment() -> Stage:
    """Return the stage that the variable describes."""
    told = json.loads(os.environ[VARIABLE])
    return Stage(**told["stage"])


def bindings() -> list[str]:
    """Return the names of the binding modules that this environment's libraries are for."""
    names: list[str] = json.loads(os.environ[VARIABLE])["bindings"]
    return names
