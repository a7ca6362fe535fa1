"""Gradient-based criteria are worse than random ones at 1/11 of the MACs: a test of one explanation.

``structured_parts.narrowed`` removes blocks first, and then scores channels on the remaining network, which no longer
works. Here the same channels are scored on the whole network instead, with as many and with more batches.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial

import resuming
import structured_parts as parts
from common import Row

from course_lib import data, pruning, training

WHOLE = "the whole network"
# Scored on → batches of 64 training images.
SCORED = {"the network without some blocks": (False, 8), WHOLE: (True, 8), f"{WHOLE}, more pictures": (True, 64)}
CRITERIA = ("taylor", "fisher", pruning.DEFAULT_CRITERION)


def gradients(splits: data.Splits) -> Iterator[Row]:
    """Validation accuracy at equal widths, by the network on which channels were scored; the test split is not read."""
    whole = parts.taught(splits.train)
    for seed in range(parts.SEEDS):
        few = replace(whole, split=whole.split.subset(parts.FEW_IMAGES, seed))
        for criterion in CRITERIA:
            needs_data = pruning.CRITERIA[criterion].needs_data
            for scored, (on_whole, batches) in SCORED.items():
                if batches > 8 and not needs_data:
                    continue
                row = resuming.measured_once(
                    parts.RUNS / f"gradients_{criterion}_{int(on_whole)}_{batches}_{seed}.json",
                    partial(fine_tuned_accuracy, criterion, seed, few, splits.validation, on_whole, batches),
                )
                yield {"criterion": criterion, "scored": scored, "batches": batches, "seed": seed, **row}


def fine_tuned_accuracy(
    criterion: str, seed: int, few: parts.TeacherSet, validation: data.Split, on_whole: bool, batches: int
) -> Row:
    """Accuracy of the network that keeps the channels with the best scores, after the same short training."""
    cut, counts, coupling = parts.plan_widths(parts.baseline(), "11")
    scored, groups = (parts.baseline(), parts.coupling()) if on_whole else (cut, coupling)
    train = data.load("fashion_mnist").train
    scores = pruning.channel_importance(scored, criterion, split=train, coupling=groups, batches=batches, seed=seed)
    model = pruning.remove_channels(cut, pruning.keep_best(scores, counts), coupling)
    parts.tune(model, few, seed=seed)
    return {
        "works": training.evaluate(scored, validation.subset(500)).accuracy,
        "validation": training.evaluate(model, validation).accuracy,
    }
