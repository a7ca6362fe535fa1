"""Rules about data: calibration, diverse data, validation."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

from course_lib import quantization
from course_lib.advisor.case import Case, correct, evaluate, mean_interval
from course_lib.advisor.finding import Finding
from course_lib.data import Split
from course_lib.training import Evaluation

CALIBRATION = 128
CLASS_Z = 2.81  # 99.5 %: the worst of about ten groups is looked at
WIDE_INTERVAL = 0.03  # half of the interval of the accuracy on validation above which it cannot tell models apart


def representative_calibration(case: Case) -> Finding:
    """Calibrate ranges on a random sample and on the given (or a one-class) set, and compare the accuracies."""
    rule = "use representative calibration data"
    train = case.splits.train
    sample = train.subset(CALIBRATION)
    given, name = case.calibration, "the given calibration set"
    if given is None:
        rows = (train.labels == train.labels.mode().values).nonzero().flatten()[:CALIBRATION]
        given, name = train.take(rows), f"examples of class {train.classes[int(train.labels.mode().values)]!r} only"
    good, biased = (_calibrated(case, split) for split in (sample, given.subset(CALIBRATION)))
    loss, low, high = mean_interval(correct(good) - correct(biased))
    measured = {"accuracy_sample": good.accuracy, "accuracy_biased": biased.accuracy, "loss": loss, "low": low,
                "high": high, "examples": len(given)}  # fmt: skip
    summary = (
        f"with ranges from {name} 8-bit activations lose {100 * loss:.1f} points of accuracy "
        f"({100 * low:.1f} to {100 * high:.1f}) against a random sample of train"
    )
    return Finding(rule, low > 0, summary, "calibrate on a random sample of all classes and sources", measured)


def _calibrated(case: Case, split: Split) -> Evaluation:
    return evaluate(quantization.post_training_quantization(case.model, split).model, case.validation)


def diverse_data(case: Case) -> Finding:
    """Compare the damage in each class and domain with the damage on the whole."""
    rule = "validate on diverse data"
    overall = correct(case.before) - correct(case.after)
    groups = dict(_groups(case, overall))
    mean = overall.mean().item()
    worse = {}
    for name, lost in groups.items():
        loss, low, _ = mean_interval(lost, CLASS_Z)
        if low > max(mean, 0):
            worse[name] = loss
    worst = max(groups, key=lambda name: groups[name].mean().item())
    measured = {"overall": mean, **{name: lost.mean().item() for name, lost in groups.items()}}
    summary = (
        f"{case.damaged_name} loses {100 * mean:.1f} points on the whole, most in {worst}: "
        f"{100 * groups[worst].mean().item():.1f} points"
    )
    advice = f"report {', '.join(worse)} beside the mean, and tune or train on examples of that kind"
    return Finding(rule, bool(worse), summary, advice, measured)


def _groups(case: Case, overall: Tensor) -> Iterator[tuple[str, Tensor]]:
    for label, name in enumerate(case.validation.classes):
        rows = case.validation.labels == label
        if int(rows.sum()) > 1:
            yield f"class {name!r}", overall[rows]
    for name, split in case.domains.items():
        part = split.subset(case.examples)
        yield f"domain {name!r}", correct(evaluate(case.model, part)) - correct(evaluate(case.damaged, part))


def quality_validation(case: Case) -> Finding:
    """Look for leaks between splits, missing classes, and a validation split too small to see a loss."""
    rule = "skip quality validation"
    splits = {"train": case.splits.train, "validation": case.splits.validation, "test": case.splits.test}
    leaks = leaks_between(splits)
    low, high = case.before.interval
    half = (high - low) / 2
    absent = sorted(set(range(len(case.validation.classes))) - set(case.splits.validation.labels.unique().tolist()))
    missing = [case.validation.classes[label] for label in absent]
    measured = {"leaks": leaks, "validation_examples": len(case.splits.validation), "half_interval": half,
                "absent_classes": missing}  # fmt: skip
    problems = [f"{count} examples of {pair} are the same" for pair, count in leaks.items() if count]
    if absent:
        problems.append(f"validation has no example of {', '.join(missing)}")
    if half > WIDE_INTERVAL:
        problems.append(f"validation tells accuracies apart only beyond ± {100 * half:.1f} points")
    summary = "; ".join(problems) or f"no leak between splits; validation is exact to ± {100 * half:.1f} points"
    advice = "remove the copies from train, and take more validation examples of every class"
    return Finding(rule, bool(problems), summary, advice, measured)


def leaks_between(splits: Mapping[str, Split]) -> dict[str, int]:
    """For each pair of splits, how many examples of the later one are in the earlier one too, bit for bit."""
    found = {name: [_digest(row) for row in _rows(split)] for name, split in splits.items()}
    names = list(found)
    return {
        f"{one} and {other}": sum(digest in set_of for digest in found[other])
        for index, one in enumerate(names)
        for set_of in [set(found[one])]
        for other in names[index + 1 :]
    }


def _rows(split: Split) -> list[Tensor]:
    if isinstance(split.inputs, Mapping):
        tokens, mask = split.inputs["input_ids"], split.inputs.get("attention_mask")
        kept = torch.ones_like(tokens, dtype=torch.bool) if mask is None else mask.bool()
        return [row[keep] for row, keep in zip(tokens, kept, strict=True)]  # padding depends on the split
    return list(split.inputs)


def _digest(row: Tensor) -> bytes:
    return hashlib.blake2b(row.contiguous().numpy().tobytes(), digest_size=16).digest()
