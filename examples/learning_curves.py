"""Train linear models by SGD on scikit-learn's real data sets, and draw their learning curves.

``python examples/learning_curves.py docs/learning-curves.png`` makes the picture of docs/training.md.
"""

# ruff: noqa: N806 - X is the field's name

from __future__ import annotations

import argparse

from matplotlib.figure import Figure
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from fastloss.estimators import LinearClassifier, LinearRegressor, LossCurveDisplay

SGD = {"solver": "sgd", "early_stopping": True, "validation_fraction": 0.25, "random_state": 0}
MODELS = {
    "breast cancer, logistic": (load_breast_cancer, LinearClassifier("logistic", **SGD)),
    "breast cancer, squared_hinge": (load_breast_cancer, LinearClassifier("squared_hinge", **SGD)),
    "digits, softmax_cross_entropy": (load_digits, LinearClassifier("softmax_cross_entropy", **SGD)),
    "diabetes, squared_error": (load_diabetes, LinearRegressor("squared_error", **SGD)),
    "diabetes, absolute_error": (load_diabetes, LinearRegressor("absolute_error", **SGD)),
    "diabetes, poisson": (load_diabetes, LinearRegressor("poisson", **SGD)),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("picture", help="the file to write, as PNG, SVG or PDF")
    picture = parser.parse_args().picture

    figure = Figure(figsize=(14, 7), layout="constrained")
    print(f"{'data, loss':<30}  epochs  score on test rows")
    for axes, (name, (load, model)) in zip(figure.subplots(2, 3).flat, MODELS.items(), strict=True):
        X, y = load(return_X_y=True)
        X, X_test, y, y_test = train_test_split(X, y, random_state=0)
        pipeline = make_pipeline(StandardScaler(), model).fit(X, y)
        LossCurveDisplay.from_estimator(pipeline, ax=axes).ax_.set_title(name)
        print(f"{name:<30}  {model.n_iter_:6d}  {pipeline.score(X_test, y_test):.3f}")
    figure.savefig(picture, dpi=100)


if __name__ == "__main__":
    main()
