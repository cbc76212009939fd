"""Every code block of the documents runs."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

import fastloss as fl
from fastloss.__main__ import main

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(text, language):
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def test_python_blocks_run_in_order_and_their_comments_are_true():
    before = fl.get_num_threads()
    namespace, checked = {}, 0
    try:
        for block in blocks(README, "python"):
            exec(block, namespace)
            for line in block.splitlines():
                expression, _, comment = line.partition("  # ")
                if re.match(r"[\d.]+(:|$)|array\(", comment.strip()):
                    result, said = eval(expression, namespace), comment.strip().partition(":")[0]
                    assert np.array_equal(result, eval(said, {"array": np.array})), line
                    checked += 1
    finally:
        fl.set_num_threads(before)
    assert checked == 3


def test_all_blocks_have_a_language_that_is_tested():
    for name in ("README.md", "CONTRIBUTING.md"):
        assert set(re.findall(r"^```(\w+)", (ROOT / name).read_text(encoding="utf-8"), re.MULTILINE)) <= {
            "python",
            "console",
        }


def test_continuous_integration_runs_the_commands_of_the_readme():
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    for block in blocks(README, "console"):
        for command in block.strip().split(" && "):
            assert command in script, command


@pytest.mark.parametrize("command", re.findall(r"`python -m fastloss ([^`]+)`", README))
def test_commands_in_the_text(command, capsys):
    arguments = command.split()
    assert main([*arguments, "--n", "1000"] if arguments[0] == "bench" else arguments) == 0
    assert capsys.readouterr().out


def test_links_lead_somewhere():
    for name in ("README.md", "CONTRIBUTING.md"):
        for target in re.findall(r"\]\(([^)#:]+)\)", (ROOT / name).read_text(encoding="utf-8")):
            assert (ROOT / target).exists(), target
