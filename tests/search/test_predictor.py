"""Ridge regression on genes."""

from __future__ import annotations

import random

import numpy
import pytest

from course_lib import search


def test_leave_one_out_predictions_are_those_of_fits_without_the_row():
    generator = numpy.random.default_rng(0)
    x, y = generator.normal(size=(12, 3)), generator.normal(size=12)
    x -= x.mean(axis=0)
    y -= y.mean()
    _, left_out = search.ridge(x, y, 1e-9)
    for row in range(12):
        rest = [i for i in range(12) if i != row]
        design = numpy.column_stack([x[rest], numpy.ones(11)])
        coefficients = numpy.linalg.lstsq(design, y[rest], rcond=None)[0]
        assert left_out[row] == pytest.approx(numpy.append(x[row], 1) @ coefficients, abs=1e-6)


def test_it_ranks_held_out_subnets(space):
    generator = random.Random(0)
    subnets = [space.sample(generator) for _ in range(150)]
    truth = numpy.array([0.9 - 1 / numpy.log(search.macs(s)) + 0.01 * s.depths[3] for s in subnets])
    predictor = search.fit_predictor(space, subnets[:100], truth[:100])
    assert search.kendall_tau(predictor(subnets[100:]), truth[100:]) > 0.85
    assert predictor([]).shape == (0,)


def test_accuracies_must_be_finite_and_as_many_as_subnets(space):
    nets = [space.smallest, space.largest]
    for accuracies in ([0.5], [0.5, float("nan")]):
        with pytest.raises(ValueError, match="accuracies must be one finite number for each"):
            search.fit_predictor(space, nets, accuracies)
