"""Checks of arrays: what is converted, what is refused, and what the errors say.

Cython calls these functions where its own checks, which cost nanoseconds, do not let an argument through.
"""

from __future__ import annotations

from difflib import get_close_matches
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

# What to do about a dtype that is refused, by the letter that NumPy has for its kind.
_ADVICE = {
    "c": "pass its real part, or its absolute value",
    "O": "pass numbers in a list or an array",
    "U": "convert it with np.asarray({name}, dtype=float), or encode the labels",
    "S": "convert it with np.asarray({name}, dtype=float), or encode the labels",
    "f": "pass {name}.astype(np.float64)",
}


def is_real(array: Array) -> bool:
    """Whether the dtype is one that C reads: NumPy's own integers, booleans and floats of up to 64 bits."""
    return array.dtype.num <= np.dtype(np.float64).num or array.dtype.num == np.dtype(np.float16).num


def convert(name: str, x: object) -> Array:
    """Return `x` as a plain array of real numbers, or raise an error that names the argument and says what to do."""
    if isinstance(x, np.ma.MaskedArray):
        raise TypeError(
            f"{name} is a masked array; pass {name}.filled(...) and a sample_weight that is 0 where it is masked"
        )
    if isinstance(x, np.matrix):
        raise TypeError(f"{name} is a np.matrix; pass np.asarray({name})")
    if hasattr(x, "toarray") and not isinstance(x, np.ndarray):
        raise TypeError(f"{name} is sparse ({type(x).__name__}); pass {name}.toarray()")
    try:
        array = np.asarray(x)
    except ValueError as error:
        advice = "; pass rows of equal length" if "inhomogeneous" in str(error) else ""
        raise ValueError(f"{name} is not an array: {str(error).rstrip('.')}{advice}") from None
    if not is_real(array):
        is_text = array.dtype.kind == "O" and array.size and isinstance(array.flat[0], str)  # as in pandas
        advice = _ADVICE.get("U" if is_text else array.dtype.kind, "pass real numbers").format(name=name)
        raise TypeError(f"{name} has dtype {array.dtype}, which is not a real number type; {advice}")
    return array


def overlaps_itself(array: Array) -> bool:
    """Whether two elements of a writeable view may share memory (an as_strided window, a broadcast)."""
    if array.flags.c_contiguous:
        return False
    extent = array.itemsize
    for stride, length in sorted(
        (abs(s), n) for s, n in zip(array.strides, array.shape, strict=True) if n > 1
    ):
        if stride < extent:
            return True
        extent += stride * (length - 1)
    return False


def _check_out(name: str, out: object, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    """Return `out` if a result of this shape and dtype can be written to it."""
    if not isinstance(out, np.ndarray) or isinstance(out, np.ma.MaskedArray | np.matrix):
        raise TypeError(
            f"{name} must be a NumPy array of shape {shape} and dtype {dtype}, got {type(out).__name__}"
        )
    fitting = f"pass np.empty({shape}, {str(dtype)!r})"
    if out.shape != shape:
        raise ValueError(f"{name} has shape {out.shape}, but the result has {shape}; {fitting}")
    if out.dtype != dtype and out.dtype.newbyteorder("=") != dtype:
        raise TypeError(f"{name} has dtype {out.dtype}, but the result is {dtype}; {fitting}")
    if not out.flags.writeable:
        raise ValueError(f"{name} is read-only; pass a writeable array or a copy of it")
    if overlaps_itself(out):
        raise ValueError(f"{name} has elements that share memory; {fitting}")
    return out


def check_outputs(
    out: Any,
    parts: tuple[str, ...],
    shapes: tuple[int, ...] | dict[str, tuple[int, ...]],
    dtype: np.dtype[Any],
) -> list[Array | None]:
    """Return, for each array among the results, the one to write to, or None for a new one.

    `parts` names the results of the call in their order: "float" is a value that is no array, and comes first.
    """
    arrays = [part for part in parts if part != "float"]
    if not arrays:
        raise ValueError("out= needs reduction='none': with 'mean' and 'sum' the value is a Python float")
    if parts[0] == "float" and isinstance(out, tuple) and len(out) == 2:
        if out[0] is not None:
            raise ValueError(
                "out[0] must be None: with reduction 'mean' and 'sum' the value is a Python float"
            )
        given = {"out[1]": out[1]}
    elif len(arrays) == 2:
        if not isinstance(out, tuple) or len(out) != 2:
            raise TypeError(
                f"out= must be a tuple ({', '.join(arrays)}) here; None in it stands for a new array"
            )
        given = {"out[0]": out[0], "out[1]": out[1]}
    else:
        given = {"out": out[0] if isinstance(out, tuple) and len(out) == 1 else out}
    checked = [
        None
        if array is None
        else _check_out(name, array, shapes[part] if isinstance(shapes, dict) else shapes, dtype)
        for part, (name, array) in zip(arrays, given.items(), strict=True)
    ]
    first, second = checked[0], checked[-1]
    if len(checked) == 2 and first is not None and second is not None and np.may_share_memory(first, second):
        raise ValueError("out[0] and out[1] share memory; pass two separate arrays")
    return checked


def _shape(shape: tuple[int, ...]) -> str:
    """Describe a shape in an error."""
    return f"shape {shape}" if shape else "a scalar"


def _at(index: tuple[int, ...]) -> str:
    """Describe the place of an element in an error; "" for a scalar."""
    return f" at index {index[0] if len(index) == 1 else index}" if index else ""


def refuse_shapes(y: Array, p: Array) -> NoReturn:
    """Raise for two shapes that differ where neither is that of a scalar."""
    advice = "; y_true.ravel() and y_pred.ravel() would match" if y.size == p.size else ""
    raise ValueError(
        f"y_true has {_shape(y.shape)} and y_pred has {_shape(p.shape)}; pass equal shapes, or one scalar{advice}"
    )


def refuse_size(shape: tuple[int, ...]) -> NoReturn:
    """Raise for views of so many elements that their offsets in bytes would overflow."""
    raise ValueError(
        f"y_true and y_pred have {_shape(shape)}: more elements than an array of float64 can have; "
        "pass parts of them"
    )


def broadcast_weight(weight: Array, shape: tuple[int, ...]) -> Array:
    """Return the weights, broadcast to the shape of the arrays."""
    try:
        return np.broadcast_to(weight, shape)
    except ValueError:
        advice = "; one weight a row is sample_weight[:, None]" if len(shape) == 2 else ""
        raise ValueError(
            f"sample_weight has {_shape(weight.shape)}, and y_true and y_pred have {_shape(shape)}, "
            f"to which it does not broadcast{advice}"
        ) from None


def rescale_weight(weight: Array) -> Array:
    """Return weights multiplied by a power of two, the largest of them about 1."""
    weight = np.asarray(weight, dtype=np.float64)
    largest = float(np.max(np.abs(weight), initial=0.0))
    if not largest:
        return weight
    with np.errstate(under="ignore"):
        return np.asarray(np.ldexp(weight, -np.frexp(largest)[1]))  # NumPy turns a 0-d array into a scalar


def refuse_weight(weight: Array) -> NoReturn:
    """Raise for weights that are not all finite."""
    fine = np.isfinite(weight)
    index = tuple(int(i) for i in np.unravel_index(np.argmin(fine), weight.shape))
    if fine[index]:
        raise ValueError("sample_weight must have a finite sum; divide it by its maximum")
    raise ValueError(f"sample_weight must be finite; found {weight[index]}{_at(index)}")


def refuse_domain(name: str, requirement: str, flat_index: int, y: Array, p: Array) -> NoReturn:
    """Raise for an element outside of a loss's domain."""
    shape = y.shape or p.shape
    if flat_index < 0:  # another thread has changed the arrays meanwhile
        raise ValueError(f"{name}: {requirement}")
    index = tuple(int(i) for i in np.unravel_index(flat_index, shape))
    y_true, y_pred = (a[index] if a.shape else a[()] for a in (y, p))
    raise ValueError(f"{name}: {requirement}; got y_true={y_true}, y_pred={y_pred}{_at(index)}")


def refuse_keyword(name: str, key: str, own: tuple[str, ...]) -> NoReturn:
    """Raise for a keyword that a loss does not have."""
    known = [*own, "sample_weight", "reduction", "out"]
    if "ignore_index" in own:  # a loss of rows
        known += ["return_lse", "return_correct"]
    if key in known:
        raise TypeError(f"{name} binds parameters alone; pass {key}= to the call")
    close = get_close_matches(key, known, n=1) or [k for k in known if key.rstrip("s") in k][:1]
    hint = f"; did you mean {close[0]}?" if close else ""
    raise TypeError(f"{name} has no keyword {key!r}; it has {', '.join(known)}{hint}")


def scalar(value: float, dtype: np.dtype[Any]) -> Array:
    """Return a 0-d array; beyond the dtype's range it is inf, without a warning."""
    with np.errstate(all="ignore"):
        return np.asarray(value).astype(dtype)


def _call_form(name: str, names: tuple[str, ...], params: tuple[str, ...]) -> str:
    """Describe how the loss is called, in an error."""
    return f"{name}({', '.join([*names, *(f'{key}=...' for key in params)])})"


def refuse_positional(name: str, names: tuple[str, ...], params: tuple[str, ...], given: int) -> NoReturn:
    """Raise for more positional arguments than there are targets and predictions."""
    hint = f"; {', '.join(params)} {'is' if len(params) == 1 else 'are'} passed by keyword" if params else ""
    raise TypeError(
        f"{name} takes {' and '.join(names)} by position, got {given} arguments{hint}: "
        f"{_call_form(name, names, params)}"
    )


def refuse_missing(name: str, missing: str, names: tuple[str, ...]) -> NoReturn:
    """Raise for a target or prediction that was not passed."""
    hint = f"; {name}.bind(...) returns the loss with other parameters" if missing == names[0] else ""
    raise TypeError(f"{name} needs {' and '.join(names)}; {missing} is missing{hint}")


def refuse_bound(name: str, params: tuple[str, ...]) -> NoReturn:
    """Raise for parameters that `bind` got by position."""
    raise TypeError(f"{_call_form(name + '.bind', (), params)}: parameters are passed by keyword")
