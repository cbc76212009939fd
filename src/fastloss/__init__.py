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
from typing import TYPE_CHECKING as _TYPE_CHECKING

from fastloss import _load  # isort: skip - before all that imports _core
from fastloss import _core, binary, count, linear, multiclass, regression
from fastloss._core import Loss
from fastloss._version import __version__
from fastloss.config import set_kept_memory, show_config
from fastloss.evaluation import Evaluation, evaluate, perplexity
from fastloss.linear_softmax import linear_cross_entropy
from fastloss.parallel import from_environment as _from_environment
from fastloss.parallel import get_num_threads, set_num_threads, threads
from fastloss.registry import get, losses, registered
from fastloss.sgd import SGD

if _TYPE_CHECKING:
    from fastloss.binary import *
    from fastloss.count import *
    from fastloss.multiclass import *
    from fastloss.regression import *

_core.select_level(_os.environ.get("FASTLOSS_ISA"))
_from_environment()
globals().update(registered)

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
