"""Requests from inside the cluster: an open-loop load, a probe of single pods, and single questions.

The script stands alone: a ConfigMap brings it into a pod of the operator's image, `kubectl exec` runs it there. What it
sees goes to standard output, one JSON object a line. Nothing is ever retried: a failed request is what is looked for.
"""

import argparse
import asyncio
import json
import math
import sys
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

TIMEOUT = aiohttp.ClientTimeout(total=30)
KEPT_CONNECTIONS = 6  # each one sticks to a pod, since kube-proxy balances connections, not requests
PROBE_PERIOD_S = 0.02
ADAPTER_EVERY = 3  # once adapters are named, every third request asks for one of them, in turn


@dataclass
class Orders:
    """What the driver told on standard input, line by line: `phase NAME`, `adapters [NAME…]`; its end ends the load."""

    phase: str = "start"
    adapters: tuple[str, ...] = ()

    async def follow(self) -> None:
        """Take orders until standard input ends."""
        async for line in lines_of_stdin():
            self.take(line)

    def take(self, line: str) -> None:
        """Take one order."""
        word, _, value = line.strip().partition(" ")
        if word == "phase":
            self.phase = value
        elif word == "adapters":
            self.adapters = tuple(value.split())
        else:
            raise ValueError(f"order {word!r} isn't known: phase NAME or adapters [NAME...]")


async def lines_of_stdin() -> AsyncIterator[str]:
    """Yield the lines of standard input without blocking the loop."""
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := await reader.readline():
        yield line.decode()


def emit(row: dict[str, Any]) -> None:
    """Print one row."""
    sys.stdout.write(json.dumps(row, separators=(",", ":")) + "\n")
    sys.stdout.flush()


def fault(status: int, answer: Any, documents: int) -> str:
    """Return what is wrong with an answer; empty when it scores every document with a finite number."""
    if status != 200:
        return f"HTTP {status}: {json.dumps(answer)[:300]}"
    results = answer.get("results", []) if isinstance(answer, dict) else []
    indices = sorted(result["index"] for result in results)
    if indices != list(range(documents)):
        return f"results for documents {indices}, asked for {documents}"
    if not all(math.isfinite(result["relevance_score"]) for result in results):
        return "a score isn't finite"
    return ""


def scores(answer: dict[str, Any]) -> list[float]:
    """Return an answer's scores in document order."""
    return [result["relevance_score"] for result in sorted(answer["results"], key=lambda result: result["index"])]


async def ask(session: aiohttp.ClientSession, url: str, body: dict[str, Any]) -> dict[str, Any]:
    """Send one request and return what came of it; errors are part of the row, never raised."""
    row: dict[str, Any] = {"status": 0, "revision": "", "adapter": "", "error": ""}
    try:
        async with session.post(url, json=body) as reply:
            row["status"] = reply.status
            row["revision"] = reply.headers.get("x-reranker-revision", "")
            row["adapter"] = reply.headers.get("x-reranker-adapter", "")
            is_json = reply.content_type == "application/json"
            answer = await reply.json() if is_json else await reply.text()
    except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
        row["error"] = f"{type(error).__name__}: {error}"
        return row
    row["error"] = fault(row["status"], answer, len(body["documents"]))
    if not row["error"] and not row["revision"]:
        row["error"] = "the answer names no revision"
    if not row["error"] and body.get("adapter") and not row["adapter"]:
        row["error"] = f"adapter {body['adapter']} was asked for, the base answered"
    row["answer"] = answer
    return row


async def load(url: str, rate: float, longest_s: float, bodies: list[dict[str, Any]]) -> None:
    """Send requests at a steady rate whatever comes back, half on kept connections, half on new ones."""
    orders = Orders()
    following = asyncio.create_task(orders.follow())
    kept = [_session(limit=1) for _ in range(KEPT_CONNECTIONS)]
    new = _session(force_close=True)
    began = asyncio.get_running_loop().time()
    running: set[asyncio.Task[None]] = set()
    for number in range(int(rate * longest_s)):
        # The schedule is fixed from the start: a slow answer delays no later request.
        if await _done_before(following, began + number / rate):
            break
        session = kept[number // 2 % len(kept)] if number % 2 else new
        task = asyncio.create_task(_one(session, url, bodies[number % len(bodies)], number, orders))
        running.add(task)
        task.add_done_callback(running.discard)
    await asyncio.gather(*running)
    for session in (*kept, new):
        await session.close()
    if following.done():
        following.result()  # an order that wasn't understood is an error, not an end
    following.cancel()


def _session(*, limit: int = 0, force_close: bool = False) -> aiohttp.ClientSession:
    connector = aiohttp.TCPConnector(limit=limit, force_close=force_close)
    return aiohttp.ClientSession(connector=connector, timeout=TIMEOUT)


async def _done_before(task: asyncio.Task[None], due: float) -> bool:
    """Wait until the loop's clock says `due`; return True when the task was done first."""
    done, _ = await asyncio.wait([task], timeout=max(0.0, due - asyncio.get_running_loop().time()))
    return bool(done)


async def _one(session: aiohttp.ClientSession, url: str, body: dict[str, Any], number: int, orders: Orders) -> None:
    adapter = asked(number, orders.adapters)
    connection = "kept" if number % 2 else "new"
    about = {"time": time.time(), "phase": orders.phase, "connection": connection, "asked": adapter}
    began = time.monotonic()
    row = await ask(session, url, body | ({"adapter": adapter} if adapter else {}))
    answer = row.pop("answer", None)
    row["scores"] = [] if row["error"] else scores(answer)
    emit(about | {"latency_s": round(time.monotonic() - began, 6), "documents": len(body["documents"])} | row)


def asked(number: int, adapters: Sequence[str]) -> str:
    """Return the adapter that a request asks for, if any: each in turn, on a new connection and on a kept one."""
    turn, rest = divmod(number, ADAPTER_EVERY)
    return "" if rest or not adapters else adapters[turn // 2 % len(adapters)]


async def probe(pods: list[str], adapter: str, longest_s: float, body: dict[str, Any]) -> None:
    """Ask each pod by its own address until it scores with the adapter; say so for each pod when it does."""
    emit({"probing": pods})
    async with aiohttp.ClientSession(timeout=TIMEOUT) as session, asyncio.timeout(longest_s):
        await asyncio.gather(*(_probe_pod(session, pod, body | {"adapter": adapter}) for pod in pods))


async def _probe_pod(session: aiohttp.ClientSession, pod: str, body: dict[str, Any]) -> None:
    while (row := await ask(session, f"http://{pod}/v1/rerank", body))["error"]:  # noqa: ASYNC110 - it waits for another machine
        await asyncio.sleep(PROBE_PERIOD_S)
    emit({"pod": pod, "adapter": row["adapter"]})


async def questions(url: str) -> None:
    """Post each line of standard input as a request, one after the other, and print the rows with their answers."""
    async with aiohttp.ClientSession(timeout=TIMEOUT) as session:
        async for line in lines_of_stdin():
            emit(await ask(session, url, json.loads(line)))


def main() -> None:
    """Run one of the three."""
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    for name in ("load", "ask"):
        commands.add_parser(name).add_argument("--url", required=True)
    commands.choices["load"].add_argument("--rate", type=float, required=True, help="requests a second")
    commands.add_parser("probe").add_argument("--pods", nargs="+", required=True, help="address:port of each")
    commands.choices["probe"].add_argument("--adapter", required=True)
    for name in ("load", "probe"):
        commands.choices[name].add_argument("--bodies", type=Path, required=True, help="JSON-lines file of requests")
        commands.choices[name].add_argument("--longest", type=float, required=True, help="seconds after which it ends")
    args = parser.parse_args()
    if args.command == "ask":
        asyncio.run(questions(args.url))
        return
    bodies = [json.loads(line) for line in args.bodies.read_text().splitlines()]
    if args.command == "load":
        asyncio.run(load(args.url, args.rate, args.longest, bodies))
    else:
        asyncio.run(probe(args.pods, args.adapter, args.longest, bodies[0]))


if __name__ == "__main__":
    main()
