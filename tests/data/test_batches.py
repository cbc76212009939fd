"""Rows of files as blocks: the same rows however they are cut."""

# ruff: noqa: N806 - X is the field's name

from __future__ import annotations

import numpy as np
import pytest
from commands import FEATURES, N, command, fit

from fastloss import data
from fastloss.data import together


@pytest.mark.parametrize("kind", ["csv", "parquet", "npz", "svm"])
def test_a_stream_is_the_same_rows(kind, folder):
    options = {"validation_fraction": 0.3, "seed": 5}
    if kind != "svm":
        options |= {"target": "level", "weight": "weight", "columns": FEATURES, "categorical": ["colour"]}
    whole = data.batches(folder / f"data.{kind}", **options)
    streamed = data.batches(folder / f"data.{kind}", memory=1000, **options)
    assert streamed.streamed
    assert not whole.streamed
    assert len(list(whole)) == 1
    for part in (iter, data.Batches.held_out):
        for _ in range(2):  # passes
            for one, other in zip(together(part(whole)), together(part(streamed)), strict=True):
                one, other = (x if isinstance(x, np.ndarray) else x.toarray() for x in (one, other))
                np.testing.assert_allclose(one, other, rtol=1e-12, atol=1e-12)
    assert whole.encoding.categories == streamed.encoding.categories
    assert (whole.rows, whole.held_out_rows) == (streamed.rows, streamed.held_out_rows)
    assert whole.rows + whole.held_out_rows == N


def test_a_stream_has_several_blocks(folder):
    for kind in ("csv", "npz"):
        blocks = list(data.batches(folder / f"data.{kind}", target="y", columns=["a"], memory=1000))
        assert len(blocks) > 1


def test_scaled_columns_have_mean_0_and_deviation_1(folder):
    blocks = data.batches(
        folder / "data.csv", target="y", columns=FEATURES, validation_fraction=0.3, memory=1000
    )
    X, _ = together(iter(blocks))
    np.testing.assert_allclose(X.mean(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(X.std(axis=0), 1, rtol=1e-12)


@pytest.mark.parametrize(
    ("labels", "classes"),
    [
        (("9007199254740992", "9007199254740993"), (2**53, 2**53 + 1)),
        (("-1.0", "1e2"), (-1, 100)),
        (("10", "1_0"), ("10", "1_0")),
        (("100000000000000000000001", "100000000000000000000002"),) * 2,
    ],
)
def test_labels_are_told_apart(labels, classes, tmp_path):
    path, out = tmp_path / "x.csv", tmp_path / "p.csv"
    path.write_text("a,y\n" + "".join(f"{i},{labels[i > 4]}\n" for i in range(10)))
    assert fit(path, tmp_path / "m.npz", target="y", loss="logistic").encoding.classes == classes
    assert command("predict", tmp_path / "m.npz", path, "-o", out) == 0
    predicted = [line.strip('"') for line in out.read_text().split()[1:]]
    assert predicted == [str(classes[i > 4]) for i in range(10)]
