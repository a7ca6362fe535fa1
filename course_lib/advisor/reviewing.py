"""``review``: the ten best practices as measured findings on one model, and pipelines to begin with."""

from __future__ import annotations

import html
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

from torch import nn
from tqdm.auto import tqdm

from course_lib.advisor import rules_data, rules_layers, rules_runtime
from course_lib.advisor.case import Case
from course_lib.advisor.finding import Finding, Rule
from course_lib.advisor.proposals import ProposedPipeline, propose_pipelines
from course_lib.advisor.rules_runtime import Speeds, measure_speeds
from course_lib.data import Split, Splits
from course_lib.pipeline import Pipeline


class TimedCase(Case):
    """A case with the latencies that two rules share."""

    @cached_property
    def speeds(self) -> Speeds:
        """Latencies on both runtimes."""
        return measure_speeds(self)


def _of_speeds(judge: Callable[[Speeds], Finding], case: Any) -> Finding:
    return judge(case.speeds)


RULES: dict[str, Rule] = {
    "profile before compressing": rules_layers.profile_first,
    "use representative calibration data": rules_data.representative_calibration,
    "combine techniques carefully": rules_layers.combination,
    "validate on diverse data": rules_data.diverse_data,
    "consider the hardware": partial(_of_speeds, rules_runtime.hardware),
    "compress blindly": rules_layers.sensitivity_differs,
    "exceed 95 % sparsity": rules_layers.many_zeros,
    "ignore the inference framework": partial(_of_speeds, rules_runtime.framework),
    "treat all layers alike": rules_layers.layers_alike,
    "skip quality validation": rules_data.quality_validation,
}
"""Best practice → rule; the last five are things not to do."""


@dataclass(frozen=True)
class Review:
    """Findings of all rules and the proposed pipelines, best first; prints, shows itself as HTML, and is data."""

    findings: list[Finding]
    proposals: list[ProposedPipeline]

    def __getitem__(self, rule: str) -> Finding:
        return next(one for one in self.findings if one.rule == rule)

    @property
    def fired(self) -> list[Finding]:
        """The findings with something to do."""
        return [one for one in self.findings if one.fires]

    def to_dict(self) -> dict[str, Any]:
        """As plain data."""
        return {
            "findings": [one.to_dict() for one in self.findings],
            "proposals": [one.to_dict() for one in self.proposals],
        }

    def __str__(self) -> str:
        lines = [str(one) for one in self.findings]
        if self.proposals:
            lines += ["", "Pipelines to begin with, measured on validation (no training):"]
            lines += [f"{rank}. {one}" for rank, one in enumerate(self.proposals, 1)]
        return "\n".join(lines)

    def __repr__(self) -> str:
        return str(self)

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><td>{'fires' if one.fires else 'silent'}</td><th scope='row'>{html.escape(one.rule)}</th>"
            f"<td>{html.escape(one.summary)}{f'<br><b>{html.escape(one.advice)}</b>' if one.fires else ''}</td></tr>"
            for one in self.findings
        )
        items = "".join(f"<li>{html.escape(str(one))}</li>" for one in self.proposals)
        return f"<div class='course-table'><table>{rows}</table><ol>{items}</ol></div>"


def review(
    model: nn.Module,
    splits: Splits,
    *,
    domains: Mapping[str, Split] | None = None,
    calibration: Split | None = None,
    compressed: nn.Module | None = None,
    plan: Pipeline | None = None,
    examples: int = 600,
    proposals: bool = True,
    progress: bool = True,
) -> Review:
    """Check the ten best practices on ``model``, each by a measurement.

    A rule that this model does not allow to be measured fires, and says why.

    Args:
        model: the model to be compressed; it is not changed.
        splits: accuracies are measured on validation. Train and test are compared with it for copies.
        domains: name → examples of other origin, for the damage outside the data of training.
        calibration: examples that are meant for calibration; None measures what a set of one class would cost.
        compressed: the compressed model, if there is one already.
        plan: the pipeline that is planned.
        examples: of validation that are evaluated at most.
        proposals: whether pipelines are tried and proposed.
    """
    case = TimedCase(model, splits, dict(domains or {}), calibration, compressed, plan, examples)
    findings = [_apply(name, case) for name in tqdm(RULES, desc="review", disable=not progress, leave=False)]
    return Review(findings, propose_pipelines(case) if proposals else [])


def _apply(name: str, case: Case) -> Finding:
    try:
        return RULES[name](case)
    except ValueError as error:
        return Finding(name, True, f"could not be measured: {error}", "replace what is named, or leave it out")
