"""Pictures of fitted models, in the form of scikit-learn's displays. Matplotlib is imported when one is drawn."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike


class LossCurveDisplay:
    """The objective of a fitted model after each iteration, or the losses of its epochs.

    Parameters
    ----------
    loss_curve : array_like
        The values, from the start on, or from the first epoch.
    validation_loss_curve : array_like, optional
        The validation losses of the epochs.
    epochs : bool, default False
        Whether the values are those of epochs, counted from 1, instead of iterations, from 0.
    estimator_name : str, optional
        For the legend.

    Attributes
    ----------
    line_ : matplotlib Line2D
    validation_line_ : matplotlib Line2D or None
    ax_ : matplotlib Axes
    figure_ : matplotlib Figure

    References
    ----------
    Buitinck, L. et al. (2013). API design for machine learning software: experiences from the scikit-learn project.
    ECML PKDD Workshop.

    Examples
    --------
    >>> from fastloss.estimators import LinearRegressor, LossCurveDisplay
    >>> model = LinearRegressor().fit([[0.0], [1.0], [2.0]], [1.0, 3.0, 5.0])
    >>> display = LossCurveDisplay.from_estimator(model)  # doctest: +SKIP
    """

    __module__ = "fastloss.estimators"  # where pickles look for the class

    line_: Any
    validation_line_: Any
    ax_: Any
    figure_: Any

    def __init__(
        self,
        loss_curve: ArrayLike,
        *,
        validation_loss_curve: ArrayLike | None = None,
        epochs: bool = False,
        estimator_name: str | None = None,
    ) -> None:
        self.loss_curve = np.asarray(loss_curve)
        self.validation_loss_curve = validation_loss_curve
        self.epochs = epochs
        self.estimator_name = estimator_name

    @classmethod
    def from_estimator(
        cls, estimator: Any, *, name: str | None = None, ax: Any = None, **kwargs: Any
    ) -> Self:
        """Draw the curves of a fitted estimator.

        Parameters
        ----------
        estimator : estimator
            One with `loss_curve_`, or a pipeline whose last step has it.
        name : str, optional
            For the legend; the name of its class by default.
        ax : matplotlib Axes, optional
            Where to draw; a new figure by default.
        **kwargs
            Passed to `matplotlib.axes.Axes.plot`.

        Returns
        -------
        LossCurveDisplay

        Raises
        ------
        AttributeError
            If the estimator is not fitted, or has no `loss_curve_`.
        ImportError
            If Matplotlib is not installed.
        """
        model = estimator.steps[-1][1] if hasattr(estimator, "steps") else estimator
        if not hasattr(model, "loss_curve_"):
            raise AttributeError(f"{type(model).__name__} has no loss_curve_; fit it first")
        return cls(
            model.loss_curve_,
            validation_loss_curve=getattr(model, "validation_loss_curve_", None),
            epochs=hasattr(model, "history_"),
            estimator_name=name or type(model).__name__,
        ).plot(ax=ax, **kwargs)

    def plot(self, ax: Any = None, *, name: str | None = None, **kwargs: Any) -> Self:
        """Draw the curve, and that of validation dashed in the same colour.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            Where to draw; a new figure by default.
        name : str, optional
            For the legend.
        **kwargs
            Passed to `matplotlib.axes.Axes.plot`.

        Returns
        -------
        LossCurveDisplay
        """
        try:
            from matplotlib import pyplot
        except ImportError as error:
            raise ImportError("LossCurveDisplay needs Matplotlib: pip install matplotlib") from error
        if ax is None:
            _, ax = pyplot.subplots()
        label = name or self.estimator_name
        x = np.arange(len(self.loss_curve)) + self.epochs
        (self.line_,) = ax.plot(x, self.loss_curve, **{"label": label, **kwargs})
        self.validation_line_ = None
        if self.validation_loss_curve is not None:
            dashed = {"color": self.line_.get_color(), "linestyle": "--"}
            validation_label = f"{label}, validation" if label else "validation"
            (self.validation_line_,) = ax.plot(
                x, self.validation_loss_curve, **{**kwargs, **dashed, "label": validation_label}
            )
        xlabel, ylabel = ("Epoch", "Loss") if self.epochs else ("Iteration", "Objective")
        ax.set(xlabel=xlabel, ylabel=ylabel)
        if label is not None or "label" in kwargs or self.validation_line_ is not None:
            ax.legend()
        self.ax_, self.figure_ = ax, ax.figure
        return self
