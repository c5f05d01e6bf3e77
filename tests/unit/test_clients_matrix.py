"""The clients' report: from lines of checks to a table, a page and a closing line."""

import json
from dataclasses import replace

import pytest

from hack.clients.environments import ENVIRONMENTS, REQUIREMENTS, Environment
from hack.clients.matrix import BEGIN, END, Check, Skip, closing_line, table, table_of, with_table

RANKED = Check("Ranker, acme 1.0", "ranking", "equal", passed=True)
REFUSED = Check("Ranker, acme 1.0", "overload", "TooManyRequestsError", passed=True)
WAITED = Check("Waiter, acme 1.0", "overload", "waits", passed=True)
BROKEN = Check("Alone, zeta 2.0", "ranking", "equal", passed=False)


def test_a_row_says_what_a_clients_users_see() -> None:
    head, _, *rows = table([BROKEN, RANKED, REFUSED, WAITED]).splitlines()
    assert head.startswith("| client | ranking | adapter |")
    assert [row.split(" | ")[0] for row in rows] == ["| Ranker, acme 1.0", "| Waiter, acme 1.0", "| Alone, zeta 2.0"]
    assert [row.count("TooManyRequestsError") for row in rows] == [1, 0, 0]
    assert " ✓ " in rows[0]
    assert " waits " in rows[1]
    assert "**failed**" in rows[2]


def test_the_table_replaces_what_stands_between_the_markers_and_nothing_else() -> None:
    page = f"before\n{BEGIN}\nold\n{END}\nafter\n"
    written = with_table(page, "new")
    assert written == f"before\n{BEGIN}\nnew\n{END}\nafter\n"
    assert with_table(written, "new") == written


def test_a_run_of_some_clients_leaves_the_other_rows() -> None:
    known = table([BROKEN, RANKED, REFUSED, WAITED])
    mended = table([replace(BROKEN, passed=True)], known)
    assert mended == table([replace(BROKEN, passed=True), RANKED, REFUSED, WAITED])
    assert table_of(with_table(f"{BEGIN}{END}", mended)) == mended


def test_a_page_without_markers_is_not_written() -> None:
    with pytest.raises(ValueError, match="no place"):
        with_table("a page", "new")


def test_the_closing_line_counts_checks_failures_and_what_was_skipped() -> None:
    skips = [Skip(("cohere_sdk", "sie"), "no Python 3.12")]
    assert closing_line([RANKED, BROKEN], skips) == "clients: 2 checks, 1 failed, 2 skipped"


def test_a_check_that_failed_before_it_named_its_client_is_still_reported() -> None:
    check = Check.parse(json.dumps({"outcome": "failed", "test": "test_x[Ranker]"}))
    assert (check.client, check.passed) == ("test_x[Ranker]", False)


@pytest.mark.parametrize("environment", ENVIRONMENTS, ids=lambda environment: environment.name)
def test_every_requirement_is_pinned(environment: Environment) -> None:
    lines = [line for file in environment.files for line in file.read_text().splitlines() if not line.startswith("#")]
    assert lines
    assert [line for line in lines if "==" not in line] == []


def test_no_environment_installs_a_compromised_release() -> None:
    assert [file.name for file in REQUIREMENTS.glob("*.txt") if "litellm" in file.read_text().lower()] == []
