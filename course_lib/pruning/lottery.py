"""Lottery tickets: sparse subnetworks that, trained alone from their initial weights, match the dense network.

Tickets are found by iterative magnitude pruning with rewinding. Two controls are trained beside them: the same masks
with other initial weights, and random masks with the same initial weights.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from tqdm.auto import tqdm

from course_lib import training
from course_lib.core.validation import check_choice, check_fraction, check_positive
from course_lib.data import Split, refuse_test
from course_lib.pruning.gradual import MaskedTraining
from course_lib.pruning.masks import Masks, apply_masks, layerwise_masks

if TYPE_CHECKING:
    import pandas

State = dict[str, Tensor]
KINDS = ("ticket", "reinitialised", "random")


@dataclass(frozen=True)
class LotteryResult:
    """The trainings of a search, and the ticket that it found.

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

    Each of ``rounds`` rounds drops the same fraction of each layer's remaining weights, rewinds the others to their
    values at ``rewind_step`` and trains again; the last one reaches ``final_sparsity``.

    Args:
        build: makes a freshly initialised network from torch's random state.
        rewind_step: 0 rewinds to the initial weights (2019); deeper networks need a few hundred (2020).
        controls: train the controls at the ``"last"`` round or at ``"every"`` one.
        fit_options: passed on to ``training.fit``.

    Raises:
        TestSplitError: if either split is the test split.
        ValueError: if an argument is out of range.

    Source: Frankle and Carbin, The Lottery Ticket Hypothesis, 2019; Frankle et al., Linear Mode Connectivity and the
    Lottery Ticket Hypothesis, 2020.
    """
    _check(train, validation, rounds, final_sparsity, controls, rewind_step)
    options = {"epochs": epochs, "learning_rate": learning_rate, "seed": seed, "progress": False, **fit_options}
    controlled = range(1, rounds + 1) if controls == "every" else [rounds]
    trainings = 1 + rounds + 2 * len(controlled)
    with tqdm(total=trainings, desc="lottery ticket", disable=not progress, leave=False) as bar:
        search = _Search(build, train, validation, seed, options, bar)
        network, start = search.train_dense(rewind_step)
        for round_ in range(1, rounds + 1):
            sparsity = 1 - (1 - final_sparsity) ** (round_ / rounds)
            masks = search.train_round(network, start, round_, sparsity, with_controls=round_ in controlled)
    return LotteryResult(search.frame(), start, masks)


def shuffle_masks(masks: Masks, seed: int = 0) -> Masks:
    """Masks that keep as many weights of each layer as before, but random ones."""
    generator = torch.Generator().manual_seed(seed)
    return {
        name: mask.flatten()[torch.randperm(mask.numel(), generator=generator)].view(mask.shape)
        for name, mask in masks.items()
    }


@dataclass
class _Search:
    """Trains the networks of one search on the same splits with the same options, and logs a row for each."""

    build: Callable[[], nn.Module]
    train: Split
    validation: Split
    seed: int
    options: dict[str, Any]
    bar: Any
    rows: list[tuple[int, float, str, float, float]] = field(default_factory=list)

    def train_dense(self, rewind_step: int) -> tuple[nn.Module, State]:
        """The trained dense network, and the weights that it had after ``rewind_step`` updates."""
        network = _seeded(self.build, self.seed)
        snapshots, last_step = {0: _snapshot(network)}, 0

        def record(model: nn.Module, step: int, total_steps: int) -> None:
            nonlocal last_step
            last_step = step
            if step == rewind_step:
                snapshots[step] = _snapshot(model)

        history = training.fit(network, self.train, self.validation, after_step=record, **self.options)
        self.log(0, 0.0, "dense", history)
        if rewind_step not in snapshots:
            raise ValueError(f"rewind_step must be at most {last_step}, the steps of one training; got {rewind_step}")
        return network, snapshots[rewind_step]

    def train_round(
        self, network: nn.Module, start: State, round_: int, sparsity: float, *, with_controls: bool
    ) -> Masks:
        """Train the ticket of one round in ``network``, then perhaps its controls; returns the ticket's masks."""
        # Weights that were dropped before are zero, so the smallest fraction always contains them.
        masks = layerwise_masks(network, sparsity)
        trainings = [("ticket", network, start, masks)]
        if with_controls:
            other = _seeded(self.build, self.seed + 1_000)
            trainings.append(("reinitialised", other, _snapshot(other), masks))
            trainings.append(("random", other, start, shuffle_masks(masks, self.seed)))
        for kind, model, state, kept in trainings:
            history = _train_under(model, state, kept, self.train, self.validation, self.options)
            self.log(round_, sparsity, kind, history)
        return masks

    def log(self, round_: int, sparsity: float, kind: str, history: training.History) -> None:
        """Add a row; an interruption of one training ends the search."""
        if history.interrupted:
            raise KeyboardInterrupt
        accuracies = history.validation_accuracy
        self.rows.append((round_, sparsity, kind, accuracies[-1], accuracies[0]))
        self.bar.update()

    def frame(self) -> pandas.DataFrame:
        import pandas

        return pandas.DataFrame(self.rows, columns=["round", "sparsity", "kind", "accuracy", "early_accuracy"])


def _seeded(build: Callable[[], nn.Module], seed: int) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build()


def _snapshot(model: nn.Module) -> State:
    return {key: value.detach().clone() for key, value in model.state_dict().items()}


def _train_under(
    model: nn.Module, start: State, masks: Masks, train: Split, validation: Split, options: dict[str, Any]
) -> training.History:
    """Train ``model`` in place from ``start`` under fixed masks, and return the history."""
    model.load_state_dict(start)
    apply_masks(model, masks)
    return MaskedTraining(masks=masks).fit(model, train, validation, **options).history


def _check(
    train: Split, validation: Split, rounds: int, final_sparsity: float, controls: str, rewind_step: int
) -> None:
    for split in (train, validation):
        refuse_test(split, "searched for a lottery ticket")
    check_positive("rounds", rounds)
    check_fraction("final_sparsity", final_sparsity)
    check_choice("controls", controls, ("last", "every"))
    if rewind_step < 0:
        raise ValueError(f"rewind_step must be at least 0, got {rewind_step}")
