"""Names that fastloss does not have: what the errors advise, and that nothing else changes for it."""

from __future__ import annotations

import importlib
import inspect
import pickle
import subprocess
import sys

import pytest

import fastloss as fl
from fastloss._other_names import OTHER_NAMES, advice


def test_each_advice_names_a_loss():
    assert not set(OTHER_NAMES) & {name for family in fl.losses().values() for name in family}
    for name, text in OTHER_NAMES.items():
        words = [word.strip(",") for word in text.split()]
        assert fl.get(words[0])
        if ", or " in text:
            assert fl.get(words[2])
        assert advice(name, fl.__all__) == f"use {text}"


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("mse", "use squared_error"),
        ("mean_squared_error", "use squared_error"),
        ("MSELoss", "use squared_error"),
        ("BCEWithLogitsLoss", "use logistic"),
        ("", "fastloss.losses()"),
        ("a.b", "fastloss.losses()"),
        ("rmse", "use squared_error, and take its square root"),
        ("mae", "use absolute_error"),
        ("l1_loss", "use absolute_error"),
        ("bce", "use binary_cross_entropy, or logistic on raw scores"),
        ("log_loss", "use logistic, or binary_cross_entropy on probabilities"),
        ("nll", "use softmax_cross_entropy"),
        ("cross_entropy_loss", "use softmax_cross_entropy, or cross_entropy on probabilities"),
        ("quantile_loss", "use pinball"),
        ("kl_div", "use kl_divergence"),
        ("huber_loss", "use huber"),
        ("Huber", "use huber"),
        ("squared-error", "use squared_error"),
        ("hubr", "did you mean 'huber'?"),
        ("xyzzy", "fastloss.losses()"),
    ],
)
def test_unknown_names(name, hint):
    with pytest.raises(AttributeError) as of_the_module:
        getattr(fl, name)
    with pytest.raises(ValueError, match="there is no loss named") as of_get:
        fl.get(name)
    for error in (of_the_module, of_get):
        assert repr(name) in str(error.value)
        assert hint in str(error.value)


def test_a_name_that_is_no_loss():
    with pytest.raises(AttributeError, match="did you mean 'show_config'?"):
        getattr(fl, "show_" + "confg")
    code = "import fastloss; fastloss.model_file"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "fastloss.model_file is a module of its own; import fastloss.model_file" in run.stderr


def test_the_module_is_as_others_are():
    assert not hasattr(fl, "mse")
    assert getattr(fl, "mse", None) is None
    for name in ("__wrapped__", "__path_hook__", "_private"):
        with pytest.raises(AttributeError, match="has no attribute"):
            getattr(fl, name)
    with pytest.raises(ImportError):
        from fastloss import mse  # noqa: F401
    names: dict[str, object] = {}
    exec("from fastloss import *", names)
    assert names.keys() - {"__builtins__"} == set(fl.__all__)
    assert inspect.unwrap(fl) is fl
    assert pickle.loads(pickle.dumps(fl.SGD)) is fl.SGD
    assert importlib.import_module("fastloss.data").batches
