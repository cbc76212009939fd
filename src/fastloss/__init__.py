"""Loss functions with their gradients and Hessians on NumPy arrays: vectorised, parallel, exact.

A loss is an object that is called, with methods::

    import fastloss as fl

    fl.huber(y_true, y_pred)                  # the mean, a float
    fl.huber.grad(y_true, y_pred)             # its derivative by y_pred
    fl.huber.value_and_grad(y_true, y_pred)   # both, in one pass
    fl.huber.grad_and_hess(y_true, y_pred)    # first and second derivative

`losses` lists them by family, `get` returns one by name, and `SGD` updates parameters in place.
`linear_cross_entropy` is a linear layer and its loss in one, and `evaluate` takes batches.
"""

import os as _os
import sys as _sys
import typing as _typing
from importlib.util import find_spec as _find_spec

from fastloss.runtime import openmp as _openmp  # isort: skip - before all that imports the core
from fastloss import _core, linear
from fastloss._core import Loss
from fastloss._moved import MOVED as _MOVED
from fastloss._other_names import advice as _advice
from fastloss._version import __version__
from fastloss.blocks.linear_cross_entropy import linear_cross_entropy
from fastloss.evaluation import Evaluation, evaluate, perplexity
from fastloss.families import binary, count, multiclass, regression
from fastloss.registry import get, losses, registered
from fastloss.runtime.config import set_kept_memory, show_config
from fastloss.runtime.threads import follow_main_thread as _follow_main_thread
from fastloss.runtime.threads import from_environment as _from_environment
from fastloss.runtime.threads import get_num_threads, set_num_threads, threads
from fastloss.sgd import SGD

if _typing.TYPE_CHECKING:
    from fastloss.families.binary import *
    from fastloss.families.count import *
    from fastloss.families.multiclass import *
    from fastloss.families.regression import *

_core.select_level(_os.environ.get("FASTLOSS_ISA"))
_from_environment()
_follow_main_thread()
globals().update(registered)
for _before, _now in _MOVED.items():
    _sys.modules[f"fastloss.{_before}"] = _sys.modules[f"fastloss.{_now}"]

if not _typing.TYPE_CHECKING:  # a type checker would take it for a module that has every name

    def __getattr__(name: str) -> _typing.NoReturn:
        """Say which name is meant, as in "fastloss has no 'mse'; use squared_error"."""
        message = f"module 'fastloss' has no attribute {name!r}"
        if not name.startswith("_"):
            if name.isidentifier() and _find_spec(f"fastloss.{name}"):
                message = f"fastloss.{name} is a module of its own; import fastloss.{name}"
            else:
                hint = _advice(name, __all__) or "fastloss.losses() lists the losses"
                message = f"fastloss has no {name!r}; {hint}"
        raise AttributeError(message)


__all__ = [
    "SGD",
    "Evaluation",
    "Loss",
    "__version__",
    "evaluate",
    "get",
    "get_num_threads",
    "linear",
    "linear_cross_entropy",
    "losses",
    "perplexity",
    "set_kept_memory",
    "set_num_threads",
    "show_config",
    "threads",
    *registered,
]
