"""Linear models as estimators of scikit-learn: every pointwise loss, and the softmax cross-entropy."""

try:
    from fastloss.estimators._classifier import LinearClassifier
    from fastloss.estimators._regressor import LinearRegressor
except ImportError as error:
    raise ImportError(
        f'fastloss.estimators needs scikit-learn 1.6 or later, and SciPy: pip install "fastloss[sklearn]" ({error})'
    ) from error

from fastloss.estimators._display import LossCurveDisplay

__all__ = ["LinearClassifier", "LinearRegressor", "LossCurveDisplay"]
