"""One example of each figure."""

from types import SimpleNamespace

import pandas
import torch

from course_lib import lowrank, plots

SPARSITIES = [0.0, 0.5, 0.9, 0.95]
CURVES = {"cut only": (SPARSITIES, [0.93, 0.9, 0.4, 0.1]), "fine-tuned": (SPARSITIES, [0.93, 0.93, 0.92, 0.9])}
ROOF = SimpleNamespace(peak_gflops=100.0, bandwidth_gbs=20.0, ridge=5.0)
SIZES = pandas.Series({"ResNet18, fp32": 44.7, "int8": 11.2})
RATES = [
    {"method": method, "bits": bits, "error": 4.0**-bits * factor}
    for method, factor in (("uniform", 1.4), ("k-means", 2.0)) for bits in (1, 2, 3)
]  # fmt: skip
LOSSES = pandas.DataFrame({"with a teacher": [2.0, 1.0], "without": [2.0, 1.5]})
WEIGHT = torch.randn(16, 3, 5, 5, generator=torch.Generator().manual_seed(0))


def layers() -> pandas.DataFrame:
    rows = [
        ("conv1", 9_000, 7_000_000, 0.5, 50.0, 28.0),
        ("layer4.1.conv2", 2_400_000, 3_000_000, 0.6, 4.4, 10.0),
        ("fc", 5_000, 5_000, 0.1, 0.5, 0.1),
        ("(between layers)", 0, 0, 0.2, 0.0, 0.0),
    ]
    return pandas.DataFrame(rows, columns=["name", "parameters", "macs", "latency_ms", "intensity", "achieved_gflops"])


def scan() -> pandas.DataFrame:
    rows = [(name, s, drop) for name, drop in (("conv1", 0.2), ("fc", 0.01)) for s in (0.5, 0.9)]
    return pandas.DataFrame([(n, s, d * s) for n, s, d in rows], columns=["layer", "sparsity", "drop"])


def seeds() -> pandas.DataFrame:
    rows = [(name, mean + 0.002 * seed) for name, mean in (("random", 0.9), ("l2", 0.91)) for seed in range(3)]
    return pandas.DataFrame(rows, columns=["criterion", "validation"])


PICTURES = {
    "seeds": lambda: plots.seed_intervals(
        seeds(), by="criterion", value="validation", title="Three seeds", x_label="validation accuracy (%)", level=0.905
    ),
    "weights": lambda: plots.weight_histogram(torch.linspace(-1, 1, 1001), threshold=0.5, title="A layer"),
    "accuracy": lambda: plots.accuracy_curves(CURVES, baseline=0.93, chance=0.1),
    "schedule": lambda: plots.schedule_curves({"cubic": ([0, 50, 100], [0, 0.8, 0.9])}),
    "layers": lambda: plots.layer_bars(layers(), top=2),
    "sensitivity": lambda: plots.sensitivity_map(scan()),
    "front": lambda: plots.size_front(
        ["baseline", "90 %", "95 %"], [44.7e6, 5.9e6, 3.1e6], [1.0, 0.995, 0.985], [None, (0.99, 1.0), (0.98, 0.99)]
    ),
    "roofline": lambda: plots.roofline(layers(), ROOF),
    "energy": lambda: plots.energy_curve(
        lowrank.energy(lowrank.singular_values(WEIGHT)).tolist(), break_even=13, title="Energy of a layer"
    ),
    "filters": lambda: plots.filter_banks({"as trained": WEIGHT, "zeros": torch.zeros_like(WEIGHT)}, title="Filters"),
    "slices": lambda: plots.shared_slices({"largest": (64, 48), "smallest": (16, 24)}, title="Shared weights"),
    "subnets": lambda: plots.accuracy_cost(
        [1.0, 2.0, 3.0], [0.88, 0.91, 0.9], [0, 1], title="Subnets", x_label="ms", marked={"found": (2.0, 0.91)}
    ),
    "bars": lambda: plots.bars(SIZES, title="Size of the file", x_label="MB"),
    "rates": lambda: plots.rate_distortion(RATES, title="A layer"),
    "curves": lambda: plots.curves(LOSSES, title="Loss of the student", x_label="step", y_label="loss"),
}
