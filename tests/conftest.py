"""What all tests share: the option for long sweeps, what the build of tests/sanitize leaves out, and fixtures."""

from __future__ import annotations

import os
import signal

import numpy as np
import pytest
from references import LABELS, REFERENCES, SCORES

import fastloss as fl
from fastloss import _core

# A shell's jobs in the background ignore SIGINT, and Python leaves it so. Some tests raise it.
signal.signal(signal.SIGINT, signal.default_int_handler)

LOSSES = tuple(REFERENCES)
DTYPES = (np.float32, np.float64)


def pytest_addoption(parser):
    parser.addoption(
        "--exhaustive", action="store_true", help="also the long sweeps; -m exhaustive: them alone"
    )


def pytest_collection_modifyitems(config, items):
    """Leaves the long sweeps out unless they are asked for; and what the build of tests/sanitize makes impossible."""
    if not config.option.exhaustive and "exhaustive" not in config.option.markexpr:
        sweeps = [item for item in items if item.get_closest_marker("exhaustive")]
        config.hook.pytest_deselected(items=sweeps)
        items[:] = [item for item in items if not item.get_closest_marker("exhaustive")]
    if not os.environ.get("FASTLOSS_SANITIZED"):
        return
    for item in items:
        for marker in item.iter_markers("not_sanitized"):
            item.add_marker(pytest.mark.skip(reason=f"sanitized: {marker.args[0]}"))


@pytest.fixture(params=LOSSES)
def loss(request):
    """Every loss, with its defaults."""
    return fl.get(request.param)


@pytest.fixture(params=DTYPES)
def dtype(request):
    return request.param


@pytest.fixture
def sample():
    """Random arguments inside of a loss's domain: sample(loss, n, dtype) -> y_true, y_pred."""

    def make(loss, n, dtype=np.float64, seed=0):
        rng = np.random.default_rng(seed)
        reference = REFERENCES[loss.name]
        y = rng.choice(np.array(LABELS[reference.labels]), size=n)
        low, high = {"real": (-50, 50), "probability": (1e-9, 0.999), "above -1": (-0.99, 50)}[
            reference.scores
        ]
        moderate = [s for s in SCORES[reference.scores] if low <= s <= high]
        p = rng.choice(np.array(moderate), size=n) * rng.uniform(0.5, 1, size=n)
        return y.astype(dtype), p.astype(dtype)

    return make


@pytest.fixture
def team():
    """Every call of some blocks uses the team of threads, however quick it is."""
    _core.set_grain(0)
    yield
    _core.set_grain(-1)
