"""Criteria that look at gradients lose to the coin at 1/11 of the work: a test of one explanation.

The cut of ``structured_parts.narrowed`` takes out blocks first, and then scores channels on what is left, a network
that no longer works. Here the same channels are scored on the whole network instead, with as many and with more
batches.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace

import structured_parts as parts

from course_lib import data, pruning, training
from course_lib.core.atomic_write import write_atomically

WHOLE = "the whole network"
# Scored on → batches of 64 training images.
SCORED = {"the network without some blocks": (False, 8), WHOLE: (True, 8), f"{WHOLE}, more pictures": (True, 64)}
CRITERIA = ("taylor", "fisher", pruning.DEFAULT_CRITERION)


def gradients(splits: data.Splits) -> Iterator[parts.Row]:
    """Validation accuracy at equal widths, by what the channels were scored on; nothing is read from the test split."""
    whole = parts.lesson_of(parts.shipped(splits))
    for seed in range(parts.SEEDS):
        few = replace(whole, split=whole.split.subset(parts.FEW_IMAGES, seed))
        for criterion in CRITERIA:
            needs_data = pruning.CRITERIA[criterion].needs_data
            for scored, (on_whole, batches) in SCORED.items():
                if batches > 8 and not needs_data:
                    continue
                file = parts.RUNS / f"gradients_{criterion}_{int(on_whole)}_{batches}_{seed}.json"
                if not file.exists():
                    found = tried(criterion, seed, few, splits.validation, on_whole, batches)
                    row = {"criterion": criterion, "scored": scored, "batches": batches, "seed": seed, **found}
                    write_atomically(file, json.dumps(row))
                yield json.loads(file.read_text(encoding="utf-8"))


def tried(
    criterion: str, seed: int, few: parts.Lesson, validation: data.Split, on_whole: bool, batches: int
) -> parts.Row:
    """Accuracy after the same short training, of the network that keeps the channels with the best scores."""
    cut, counts, coupling = parts.plan_of(parts.baseline(), "11")
    scored, groups = (parts.baseline(), parts.coupling()) if on_whole else (cut, coupling)
    train = data.load("fashion_mnist").train
    scores = pruning.channel_importance(scored, criterion, split=train, coupling=groups, batches=batches, seed=seed)
    model = pruning.remove_channels(cut, pruning.keep_best(scores, counts), coupling)
    parts.tune(model, few, seed=seed)
    return {
        "works": training.evaluate(scored, validation.subset(500)).accuracy,
        "validation": training.evaluate(model, validation).accuracy,
    }
