"""Calibration data of benchmarks/quantization_llm.py, and how it was chosen on validation.

Calibration uses training sentences. Which ones, and how many, is decided by how close the quantized MiniLM stays to the
original on the validation sentences of all domains; ``calibration`` returns the choice in the shipped results.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cache, partial

import common
import resuming
import torch
from common import RESULTS, Row
from torch import Tensor, nn
from torch.nn import functional as F

from course_lib import data, models, quantization
from course_lib.data import text_windows
from course_lib.quantization import WeightOnly

RUNS = resuming.RUNS / "quantization_llm"
WINDOWS = 64
CANDIDATES = {
    "movies": (128, 0, 0), "more movies": (384, 0, 0), "half movies": (192, 96, 96), "all alike": (128, 128, 128),
    "twice as many": (256, 256, 256),
}  # fmt: skip
"""Name → number of training sentences of movies, amazon and tweets."""
METHODS: dict[str, Callable[..., WeightOnly]] = {"gptq": quantization.gptq, "awq": quantization.awq}
UNCORRECTED = "half movies"  # also measured without bias correction


@cache
def model(name: str) -> nn.Module:
    """A shipped model."""
    return models.load(name).eval()


@cache
def sentiment(domain: str = "movies") -> data.Splits:
    """Sentences of one domain; validation and test are sorted by length, which needs little padding."""
    splits = common.sentiment()[domain]
    validation, test = (split.take(split.shortest_first()) for split in (splits.validation, splits.test))
    return data.Splits(splits.train, validation, test)


@cache
def text() -> data.Splits:
    """Token windows."""
    return text_windows.load()


@cache
def calibration(name: str) -> data.Split:
    """Calibration data of a shipped model: windows, or the sentences that were chosen on validation."""
    if name == "tiny_llama":
        return text().train.subset(WINDOWS)
    return sentences(CANDIDATES[best_candidate(common.read(RESULTS / "quantization_llm.json")["calibration"]["rows"])])


def sentences(counts: Sequence[int]) -> data.Split:
    """Training sentences, this number of each domain, as one split, padded to the longest."""
    pairs = zip(data.SENTIMENT_DOMAINS, counts, strict=True)
    return data.join([sentiment(domain).train.subset(count) for domain, count in pairs if count])


def best_candidate(rows: Sequence[Row]) -> str:
    """The candidate with the smallest divergence on validation, summed over methods."""
    corrected = [row for row in rows if row["corrected"]]
    return min(CANDIDATES, key=lambda name: sum(row["divergence"] for row in corrected if row["sentences"] == name))


def compare_candidates() -> Iterator[Row]:
    """Every candidate with GPTQ and AWQ at 4 bits, evaluated on validation; one also without bias correction."""
    yield cached_row("calibration rtn", partial(candidate_row, "none", "rtn", False))
    for name in CANDIDATES:
        for method in METHODS:
            for corrected in (True, False) if name == UNCORRECTED else (True,):
                key = f"calibration {name} {method} {corrected}"
                yield cached_row(key, partial(candidate_row, name, method, corrected))


def candidate_row(name: str, method: str, corrected: bool) -> Row:
    """How close a quantized MiniLM is to the original on validation: divergence, agreement, accuracy."""
    row: Row = {"sentences": name, "counts": CANDIDATES.get(name), "method": method, "corrected": corrected}
    if method == "rtn":
        result = quantization.rtn(model("minilm"), 4)
    else:
        result = METHODS[method](model("minilm"), sentences(CANDIDATES[name]), 4, correct=corrected)
    found = [closeness(result.model, domain) for domain in data.SENTIMENT_DOMAINS]
    row |= {key: sum(one[key] for one in found) / len(found) for key in found[0]}
    return row | {domain: one["retained"] for domain, one in zip(data.SENTIMENT_DOMAINS, found, strict=True)}


def closeness(changed: nn.Module, domain: str) -> dict[str, float]:
    """Kullback-Leibler divergence (nats), fraction of equal predictions, and retained accuracy, on validation."""
    before, after = logits(model("minilm"), domain), logits(changed, domain)
    labels = sentiment(domain).validation.labels
    divergence = F.kl_div(after.log_softmax(1), before.log_softmax(1), log_target=True, reduction="batchmean")
    accuracy, baseline = ((each.argmax(1) == labels).float().mean() for each in (after, before))
    agreement = (after.argmax(1) == before.argmax(1)).float().mean()
    return {"divergence": divergence.item(), "agreement": agreement.item(), "retained": (accuracy / baseline).item()}


@torch.no_grad()
def logits(changed: nn.Module, domain: str) -> Tensor:
    """``(N, 2)`` for the validation sentences of a domain."""
    return torch.cat([models.forward(changed, inputs) for inputs, _ in sentiment(domain).validation.batches(64)])


def cached_row(key: str, measure: Callable[[], Row]) -> Row:
    """A row from an earlier, interrupted run, or a new one, which is kept in runs/."""
    return resuming.measured_once(RUNS / f"{key}.json", measure)
