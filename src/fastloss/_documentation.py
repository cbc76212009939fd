"""The docstrings and signatures of losses and their methods, put together when they are asked for.

An entry in ``fastloss.families`` documents what is its own: formula, parameters, references and examples. What all
losses share is written here, once.
"""

from __future__ import annotations

import re
from inspect import Parameter, Signature, cleandoc

from fastloss._core import Loss, RowLoss


def signature(loss: Loss[...]) -> Signature:
    """Return the signature of a loss and its methods, with its present parameters as defaults."""
    own = Signature.from_callable(loss.declaration, eval_str=True).parameters.values()
    common: dict[str, object] = {"sample_weight": None, "reduction": "mean", "out": None}
    if isinstance(loss, RowLoss):
        rows = {key: value for key, value in loss.params.items() if key not in loss.own}
        common = {**rows, **common, "return_lse": False, "return_correct": False}
    return Signature(
        [Parameter(name, Parameter.POSITIONAL_OR_KEYWORD) for name in ("y_true", "y_pred")]
        + [parameter.replace(default=loss.params[parameter.name]) for parameter in own]
        + [Parameter(name, Parameter.KEYWORD_ONLY, default=default) for name, default in common.items()]
    )


# What the documentation of every loss says about the arguments that all losses share.
_INPUTS = """\
y_true, y_pred : array_like
    Of equal shapes, or one a scalar. float32 and float64 are computed as they are, integers and
    booleans as float64 (small ones beside float32 as float32), float16 as float32."""
_OPTIONS = """\
sample_weight : array_like, optional
    Finite numbers that multiply value and derivatives; they broadcast to the shape of the arrays.
    An element of weight 0 counts as absent, whatever it is.
reduction : {'mean', 'sum', 'none'}
    The mean is divided by the sum of the weights. Derivatives are those of the value so reduced.
out : ndarray or tuple of ndarray, optional
    Written to instead of new arrays: value with reduction 'none', gradient, or (gradient, hessian);
    (value, gradient) with reduction 'none'. May overlap the inputs, as `y_pred` itself does. An array that does not is undefined
    after an error or a KeyboardInterrupt, which ends long calls, but for those that write over an input."""
_RAISES = """\
Raises
------
TypeError
    If an array has no real dtype (complex, object, text, masked, sparse), or `out` another dtype.
ValueError
    If shapes differ, an element lies outside of the loss's domain, a parameter is out of range, a
    weight is not finite, or the arrays are empty and the reduction is 'mean'. All inputs are then as they were."""


# The same for the arguments that all losses of rows share.
_ROW_INPUTS = """\
y_true : array_like
    Class indices of any integer dtype, of the shape of `y_pred` without its axis of classes. Where the loss
    takes them, rows of probabilities of the shape of `y_pred`, too.
y_pred : array_like
    Raw scores, of which -inf leaves a class out, or probabilities, as the loss takes them. float32 and float64 are
    computed as they are, integers as float64, float16 as float32."""
_ROW_OPTIONS = """\
class_weight : array_like, optional
    Finite numbers >= 0, one per class, that multiply the rows of that label, or its probabilities.
ignore_index : int, optional
    The label of rows that do not count; for class indices alone.
axis : int
    The axis of the classes in `y_pred`."""
_ROW_RETURNED = """\
return_lse : bool
    Whether to return log(sum_k exp(s_k)) of each row besides.
return_correct : bool
    Whether to return, last, the number of rows that count and whose first largest score is the true class's.
    A row without a softmax (NaN, two of inf, nothing but -inf) is not among them."""


def _returns(text: str) -> str:
    """Return the section on results."""
    return f"Returns\n-------\n{text}"


def loss_doc(loss: Loss[...]) -> str:
    """Complete a loss's docstring with the arguments that all losses share."""
    doc = cleandoc(loss.declaration.__doc__ or "")
    intro, *rest = re.split(r"\n\n(?=(?:Parameters|See Also|References|Examples)\n-)", doc)
    own = [part.partition("\n")[2].partition("\n")[2] for part in rest if part.startswith("Parameters")]
    others = [part for part in rest if not part.startswith("Parameters")]
    value = "float, or ndarray\n    An array with reduction 'none', else a Python float, summed in double."
    if isinstance(loss, RowLoss):
        shared = [_ROW_INPUTS, *own, _ROW_OPTIONS, _OPTIONS, _ROW_RETURNED]
        value += "\n    With `return_lse` or `return_correct` a tuple that begins with it."
    else:
        shared = [_INPUTS, *own, _OPTIONS]
    arguments = "\n".join(["Parameters\n----------", *shared])
    returns = _returns(value)
    return "\n\n".join([intro, arguments, returns, _RAISES, *others])


def method_doc(loss: Loss[...], method: str) -> str:
    """Write the documentation of one of a loss's methods, which return derivatives."""
    name = loss.name
    intro, returns = {
        "grad": (f"The derivative of `{name}` by `y_pred`.", "gradient : ndarray"),
        "value_and_grad": (
            f"The value of `{name}` and its derivative by `y_pred`, in one pass.",
            "value : float, or ndarray\n    An array with reduction 'none'.\ngradient : ndarray",
        ),
        "grad_and_hess": (
            f"The first derivative of `{name}` by `y_pred` and the diagonal of the second, in one pass.",
            "gradient, hessian : ndarray",
        ),
    }[method]
    own = f"**params\n    The parameters of `{name}`; its own documentation explains them."
    inputs = _ROW_INPUTS if isinstance(loss, RowLoss) else _INPUTS
    arguments = "\n".join(["Parameters\n----------", inputs, own, _OPTIONS])
    returns = _returns(
        f"{returns}\n    Of the shape of `y_pred`; for a scalar `y_pred`, the sum over `y_true`."
    )
    return "\n\n".join([intro, arguments, returns, _RAISES])
