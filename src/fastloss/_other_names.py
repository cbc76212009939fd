"""What other libraries call the losses, for advice where a name is not known."""

from __future__ import annotations

from collections.abc import Collection
from difflib import get_close_matches

# Each advice begins with the name to use. A name that differs from a loss's only by "loss", "error" or "mean" is listed
# only if it means another loss.
OTHER_NAMES = {
    "mse": "squared_error",
    "l2": "squared_error",
    "squared": "squared_error",
    "square": "squared_error",
    "quadratic": "squared_error",
    "least_squares": "squared_error",
    "ols": "squared_error",
    "sse": "squared_error with reduction='sum'",
    "rmse": "squared_error, and take its square root",
    "root_mean_squared": "squared_error, and take its square root",
    "ridge": "squared_error, and the penalty l2= of fastloss.linear",
    "lasso": "squared_error, and the penalty l1= of fastloss.linear.sgd",
    "mae": "absolute_error",
    "l1": "absolute_error",
    "lad": "absolute_error",
    "absolute": "absolute_error",
    "median": "absolute_error",
    "mape": "absolute_percentage_error",
    "absolute_percentage": "absolute_percentage_error",
    "msle": "squared_log_error",
    "squared_logarithmic": "squared_log_error",
    "rmsle": "squared_log_error, and take its square root",
    "logcosh": "log_cosh",
    "charbonnier": "pseudo_huber",
    "quantile": "pinball",
    "check": "pinball",
    "tilted": "pinball",
    "svr": "epsilon_insensitive",
    "lorentzian": "cauchy",
    "leclerc": "welsch",
    "correntropy": "welsch",
    "tukey": "tukey_biweight",
    "biweight": "tukey_biweight",
    "bisquare": "tukey_biweight",
    "adaptive": "barron",
    "poisson_nll": "poisson",
    "nb": "negative_binomial",
    "bce": "binary_cross_entropy, or logistic on raw scores",
    "binary_crossentropy": "binary_cross_entropy, or logistic on raw scores",
    "log": "logistic, or binary_cross_entropy on probabilities",
    "logloss": "logistic, or binary_cross_entropy on probabilities",
    "logit": "logistic",
    "binomial": "logistic",
    "bce_with_logits": "logistic",
    "binary_cross_entropy_with_logits": "logistic",
    "sigmoid_binary_cross_entropy": "logistic",
    "sigmoid_cross_entropy": "logistic",
    "softplus": "logistic",
    "svm": "hinge",
    "hinge2": "squared_hinge",
    "hinge_squared": "squared_hinge",
    "l2_hinge": "squared_hinge",
    "adaboost": "exponential",
    "sigmoid_focal": "focal",
    "brier_score": "brier",
    "ce": "softmax_cross_entropy, or cross_entropy on probabilities",
    "cross_entropy_loss": "softmax_cross_entropy, or cross_entropy on probabilities",
    "crossentropy": "softmax_cross_entropy, or cross_entropy on probabilities",
    "categorical_crossentropy": "softmax_cross_entropy, or cross_entropy on probabilities",
    "sparse_categorical_crossentropy": "softmax_cross_entropy, or cross_entropy on probabilities",
    "xent": "softmax_cross_entropy, or cross_entropy on probabilities",
    "nll": "softmax_cross_entropy, or cross_entropy on probabilities",
    "negative_log_likelihood": "softmax_cross_entropy, or cross_entropy on probabilities",
    "softmax": "softmax_cross_entropy",
    "multinomial": "softmax_cross_entropy",
    "label_smoothing": "softmax_cross_entropy with label_smoothing=",
    "gce": "generalized_cross_entropy",
    "poly": "poly1",
    "crammer_singer": "multiclass_hinge",
    "weston_watkins": "multi_margin",
    "kl": "kl_divergence",
    "kl_div": "kl_divergence",
    "kldiv": "kl_divergence",
    "kullback_leibler": "kl_divergence",
    "js": "js_divergence",
    "js_div": "js_divergence",
    "jensen_shannon": "js_divergence",
    "tv": "tv_distance",
    "total_variation": "tv_distance",
}


def _plain(name: str) -> str:
    """Reduce a name to its letters and digits: HuberLoss, huber_loss and huber-loss are the same."""
    return "".join(character for character in name.lower() if character.isalnum())


def advice(name: str, known: Collection[str]) -> str | None:
    """Say which of the known names to use in place of one that is none of them; None where no name is close."""
    names = {_plain(found): found for found in known}
    names.update((_plain(other), text) for other, text in OTHER_NAMES.items())
    plain = _plain(name)
    for start in ("", "mean"):
        for end in ("", "loss", "error"):
            stem = plain.removeprefix(start).removesuffix(end)
            if stem in names:
                return f"use {names[stem]}"
    close = get_close_matches(name, known, n=1) or get_close_matches(name.lower(), known, n=1)
    return f"did you mean {close[0]!r}?" if close else None
