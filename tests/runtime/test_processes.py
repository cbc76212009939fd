"""Forked children, which have none of their parent's threads, compute without them."""

from __future__ import annotations

import pytest
from processes import compute, needs_fork, run

pytestmark = needs_fork

# A fork of a process with threads is warned of, and is what these tests are about.
PARENT = """
warnings.simplefilter("ignore", DeprecationWarning)
n = 200_000
y, p = np.zeros(2 * n), np.linspace(-3, 3, 2 * n)

def results():
    return [fl.huber(y, p), fl.huber.grad(y[::2], p[::2]).tobytes(),
            fl.logistic(y.astype("i2"), p, sample_weight=p + 4),
            fl.softmax_cross_entropy.grad(y[::10].astype("u1"), p.reshape(-1, 10)).tobytes(),
            fl.multi_margin(y[::400].astype(int), p.reshape(1000, -1).T, axis=0)]

def in_child(work):
    child = os.fork()
    if child == 0:
        try:
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            signal.alarm(120)  # faulthandler would wait for its thread, which is the parent's
            os._exit(0 if work() else 1)
        except BaseException:
            faulthandler.dump_traceback()
            os._exit(2)
    assert os.waitpid(child, 0)[1] == 0

def right(_=None):
    return results() == wanted and fl.get_num_threads() == 1

wanted = results()
"""
FORKS = """
in_child(right)
in_child(lambda: right() and not in_child(right))
assert results() == wanted   # the parent's team is still there
"""


def test_children_and_grandchildren():
    compute(PARENT + FORKS)


def test_a_child_has_one_thread():
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
    run(code, OPENBLAS_NUM_THREADS="1")


OTHERS = {
    "numpy": """
a = np.random.default_rng(0).normal(size=(500, 500))
def other():
    return float((a @ a).sum())
""",
    "sklearn": """
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.cluster import KMeans
points = np.random.default_rng(0).normal(size=(20_000, 4))
def other():
    HistGradientBoostingRegressor(max_iter=3).fit(points, points[:, 0])
    return float(KMeans(3, n_init=1, max_iter=5, random_state=0).fit(points).inertia_)
""",
    "torch": """
import torch
t = torch.linspace(0, 1, 2_000_000)
def other():
    return float(torch.exp(t).sum())
""",
}


@pytest.mark.parametrize("first", ["before", "after"])
@pytest.mark.parametrize("package", OTHERS)
def test_children_of_a_parent_in_which_another_package_has_threads(package, first):
    """`first`: whether the other package is loaded before fastloss, and so its OpenMP."""
    pytest.importorskip(package)
    load = f"import {package}\n" if first == "before" else ""
    compute(
        PARENT
        + f"""
with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # what others warn of is not the matter here
    {OTHERS[package].strip().replace(chr(10), chr(10) + "    ")}
    other()
assert results() == wanted
"""
        + FORKS
        + "other()\n",
        load=load,
        OMP_WAIT_POLICY="passive",  # scikit-learn's threads would take the CPUs from each other, for long
    )


POOLS = {
    "multiprocessing": """
import multiprocessing
with multiprocessing.get_context("fork").Pool(3) as pool:
    assert all(pool.map(right, range(12)))
""",
    "joblib": """
import joblib
with joblib.parallel_config(backend="multiprocessing", n_jobs=3):
    assert all(joblib.Parallel()(joblib.delayed(right)(i) for i in range(12)))
""",
    "executor": """
import multiprocessing
from concurrent.futures import ProcessPoolExecutor
with ProcessPoolExecutor(3, mp_context=multiprocessing.get_context("fork")) as pool:
    assert all(pool.map(right, range(12)))
""",
}


@pytest.mark.parametrize("pool", POOLS)
def test_pools_of_forked_processes(pool):
    if pool == "joblib":
        pytest.importorskip("joblib")
    compute(PARENT + POOLS[pool])


@pytest.mark.not_sanitized(
    "a fork copies AddressSanitizer's allocator with the locks that other threads hold"
)
def test_forks_amid_the_calls_of_others():
    compute(
        PARENT
        + """
done, good = threading.Event(), []

def call():
    while not done.is_set():
        good.append(results() == wanted)

callers = [threading.Thread(target=call) for _ in range(3)]
for caller in callers:
    caller.start()
for _ in range(15):
    time.sleep(0.005)
    in_child(right)
done.set()
for caller in callers:
    caller.join()
assert all(good) and len(good) > 3 and results() == wanted
"""
    )


def test_a_child_of_a_call_that_a_handler_interrupts():
    """The handler runs in the midst of a call on the team."""
    compute(
        PARENT
        + """
ran = []
def handler(*_):
    in_child(right)
    ran.append(results() == wanted)
signal.signal(signal.SIGALRM, handler)
signal.setitimer(signal.ITIMER_REAL, 0.1)
assert fl.huber(view(0.0, 10**9), view(1.0, 10**9)) == 0.5
assert ran == [True]
"""
    )
