"""The types of the extension module, which is compiled from src/cython."""

from collections.abc import Callable, Hashable
from typing import Any, Generic, Literal, ParamSpec, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastloss.traits import Traits

_P = ParamSpec("_P")
_Reduced = Literal["mean", "sum"]
_Reduction = Literal["mean", "sum", "none"]
_Array = NDArray[Any]
_Pair = tuple[_Array | None, _Array | None]

class Loss(Generic[_P]):
    """A loss: called for its value, with methods for its derivatives. Immutable."""

    name: str
    family: str
    declaration: Callable[_P, tuple[float, ...]]
    __name__: str
    __qualname__: str
    def __init__(self, declaration: Callable[_P, tuple[float, ...]]) -> None: ...
    @overload
    def __call__(
        self,
        y_true: ArrayLike,
        y_pred: ArrayLike,
        *,
        sample_weight: ArrayLike | None = None,
        reduction: _Reduced = "mean",
        out: None = None,
        **params: float | None,
    ) -> float: ...
    @overload
    def __call__(
        self,
        y_true: ArrayLike,
        y_pred: ArrayLike,
        *,
        sample_weight: ArrayLike | None = None,
        reduction: Literal["none"],
        out: _Array | None = None,
        **params: float | None,
    ) -> _Array: ...
    @property
    def grad(self) -> _Grad: ...
    @property
    def value_and_grad(self) -> _ValueAndGrad: ...
    @property
    def grad_and_hess(self) -> _GradAndHess: ...
    @property
    def bind(self) -> Callable[_P, Loss[_P]]: ...
    @property
    def params(self) -> dict[str, float | None]: ...
    @property
    def traits(self) -> Traits: ...

class RowLoss(Loss[_P]):
    """A loss of rows of scores along an axis. With `return_lse` or `return_correct` results are tuples."""

    own: tuple[str, ...]
    @overload  # type: ignore[override]
    def __call__(
        self,
        y_true: ArrayLike,
        y_pred: ArrayLike,
        *,
        class_weight: ArrayLike | None = ...,
        ignore_index: int | None = ...,
        axis: int = ...,
        sample_weight: ArrayLike | None = None,
        reduction: _Reduced = "mean",
        out: None = None,
        return_lse: Literal[False] = False,
        return_correct: Literal[False] = False,
        **params: float | None,
    ) -> float: ...
    @overload
    def __call__(  # type: ignore[overload-overlap]
        self,
        y_true: ArrayLike,
        y_pred: ArrayLike,
        *,
        class_weight: ArrayLike | None = ...,
        ignore_index: int | None = ...,
        axis: int = ...,
        sample_weight: ArrayLike | None = None,
        reduction: Literal["none"],
        out: _Array | None = None,
        return_lse: Literal[False] = False,
        return_correct: Literal[False] = False,
        **params: float | None,
    ) -> _Array: ...
    @overload
    def __call__(
        self,
        y_true: ArrayLike,
        y_pred: ArrayLike,
        *,
        class_weight: ArrayLike | None = ...,
        ignore_index: int | None = ...,
        axis: int = ...,
        sample_weight: ArrayLike | None = None,
        reduction: _Reduction = "mean",
        out: _Array | None = None,
        return_lse: bool = False,
        return_correct: bool = False,
        **params: float | None,
    ) -> tuple[Any, ...]: ...
    @property
    def grad(self) -> _RowGrad: ...  # type: ignore[override]
    @property
    def value_and_grad(self) -> _RowValueAndGrad: ...  # type: ignore[override]
    @property
    def grad_and_hess(self) -> _RowGradAndHess: ...  # type: ignore[override]
    def bind(  # type: ignore[override]
        self,
        *,
        class_weight: ArrayLike | None = ...,
        ignore_index: int | None = ...,
        axis: int = ...,
        **params: float | None,
    ) -> RowLoss[_P]: ...
    @property
    def params(self) -> dict[str, Any]: ...

class Method:
    __name__: str
    __qualname__: str
    @property
    def __self__(self) -> Loss[...]: ...

class _Grad(Method):
    def __call__(
        self,
        y_true: ArrayLike,
        y_pred: ArrayLike,
        *,
        sample_weight: ArrayLike | None = None,
        reduction: _Reduction = "mean",
        out: _Array | None = None,
        **params: float | None,
    ) -> _Array: ...

class _ValueAndGrad(Method):
    @overload
    def __call__(
        self,
        y_true: ArrayLike,
        y_pred: ArrayLike,
        *,
        sample_weight: ArrayLike | None = None,
        reduction: _Reduced = "mean",
        out: _Array | tuple[None, _Array | None] | None = None,
        **params: float | None,
    ) -> tuple[float, _Array]: ...
    @overload
    def __call__(
        self,
        y_true: ArrayLike,
        y_pred: ArrayLike,
        *,
        sample_weight: ArrayLike | None = None,
        reduction: Literal["none"],
        out: _Pair | None = None,
        **params: float | None,
    ) -> tuple[_Array, _Array]: ...

class _GradAndHess(Method):
    def __call__(
        self,
        y_true: ArrayLike,
        y_pred: ArrayLike,
        *,
        sample_weight: ArrayLike | None = None,
        reduction: _Reduction = "mean",
        out: _Pair | None = None,
        **params: float | None,
    ) -> tuple[_Array, _Array]: ...

class _RowGrad(Method):
    @overload
    def __call__(
        self,
        y_true: ArrayLike,
        y_pred: ArrayLike,
        *,
        class_weight: ArrayLike | None = ...,
        ignore_index: int | None = ...,
        axis: int = ...,
        sample_weight: ArrayLike | None = None,
        reduction: _Reduction = "mean",
        out: _Array | None = None,
        return_lse: Literal[False] = False,
        return_correct: Literal[False] = False,
        **params: float | None,
    ) -> _Array: ...
    @overload
    def __call__(
        self,
        y_true: ArrayLike,
        y_pred: ArrayLike,
        *,
        class_weight: ArrayLike | None = ...,
        ignore_index: int | None = ...,
        axis: int = ...,
        sample_weight: ArrayLike | None = None,
        reduction: _Reduction = "mean",
        out: _Array | None = None,
        return_lse: bool = False,
        return_correct: bool = False,
        **params: float | None,
    ) -> tuple[Any, ...]: ...

class _RowValueAndGrad(Method):
    @overload
    def __call__(
        self,
        y_true: ArrayLike,
        y_pred: ArrayLike,
        *,
        class_weight: ArrayLike | None = ...,
        ignore_index: int | None = ...,
        axis: int = ...,
        sample_weight: ArrayLike | None = None,
        reduction: _Reduced = "mean",
        out: _Array | tuple[None, _Array | None] | None = None,
        return_lse: Literal[False] = False,
        return_correct: Literal[False] = False,
        **params: float | None,
    ) -> tuple[float, _Array]: ...
    @overload
    def __call__(
        self,
        y_true: ArrayLike,
        y_pred: ArrayLike,
        *,
        class_weight: ArrayLike | None = ...,
        ignore_index: int | None = ...,
        axis: int = ...,
        sample_weight: ArrayLike | None = None,
        reduction: _Reduction = "mean",
        out: _Array | _Pair | None = None,
        return_lse: bool = False,
        return_correct: bool = False,
        **params: float | None,
    ) -> tuple[Any, ...]: ...

class _RowGradAndHess(Method):
    def __call__(
        self,
        y_true: ArrayLike,
        y_pred: ArrayLike,
        *,
        class_weight: ArrayLike | None = ...,
        ignore_index: int | None = ...,
        axis: int = ...,
        sample_weight: ArrayLike | None = None,
        reduction: _Reduction = "mean",
        out: _Pair | None = None,
        return_lse: bool = False,
        return_correct: bool = False,
        **params: float | None,
    ) -> tuple[Any, ...]: ...

def select_level(wanted: str | None = None) -> None: ...
def level() -> str: ...
def supported_levels() -> list[str]: ...
def openmp() -> str: ...
def num_threads() -> int: ...
def set_num_threads(n: int) -> None: ...
def set_cpu_limit(n: int) -> None: ...
def set_grain(microseconds: int) -> None: ...
def set_main_thread(identifier: int | None) -> None: ...
def thread_limit() -> int: ...
def set_thread_limit(n: int) -> None: ...
def set_kept_memory(n: int) -> int: ...
def loss_names() -> list[str]: ...
def row_loss_names() -> list[str]: ...
def as_array(name: str, x: object) -> _Array: ...
def apart(param: _Array, grad: _Array) -> _Array: ...
def memory_range(array: _Array) -> tuple[int, int]: ...
LANES: int

def linear_pass(
    loss: Loss[...],
    X: _Array | tuple[_Array, ...],
    y: _Array,
    columns: int,
    coef: _Array,
    intercept: float,
    sample_weight: _Array | None,
    mean: bool,
    vector: _Array | None = None,
    vector_intercept: float = 0.0,
) -> tuple[float, _Array, float]: ...
def padded(vector: _Array, columns: int, dtype: np.dtype[Any]) -> _Array: ...
def straight_pass(
    loss: Loss[...], X: object, y: object, coef: object, intercept: object, mean: bool
) -> tuple[float, NDArray[np.float64], float] | None: ...
def new_array(shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]: ...

class Descent:
    batch_size: int
    steps: int
    loss: float
    norm: float
    largest: float
    nonfinite: int
    def __init__(
        self,
        loss: Loss[...],
        parameters: _Array,
        working: _Array,
        *,
        batch_size: int,
        velocity: _Array | None = None,
        average: _Array | None = None,
        average_from: int = 0,
        steps: int = 0,
        fit_intercept: bool = True,
        l2: float = 0,
        l1: float = 0,
        momentum: float = 0,
        nesterov: bool = False,
        clip_norm: float = ...,
        intercept_rate: float = 1,
        limit: float = ...,
        importance_aware: bool = False,
        hogwild: bool = False,
    ) -> None: ...
    def run(
        self,
        X: _Array | tuple[_Array, ...],
        y: _Array,
        weight: _Array | None,
        order: NDArray[np.int64] | None,
        rows: int,
        rates: NDArray[np.float64],
    ) -> str | None: ...
    def gradient(
        self, X: _Array | tuple[_Array, ...], y: _Array, weight: _Array | None
    ) -> NDArray[np.float64] | str: ...

def update_plain(
    param: object,
    grad: object,
    velocity: NDArray[Any] | None,
    nesterov: bool,
    lr: float,
    weight_decay: float,
    momentum: float,
    gain: float,
) -> bool: ...
def sgd_update(
    moves: list[tuple[NDArray[Any], NDArray[Any], NDArray[Any] | None, float]],
    nesterov: bool,
    lr: float,
    weight_decay: float,
    momentum: float,
    optimizer: object,
    velocities: dict[Hashable, NDArray[Any]],
) -> None: ...
