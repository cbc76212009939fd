"""Every promise of docs/guarantees.md names what tests it: here, or a program of this repository."""

from __future__ import annotations

import re

import pytest
from documents import ROOT

PAGE = (ROOT / "docs/guarantees.md").read_text(encoding="utf-8")
HEADER = ["Promise", "Tested by", "Measured", "NumPy", "scikit-learn", "PyTorch", "SLEEF"]
TABLES = [
    [[cell.strip() for cell in re.split(r"(?<!\\)\|", line.strip("|"))] for line in table.splitlines()]
    for table in re.findall(r"(?:^\|.*\n)+", PAGE, re.MULTILINE)
]
ROWS = [row for table in TABLES for row in table[2:]]


def test_the_tables_have_their_columns():
    assert len(ROWS) >= 20
    assert all(table[0] == HEADER for table in TABLES)
    assert all(len(row) == len(HEADER) and all(row) for row in ROWS)


@pytest.mark.parametrize("row", ROWS, ids=[row[0][:50] for row in ROWS])
def test_what_tests_a_promise_is_there(row):
    commands = re.findall(r"`([^`]+)`", row[1])
    assert commands
    for command in commands:
        path, _, name = command.split()[1 if command.startswith("python ") else 0].partition("::")
        file = ROOT / path
        assert file.is_file(), command
        if name:
            assert re.search(rf"^def {name}\(", file.read_text(), re.MULTILINE), command
        if path == "tests/c/run":
            assert f"tests/c/run {command.split()[1]}" in file.read_text(), command


def test_what_others_promise_has_a_source():
    for row in ROWS:
        for cell in row[3:]:
            assert "](https://" in cell or cell.startswith(("none found", "not applicable")), cell
