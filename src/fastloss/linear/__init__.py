"""Linear models on their data: any pointwise loss in one pass, optimisers' objectives, stochastic gradient descent.

The public names are those of ``__all__``. The others are for the rest of the package, which takes nothing from the
private modules.
"""

from fastloss.linear._descent import sgd
from fastloss.linear._history import Checkpoint, DivergenceError, History, State
from fastloss.linear._model import LinearModel as _Model  # noqa: F401 - what pickles of 0.1.0 call it
from fastloss.linear._model import loss_of as loss_of
from fastloss.linear._one_pass import Objective, hess_vec, value_and_grad
from fastloss.linear._problem import LbfgsSettings as LbfgsSettings
from fastloss.linear._problem import Problem as Problem
from fastloss.linear._problem import SgdSettings as SgdSettings
from fastloss.linear._problem import Solution as Solution
from fastloss.linear._schedules import SCHEDULES as SCHEDULES
from fastloss.linear._softmax import SoftmaxModel as _Softmax  # noqa: F401 - what pickles of 0.1.0 call it
from fastloss.linear._solve import first_intercept as first_intercept
from fastloss.linear._solve import solve as solve

__all__ = [
    "Checkpoint",
    "DivergenceError",
    "History",
    "Objective",
    "State",
    "hess_vec",
    "sgd",
    "value_and_grad",
]
