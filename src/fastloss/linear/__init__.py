"""Linear models on their data: any pointwise loss in one pass, optimisers' objectives, stochastic gradient descent."""

from fastloss.linear._descent import sgd
from fastloss.linear._history import Checkpoint, DivergenceError, History, State
from fastloss.linear._model import LinearModel as _Model  # noqa: F401 - what pickles of 0.1.0 call it
from fastloss.linear._one_pass import Objective, hess_vec, value_and_grad
from fastloss.linear._softmax import SoftmaxModel as _Softmax  # noqa: F401 - what pickles of 0.1.0 call it

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
