"""The largest errors of the losses of rows, in ULP: what docs/accuracy.md says.

As the tests of exact results count them: where terms cancel, in ULP of the terms; at ordinary results, of normal size.
"""

from __future__ import annotations

import numpy as np
from mpmath import mp, mpf
from references import ulp, ulp_error
from row_references import ALL_ROW_REFERENCES, ROW_REFERENCES, TERM_REFERENCES, row_exact, rows, soft_labels
from test_row_terms import cancelling, exact_rows
from test_rows import error_of

import fastloss as fl

CLASSES = 1, 2, 3, 10, 101


def problems(name, classes, dtype):
    if name in TERM_REFERENCES:
        yield exact_rows(name, classes, dtype)
        return
    labels, scores = rows(classes, dtype)
    part = slice(None, None, 1 if classes <= 10 else 5)
    yield labels[part], scores[part]
    if ROW_REFERENCES[name].soft:
        yield soft_labels(classes, scores, dtype)[part], scores[part]


def error(name, params, y, scores, k, output, got, want, dtype):
    if name in ROW_REFERENCES:
        return error_of(ROW_REFERENCES[name], params, scores, y, k, output, got, want, dtype)
    if name == "tv_distance" and output == 1 and y[k] == scores[k]:
        return float(abs(got))  # the kink
    found = ulp_error(got, want, dtype)
    if found <= 2:
        return found
    unit = ulp(max(abs(want), cancelling(name, params, scores, y, k, output)), dtype)
    with mp.workdps(60):
        return float(abs(mpf(float(got)) - want) / unit)


def measure(name: str, dtype: type) -> list[float]:
    """The worst of value, gradient and Hessian over all parameters."""
    reference, worst = ALL_ROW_REFERENCES[name], [0.0] * 3
    for given in reference.params:
        loss = fl.get(name, **given)
        params = {k: v if v is None else float(dtype(v)) for k, v in loss.params.items() if k in loss.own}
        if name in TERM_REFERENCES:
            params = given
        for classes in CLASSES:
            for y, p in problems(name, classes, dtype):
                found = [loss(y, p, reduction="none"), *loss.grad_and_hess(y, p, reduction="none")]
                for i in range(len(p)):
                    for k in sorted({0, classes // 2, classes - 1, int(y[i]) if y.ndim == 1 else 0}):
                        for output, want in enumerate(row_exact(reference, params, p[i], y[i], k)):
                            if mp.isinf(want) or 0 < abs(want) < float(np.finfo(dtype).smallest_normal):
                                continue
                            got = found[output][i] if output == 0 else found[output][i, k]
                            one = error(name, params, y[i], p[i], k, output, got, want, dtype)
                            worst[output] = max(worst[output], one)
    return worst
