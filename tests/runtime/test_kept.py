"""Memory of freed results that later ones get."""

from __future__ import annotations

import threading
import tracemalloc

import numpy as np
import pytest
from numpy._core.multiarray import get_handler_name

import fastloss as fl

LEAST = 1 << 18  # bytes


@pytest.fixture(autouse=True)
def kept():
    """Nothing is kept at first, and the limit is as usual behind it."""
    usual = fl.set_kept_memory(0)
    fl.set_kept_memory(usual)
    yield usual
    fl.set_kept_memory(0)
    fl.set_kept_memory(usual)


def result(size, value=1.0):
    """So many bytes of twice the value."""
    return fl.squared_error.grad(np.zeros(size // 8), np.full(size // 8, value), reduction="sum")


def address(array):
    return array.__array_interface__["data"][0]


@pytest.mark.parametrize("method", ["grad", "value_and_grad", "grad_and_hess"])
@pytest.mark.parametrize("loss", ["logistic", "softmax_cross_entropy"])
def test_a_loop_gets_its_memory_back(loss, method):
    rng = np.random.default_rng(0)
    p = rng.normal(size=(10000, 10)).astype(np.float32)
    y = rng.integers(0, 2, p.shape if loss == "logistic" else 10000)

    def arrays():
        found = getattr(fl.get(loss), method)(y, p)
        return [
            part for part in (found if isinstance(found, tuple) else (found,)) if isinstance(part, np.ndarray)
        ]

    first = arrays()
    places, bits = {address(array) for array in first}, [array.tobytes() for array in first]
    del first
    for _ in range(3):
        again = arrays()
        assert {address(array) for array in again} == places
        assert [array.tobytes() for array in again] == bits
        del again


def test_arrays_in_use_are_apart():
    arrays = [result(LEAST) for _ in range(20)]
    for i, array in enumerate(arrays):
        array[:] = i
    del arrays[::2]
    arrays += [result(LEAST) for _ in range(20)]
    assert [array[0] for array in arrays] == [*range(1, 20, 2), *[2.0] * 20]
    assert len({address(array) for array in arrays}) == len(arrays)


def test_only_large_results_of_the_same_size():
    small = result(LEAST - 8)
    assert get_handler_name(small) == "default_allocator"
    large = result(LEAST)
    assert get_handler_name(large) == "fastloss"
    assert large.flags.owndata
    place = address(large)
    del large
    other = result(LEAST + 8)
    assert address(other) != place
    assert address(result(LEAST)) == place


def memory_of_results(size, count):
    """The addresses of `count` results that live at the same time and are freed, oldest first."""
    arrays = [result(size) for _ in range(count)]
    places = [address(array) for array in arrays]
    while arrays:
        del arrays[0]
    return places


def test_the_limit(kept):
    assert kept == 1 << 28
    assert fl.set_kept_memory(3 * LEAST) == kept
    places = memory_of_results(LEAST, 5)
    held = [result(LEAST) for _ in range(3)]
    assert [address(array) for array in held] == places[:1:-1]  # the last freed first
    assert fl.set_kept_memory(kept) == 3 * LEAST


def test_zero_keeps_nothing(kept):
    fl.set_kept_memory(0)
    array = result(LEAST)
    array[:] = 7
    del array
    assert fl.set_kept_memory(kept) == 0
    assert result(LEAST)[0] == 2


def test_resize_and_views():
    array = result(LEAST)
    array.resize(LEAST // 4, refcheck=False)
    assert (array[: LEAST // 8] == 2).all()
    assert (array[LEAST // 8 :] == 0).all()
    view = result(LEAST)[::2]
    others = [result(LEAST) for _ in range(4)]
    for other in others:
        other[:] = 5
    assert (view == 2).all()


def test_tracemalloc_counts_arrays_alone():
    result(LEAST)  # is kept
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        array = result(LEAST)
        assert tracemalloc.get_traced_memory()[0] - before >= LEAST
        del array
        assert tracemalloc.get_traced_memory()[0] - before < LEAST / 8
    finally:
        tracemalloc.stop()


def test_many_threads():
    wrong = []

    def work(seed):
        rng = np.random.default_rng(seed)
        held = []
        for _ in range(100):
            value = float(rng.integers(1, 100))
            array = result(LEAST, value)
            held.append((value, array))
            if len(held) > 3:
                value, array = held.pop(int(rng.integers(4)))
                if not (array == 2 * value).all():
                    wrong.append(value)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_refused_limits(kept):
    for bad, error in ((-1, ValueError), (1 << 80, ValueError), (1.5, TypeError), ("1", TypeError)):
        with pytest.raises(error, match="n must be"):
            fl.set_kept_memory(bad)
    assert fl.set_kept_memory(kept) == kept
