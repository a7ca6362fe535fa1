"""The shipped baselines are as good as their cards say, and good enough that nobody can call them weak."""

import json
import time

import pytest

from course_lib import assets, data, models, training

CARD = json.loads((assets.FOLDER / "cards" / "baselines.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    ("name", "domain", "at_least"), [("resnet18", "fashion_mnist", 0.93), ("minilm", "movies", 0.875)]
)
def test_a_baseline_reaches_its_card_and_its_target(name, domain, at_least):
    split = data.load("fashion_mnist" if name == "resnet18" else "sentiment").test
    accuracy = training.evaluate(models.load(name), split).accuracy
    assert accuracy >= at_least
    assert accuracy == pytest.approx(CARD[name]["domains"][domain]["accuracy"], abs=0.001)


def test_cards_give_an_interval_and_every_class_for_every_domain():
    assert list(CARD["minilm"]["domains"]) == list(data.SENTIMENT_DOMAINS)
    for model in CARD.values():
        for row in model["domains"].values():
            low, high = row["interval"]
            assert low < row["accuracy"] < high
            assert len(row["per_class"]) in (2, 10)


@pytest.mark.parametrize("name", models.BASELINES)
def test_loading_a_baseline_costs_no_more_than_a_moment(name):
    models.load(name)
    started = time.process_time()
    models.load(name)
    assert time.process_time() - started < 3
