"""Threads change nothing but the time: bits, calls from many Python threads, forks, settings."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import fastloss as fl

N = 300_001
HAS_OPENMP = not fl.show_config(mode="dicts")["openmp"].startswith("none")
needs_openmp = pytest.mark.skipif(not HAS_OPENMP, reason="built without OpenMP, so there is one thread only")


def results(loss, y, p):
    value, grad = loss.value_and_grad(y, p)
    return value, grad, loss.grad_and_hess(y, p)[1], loss(y, p, reduction="sum")


@pytest.mark.parametrize("n", [20_000, N, 2048 * 2100 + 3])
def test_bits_do_not_depend_on_the_number_of_threads(n, dtype):
    rng = np.random.default_rng(0)
    y, p = (rng.random(n) < 0.5).astype(dtype), rng.normal(size=n).astype(dtype) * 3
    wanted = None
    for threads in (1, 2, 3, 4, 7):
        with fl.threads(threads):
            got = results(fl.logistic, y, p)
        wanted = wanted or got
        assert got[0] == wanted[0]
        assert got[3] == wanted[3]
        np.testing.assert_array_equal(got[1], wanted[1])
        np.testing.assert_array_equal(got[2], wanted[2])


def test_every_loss_in_parallel(loss, dtype, sample):
    y, p = sample(loss, 50_000, dtype)
    with fl.threads(1):
        alone = results(loss, y, p)
    with fl.threads(4):
        together = results(loss, y, p)
    assert alone[0] == together[0]
    assert alone[3] == together[3]
    np.testing.assert_array_equal(alone[1], together[1])
    np.testing.assert_array_equal(alone[2], together[2])


def test_a_violation_in_any_thread_is_found():
    y, s = np.zeros(N), np.zeros(N)
    for at in (0, N // 2, N - 1):
        y[at] = 5
        with fl.threads(4), pytest.raises(ValueError, match=f"at index {at}$"):
            fl.logistic(y, s)
        y[at] = 0


@pytest.mark.parametrize("callers", [1, 2, 4, 8, 32])
def test_calls_from_many_threads(callers):
    rng = np.random.default_rng(callers)
    data = [(rng.normal(size=n), rng.normal(size=n)) for n in (10, 3000, 20_000, 100_000)]
    with fl.threads(1):
        wanted = [fl.huber.value_and_grad(y, p) for y, p in data]

    def work(_):
        for (y, p), (value, grad) in zip(data, wanted, strict=True):
            got = fl.huber.value_and_grad(y, p)
            assert got[0] == value
            np.testing.assert_array_equal(got[1], grad)
        return True

    with ThreadPoolExecutor(callers) as pool:
        assert all(pool.map(work, range(4 * callers)))


@needs_openmp
def test_settings():
    before = fl.get_num_threads()
    try:
        fl.set_num_threads(3)
        assert fl.get_num_threads() == 3
        with fl.threads(2) as limit:
            assert fl.get_num_threads() == 2
            with limit, fl.threads(5):
                assert fl.get_num_threads() == 5
            assert fl.get_num_threads() == 2
            with ThreadPoolExecutor(1) as pool:  # another thread has its own limit
                assert pool.submit(fl.get_num_threads).result() == 3
        assert fl.get_num_threads() == 3
        with pytest.raises(RuntimeError, match="inside"), fl.threads(1):
            raise RuntimeError("inside")
        assert fl.get_num_threads() == 3
    finally:
        fl.set_num_threads(before)


@needs_openmp
def test_one_limit_may_serve_several_threads():
    limit, inside, leave = fl.threads(2), threading.Barrier(2), threading.Barrier(2)
    after = []

    def work(outer):
        with fl.threads(outer):
            with limit:
                inside.wait()
                leave.wait()
            after.append((outer, fl.get_num_threads()))

    workers = [threading.Thread(target=work, args=(n,)) for n in (5, 7)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert sorted(after) == [(5, 5), (7, 7)]


@pytest.mark.parametrize("bad", [0, -1, 1025])
def test_counts_out_of_range_are_refused(bad):
    for function in (fl.set_num_threads, fl.threads):
        with pytest.raises(ValueError, match="n must lie in 1 to 1024"):
            function(bad)


@pytest.mark.parametrize("bad", [1.0, "2", None])
def test_counts_that_are_no_integers_are_refused(bad):
    for function in (fl.set_num_threads, fl.threads):
        with pytest.raises(TypeError, match="n must be an integer"):
            function(bad)


def run(code, **environment):
    cleared = {k: v for k, v in os.environ.items() if k not in ("OMP_NUM_THREADS", "FASTLOSS_NUM_THREADS")}
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        capture_output=True,
        text=True,
        env={**cleared, **environment},
        timeout=120,
    )


@needs_openmp
@pytest.mark.parametrize(
    ("environment", "threads"),
    [
        ({"FASTLOSS_NUM_THREADS": "3"}, 3),
        ({"OMP_NUM_THREADS": "5"}, 5),
        ({"OMP_NUM_THREADS": "5", "FASTLOSS_NUM_THREADS": "2"}, 2),
        (
            {"FASTLOSS_NUM_THREADS": ""},
            len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None,
        ),
    ],
)
def test_environment(environment, threads):
    shown = run("import fastloss as fl; print(fl.get_num_threads())", **environment).stdout
    assert threads is None or shown == f"{threads}\n"


@pytest.mark.parametrize("value", ["0", "many", "-2"])
def test_a_bad_environment_is_refused(value):
    result = run("import fastloss", FASTLOSS_NUM_THREADS=value)
    assert result.returncode == 1
    assert "FASTLOSS_NUM_THREADS must be an integer of 1 to 1024" in result.stderr


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_forked_child_computes():
    code = """
import os, warnings
import numpy as np
import fastloss as fl
fl.set_num_threads(2)
y, p = np.zeros(200_000), np.linspace(-3, 3, 200_000)
want = fl.huber.value_and_grad(y, p)
warnings.simplefilter("ignore", DeprecationWarning)  # fork in a process with threads, on purpose
child = os.fork()
if child == 0:
    grandchild = os.fork()
    got = fl.huber.value_and_grad(y, p)
    good = got[0] == want[0] and (got[1] == want[1]).all() and fl.get_num_threads() == 1
    if grandchild:
        good = good and os.waitpid(grandchild, 0)[1] == 0
    os._exit(0 if good else 1)
assert os.waitpid(child, 0)[1] == 0
assert fl.huber(y, p) == want[0]
"""
    result = run(code)
    assert result.returncode == 0, result.stderr


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_forked_child_has_one_thread():
    """Also of a parent that has called nothing: another library may have used the same OpenMP."""
    code = """
import os
import fastloss as fl
fl.set_num_threads(3)
child = os.fork()
if child == 0:
    os._exit(0 if fl.get_num_threads() == 1 and fl.huber([0.0] * 100_000, [1.0] * 100_000) == 0.5 else 1)
assert os.waitpid(child, 0)[1] == 0
"""
    result = run(code, OPENBLAS_NUM_THREADS="1")
    assert result.returncode == 0, result.stderr


@needs_openmp
def test_small_calls_start_no_threads():
    code = """
import threading, os
import numpy as np
import fastloss as fl
fl.set_num_threads(4)
fl.huber(np.zeros(4096), np.ones(4096))
print(len(os.listdir("/proc/self/task")))
fl.huber(np.zeros(400_000), np.ones(400_000))
print(len(os.listdir("/proc/self/task")))
"""
    if not os.path.isdir("/proc/self/task"):
        pytest.skip("needs /proc to count threads")
    first, second = run(code, OPENBLAS_NUM_THREADS="1").stdout.split()
    assert int(second) == int(first) + 3


def test_the_gil_is_released():
    """While one thread is in a long call, another Python thread makes progress."""
    y = np.lib.stride_tricks.as_strided(np.zeros(1), (200_000_000,), (0,))
    started, ticks = threading.Event(), []

    def long():
        started.set()
        with fl.threads(1):
            fl.huber(y, 1.0)
        ticks.append("done")

    thread = threading.Thread(target=long)
    thread.start()
    started.wait()
    count = 0
    while not ticks:
        count += 1
    thread.join()
    assert count > 10_000  # a call that held the GIL would leave a handful
