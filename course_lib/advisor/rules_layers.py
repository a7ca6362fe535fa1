"""Rules about layers: where bytes and time are, how layers differ, sparsity, and how techniques add up."""

from __future__ import annotations

from torch import Tensor

from course_lib import profiling, pruning, quantization, training
from course_lib.advisor.case import Case, correct, evaluate, mean_interval
from course_lib.advisor.finding import Finding
from course_lib.quantization import Scheme
from course_lib.training.losses import divergence

MANY_ZEROS = 0.95
SPARSITIES = (0.5, 0.8, 0.9, 0.95, 0.98)
RETAINED = 0.99
SMALL_OVERLAP = 0.6
DIFFERENT = 5.0  # largest / median damage above which layers differ
GAIN = 1.5  # damage of one width for all / of chosen widths
UNIFORM_BITS, SPARSITY = 4, 0.5


def profile_first(case: Case) -> Finding:
    """Compare where the bytes are with where the time goes."""
    rule = "profile before compressing"
    table = profiling.layers(case.model, case.example)
    table = table.assign(bytes_share=table["weight_bytes"] / max(int(table["weight_bytes"].sum()), 1))
    overlap = float(table[["bytes_share", "share"]].min(axis=1).sum())
    rows = table.to_dict("records")
    heavy, slow = (max(rows, key=lambda row: row[column]) for column in ("bytes_share", "share"))
    measured = {"overlap": overlap, "heaviest": heavy["name"], "heaviest_bytes": float(heavy["bytes_share"]),
                "heaviest_time": float(heavy["share"]), "slowest": slow["name"],
                "slowest_time": float(slow["share"])}  # fmt: skip
    summary = (
        f"{heavy['name']} holds {100 * heavy['bytes_share']:.0f} % of the bytes and takes {100 * heavy['share']:.0f} % "
        f"of the time; most time ({100 * slow['share']:.0f} %) goes into {slow['name']}"
    )
    advice = "choose by the limit: fewer bits where the bytes are for a small file, fewer channels where the time goes"
    return Finding(rule, overlap < SMALL_OVERLAP, summary, advice, measured)


def sensitivity_differs(case: Case) -> Finding:
    """Damage of each layer alone in few bits."""
    rule = "compress blindly"
    table = case.sensitivity[case.sensitivity["bits"] == min(case.sensitivity["bits"])].set_index("layer")["damage"]
    ratio = float(table.max() / max(table.median(), 1e-9))
    measured = {"ratio": ratio, "bits": int(min(case.sensitivity["bits"])), **table.to_dict()}
    summary = (
        f"in 2 bits, {table.idxmax()} alone does {ratio:.1f} times the damage of the median layer "
        f"({table.max():.2g} nats), {table.idxmin()} the least ({table.min():.2g})"
    )
    advice = f"keep {table.idxmax()} at 8 bits, and begin with {', '.join(table.nsmallest(3).index)}"
    return Finding(rule, ratio > DIFFERENT, summary, advice, measured)


def many_zeros(case: Case) -> Finding:
    """The accuracy at growing sparsity, and whether the model or the plan goes beyond 95 %."""
    rule = "exceed 95 % sparsity"
    planned = [step.arguments.get("sparsity", 0.0) for step in case.plan.steps] if case.plan else []
    wanted = max([case.sparsity, *planned])
    base = max(case.before.accuracy, 1e-9)
    curve = {s: evaluate(pruning.prune_global(case.model, s), case.validation).accuracy / base for s in SPARSITIES}
    kept = max((s for s, retained in curve.items() if retained >= RETAINED), default=0.0)
    measured = {"sparsity": wanted, "retained": curve, "free": kept}
    summary = (
        f"{'planned or present' if wanted > MANY_ZEROS else 'no more than'} {100 * wanted:.0f} % zeros; pruned at once "
        f"and without training, 95 % zeros retain {100 * curve[0.95]:.0f} % and 98 % retain {100 * curve[0.98]:.0f} %"
    )
    advice = (
        f"stop at 95 %, prune gradually while training, or remove channels: up to {100 * kept:.0f} % cost less than 1 %"
    )
    return Finding(rule, wanted > MANY_ZEROS, summary, advice, measured)


def layers_alike(case: Case) -> Finding:
    """One width for all layers against widths chosen by sensitivity, for the same bytes."""
    rule = "treat all layers alike"
    table = case.sensitivity
    budget = int(table[table["bits"] == UNIFORM_BITS]["bytes"].sum())
    chosen = quantization.choose_bits(table, budget)
    alike, mixed = (_damage(case, bits) for bits in (dict.fromkeys(chosen, UNIFORM_BITS), chosen))
    gain = alike / max(mixed, 1e-12)
    measured = {"alike": alike, "chosen": mixed, "gain": gain, "bits": chosen, "bytes": budget}
    summary = f"4 bits for every layer do {gain:.1f} times the damage of widths chosen by sensitivity at the same bytes"
    wide = [name for name, bits in chosen.items() if bits > UNIFORM_BITS]
    advice = f"give more bits to {', '.join(wide[:5]) or 'no layer'} and fewer to the others (quantization.choose_bits)"
    return Finding(rule, gain > GAIN, summary, advice, measured)


def _damage(case: Case, bits: dict[str, int]) -> float:
    schemes = {name: Scheme(width) for name, width in bits.items()}
    quantized = quantization.quantize_weights(case.model, overrides=schemes)
    return divergence(case.scanned_outputs, training.predict_logits(quantized, case.scanned).log_softmax(1)).item()


def combination(case: Case) -> Finding:
    """Whether pruning and quantization together lose more than both alone, and which order loses less."""
    pruned = pruning.prune_global(case.model, SPARSITY)
    quantized = quantization.quantize_weights(case.model, Scheme(UNIFORM_BITS))
    both = quantization.quantize_weights(pruned, Scheme(UNIFORM_BITS))
    other = pruning.prune_global(quantized, SPARSITY)  # zero is on the grid
    answers = [correct(evaluate(model, case.validation)) for model in (pruned, quantized, both, other)]
    return judge_combination(correct(case.before), *answers)


def judge_combination(base: Tensor, p: Tensor, q: Tensor, pq: Tensor, qp: Tensor) -> Finding:
    """The finding for right answers (1 or 0 per example) of the model, pruned, quantized, and both in either order."""
    rule = "combine techniques carefully"
    excess, low, high = mean_interval(p + q - base - pq)
    order, order_low, order_high = mean_interval(pq - qp)
    measured = {"excess": excess, "excess_low": low, "excess_high": high, "order": order, "order_low": order_low,
                "order_high": order_high, "pruned": p.mean().item(), "quantized": q.mean().item(),
                "pruned_first": pq.mean().item(), "quantized_first": qp.mean().item()}  # fmt: skip
    summary = (
        f"50 % zeros and 4 bits together lose {100 * excess:+.1f} points ({100 * low:.1f} to {100 * high:.1f}) beyond "
        f"the sum of both; pruning first gains {100 * order:+.1f} points over quantizing first"
    )
    better = "prune first, then quantize" if order >= 0 else "quantize first, then prune"
    advice = f"{better}, fine-tune in between, and measure the combination instead of multiplying ratios"
    return Finding(rule, low > 0 or order_low > 0 or order_high < 0, summary, advice, measured)
