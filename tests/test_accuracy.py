"""Value, gradient and Hessian of every loss against 800-digit references, tails included.

There is no absolute allowance: an error counts in units of the last place (ULP) of the exact result. It
may be LIMIT of them, and beyond that only what CONDITION roundings of the inputs would change.
"""

from __future__ import annotations

import numpy as np
import pytest
from references import REFERENCES, condition, exact, points, ulp, ulp_error

import fastloss as fl

LIMIT = 8
CONDITION = 4
CASES = [
    pytest.param(name, params, id="-".join([name, *(f"{k}={v}" for k, v in params.items())]))
    for name, reference in REFERENCES.items()
    for params in reference.params
]


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize(("name", "params"), CASES)
def test_against_reference(name, params, dtype):
    reference, loss = REFERENCES[name], fl.get(name, **params)
    y, p = points(reference, dtype)
    value = loss(y, p, reduction="none")
    grad, hess = loss.grad_and_hess(y, p, reduction="none")
    assert value.dtype == grad.dtype == hess.dtype == dtype
    for i in range(len(y)):
        wanted = exact(reference, params, float(y[i]), float(p[i]))
        for output, (got, want) in enumerate(zip((value[i], grad[i], hess[i]), wanted, strict=True)):
            if want is None:
                continue
            error = ulp_error(got, want, dtype)
            if error > LIMIT:
                allowed = CONDITION * np.finfo(dtype).eps * condition(reference, params, y[i], p[i], output)
                assert error <= LIMIT + float(allowed / ulp(want, dtype)), (
                    f"{('value', 'gradient', 'hessian')[output]} of {loss!r} at y_true={y[i]!r}, "
                    f"y_pred={p[i]!r} is {got!r}, not {float(want)!r}: {error:.3g} ULP"
                )


def test_every_loss_has_a_reference():
    assert {name for names in fl.losses().values() for name in names} == set(REFERENCES)
