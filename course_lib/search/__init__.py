"""Architecture search: which subnet of ResNet18 is best within limits of work, bytes, memory and latency.

* ``compound``: EfficientNet's rule for depth, width and resolution together;
* ``space``, ``sorting``, ``supernet``, ``calibration``: one set of weights that all subnets share::

      supernet = load_supernet()                                   # trained, shipped
      net = recalibrate_batchnorm(supernet.extract(subnet), splits.train.subset(1024))

* ``footprint``, ``activation_memory``, ``onnx_graphs``, ``latency``: what a subnet costs, by formula and by table;
* ``predictor``, ``proxies``, ``ranking``: how good it will be, from measured subnets or without training;
* ``limits``, ``evolution``, ``multi_objective``: the search itself::

      limits = Limits({"macs": 4e6, "latency_ms": 0.3}, latency=table)
      evolutionary_search(RESNET18_SPACE, predictor, limits).best
"""

from course_lib.architectures.resized_input import resize_images
from course_lib.search.activation_memory import measured_activation_bytes
from course_lib.search.calibration import recalibrate_batchnorm
from course_lib.search.compound import (
    PHI,
    PUBLISHED,
    Scaling,
    Stage,
    candidate_bases,
    compound_scaling,
    scaled_channels,
    scaled_layers,
    scaled_stages,
    work_factor,
)
from course_lib.search.evolution import SearchResult, child, evolution_step, evolutionary_search, random_search
from course_lib.search.footprint import (
    Convolution,
    convolutions,
    macs,
    parameters,
    peak_activation_bytes,
    stored_bytes,
)
from course_lib.search.latency import LatencyTable, all_parts, graph_ms, measure_table, net_ms
from course_lib.search.limits import Limits, metrics, neighbours, repaired, sample_within
from course_lib.search.multi_objective import nsga2
from course_lib.search.onnx_graphs import Part, graph_of, parts_of
from course_lib.search.predictor import AccuracyPredictor, features, fit_predictor, ridge
from course_lib.search.proxies import PROXIES, jacob_cov, parameter_count, synflow
from course_lib.search.ranking import kendall_interval, kendall_tau, pareto_front
from course_lib.search.sorting import ChannelGroup, channel_groups, channel_importance, sort_channels
from course_lib.search.space import RESNET18_SPACE, SearchSpace, Subnet, architecture, layer_widths
from course_lib.search.supernet import (
    Supernet,
    load_supernet,
    sandwich_loss,
    sliced_block,
    sliced_convolution,
    supernet_from,
)

__all__ = [
    "PHI", "PROXIES", "PUBLISHED", "RESNET18_SPACE", "AccuracyPredictor", "ChannelGroup", "Convolution",
    "LatencyTable", "Limits", "Part", "Scaling", "SearchResult", "SearchSpace", "Stage", "Subnet", "Supernet",
    "all_parts", "architecture", "candidate_bases", "channel_groups", "channel_importance", "child",
    "compound_scaling", "convolutions", "evolution_step", "evolutionary_search", "features", "fit_predictor",
    "graph_ms", "graph_of", "jacob_cov", "kendall_interval", "kendall_tau", "layer_widths", "load_supernet", "macs",
    "measure_table", "measured_activation_bytes", "metrics", "neighbours", "net_ms", "nsga2", "parameter_count",
    "parameters", "pareto_front", "parts_of", "peak_activation_bytes", "random_search", "recalibrate_batchnorm",
    "repaired", "resize_images", "ridge", "sample_within", "sandwich_loss", "scaled_channels", "scaled_layers",
    "scaled_stages", "sliced_block", "sliced_convolution", "sort_channels", "stored_bytes", "supernet_from",
    "synflow", "work_factor",
]  # fmt: skip
