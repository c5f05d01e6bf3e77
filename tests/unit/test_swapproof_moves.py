"""The proof's moves: all kinds, in an order that the seed alone decides, each from where the last one led."""

from itertools import pairwise

import pytest

from hack.swapproof import moves
from hack.swapproof.moves import ADAPTERS, DISTURBANCES, KINDS, MODELS, START, Kind, Move, plan, refused_folders
from hack.swapproof.wanted import (
    BLUE_GREEN,
    IN_PLACE,
    KEEP_S,
    MODEL,
    Wanted,
    adapter_resources,
    model_revision,
    resource,
    serves,
)
from reranker_operator.decisions.adapters import wanted_adapter
from reranker_operator.decisions.rollout import wanted_model
from reranker_operator.resources.adapter_kind import RerankerAdapterSpec
from reranker_operator.resources.v1alpha1 import RerankerModelSpec
from reranker_operator.world.names import Key
from reranker_operator.world.names import adapter_revision as operator_s_adapter_revision
from reranker_operator.world.state import Model

DIGESTS = {
    name: f"sha256:{number:064x}"
    for number, name in enumerate([*MODELS, *(folder for folders in ADAPTERS.values() for folder in folders)])
}


@pytest.fixture(params=range(5), ids=lambda seed: f"seed {seed}")
def planned(request: pytest.FixtureRequest) -> list[Move]:
    return plan(request.param, swaps=60, disturbed=0.3)


def test_a_plan_has_as_many_swaps_as_were_asked_for(planned: list[Move]) -> None:
    assert sum(move.is_swap for move in planned) == 60
    assert planned[-1].is_swap


def test_every_kind_of_move_comes(planned: list[Move]) -> None:
    assert {move.kind for move in planned} == {kind.name for kind in KINDS}


def test_every_disturbance_comes(planned: list[Move]) -> None:
    assert {move.disturbance.name for move in planned if move.disturbance} == set(DISTURBANCES)


def test_each_move_begins_where_the_last_one_led(planned: list[Move]) -> None:
    assert planned[0].before == START
    assert all(later.before == former.after for former, later in pairwise(planned))


def test_a_move_edits_something_and_ends_with_what_has_to_serve(planned: list[Move]) -> None:
    for move in planned:
        assert move.edits[0] != move.before
        assert move.refused or move.edits[-1] == move.after


def test_the_seed_alone_decides(planned: list[Move]) -> None:
    assert plan(7, 20) == plan(7, 20)
    assert plan(7, 20) != plan(8, 20)


def test_nothing_happens_beside_moves_that_nobody_wants_disturbed() -> None:
    assert not any(move.disturbance for move in plan(1, 60))


def test_no_candidate_that_was_refused_comes_again(planned: list[Move]) -> None:
    folders = refused_folders(planned)
    assert len(set(folders)) == len(folders) > 0
    assert not set(folders) & set(MODELS)


def test_what_may_not_answer_is_what_was_overtaken_or_refused() -> None:
    for move in plan(3, 60):
        expected = [edit.model for edit in move.edits if edit.model != move.after.model]
        assert list(move.never) == expected
        assert move.before.model not in move.never


def test_an_adapter_that_is_a_resource_is_no_adapter_of_the_model_s_spec() -> None:
    wanted = Wanted("second", (("legal", "legal-2"), ("tax", "tax-1")))
    assert [one["name"] for one in resource(wanted, IN_PLACE, DIGESTS)["spec"]["adapters"]] == ["legal"]
    (tax,) = adapter_resources(wanted, DIGESTS)
    assert (tax["kind"], tax["metadata"]["name"], tax["spec"]["modelRef"]) == (
        "RerankerAdapter",
        "tax",
        {"name": MODEL},
    )
    spec = RerankerAdapterSpec.model_validate(tax["spec"])
    assert (spec.model_ref.name, spec.source.digest) == (MODEL, DIGESTS["tax-1"])
    assert [name for name, _ in serves(wanted, DIGESTS).adapters] == ["legal", "tax"]


def test_only_a_second_fleet_is_kept_for_a_while() -> None:
    spec = RerankerModelSpec.model_validate(resource(START, BLUE_GREEN, DIGESTS)["spec"])
    assert spec.rollout.blue_green.keep_seconds == KEEP_S
    assert "blueGreen" not in resource(START, IN_PLACE, DIGESTS)["spec"]["rollout"]


def test_a_kind_edits_resources_or_the_spec_s_adapters_never_one_for_the_other() -> None:
    both = Wanted(MODELS[0], (("legal", "legal-1"), ("tax", "tax-1")))
    assert Kind("any", adapter=moves.CHANGE).names(both) == ["legal"]
    assert Kind("any", adapter=moves.CHANGE, owned=True).names(both) == ["tax"]
    assert Kind("any", adapter=moves.ADD).names(both) == ["news"]
    assert Kind("any", adapter=moves.ADD, owned=True).names(both) == []


@pytest.mark.parametrize(
    ("adapter", "adapters", "possible"),
    [
        pytest.param(moves.ADD, (), True, id="the first one can be added"),
        pytest.param(moves.ADD, (("legal", "legal-1"), ("news", "news-1")), False, id="no third one"),
        pytest.param(moves.CHANGE, (), False, id="none to change"),
        pytest.param(moves.REMOVE, (), False, id="none to remove"),
        pytest.param(moves.REMOVE, (("news", "news-1"),), True, id="one to remove"),
        pytest.param("", (), True, id="the model alone"),
    ],
)
def test_a_kind_is_possible_where_there_is_something_to_edit(
    adapter: str, adapters: tuple[tuple[str, str], ...], possible: bool
) -> None:
    assert Kind("any", adapter=adapter).possible(Wanted(MODELS[0], adapters)) == possible


def test_the_proof_names_revisions_as_the_operator_does() -> None:
    wanted = Wanted("second", (("legal", "legal-2"),))
    spec = RerankerModelSpec.model_validate(resource(wanted, IN_PLACE, DIGESTS)["spec"])
    model = Model(key=Key("here", MODEL), uid="1", generation=1, resource_version="1", spec=spec, status={})
    expected = serves(wanted, DIGESTS)
    assert expected.revision == wanted_model(model).revision
    (adapter,) = spec.adapters
    assert expected.adapters == (("legal", wanted_adapter(adapter).revision),)
    assert model_revision("second", DIGESTS) != model_revision("first", DIGESTS)
    assert expected.adapter("news") == ""
    assert operator_s_adapter_revision("legal", {"uri": "pvc://models/legal-2", "digest": DIGESTS["legal-2"]}) == (
        expected.adapter("legal")
    )
