"""Lottery tickets: small parts of a network that, trained alone from the start, do as well as the whole.

They do so only with the very values they started from. This module finds such tickets by iterative magnitude
pruning and sets two controls beside them: the same connections started from other values, and other connections
started from the same values.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from tqdm.auto import tqdm

from course_lib import training
from course_lib.core.validation import check_choice, check_fraction, check_positive
from course_lib.data import Split, refuse_test
from course_lib.pruning.gradual import MaskKeeper
from course_lib.pruning.masks import Masks, apply_masks, global_masks, layerwise_masks

if TYPE_CHECKING:
    import pandas

State = dict[str, Tensor]
KINDS = ("ticket", "reinitialised", "random")


@dataclass(frozen=True)
class LotteryResult:
    """What came out of the search.

    Args:
        frame: one row per round and kind: ``round``, ``sparsity``, ``kind`` (``"dense"``, or one of ``KINDS``),
            ``accuracy`` on validation after training, ``early_accuracy`` after its first epoch.
        start: the weights to which each round is rewound.
        masks: the ticket of the last round.
    """

    frame: pandas.DataFrame
    start: State = field(repr=False)
    masks: Masks = field(repr=False)


def lottery_ticket(
    build: Callable[[], nn.Module],
    train: Split,
    validation: Split,
    rounds: int = 3,
    *,
    final_sparsity: float = 0.95,
    epochs: int = 3,
    learning_rate: float = 2e-3,
    rewind_step: int = 0,
    controls: str = "last",
    seed: int = 0,
    progress: bool = True,
    **fit_options: Any,
) -> LotteryResult:
    """Find a lottery ticket by iterative magnitude pruning with rewinding, and train its two controls.

    Each round trains the network, drops the same fraction of each layer's remaining weights, sets those that stay
    back to what they were at ``rewind_step`` and trains again. After ``rounds`` rounds ``final_sparsity`` is reached.

    Args:
        build: makes a freshly initialised network from torch's random state.
        rewind_step: 0 goes back to the initial weights (2019); deeper networks need a few hundred (2020).
        controls: train the controls at the ``"last"`` round or at ``"every"`` one.
        fit_options: passed on to ``training.fit``.

    Raises:
        TestSplitError: if either split is the test split.
        ValueError: if an argument is out of range.

    Source: Frankle and Carbin, The Lottery Ticket Hypothesis, 2019; Frankle et al., Linear Mode Connectivity and the
    Lottery Ticket Hypothesis, 2020.
    """
    for split in (train, validation):
        refuse_test(split, "searched for a lottery ticket")
    check_positive("rounds", rounds)
    check_fraction("final_sparsity", final_sparsity)
    check_choice("controls", controls, ("last", "every"))
    if rewind_step < 0:
        raise ValueError(f"rewind_step must be at least 0, got {rewind_step}")

    options = {"epochs": epochs, "learning_rate": learning_rate, "seed": seed, "progress": False, **fit_options}
    controlled = range(1, rounds + 1) if controls == "every" else [rounds]
    log = _Log(1 + rounds + 2 * len(controlled), progress)
    network = _seeded(build, seed)
    recorder = _Recorder(rewind_step, _snapshot(network))
    log.add(0, 0.0, "dense", training.fit(network, train, validation, after_step=recorder, **options))
    start = recorder.state()

    def train_from(model: nn.Module, state: State, masks: Masks) -> training.History:
        return _train_under(model, state, masks, train, validation, options)

    masks: Masks = {}
    for round_ in range(1, rounds + 1):
        sparsity = 1 - (1 - final_sparsity) ** (round_ / rounds)
        # Weights that were dropped before are zero, so the smallest fraction always contains them.
        masks = layerwise_masks(network, sparsity)
        log.add(round_, sparsity, "ticket", train_from(network, start, masks))
        if round_ in controlled:
            other = _seeded(build, seed + 1_000)
            log.add(round_, sparsity, "reinitialised", train_from(other, _snapshot(other), masks))
            log.add(round_, sparsity, "random", train_from(other, start, shuffle_masks(masks, seed)))
    return LotteryResult(log.frame(), start, masks)


def shuffle_masks(masks: Masks, seed: int = 0) -> Masks:
    """Masks that keep as many weights of each layer as before, but random ones."""
    generator = torch.Generator().manual_seed(seed)
    return {
        name: mask.flatten()[torch.randperm(mask.numel(), generator=generator)].view(mask.shape)
        for name, mask in masks.items()
    }


def flatten_images(split: Split) -> Split:
    """Grey images ``(N, H, W)`` as float vectors ``(N, H * W)`` in [-1, 1], as LeNet-300-100 takes them."""
    if not isinstance(split.inputs, Tensor) or split.inputs.dtype != torch.uint8 or split.inputs.dim() != 3:
        raise ValueError(f"split must hold grey uint8 images (N, H, W); {split!r} does not")
    return replace(split, inputs=split.inputs.flatten(1).float().div_(127.5).sub_(1.0), upscale=1)


class _Log:
    """The rows of the result, and a progress bar over the trainings."""

    def __init__(self, trainings: int, progress: bool) -> None:
        self.rows: list[tuple[int, float, str, float, float]] = []
        self.bar = tqdm(total=trainings, desc="lottery ticket", disable=not progress, leave=False)

    def add(self, round_: int, sparsity: float, kind: str, history: training.History) -> None:
        if history.interrupted:
            raise KeyboardInterrupt
        accuracies = history.validation_accuracy
        self.rows.append((round_, sparsity, kind, accuracies[-1], accuracies[0]))
        self.bar.update()

    def frame(self) -> pandas.DataFrame:
        import pandas

        self.bar.close()
        return pandas.DataFrame(self.rows, columns=["round", "sparsity", "kind", "accuracy", "early_accuracy"])


class _Recorder:
    """Keeps the weights as they are after ``step`` updates."""

    def __init__(self, step: int, initial: State) -> None:
        self.step, self.states, self.last = step, {0: initial}, 0

    def __call__(self, model: nn.Module, step: int, total_steps: int) -> None:
        self.last = step
        if step == self.step:
            self.states[step] = _snapshot(model)

    def state(self) -> State:
        if self.step not in self.states:
            raise ValueError(f"rewind_step must be at most {self.last}, the steps of one training; got {self.step}")
        return self.states[self.step]


def _seeded(build: Callable[[], nn.Module], seed: int) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build()


def _snapshot(model: nn.Module) -> State:
    return {key: value.detach().clone() for key, value in model.state_dict().items()}


def _train_under(
    model: nn.Module, start: State, masks: Masks, train: Split, validation: Split, options: dict[str, Any]
) -> training.History:
    """Train ``model`` in place from ``start`` with the masks held, and return the history."""
    model.load_state_dict(start)
    apply_masks(model, masks)
    keeper = MaskKeeper(lambda step, total_steps: None, global_masks, None, None)
    keeper.masks = masks
    return keeper.fit(model, train, validation, **options).history
