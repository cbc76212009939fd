"""The examples run as a user runs them, and what they print is true."""

from __future__ import annotations

import math
import re
import subprocess
import sys

import numpy as np
import pytest
from documents import ROOT, blocks, run_python_blocks

PAGE = (ROOT / "docs" / "pipeline.md").read_text(encoding="utf-8")
BATCH = 6000  # of --quick


def run(*arguments):
    return subprocess.run(
        [sys.executable, ROOT / "examples" / "pipeline.py", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=300,
    )


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory):
    """The lines that the example prints, and the folder with its files."""
    folder = tmp_path_factory.mktemp("shards")
    result = run("--quick", "--data", folder)
    assert (result.returncode, result.stderr) == (0, "")
    return result.stdout.splitlines(), folder


def printed(lines, label):
    """The number after a label."""
    return float(re.search(rf"^{label}: ([-\d.e]+)", "\n".join(lines), re.MULTILINE)[1])


def weighted_losses(folder):
    """Loss times weight, and weight, of every row, without fastloss and in extended precision."""
    hidden, last = (np.load(folder / f"{name}.npy").astype(np.longdouble) for name in ("hidden", "last"))
    for i in range(4):
        x, y, weight = (np.load(folder / f"{name}{i}.npy").astype(np.longdouble) for name in "xyw")
        score = np.tanh(x @ hidden) @ last
        yield (np.maximum(score, 0) - y * score + np.log1p(np.exp(-np.abs(score)))) * weight, weight


def test_every_number_of_threads_gives_the_same_loss(pipeline):
    lines, _ = pipeline
    rows = [line.split() for line in lines if re.match(r"\d+ +\d+ ", line)]
    assert {row[0] for row in rows} == {"1", "2", "4", "8"}
    assert len(rows) == 8
    assert {tuple(row[4:]) for row in rows} == {(repr(printed(lines, "merged sums")),)}
    assert "same bits on every number of threads: yes" in lines


def test_the_merged_loss_is_that_of_all_rows(pipeline):
    lines, folder = pipeline
    losses, weights = map(np.concatenate, zip(*weighted_losses(folder), strict=True))
    wanted = math.fsum(losses) / math.fsum(weights)
    assert printed(lines, "merged sums") == pytest.approx(wanted, rel=1e-14)
    assert printed(lines, "one call") == pytest.approx(wanted, rel=1e-14)


def test_the_average_of_averages_is_what_it_shows_and_wrong(pipeline):
    lines, folder = pipeline
    averages = [
        losses[start : start + BATCH].sum() / weights[start : start + BATCH].sum()
        for losses, weights in weighted_losses(folder)
        for start in range(0, len(losses), BATCH)
    ]
    shown = printed(lines, f"average of {len(averages)} averages")
    assert shown == pytest.approx(float(np.mean(averages)), rel=1e-14)
    assert abs(shown / printed(lines, "merged sums") - 1) > 0.01


def test_python_blocks_of_the_page_run_and_their_comments_are_true():
    assert run_python_blocks(PAGE) == 4


def test_commands_of_the_page_have_the_options_of_the_example():
    options = set(re.findall(r"--\w+", run("--help").stdout))
    (commands,) = blocks(PAGE, "console")
    assert {"--quick", "--rows"} < set(re.findall(r"--\w+", commands)) < options


def test_learning_curves_go_down_and_are_drawn(tmp_path):
    picture = tmp_path / "curves.png"
    result = subprocess.run(
        [sys.executable, "-W", "error", ROOT / "examples" / "learning_curves.py", picture],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert (result.returncode, result.stderr) == (0, "")
    assert picture.read_bytes().startswith(b"\x89PNG")
    scores = [float(line.split()[-1]) for line in result.stdout.splitlines()[1:]]
    assert len(scores) == 6
    assert min(scores[:3]) > 0.93
    assert min(scores[3:]) > 0.3
