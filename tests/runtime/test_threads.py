"""Threads change nothing but the time: bits, calls from many Python threads, settings."""

from __future__ import annotations

import os
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from processes import compute, needs_openmp, run

import fastloss as fl
from fastloss.runtime import threads as parallel

N = 300_001


def results(loss, y, p):
    value, grad = loss.value_and_grad(y, p)
    return value, grad, loss.grad_and_hess(y, p)[1], loss(y, p, reduction="sum")


# ---- bits -------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("team")
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


@pytest.mark.usefixtures("team")
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


@pytest.mark.usefixtures("team")
def test_a_violation_in_any_thread_is_found():
    y, s = np.zeros(N), np.zeros(N)
    for at in (0, N // 2, N - 1):
        y[at] = 5
        with fl.threads(4), pytest.raises(ValueError, match=f"at index {at}$"):
            fl.logistic(y, s)
        y[at] = 0


# ---- many callers -----------------------------------------------------------------------------------

# Calls of every way through the library: contiguous, strided, packed and weighted arrays of several sizes, in
# place, SGD, and two that fail. Their results are taken on one thread before the callers start.
CALLERS = """
def jobs():
    for n in (10, 3000, 20_000, 100_003):
        rng = np.random.default_rng(n)
        y, p, w = (rng.random(2 * n) < 0.5).astype(float), rng.normal(size=2 * n), rng.random(2 * n)
        bad = y[:n].copy()
        bad[n // 2] = 7
        yield lambda y=y[:n], p=p[:n]: fl.huber.value_and_grad(y, p)
        yield lambda y=y[::2], p=p[::-2], w=w[::2]: fl.logistic.grad_and_hess(y, p, sample_weight=w)
        yield lambda y=y[:n].astype("i4"), p=p[n:].astype(">f4"): fl.logistic.value_and_grad(y, p)
        yield lambda y=y[n:].astype("f2"), p=p[1::2], w=w[n:]: fl.huber(y, p, sample_weight=w)
        yield lambda y=y[:n], p=p[:n]: in_place(y, p.copy())
        yield lambda y=bad, p=p[:n]: refused(y, p)
        few, many = p[: n // 10 * 10].reshape(-1, 10), p[: n // 500 * 500].reshape(-1, 500)
        label = (10 * w[: len(few)]).astype("u1")
        yield lambda y=label, p=few, w=w[: len(few)]: fl.softmax_focal.grad_and_hess(y, p, sample_weight=w)
        yield lambda y=label[: len(many)], p=many: fl.poly1.value_and_grad(y, p, return_correct=True, reduction="sum")
        yield lambda y=label, p=few: fl.softmax_cross_entropy.grad(y, np.asfortranarray(p), label_smoothing=0.1)

def in_place(y, p):
    fl.SGD(lr=0.5, momentum=0.9).update(p, y)
    return p, fl.log_cosh.grad(y, p, out=p)

def refused(y, p):
    try:
        fl.logistic.value_and_grad(y, p)
    except ValueError as error:
        return str(error)

def bits(result):
    return [a if isinstance(a, str) else np.asarray(a).tobytes() for a in
            (result if isinstance(result, tuple) else (result,))]

jobs = list(jobs())
with fl.threads(1):
    wanted = [bits(job()) for job in jobs]
assert "at index 1500" in wanted[14][0]

def work(i):
    good = True
    for k in range(len(jobs)):
        k = (5 * k + i) % len(jobs)
        if i % 4 == 3:
            with fl.threads(1 + k % 5):
                good &= bits(jobs[k]()) == wanted[k]
        else:
            good &= bits(jobs[k]()) == wanted[k]
    return good
"""
POOLS = {
    "executor": """
from concurrent.futures import ThreadPoolExecutor
with ThreadPoolExecutor(callers) as pool:
    good = list(pool.map(work, range(max(8, 2 * callers))))
""",
    "joblib": """
joblib_tasks = [joblib.delayed(work)(i) for i in range(max(8, 2 * callers))]
good = joblib.Parallel(callers, backend="threading")(joblib_tasks)
""",
}


@pytest.mark.parametrize("pool", POOLS)
def test_calls_from_many_threads(pool):
    if pool == "joblib":
        pytest.importorskip("joblib")
    code = CALLERS + ("import joblib\n" if pool == "joblib" else "")
    for callers in (1, 2, 4, 8, 32):
        code += f"callers = {callers}\n{POOLS[pool]}\nassert all(good), callers\n"
    compute(code)


@pytest.mark.parametrize("seconds", [0.2, 1.0], ids=["alone", "on a team"])
def test_a_process_may_end_amid_a_call(seconds):
    """A daemon thread does not come back from its call, and goes on with it for as long as Python takes to end."""
    compute(
        f"""
class Slow:
    def __del__(self, sleep=time.sleep, ticks=os.times, say=os.write, leave=os._exit):
        before = ticks()
        sleep(0.5)  # Python is ending; whoever asks for the GIL now is ended by it
        after = ticks()
        busy = after.user - before.user
        if busy < 0.05:
            say(2, b"the call has ended, after %f" % busy)
            leave(1)
sys.modules["torn down late"] = Slow()
threading.Thread(target=lambda: fl.huber(view(0.0, 10**11), 1.0), daemon=True).start()
time.sleep({seconds})
"""
    )


needs_proc = pytest.mark.skipif(not os.path.isdir("/proc/self/task"), reason="needs /proc to count threads")
COUNT = """
def count():
    return len(os.listdir("/proc/self/task"))
start = count()
"""


@needs_openmp
@needs_proc
def test_small_calls_start_no_threads():
    counts = compute(
        COUNT
        + """
for n in (1, 4096, 14_000, 400_000, 400_000):
    fl.huber(np.zeros(n), np.ones(n))
    print(count() - start)
"""
    )
    assert counts.split() == ["0", "0", "0", "2", "2"]


@needs_openmp
@needs_proc
def test_the_threads_of_callers_end_with_them():
    counts = compute(
        COUNT
        + """
from concurrent.futures import ThreadPoolExecutor
y, together = np.zeros(400_000), threading.Barrier(32)
fl.huber(y, y)

def work(_):
    for _ in range(32):
        together.wait()
        fl.huber(y, y)
    return count()

with ThreadPoolExecutor(32) as pool:
    print(max(pool.map(work, range(32))) - start)
while count() > start + 2:  # the system takes its time; the watchdog ends the wait
    time.sleep(0.01)
"""
    )
    assert int(counts) > 34  # so callers have had teams


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


# ---- settings ---------------------------------------------------------------------------------------


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


SHOW = "import fastloss as fl; print(fl.get_num_threads())"


@needs_openmp
@pytest.mark.parametrize(
    ("environment", "threads"),
    [
        ({"FASTLOSS_NUM_THREADS": "3"}, 3),
        ({"OMP_NUM_THREADS": "5"}, 5),
        ({"OMP_NUM_THREADS": "5", "FASTLOSS_NUM_THREADS": "2"}, 2),
    ],
)
def test_environment(environment, threads):
    assert run(SHOW, **environment) == f"{threads}\n"


@pytest.mark.parametrize("value", ["0", "many", "-2"])
def test_a_bad_environment_is_refused(value):
    code = f"""
try:
    import fastloss
except ImportError as error:
    assert str(error) == "FASTLOSS_NUM_THREADS must be an integer of 1 to 1024, got {value!r}", error
else:
    raise SystemExit("imported")
"""
    run(code, FASTLOSS_NUM_THREADS=value)


@needs_openmp
@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system has no affinity")
def test_no_more_threads_than_cpus():
    here = sorted(os.sched_getaffinity(0))
    granted = min(parallel.cgroup_cpus() or len(here), len(here))
    assert run(SHOW, FASTLOSS_NUM_THREADS="") == f"{granted}\n"
    one = f"import os; os.sched_setaffinity(0, [{here[0]}])\n"
    assert run(one + SHOW) == "1\n"
    assert run(SHOW + "\n" + one + SHOW) == f"{granted}\n1\n"
    assert run(one + SHOW, OMP_NUM_THREADS="3") == "3\n"


@needs_openmp
def test_a_limit_of_cpus_holds_where_nobody_has_chosen():
    code = """
import fastloss as fl
from fastloss import _core
_core.set_cpu_limit(1)
print(fl.get_num_threads())
fl.set_num_threads(3)
print(fl.get_num_threads())
"""
    assert run(code) == "1\n3\n"


V2, V1 = "0::/a/b\n", "5:memory:/a/b\n3:cpu,cpuacct:/a/b\n"


@pytest.mark.parametrize(
    ("groups", "files", "cpus"),
    [
        (V2, {"a/b/cpu.max": "150000 100000\n"}, 2),
        (V2, {"a/b/cpu.max": "50000 100000\n"}, 1),
        (V2, {"a/b/cpu.max": "max 100000\n"}, None),
        (V2, {"a/b/cpu.max": "max 100000\n", "a/cpu.max": "300000 100000\n"}, 3),
        (V2, {"a/b/cpu.max": "400000 100000\n", "cpu.max": "200000 100000\n"}, 2),
        ("0::/\n", {"cpu.max": "200000 100000\n"}, 2),  # what a container sees of itself
        ("0::/../x\n", {}, None),
        (V1, {"cpu/a/b/cpu.cfs_quota_us": "250000\n", "cpu/a/b/cpu.cfs_period_us": "100000\n"}, 3),
        (V1, {"cpu/a/b/cpu.cfs_quota_us": "-1\n", "cpu/a/b/cpu.cfs_period_us": "100000\n"}, None),
        (V1, {"cpu/a/cpu.cfs_quota_us": "100000\n", "cpu/a/cpu.cfs_period_us": "100000\n"}, 1),
        (V1, {"cpu/cpu.cfs_quota_us": "200000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 2),
        (V1, {"memory/a/b/cpu.max": "100000 100000\n", "cpu/a/b/cpu.cfs_quota_us": "100000\n"}, None),
        (V1 + V2, {"a/cpu.max": "200000 100000\n", "cpu/a/b/cpu.cfs_quota_us": "-1\n"}, 2),
        (V2, {}, None),
        (None, {"cpu.max": "100000 100000\n"}, None),
        (V2, {"a/b/cpu.max": "100000\n"}, None),
        (V2, {"a/b/cpu.max": "many 100000\n"}, None),
        (V2, {"a/b/cpu.max": "100000 0\n"}, None),
        (V2, {"a/b/cpu.max": ""}, None),
        (V2, {"a/b/cpu.max": b"\xff\xfe 1"}, None),
        (V2, {"a/b/cpu.max": "² 1"}, None),
        ("garbage\n\n0:\n" + V2, {"a/b/cpu.max": "100000 100000\n"}, 1),
        (b"0::/\xff\n", {"cpu.max": "200000 100000\n"}, 2),
        ("0::a\n", {"cpu.max": "200000 100000\n"}, 2),
    ],
)
def test_control_groups(tmp_path, groups, files, cpus):
    def write(path, content):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())

    if groups is not None:
        write(tmp_path / "proc/self/cgroup", groups)
    for name, content in files.items():
        write(tmp_path / "sys/fs/cgroup" / name, content)
    assert parallel.cgroup_cpus(str(tmp_path / "proc"), str(tmp_path / "sys")) == cpus


@needs_openmp
@pytest.mark.parametrize("before", ["", "import sklearn.ensemble\n"])
def test_threadpoolctl(before):
    """It finds the OpenMP that fastloss uses, also beside another package's copy, and limits it."""
    pytest.importorskip("threadpoolctl")
    if before:
        pytest.importorskip("sklearn")
    code = """
import threadpoolctl
import fastloss as fl
used = fl.get_num_threads()
assert any(d["user_api"] == "openmp" and d["num_threads"] == used for d in threadpoolctl.threadpool_info())
with threadpoolctl.threadpool_limits(1, user_api="openmp"):
    assert fl.get_num_threads() == 1
assert fl.get_num_threads() == used
"""
    run(before + code, OMP_NUM_THREADS="3")


# ---- the import -------------------------------------------------------------------------------------

OURS = {b"OMP_WAIT_POLICY", b"GOMP_SPINCOUNT", b"KMP_BLOCKTIME"}


@pytest.mark.parametrize(
    "chosen",
    [
        {},
        {"OMP_WAIT_POLICY": "active"},
        {"GOMP_SPINCOUNT": "7"},
        {"KMP_BLOCKTIME": "7", "GOMP_SPINCOUNT": "8"},
    ],
)
def test_the_import_leaves_the_environment_as_it_was(chosen):
    """And touches nothing where the user has chosen how threads wait."""
    code = f"""
import os, sys
before, seen = dict(os.environ), []
sys.addaudithook(lambda event, args: event == "os.putenv" and seen.append(args[0]))
import fastloss
assert dict(os.environ) == before
assert {{*seen}} & {OURS} == (set() if {bool(chosen)} else {{b"GOMP_SPINCOUNT", b"KMP_BLOCKTIME"}}), seen
"""
    run(code, **chosen)


def test_a_failed_import_leaves_the_environment_as_it_was():
    code = """
import os, sys
sys.modules["fastloss._core"] = None
before = dict(os.environ)
try:
    import fastloss
except ImportError:
    assert dict(os.environ) == before
else:
    raise SystemExit("imported")
"""
    run(code)


@needs_openmp
@pytest.mark.skipif(
    not hasattr(os, "sched_getaffinity") or len(os.sched_getaffinity(0)) < 2, reason="needs two CPUs"
)
def test_threads_sleep_between_calls():
    """Measured in CPU time, against threads that wait at work for longer than the pauses: ten times as much."""
    code = """
fl.set_num_threads(2)
y, used = np.zeros(100_000), 0.0
for _ in range(40):
    fl.huber(y, y)
    start = time.process_time()
    time.sleep(0.005)
    used += time.process_time() - start
print(used)
"""
    for _attempt in range(5):
        asleep = float(compute(code))
        awake = float(compute(code, GOMP_SPINCOUNT="10000000", KMP_BLOCKTIME="200"))
        if asleep < awake / 4:
            break
    else:
        pytest.fail(f"{asleep} s of CPU time in pauses, and {awake} s when told to wait at work")


@needs_openmp
@pytest.mark.skipif(
    not hasattr(os, "sched_getaffinity") or len(os.sched_getaffinity(0)) < 2, reason="needs two CPUs"
)
def test_threads_that_meet_on_a_cpu_part_and_keep_their_affinity():
    """Where the system puts them. Here the caller is held on one CPU, on which its calls wake the others."""
    code = """
import os
fl.set_num_threads(4)
y = np.zeros(1_000_000)
want = fl.huber.grad(y, y + 2)
everywhere = os.sched_getaffinity(0)
tasks = {int(task) for task in os.listdir("/proc/self/task")} - {os.getpid()}
for cpu in everywhere:
    os.sched_setaffinity(0, {cpu})
    for task in tasks:  # come here once
        os.sched_setaffinity(task, {cpu})
        os.sched_setaffinity(task, everywhere)
    for _ in range(20):
        time.sleep(0.001)
        assert (fl.huber.grad(y, y + 2) == want).all()
    assert os.sched_getaffinity(0) == {cpu}
    assert all(os.sched_getaffinity(task) == everywhere for task in tasks)
print(len(tasks))
"""
    assert int(compute(code)) >= 3
