"""Losses as objects: names, signatures, documentation, pickles, types."""

from __future__ import annotations

import copy
import doctest
import inspect
import pickle
import pkgutil
import re
import subprocess
import sys
import weakref
from importlib import import_module

import numpy as np
import pytest
from documents import ROOT
from references import REFERENCES
from row_references import ALL_ROW_REFERENCES as ROW_REFERENCES

import fastloss as fl
from fastloss import _core


def test_the_same_names_everywhere():
    families = fl.losses()
    names = [name for group in families.values() for name in group]
    assert len(names) == len(set(names))
    assert set(names) == {*_core.loss_names(), *_core.row_loss_names()} == {*REFERENCES, *ROW_REFERENCES}
    for family, group in families.items():
        module = import_module(f"fastloss.{family}")
        for name in group:
            assert getattr(fl, name) is getattr(module, name) is fl.get(name)
            assert fl.get(name).family == family
            assert name in fl.__all__


def test_the_documented_names():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    table = readme.partition("## The losses")[2].partition("\n## ")[0]
    documented = re.findall(r"^\| `(\w+)(?:\(.*?\))?` \|", table, re.MULTILINE)
    assert sorted(documented) == sorted([*REFERENCES, *ROW_REFERENCES])


def test_c_formulas_have_the_family_of_their_python_entry():
    for family, names in fl.losses().items():
        source = (ROOT / "csrc" / "losses" / f"{family}.h").read_text(encoding="utf-8")
        for name in names:
            of = ROW_REFERENCES[name].of if name in ROW_REFERENCES else ""
            kind = {"cost": "link", "softmax": "collision_link"}.get(of, "vgh")
            kind = {"multiclass_hinge": None}.get(name, kind)  # a kernel of its own
            assert kind is None or f"static FL_INLINE {kind} {name}(" in source


@pytest.fixture(params=[*REFERENCES, *ROW_REFERENCES])
def loss(request):
    """Every loss, those of rows too."""
    return fl.get(request.param)


def test_signatures(loss):
    for method in (loss, loss.grad, loss.value_and_grad, loss.grad_and_hess):
        parameters = inspect.signature(method).parameters
        last = ["return_lse", "return_correct"] if loss.name in ROW_REFERENCES else []
        assert list(parameters) == [
            "y_true",
            "y_pred",
            *loss.params,
            "sample_weight",
            "reduction",
            "out",
            *last,
        ]
        for name, value in loss.params.items():
            assert parameters[name].kind is inspect.Parameter.KEYWORD_ONLY
            assert parameters[name].default == value
        assert parameters["reduction"].default == "mean"
        assert callable(method)
    assert str(inspect.signature(fl.huber.bind(delta=2).grad)) == (
        "(y_true, y_pred, *, delta: float = 2.0, sample_weight=None, reduction='mean', out=None)"
    )


def test_arguments_by_name_and_position():
    assert fl.huber(y_true=[0.0], y_pred=[1.0]) == 0.5
    assert fl.pinball(y_pred=[0.0], y_true=[1.0], quantile=0.9) == 0.9
    with pytest.raises(TypeError):
        fl.huber([0.0], [1.0], 2.0)
    with pytest.raises(TypeError):
        fl.huber([0.0])


def test_documentation(loss, capsys):
    sections = ["Parameters", "Returns", "Raises", "References", "Examples"]
    positions = [loss.__doc__.index(f"\n{name}\n{'-' * len(name)}\n") for name in sections]
    assert positions == sorted(positions)
    for name in ("y_true", "sample_weight", "reduction", "out", *loss.params):
        assert re.search(rf"^{name}\b.* : ", loss.__doc__, re.MULTILINE)
    help(loss)
    help(loss.grad)
    shown = capsys.readouterr().out
    assert loss.declaration.__doc__.splitlines()[0] in shown
    assert f"derivative of `{loss.name}`" in shown


def test_examples_of_the_losses_run(loss):
    run = doctest.DocTestRunner(verbose=False)
    for test in doctest.DocTestFinder(recurse=False).find(loss.declaration, loss.name, globs={}):
        assert test.examples
        run.run(test)
    assert run.summarize(verbose=False).failed == 0


def test_other_examples_run():
    for info in pkgutil.walk_packages(fl.__path__, "fastloss."):
        if info.name.endswith("__main__"):
            continue
        result = doctest.testmod(import_module(info.name))
        assert result.failed == 0, info.name
    run = doctest.DocTestRunner(verbose=False)
    for function in (fl.Loss.bind,):
        for test in doctest.DocTestFinder().find(function, "bind", globs={}):
            run.run(test)
    assert run.summarize(verbose=False) == (0, 3)


def test_bind_pickle_copy_equality_and_hash(loss, sample):
    references = {**REFERENCES, **ROW_REFERENCES}
    bound = [loss, *(loss.bind(**params) for params in references[loss.name].params)]
    if loss.name in ROW_REFERENCES:
        bound += [loss.bind(ignore_index=-1, axis=0), loss.bind(class_weight=[0.5] * 30)]
        y, p = np.arange(30), np.eye(30)
        if ROW_REFERENCES[loss.name].of == "probabilities":
            p = 0.5 * p + 0.5 / 30
        if not ROW_REFERENCES[loss.name].hard:
            y, bound = np.eye(30), bound[:-2]
    else:
        y, p = sample(loss, 30)
    for one in bound:
        for other in (pickle.loads(pickle.dumps(one)), copy.copy(one), copy.deepcopy(one)):
            assert other == one
            assert hash(other) == hash(one)
            assert other(y, p) == one(y, p)
        for method in (one.grad, one.value_and_grad, one.grad_and_hess):
            restored = pickle.loads(pickle.dumps(method))
            assert restored == method
            assert hash(restored) == hash(method)
        assert eval(repr(one), {"fastloss": fl, "inf": float("inf")}) == one
    assert pickle.loads(pickle.dumps(loss)) is loss
    assert loss != "huber"


def test_bound_parameters():
    two = fl.huber.bind(delta=2)
    assert two == fl.get("huber", delta=2.0) != fl.huber
    assert two.params == {"delta": 2.0}
    assert two([0.0], [3.0]) == fl.huber([0.0], [3.0], delta=2) == 4.0
    assert two([0.0], [3.0], delta=1) == fl.huber([0.0], [3.0])
    assert two.bind(delta=1.0) == fl.huber
    assert fl.huber.params == {"delta": 1.0}
    assert repr(two) == "fastloss.huber.bind(delta=2.0)"
    assert len({fl.huber, two, fl.huber.bind(delta=2.0)}) == 2
    changing = np.array(2.0)
    bound = fl.huber.bind(delta=changing)
    changing[...] = 5
    assert bound == two
    assert fl.huber.bind(delta=np.float32(2)).params == {"delta": 2.0}


def test_losses_cannot_be_changed_or_left_half_made():
    with pytest.raises(AttributeError):
        fl.huber.name = "other"
    with pytest.raises(TypeError, match=r"fastloss.huber cannot be changed; use bind"):
        fl.huber.__init__(fl.cauchy.declaration)
    assert fl.huber([0.0], [1.0]) == 0.5
    with pytest.raises(TypeError, match="never initialised"):
        fl.Loss.__new__(fl.Loss)([0.0], [1.0])
    method = type(fl.huber.grad)
    for arguments in ((), (None, 1, "grad")):
        with pytest.raises(TypeError):
            method.__new__(method, *arguments)
    assert weakref.ref(fl.huber)() is fl.huber
    assert fl.Loss[...].__origin__ is fl.Loss


def test_get_helps_with_names():
    assert fl.get("huber") is fl.huber
    with pytest.raises(ValueError, match="no loss named 'hubber'; did you mean 'huber'"):
        fl.get("hubber")
    with pytest.raises(ValueError, match=r"fastloss.losses\(\) lists the names"):
        fl.get("zzzzz")
    assert isinstance(fl.huber, fl.Loss)


def test_show_config(capsys):
    assert fl.show_config() is None
    text = capsys.readouterr().out
    config = fl.show_config(mode="dicts")
    assert all(value in text for value in config.values())
    assert config["version"] == fl.__version__
    with pytest.raises(ValueError, match="mode must be"):
        fl.show_config(mode="yaml")


USAGE = """
import numpy as np
import fastloss as fl
from numpy.typing import NDArray
from typing import Any

y: NDArray[np.float64] = np.zeros(3)
p = np.ones(3)

def evaluate(loss: fl.Loss[...]) -> float:
    return loss(y, p, sample_weight=[1, 2, 3])

value: float = fl.huber(y, p, delta=2.0)
each: NDArray[Any] = fl.huber(y, p, reduction="none")
total, gradient = fl.logistic.value_and_grad(y, p, reduction="sum", pos_weight=2.0)
total += 1.0
gradient *= 2
g, h = fl.poisson.grad_and_hess(y, p, out=(np.empty(3), None))
loss = fl.focal.bind(gamma=1.0, alpha=None)
evaluate(loss)
evaluate(fl.get("huber", delta=2.0))
labels, scores = np.zeros(2, np.int64), np.zeros((3, 2))
w = np.ones(3)
mean: float = fl.softmax_cross_entropy(labels, scores, class_weight=w, axis=0, ignore_index=-1)
costs: NDArray[Any] = fl.poly1(labels, scores, axis=0, epsilon=0.5, reduction="none")
mean, lse, correct = fl.softmax_cross_entropy(labels, scores, axis=0, return_lse=True, return_correct=True)
gradient = fl.softmax_cross_entropy.grad(labels, scores, axis=0, label_smoothing=0.1, out=scores)
mean, gradient = fl.softmax_cross_entropy.value_and_grad(labels, scores, class_weight=[1, 2, 3], axis=0)
g, h = fl.softmax_focal.grad_and_hess(labels, scores, axis=0, gamma=1.0, reduction="sum")
bound = fl.softmax_cross_entropy.bind(class_weight=w, axis=0, z_loss=1e-4)
evaluate(bound)
evaluate(fl.get("poly1", class_weight=w, axis=0, epsilon=1.0))
fl.linear_cross_entropy.value_and_grad(labels, scores.T, np.zeros((3, 3)), class_weight=w)
ratio: float = fl.perplexity(labels, scores, axis=0, class_weight=w)
fl.SGD(lr=0.1, momentum=0.9, nesterov=True).update({"w": p}, {"w": g})
with fl.threads(2):
    names: dict[str, tuple[str, ...]] = fl.losses()
fl.show_config()
"""


def test_types_in_strict_mode(tmp_path):
    api = pytest.importorskip("mypy.api")
    good, bad = tmp_path / "good.py", tmp_path / "bad.py"
    good.write_text(USAGE)
    bad.write_text(
        "import fastloss as fl\nfl.huber.bind(detla=1.0)\nx: str = fl.huber([0.0], [1.0])\n"
        "z: str = fl.poly1([0], [[1.0]])\nfl.poly1([0], [[1.0]], axis=[0])\nfl.mse([0.0], [1.0])\n"
    )
    cache = f"--cache-dir={tmp_path / 'cache'}"
    output, errors, status = api.run(["--strict", "--python-executable", sys.executable, cache, str(good)])
    assert status == 0, output + errors
    output, errors, status = api.run(["--strict", "--python-executable", sys.executable, cache, str(bad)])
    assert [output.count(f"bad.py:{line}: error:") for line in (2, 3, 4, 5, 6)] == [1] * 5, output + errors


def test_import_brings_in_numpy_alone():
    code = "import sys; before = set(sys.modules); import fastloss; print(*(set(sys.modules) - before))"
    added = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    packages = {name.partition(".")[0] for name in added if "cython" not in name}
    assert packages - set(sys.stdlib_module_names) == {"fastloss", "numpy"}


def test_a_loss_takes_anything_array_like():
    class Wrapped:
        def __array__(self, dtype=None, copy=None):
            return np.array([1.0, 2.0])

    assert fl.squared_error(Wrapped(), (1.0, 4.0)) == 2.0
    pandas = pytest.importorskip("pandas", reason="only where pandas is installed")
    assert fl.squared_error(pandas.Series([1, 2]), pandas.Series([1.0, 4.0])) == 2.0
