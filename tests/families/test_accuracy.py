"""Value, gradient and Hessian of every loss against references of many digits, tails included.

docs/accuracy.md states the largest error of each; no point of the references may exceed what it says, and it may
say more than 2 units in the last place (ULP) of no loss but those of accuracy.BEYOND.
"""

from __future__ import annotations

import numpy as np
import pytest
import row_accuracy
from accuracy import BASELINE, BEYOND, OUTPUTS, TARGET, measure, table
from documents import ROOT
from references import REFERENCES
from row_references import ALL_ROW_REFERENCES as ROW_REFERENCES
from sweeps import every

import fastloss as fl
from fastloss import _core

PAGE = (ROOT / "docs" / "accuracy.md").read_text()
LEVEL = "none" if _core.level() == "v2" else "fma"
DTYPES = (np.float64, np.float32)


@every(13)
@pytest.mark.not_sanitized("exact results are asked for once")
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", REFERENCES)
def test_errors_are_those_of_the_page(name, dtype, every):
    stated = table(PAGE, LEVEL)[name][3 * DTYPES.index(dtype) :]
    for output, worst, (error, cancelling) in zip(
        OUTPUTS, measure(name, dtype, every=every), stated, strict=False
    ):
        assert worst.error <= error, f"{output}: {worst.error:.3g} ULP, more than {error}: {worst.where}"
        assert worst.cancelling <= cancelling, f"{output}, where terms cancel: {worst.cancelling:.3g}"


@pytest.mark.not_sanitized("exact results are asked for once")
@pytest.mark.skipif(LEVEL == "none", reason="the page has the losses of rows at the levels with FMA")
@every(13)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ROW_REFERENCES)
def test_errors_of_rows_are_those_of_the_page(name, dtype, every):
    stated = table(PAGE, "rows")[name][3 * DTYPES.index(dtype) :]
    for output, worst, (error, _) in zip(
        OUTPUTS, row_accuracy.measure(name, dtype, every=every), stated, strict=False
    ):
        assert worst <= error, f"{output}: {worst:.3g} ULP, more than {error}"


@pytest.mark.parametrize("level", ["fma", "none"])
def test_the_page_keeps_the_promise(level):
    stated, limit = table(PAGE, level), TARGET if level == "fma" else BASELINE
    assert set(stated) == set(REFERENCES)
    for name, errors in stated.items():
        assert len(errors) == 6
        assert max(max(pair) for pair in errors) <= BEYOND.get(name, limit), name


def test_the_page_keeps_the_promise_of_rows():
    stated = table(PAGE, "rows")
    assert set(stated) == set(ROW_REFERENCES)
    for name, errors in stated.items():
        assert len(errors) == 6
        assert max(max(pair) for pair in errors) <= TARGET, name


def test_every_loss_has_a_reference():
    names = [name for names in fl.losses().values() for name in names]
    assert set(names) == {*REFERENCES, *ROW_REFERENCES}
    assert len(names) == len(REFERENCES) + len(ROW_REFERENCES)
