"""The models of benchmarks/coding.py on uniform grids: one recipe without labels, swept over its one knob.

``c`` is chosen on validation; the test split is read once for each chosen file.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

import resuming
import torch
from common import Row, quality, sentiment, timed
from pruning_parts import evaluate
from torch import Tensor, nn
from torch.nn import functional as F

from course_lib import assets, coding, data, models, quantization, storage, training

RUNS = resuming.RUNS / "coding"
CALIBRATION = 1500
HELD_OUT = 2000
PRIOR_SHARE = 0.2


@dataclass(frozen=True)
class Case:
    """One shipped model: what its file is compared with, and the values of c that are tried, from fine to coarse.

    Args:
        shipped: share of the baseline's accuracy that the file as shipped retains on test, as its card says.
        points: of nncodec 2.1.3, (bytes, share that is retained), as the task of the lesson gives them.
        fisher, calibration: number of unlabelled examples for the Fisher information, and for Hessians and moments.
        temperature: of the drawn labels of the Fisher information, above 1 where the model is very sure.
        zeros: whether zeros of the weights stay zero.
    """

    name: str
    shipped: float
    points: tuple[tuple[int, float], ...]
    c: tuple[float, ...]
    temperature: float = 1.0
    zeros: bool = False
    fisher: int = CALIBRATION
    calibration: int = CALIBRATION

    @property
    def text(self) -> bool:
        """Whether it reads sentences."""
        return self.name.startswith("minilm")


def geometric(first: float, last: float, count: int) -> tuple[float, ...]:
    """``count`` values from ``first`` to ``last`` with equal ratios, rounded to three digits."""
    ratio = (last / first) ** (1 / (count - 1))
    return tuple(float(f"{first * ratio**index:.3g}") for index in range(count))


CASES = {
    case.name: case
    for case in (
        Case("resnet18", 1.0, ((2_045_000, 0.999), (1_115_000, 0.9965)), (1.3e-5, 2.5e-5, 5e-5), 3.0),
        Case("resnet18_pruned_95", 0.9979, ((530_000, 0.9975), (348_000, 0.99)), (5.5e-5, 1.6e-4), 3.0),
        Case("resnet18_structured_11", 0.9941, ((149_000, 0.993), (70_000, 0.986)), geometric(2e-4, 1e-3, 6)),
        Case("student_10", 1.0049, ((210_000, 1.003), (144_000, 1.001)), geometric(2e-4, 1e-3, 6)),
        Case("student_100", 0.9884, ((44_800, 0.986), (34_200, 0.982)), (*geometric(5e-4, 2e-3, 7), 2.52e-3, 3.17e-3)),
        Case("student_400", 0.9755, ((17_200, 0.976), (14_400, 0.972)), (*geometric(5e-4, 2.5e-3, 7), 3.27e-3)),
        Case("minilm", 1.0, ((11_200_000, 0.992),), (2e-5, 3e-5, 4.2e-5, 6e-5), 2.0, fisher=1000, calibration=1000),
        Case("minilm_student_tenth", 0.956, ((838_000, 0.955),), geometric(5e-5, 4e-4, 7), 2.0, fisher=3000),
    )
}


@cache
def splits_of(text: bool) -> data.Splits:
    """The splits of the images, or of the sentences about movies."""
    return sentiment()["movies"] if text else data.load("fashion_mnist")


@cache
def unlabelled(text: bool) -> tuple[data.Split, data.Split]:
    """Training examples whose labels nobody reads: for calibration, and for comparing outputs with the original's."""
    train = data.join([splits.train for splits in sentiment().values()]) if text else splits_of(False).train
    order = torch.randperm(len(train), generator=torch.Generator().manual_seed(0))
    calibration = order[:-HELD_OUT] if text else order[:CALIBRATION]
    return train.take(calibration), train.take(order[-HELD_OUT:])


@cache
def original(name: str) -> nn.Module:
    """A shipped model with BatchNorm folded; rounded to fp16 values nowhere, as it is loaded."""
    return quantization.fold_batchnorm(storage.load(assets.path(name)))


@cache
def logits_of(name: str, part: str) -> Tensor:
    """Logits of the original on ``validation``, or on the held-out training examples."""
    text = CASES[name].text
    split = splits_of(text).validation if part == "validation" else unlabelled(text)[1]
    file = RUNS / name / f"{part}.tensor"
    return resuming.computed_once(file, lambda: training.predict_logits(original(name), split))


@cache
def fisher_of(name: str) -> dict[str, Tensor]:
    """Fisher information of all parameters."""
    case = CASES[name]
    examples = unlabelled(case.text)[0].subset(case.fisher)
    return coding.fisher_information(original(name), examples, temperature=case.temperature)


@cache
def counts_of(name: str) -> dict[str, Tensor]:
    """How often each row of the embeddings occurs in the calibration sentences."""
    return coding.embedding_counts(original(name), unlabelled(True)[0])


def compressed(case: Case, c: float) -> nn.Module:
    """The model on grids of step ``c``, by the one recipe."""
    calibration = unlabelled(case.text)[0].subset(case.calibration)
    model, fisher = original(case.name), fisher_of(case.name)
    counts = counts_of(case.name) if case.text else None
    return coding.quantize_sequentially(model, calibration, fisher, c, keep_zeros=case.zeros, counts=counts)


def by_variance(case: Case, c: float) -> nn.Module:
    """The model on one grid per layer whose step is ``c`` standard deviations of its weights: no data at all."""
    model = original(case.name)
    return coding.quantize_uniform(model, coding.variance_steps(model, c))


METHODS = {"sequential": compressed, "no data": by_variance}
NO_DATA_C = geometric(0.12, 0.6, 5)


def file_of(case: Case, c: float, method: str = "sequential") -> Path:
    """Where the levels of a model are kept, not coded: a later version of the coder can read them too."""
    return RUNS / case.name / f"{method.replace(' ', '_')}_{c:g}.safetensors"


def coded_file(case: Case, c: float, method: str = "sequential") -> Path:
    """The levels of ``file_of``, coded arithmetically."""
    target = RUNS / case.name / f"coded_{method.replace(' ', '_')}.safetensors"
    return storage.save(storage.load(file_of(case, c, method)), target, dtype="fp16", coder="arithmetic")


def candidate(case: Case, c: float, method: str = "sequential") -> Row:
    """Make and store a model, load it, and compare it with the original on validation and held-out examples."""
    seconds, model = timed(METHODS[method], case, c)
    storage.save(model, file_of(case, c, method), dtype="fp16")
    encoding, file = timed(coded_file, case, c, method)
    loading, loaded = timed(storage.load, file)
    validation = training.evaluate(loaded, splits_of(case.text).validation)
    before = training.judge(logits_of(case.name, "validation"), splits_of(case.text).validation)
    held_out = training.predict_logits(loaded, unlabelled(case.text)[1])
    divergence = F.kl_div(
        held_out.log_softmax(1), logits_of(case.name, "held_out").log_softmax(1), log_target=True, reduction="batchmean"
    )
    return {
        "model": case.name, "method": method, "c": c, "stored_bytes": storage.stored_bytes(file),
        "validation": validation.accuracy, "validation_before": before.accuracy,
        "validation_agreement": _agreement(validation.predictions, before.predictions),
        "agreement": _agreement(held_out.argmax(1), logits_of(case.name, "held_out").argmax(1)),
        "divergence": divergence.item(), "seconds": seconds, "encode_seconds": encoding, "load_seconds": loading,
    }  # fmt: skip


def _agreement(one: Tensor, other: Tensor) -> float:
    return (one == other).double().mean().item()


def sweep(case: Case, method: str = "sequential") -> list[Row]:
    """All candidates of a model, each made once."""
    values = case.c if method == "sequential" else NO_DATA_C
    return [
        resuming.measured_once(file_of(case, c, method).with_suffix(".json"), partial(candidate, case, c, method))
        for c in values
    ]


def predicted_drop(rows: list[Row]) -> dict[float, float]:
    """c → relative loss of accuracy, predicted from how many answers change.

    Two thousand examples cannot show a loss of a few thousandths, but they count changed answers well. A loss is a
    share of these: the mean of the share that validation shows over all candidates and ``PRIOR_SHARE``.
    """
    changed = {row["c"]: 1 - (row["validation_agreement"] + row["agreement"]) / 2 for row in rows}
    lost = sum(row["validation_before"] - row["validation"] for row in rows)
    seen = lost / max(sum(1 - row["validation_agreement"] for row in rows), 1e-9)
    share = (max(seen, 0.0) + PRIOR_SHARE) / 2
    return {c: share * value / rows[0]["validation_before"] for c, value in changed.items()}


def choose(case: Case, rows: list[Row], point: tuple[int, float]) -> Row:
    """The smallest file that may lose no more than ``point``, by the predicted loss and by that on validation.

    If none does (the point may be above what the shipped file reaches), the file with the best validation accuracy
    among those with at most 0.9 of its bytes.
    """
    stored_bytes, retained = point
    drops = predicted_drop(rows)
    losses = {row["c"]: max(drops[row["c"]], 1 - row["validation"] / row["validation_before"]) for row in rows}
    fitting = [row for row in rows if case.shipped * (1 - losses[row["c"]]) >= retained]
    if fitting:
        return min(fitting, key=lambda row: row["stored_bytes"])
    smaller = [row for row in rows if row["stored_bytes"] <= 0.9 * stored_bytes] or rows
    return max(smaller, key=lambda row: (row["validation"], row["agreement"]))


@cache
def baseline_on_test(text: bool) -> training.Evaluation:
    """ResNet18 on its test split, or MiniLM on that of the movies."""
    name, test = ("minilm", splits_of(True).test) if text else ("resnet18", splits_of(False).test)
    baseline = partial(evaluate, models.load(name), test)
    return resuming.evaluated_once(RUNS / f"{name}_predictions.tensor", test, baseline)


def on_test(case: Case, row: Row, number: int) -> Row:
    """A chosen file on the test split, which is read once for it."""
    file, test = coded_file(case, row["c"], row["method"]), splits_of(case.text).test
    predictions = file_of(case, row["c"], row["method"]).with_suffix(".tensor")
    after = resuming.evaluated_once(predictions, test, lambda: evaluate(storage.load(file), test))
    (bytes_there, retained), stored_bytes = case.points[number], storage.stored_bytes(file)
    return {
        "point": f"{case.name} {number + 1}", "model": case.name, "c": row["c"], "nncodec_bytes": bytes_there,
        "nncodec_retained": retained, "stored_bytes": stored_bytes, "ratio": stored_bytes / bytes_there,
        "agreement": row["agreement"], "validation": row["validation"], **quality(after, baseline_on_test(case.text)),
    }  # fmt: skip
