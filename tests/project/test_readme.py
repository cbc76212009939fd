"""Every code block of the documents runs."""

from __future__ import annotations

import re

import pytest
from documents import DOCUMENTS, README, ROOT, blocks, run_python_blocks

import fastloss as fl
from fastloss.__main__ import main


def test_python_blocks_run_in_order_and_their_comments_are_true():
    assert run_python_blocks(README) == 3


def test_all_blocks_have_a_language_that_is_tested():
    for name in DOCUMENTS:
        assert set(re.findall(r"^```(\w+)", (ROOT / name).read_text(encoding="utf-8"), re.MULTILINE)) <= {
            "python",
            "console",
        }


def test_continuous_integration_runs_the_commands_of_the_readme():
    scripts = ROOT / ".ci" / "run", ROOT / "tests" / "cli" / "end_to_end"
    script = "\n".join(path.read_text(encoding="utf-8") for path in scripts)
    for block in blocks(README, "console"):
        for command in re.split(r" && |\n", block.strip()):
            assert command in script, command


@pytest.mark.parametrize("command", re.findall(r"`python -m fastloss ([^`]+)`", README))
def test_commands_in_the_text(command, capsys):
    arguments = command.split()
    assert main([*arguments, "--n", "1000"] if arguments[0] == "bench" else arguments) == 0
    assert capsys.readouterr().out


def test_links_lead_somewhere():
    for name in DOCUMENTS:
        for target in re.findall(r"\]\(([^)#:]+)\)", (ROOT / name).read_text(encoding="utf-8")):
            assert ((ROOT / name).parent / target).exists(), target


def test_the_page_of_training():
    pytest.importorskip("scipy")
    run_python_blocks((ROOT / "docs" / "training.md").read_text(encoding="utf-8"))


def test_the_page_of_the_losses_of_rows():
    page = (ROOT / "docs" / "multiclass.md").read_text(encoding="utf-8")
    namespace = {}
    assert run_python_blocks(page, namespace) == 1
    assert set(re.findall(r"^\| `(\w+)", page, re.MULTILINE)) <= set(fl.losses()["multiclass"])

    torch = pytest.importorskip("torch", reason="what the page says of PyTorch, where it is installed")
    logits, labels, weights = (torch.tensor(namespace[name]) for name in ("logits", "labels", "weights"))
    for options, here in (
        ({"label_smoothing": namespace["e"]}, namespace["as_pytorch"]),
        ({"ignore_index": 3}, namespace["mean"]),
    ):
        there = torch.nn.functional.cross_entropy(logits.double(), labels, weight=weights, **options)
        assert here == pytest.approx(there.item(), rel=1e-6)
