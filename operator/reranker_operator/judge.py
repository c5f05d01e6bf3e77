"""Puts the golden set to a candidate and to what serves, beside the reconciles, and remembers what came of it.

What is remembered is lost with the process: a candidate that hadn't been admitted by then is judged anew.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import structlog

from reranker_operator import shadow
from reranker_operator.cluster import Cluster
from reranker_operator.decisions import gate
from reranker_operator.decisions.golden import GoldenSetInvalid, Question, golden_set
from reranker_operator.errors import NoScores, OperatorError
from reranker_operator.worker_client import WorkerClient
from reranker_operator.world.facts import Problem
from reranker_operator.world.names import Key
from reranker_operator.world.trials import Answer, Figures, Judgement, Passed, Seat, Trial, Undecided

log = structlog.get_logger(__name__)

#: Questions at once on a pod. The candidate's latency is measured, so it gets one after the other.
CANDIDATE_AT_ONCE, SERVING_AT_ONCE = 1, 4
#: A golden set that is missing or broken, or a pod that doesn't answer, is looked at again after this time.
RETRY_S = 3.0

#: Codes of a worker by which the candidate, or the golden set, is at fault; all others may pass.
NOT_FINITE = "ScoringFailed"
TOO_MUCH = frozenset({"InvalidRequest", "TooLarge"})


@dataclass(frozen=True)
class Subject:
    """What is judged: a candidate of one model, under one gate."""

    uid: str
    revision: str
    gate_hash: str


@dataclass
class Case:
    """The trial of one subject; `known`: what the try before this one came to."""

    subject: Subject
    task: asyncio.Task[Judgement]
    known: Judgement
    retry_at: float | None = None


class Judge:
    """Holds at most one trial for each model; belongs to one event loop."""

    def __init__(
        self, cluster: Cluster, workers: WorkerClient, clock: Callable[[], float], wake: Callable[[Key], None]
    ) -> None:
        self._cluster = cluster
        self._workers = workers
        self._clock = clock
        self._wake = wake
        self._cases: dict[Key, Case] = {}

    def judgement(self, trial: Trial) -> Judgement:
        """What is known by now of a candidate; its trial begins with the first call, and `wake` tells of its end."""
        subject = Subject(trial.uid, trial.candidate.revision, trial.gate_hash)
        case = self._cases.get(trial.key)
        if case is None or case.subject != subject:
            self.forget(trial.key)
            case = self._begin(trial, subject, Undecided())
        if not case.task.done():
            return case.known
        if (error := case.task.exception()) is not None:
            self.forget(trial.key)
            raise error
        found = case.task.result()
        if isinstance(found, Undecided) and self._is_due(case):
            self._begin(trial, subject, found)
        return found

    def keep(self, key: Key, revision: str) -> None:
        """Forget what is known of any other candidate of the model than this one."""
        case = self._cases.get(key)
        if case is not None and case.subject.revision != revision:
            self.forget(key)

    def forget(self, key: Key) -> None:
        """End what goes on about a model that is gone, or wants something else."""
        case = self._cases.pop(key, None)
        if case is not None:
            case.task.cancel()

    async def close(self) -> None:
        tasks = [case.task for case in self._cases.values()]
        for key in list(self._cases):
            self.forget(key)
        await asyncio.gather(*tasks, return_exceptions=True)

    def _begin(self, trial: Trial, subject: Subject, known: Judgement) -> Case:
        task = asyncio.create_task(self._judge(trial))
        task.add_done_callback(lambda _: self._wake(trial.key))
        self._cases[trial.key] = case = Case(subject, task, known)
        return case

    def _is_due(self, case: Case) -> bool:
        now = self._clock()
        if case.retry_at is None:
            case.retry_at = now + RETRY_S
        return now >= case.retry_at

    async def _judge(self, trial: Trial) -> Judgement:
        try:
            questions = await self._questions(trial)
            measured = await self._measure(trial, questions)
            if trial.gate.shadow is not None and isinstance(gate.verdict(trial.gate, measured), Passed):
                measured = await self._measure_live(trial, measured)
        except GoldenSetInvalid as error:
            return Undecided(Problem("GoldenSetInvalid", str(error)))
        except OperatorError as error:
            log.warning("a trial was broken off", model=str(trial.key), error=str(error))
            return Undecided(Problem("GateWaits", str(error), stalled=False))
        found = gate.verdict(trial.gate, measured)
        log.info("a candidate was judged", model=str(trial.key), revision=trial.candidate.revision, verdict=str(found))
        return found

    async def _questions(self, trial: Trial) -> tuple[Question, ...]:
        place = trial.gate.golden_set.config_map_ref
        where = f"ConfigMap {place.name}, key {place.key}"
        text = await self._cluster.config_text(trial.key.namespace, place.name, place.key)
        if text is None:
            raise GoldenSetInvalid(f"{where}: there is none; create it, or name another one")
        try:
            return golden_set(text)
        except GoldenSetInvalid as error:
            raise GoldenSetInvalid(f"{where}: {error}") from error

    async def _measure(self, trial: Trial, questions: Sequence[Question]) -> Figures:
        try:
            candidate = await self._answers(trial.candidate, questions, CANDIDATE_AT_ONCE)
        except NoScores as error:
            if error.code == NOT_FINITE:
                return Figures(finite=False)
            raise
        serving = await self._answers(trial.serving, questions, SERVING_AT_ONCE) if trial.serving else None
        # Rank correlation compares every two documents of a question: too long for the event loop.
        return await asyncio.to_thread(gate.figures, trial.gate, questions, candidate, serving)

    async def _measure_live(self, trial: Trial, measured: Figures) -> Figures:
        try:
            return gate.with_live(measured, await shadow.correlations(self._workers, trial, self._clock))
        except NoScores as error:
            if error.code == NOT_FINITE:
                return Figures(finite=False)
            raise

    async def _answers(self, seat: Seat, questions: Sequence[Question], at_once: int) -> list[Answer]:
        turns = asyncio.Semaphore(at_once)

        async def ask(number: int, question: Question) -> Answer:
            async with turns:
                try:
                    return await self._workers.score(seat, question.query, question.documents)
                except NoScores as error:
                    if error.code in TOO_MUCH:
                        raise GoldenSetInvalid(f"question {number} of the golden set is refused: {error}") from error
                    raise

        # Not a TaskGroup: the first failure is the answer, and its own type is asked for.
        asking = [asyncio.create_task(ask(number, each)) for number, each in enumerate(questions, start=1)]
        try:
            return list(await asyncio.gather(*asking))
        finally:
            for task in asking:
                task.cancel()
            await asyncio.gather(*asking, return_exceptions=True)
