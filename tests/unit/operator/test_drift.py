"""What counts as a difference between an object as written and as it is live."""

from typing import Any

import pytest

from reranker_operator.objects.drift import difference
from reranker_operator.objects.merge_patch import merge_patch

SAME: dict[str, tuple[Any, Any]] = {
    "defaults are no difference": ({"spec": {"a": 1}}, {"spec": {"a": 1, "b": 2}, "status": {}}),
    "amounts in other words": (
        {"limits": {"cpu": "1000m", "memory": "1024Mi", "nvidia.com/gpu": "1"}},
        {"limits": {"cpu": "1", "memory": "1Gi", "nvidia.com/gpu": 1}},
    ),
    "decimal amounts": (
        {"requests": {"cpu": "0.5", "memory": "1.5Gi"}},
        {"requests": {"cpu": "500m", "memory": "1536Mi"}},
    ),
    "another manager's item beside ours": (
        {"env": [{"name": "A", "value": "1"}]},
        {"env": [{"name": "X", "value": "9"}, {"name": "A", "value": "1"}]},
    ),
    "an empty mapping": ({"emptyDir": {}}, {"emptyDir": {}}),
}

DIFFERENT: dict[str, tuple[Any, Any, str]] = {
    "a value": ({"spec": {"replicas": 2}}, {"spec": {"replicas": 5}}, "spec.replicas is 5 instead of 2"),
    "a missing member": ({"spec": {"replicas": 2}}, {"spec": {}}, "spec.replicas is missing"),
    "a missing item": ({"env": [{"name": "A"}]}, {"env": []}, "env[A] is missing"),
    "an item's value": (
        {"containers": [{"name": "server", "image": "a"}]},
        {"containers": [{"name": "server", "image": "b"}]},
        "containers[server].image is 'b' instead of 'a'",
    ),
    "an argument more": (
        {"args": ["serve"]},
        {"args": ["serve", "--x"]},
        "args is ['serve', '--x'] instead of ['serve']",
    ),
    "the order of arguments": ({"args": ["a", "b"]}, {"args": ["b", "a"]}, "args[0] is 'b' instead of 'a'"),
    "another amount": ({"limits": {"cpu": "1"}}, {"limits": {"cpu": "1100m"}}, "limits.cpu is '1100m' instead of '1'"),
    "text that looks like an amount": ({"value": "1000m"}, {"value": "1"}, "value is '1' instead of '1000m'"),
    "a mapping that became text": ({"a": {"b": 1}}, {"a": "b"}, "a is missing"),
    "a list that became text": ({"args": ["a"]}, {"args": "a"}, "args is missing"),
}


@pytest.mark.parametrize(("desired", "live"), SAME.values(), ids=SAME.keys())
def test_is_no_difference(desired: Any, live: Any) -> None:
    assert difference(desired, live) is None


@pytest.mark.parametrize(("desired", "live", "words"), DIFFERENT.values(), ids=DIFFERENT.keys())
def test_is_a_difference_and_is_told_in_words(desired: Any, live: Any, words: str) -> None:
    assert difference(desired, live) == words


def test_long_values_are_cut_in_the_words() -> None:
    found = difference({"data": "x" * 1000}, {"data": "y" * 1000})
    assert found is not None
    assert len(found) < 200


PATCHES: dict[str, tuple[Any, Any, Any]] = {
    "nothing": ({"a": {"b": 1}}, {"a": {"b": 1}}, {}),
    "a value": ({"a": 1, "b": 2}, {"a": 1, "b": 3}, {"b": 3}),
    "a deeper value": ({"a": {"b": 1, "c": 2}}, {"a": {"b": 1, "c": 3}}, {"a": {"c": 3}}),
    "a new member": ({}, {"a": {}}, {"a": {}}),
    "a member that went": ({"a": {"b": 1, "c": 2}}, {"a": {"b": 1}}, {"a": {"c": None}}),
    "a list, whole": ({"a": [1, 2]}, {"a": [1]}, {"a": [1]}),
    "another type": ({"a": {"b": 1}}, {"a": 1}, {"a": 1}),
}


@pytest.mark.parametrize(("before", "after", "patch"), PATCHES.values(), ids=PATCHES.keys())
def test_a_merge_patch_holds_only_what_differs(before: Any, after: Any, patch: Any) -> None:
    assert merge_patch(before, after) == patch
