"""Stochastic gradient descent that updates arrays in place."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastloss._checks.arrays import overlaps_itself
from fastloss._checks.parameters import finite, nonnegative
from fastloss._core import apart, as_array, memory_range, sgd_update, update_plain

Arrays = NDArray[Any] | Sequence[NDArray[Any]] | Mapping[Any, NDArray[Any]]

_HYPERPARAMETERS = ("lr", "momentum", "dampening", "weight_decay", "nesterov")


class SGD:
    """Stochastic gradient descent with momentum, in place and in one pass over each array.

    The update is that of ``torch.optim.SGD``, to rounding. With ``d = grad + weight_decay * param``::

        velocity = momentum * velocity + (1 - dampening) * d      (d itself in the first update)
        param   -= lr * (d + momentum * velocity if nesterov else velocity)

    and ``param -= lr * d`` without momentum.

    Parameters
    ----------
    lr : float
        The learning rate; >= 0. May be assigned between updates, as the others may.
    momentum : float, default 0
        The factor of the velocity; >= 0.
    dampening : float, default 0
        The part of a gradient that does not enter the velocity.
    weight_decay : float, default 0
        The factor of the parameters that is added to their gradient (L2 penalty); >= 0.
    nesterov : bool, default False
        Look ahead along the velocity. Needs momentum > 0 and dampening 0.

    Raises
    ------
    TypeError, ValueError
        If a hyperparameter is no finite number, or out of range.

    References
    ----------
    Sutskever, I. et al. (2013). On the importance of initialization and momentum in deep learning. ICML.

    Examples
    --------
    >>> import numpy as np
    >>> import fastloss as fl
    >>> x, y = np.array([0.0, 1.0, 2.0]), np.array([4.0, 7.0, 10.0])
    >>> w = np.zeros(2)
    >>> optimizer = fl.SGD(lr=0.1, momentum=0.9)
    >>> for _ in range(300):
    ...     g = fl.squared_error.grad(y, w[0] + w[1] * x)
    ...     optimizer.update(w, np.array([g.sum(), g @ x]))
    >>> w.round(3)
    array([4., 3.])
    """

    lr: float
    momentum: float
    dampening: float
    weight_decay: float
    nesterov: bool

    def __init__(
        self,
        lr: float,
        *,
        momentum: float = 0.0,
        dampening: float = 0.0,
        weight_decay: float = 0.0,
        nesterov: bool = False,
    ) -> None:
        self.lr = lr
        self.momentum = momentum
        self.dampening = dampening
        self.weight_decay = weight_decay
        self.nesterov = nesterov
        self._velocity: dict[Hashable, NDArray[Any]] = {}
        self._checked: tuple[Any, tuple[float, float, float, float]] | None = None
        self._constants()

    def _constants(self) -> tuple[float, float, float, float]:
        """Return lr, weight_decay, momentum and 1 - dampening, checked if they have changed."""
        if self._checked is not None:  # compared by identity, since == of arrays is an array
            (lr, momentum, dampening, decay, nesterov), constants = self._checked
            same = lr is self.lr and momentum is self.momentum and dampening is self.dampening
            if same and decay is self.weight_decay and nesterov is self.nesterov:
                return constants
        given = (self.lr, self.momentum, self.dampening, self.weight_decay, self.nesterov)
        constants = self._check()
        if all(
            type(value) in (float, int, bool) for value in given
        ):  # not arrays, which could change in place
            self._checked = given, constants
        return constants

    def _check(self) -> tuple[float, float, float, float]:
        """Check all hyperparameters, and return what `_constants` does."""
        lr = nonnegative(lr=self.lr)
        momentum = nonnegative(momentum=self.momentum)
        dampening = finite(dampening=self.dampening)
        weight_decay = nonnegative(weight_decay=self.weight_decay)
        if not isinstance(self.nesterov, bool | np.bool_):
            raise TypeError(f"nesterov must be True or False, got {self.nesterov!r}")
        if self.nesterov and (momentum == 0 or dampening != 0):
            raise ValueError(
                "nesterov needs momentum > 0 and dampening == 0, "
                f"got momentum={self.momentum!r} and dampening={self.dampening!r}"
            )
        return lr, weight_decay, momentum, 1 - dampening

    def update(self, params: Arrays, grads: Arrays) -> None:
        """Move the parameters one step against their gradients, in place.

        Parameters
        ----------
        params : ndarray, or sequence or mapping of ndarray
            Writeable float32 or float64 arrays of any layout; strided views are updated through.
        grads : like `params`
            Gradients of the same shapes, in the same order or under the same keys.

        Raises
        ------
        TypeError
            If a parameter is no float32 or float64 array, or `grads` has another structure than `params`.
        ValueError
            If lengths, keys or shapes differ, a parameter is read-only or shares memory with another, or
            a hyperparameter was set out of range. No array and no velocity has then changed.
        """
        lr, weight_decay, momentum, gain = self._constants()
        velocity = self._velocity.get(0) if momentum else None
        if (velocity is not None or not momentum) and update_plain(
            params, grads, velocity, bool(self.nesterov), lr, weight_decay, momentum, gain
        ):
            return
        pairs = _paired(params, grads)
        arrays = {key: (updatable(f"params{name}", p), _grad(name, p, g)) for key, name, p, g in pairs}
        _refuse_shared(arrays)
        fresh = self._fresh_velocities(arrays) if momentum else {}
        velocities = {**self._velocity, **fresh}
        moves = [  # dampening does not hold back the first gradient: it is the velocity itself
            (
                param,
                apart(param, grad),
                velocities[key] if momentum else None,
                1.0 if key in fresh else gain,
            )
            for key, (param, grad) in arrays.items()
        ]
        sgd_update(moves, bool(self.nesterov), lr, weight_decay, momentum, self, velocities)

    def _fresh_velocities(
        self, arrays: Mapping[Hashable, tuple[NDArray[Any], Any]]
    ) -> dict[Hashable, NDArray[Any]]:
        """Return zeros for the parameters that have no velocity yet; check the velocities of the others."""
        fresh = {}
        for key, (param, _) in arrays.items():
            velocity, dtype = self._velocity.get(key), param.dtype.newbyteorder("=")
            if velocity is None:
                fresh[key] = np.zeros(param.shape, dtype)
            elif velocity.shape != param.shape or velocity.dtype != dtype:
                raise ValueError(
                    f"params{_label(key)} has shape {param.shape} and dtype {dtype}, but its velocity of earlier "
                    f"updates has {velocity.shape} and {velocity.dtype}; use a new SGD for other parameters"
                )
        return fresh

    def state_dict(self) -> dict[str, Any]:
        """Return the hyperparameters and a copy of the velocities.

        Returns
        -------
        dict
            The hyperparameters by name, and under 'velocity' a dict of arrays, by the position in the
            sequence or the key in the mapping of parameters (0 for a single array).
        """
        state: dict[str, Any] = {name: getattr(self, name) for name in _HYPERPARAMETERS}
        state["velocity"] = {key: velocity.copy() for key, velocity in self._velocity.items()}
        return state

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what `state_dict` returned.

        Parameters
        ----------
        state : mapping
            All of the hyperparameters, and 'velocity'.

        Raises
        ------
        TypeError, ValueError
            If an entry is missing, unknown or out of range. The optimiser has then not changed.
        """
        expected = {*_HYPERPARAMETERS, "velocity"}
        if not isinstance(state, Mapping) or not isinstance(state.get("velocity", {}), Mapping):
            raise TypeError("state must be what state_dict returned: a mapping, with a mapping of velocities")
        if set(state) != expected:
            raise ValueError(f"state must have the entries {sorted(expected)}, got {sorted(map(str, state))}")
        loaded = SGD(**{name: state[name] for name in _HYPERPARAMETERS})
        for key, velocity in state["velocity"].items():
            if (
                not isinstance(velocity, np.ndarray)
                or velocity.dtype.kind != "f"
                or velocity.itemsize not in (4, 8)
            ):
                raise TypeError(
                    f"state['velocity']{_label(key)} must be a float32 or float64 array, got {velocity!r}"
                )
            loaded._velocity[key] = velocity.astype(velocity.dtype.newbyteorder("="), order="C")
        self.__dict__.update(loaded.__dict__)

    def __repr__(self) -> str:
        arguments = ", ".join(f"{name}={getattr(self, name)!r}" for name in _HYPERPARAMETERS)
        return f"fastloss.SGD({arguments})"


def _label(key: Hashable) -> str:
    """Return what follows the argument's name in an error."""
    return f"[{key!r}]"


def _paired(params: Arrays, grads: Arrays) -> Iterable[tuple[Hashable, str, Any, Any]]:
    """Return key, label, parameter and gradient of each array."""
    if isinstance(params, np.ndarray):
        return [(0, "", params, grads)]
    if isinstance(params, Mapping):
        if not isinstance(grads, Mapping):
            raise TypeError(f"grads must be a mapping as params is, got {type(grads).__name__}")
        if params.keys() != grads.keys():
            unmatched = sorted(map(repr, params.keys() ^ grads.keys()))
            raise ValueError(
                f"params and grads must have the same keys; only one of them has {', '.join(unmatched)}"
            )
        return [(key, _label(key), p, grads[key]) for key, p in params.items()]
    if not isinstance(params, Sequence) or isinstance(params, str | bytes):
        raise TypeError(
            f"params must be an array, a sequence or a mapping of arrays, got {type(params).__name__}"
        )
    if not isinstance(grads, Sequence) or isinstance(grads, str | bytes):
        raise TypeError(f"grads must be a sequence as params is, got {type(grads).__name__}")
    if len(params) != len(grads):
        raise ValueError(f"params has {len(params)} arrays and grads has {len(grads)}")
    return [(i, _label(i), p, g) for i, (p, g) in enumerate(zip(params, grads, strict=True))]


def updatable(name: str, param: Any) -> NDArray[Any]:
    """Return an array that can be updated in place, or raise an error that names it and says what to do."""
    if not isinstance(param, np.ndarray) or isinstance(param, np.ma.MaskedArray | np.matrix):
        raise TypeError(f"{name} must be a NumPy array, to be updated in place; got {type(param).__name__}")
    if param.dtype.kind != "f" or param.dtype.itemsize not in (4, 8):
        raise TypeError(
            f"{name} has dtype {param.dtype}; only float32 and float64 can be updated in place, "
            "pass .astype(np.float64)"
        )
    if not param.flags.writeable:
        raise ValueError(f"{name} is read-only; pass a writeable array")
    if overlaps_itself(param):
        raise ValueError(f"{name} has elements that share memory; pass a copy")
    return param


def _grad(name: str, param: NDArray[Any], grad: Any) -> NDArray[Any]:
    """Return a gradient as an array, of the shape of its parameter."""
    array = as_array(f"grads{name}", grad)
    if array.shape != param.shape:
        raise ValueError(f"grads{name} has shape {array.shape}, but params{name} has {param.shape}")
    return array


def _refuse_shared(arrays: Mapping[Hashable, tuple[NDArray[Any], NDArray[Any]]]) -> None:
    """Raise if arrays share memory, so that a parameter would move twice, or change a gradient not read yet.

    The arrays are sorted by their first address, and each is compared with those before it that reach beyond it.
    """
    if len(arrays) < 2:
        return
    ranges = sorted(
        (*memory_range(array), is_grad, i, key, array)
        for i, (key, pair) in enumerate(arrays.items())
        for is_grad, array in enumerate(pair)
    )
    active: list[tuple[Any, ...]] = []
    for entry in ranges:
        low, _, is_grad, i, key, array = entry
        active = [other for other in active if other[1] > low]
        for _, _, other_is_grad, j, other_key, other in active:
            if i == j or (is_grad and other_is_grad) or not np.shares_memory(array, other):
                continue
            if is_grad or other_is_grad:
                grad, param = (key, other_key) if is_grad else (other_key, key)
                raise ValueError(f"grads{_label(grad)} shares memory with params{_label(param)}; pass a copy")
            first, second = (key, other_key) if i < j else (other_key, key)
            raise ValueError(f"params{_label(first)} and params{_label(second)} share memory; pass each once")
        active.append(entry)
