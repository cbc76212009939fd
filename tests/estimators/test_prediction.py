"""Classes, means and probabilities from scores, against mpmath; the command and the estimators share them."""

from __future__ import annotations

import mpmath as mp
import numpy as np
import pytest

import fastloss as fl
from fastloss._prediction import log_probabilities, predicted_class, predicted_number, probabilities


def exact_log_softmax(row):
    with mp.workdps(400):
        scores = [mp.mpf(float(x)) for x in row]
        total = mp.log(sum(mp.exp(x) for x in scores))
        return [float(x - total) for x in scores]


@pytest.mark.parametrize("scale", [0.1, 1.0, 10.0, 100.0])
@pytest.mark.parametrize("classes", [2, 3, 20])
def test_logarithms_near_0_have_their_digits(scale, classes):
    scores = scale * np.random.default_rng(0).normal(size=(50, classes))
    wanted = np.array([exact_log_softmax(row) for row in scores])
    found = log_probabilities(fl.softmax_cross_entropy, scores)
    # The differences of the scores are rounded, by which a small probability changes relatively.
    np.testing.assert_allclose(found, wanted, rtol=1e-15 * max(4, 4 * scale))
    np.testing.assert_allclose(probabilities(fl.softmax_cross_entropy, scores), np.exp(wanted), rtol=1e-12)


@pytest.mark.parametrize(("loss", "factor"), [(fl.logistic, 1), (fl.exponential, 2)])
def test_two_classes_are_the_softmax_of_opposite_scores(loss, factor):
    scores = 10 * np.random.default_rng(0).normal(size=50)
    both = np.stack([-scores, scores], axis=1) * factor / 2
    np.testing.assert_allclose(
        log_probabilities(loss, scores), log_probabilities(fl.softmax_cross_entropy, both), rtol=1e-13
    )


def test_extreme_scores_are_sure():
    np.testing.assert_array_equal(
        log_probabilities(fl.logistic, np.array([800.0, -800.0])), [[-800, 0], [0, -800]]
    )
    ties = np.array([[700.0, 700.0, -700.0]])
    np.testing.assert_array_equal(probabilities(fl.softmax_cross_entropy, ties), [[0.5, 0.5, 0]])


def test_one_class_against_the_rest_adds_up_to_1():
    scores = np.random.default_rng(0).normal(size=(50, 3))
    odds = 1 / (1 + np.exp(-scores))
    found = probabilities(fl.logistic, scores, one_against_rest=True)
    np.testing.assert_allclose(found, odds / odds.sum(axis=1, keepdims=True), rtol=1e-13)


def test_numbers_and_classes():
    scores = np.array([-1.0, 0.0, 1000.0])
    np.testing.assert_array_equal(predicted_number(fl.poisson, scores), [np.exp(-1), 1, np.inf])
    assert predicted_number(fl.huber, scores) is scores
    np.testing.assert_array_equal(predicted_class(scores), [0, 0, 1])
    np.testing.assert_array_equal(predicted_class(np.array([[1.0, 2.0, 2.0]])), [1])
