"""Low-rank factorization: layers as products of thinner ones (SVD, Tucker-2, CP), and the choice of their ranks."""

from course_lib.architectures.factorized import Factored
from course_lib.lowrank.decompositions import (
    as_matrix,
    cp_factors,
    factor_layer,
    merge,
    relative_error,
    singular_values,
    svd_factors,
    tucker_factors,
)
from course_lib.lowrank.factorization import LowRankResult, factorable, factorize, plan_for_energy, plan_for_size
from course_lib.lowrank.fine_tuning import fine_tune, match_original
from course_lib.lowrank.lora import LoraLinear, add_lora, merge_lora
from course_lib.lowrank.rank_search import candidates, choose, layer_latencies, sensitivity_scan
from course_lib.lowrank.ranks import (
    break_even_rank,
    energy,
    factored_parameters,
    parameters,
    rank_for_energy,
    ranks_for_size,
    tucker_share,
)
from course_lib.lowrank.second_moments import output_moments

__all__ = [
    "Factored", "LoraLinear", "LowRankResult", "add_lora", "as_matrix", "break_even_rank", "candidates", "choose",
    "cp_factors", "energy", "factor_layer", "factorable", "factored_parameters", "factorize", "fine_tune",
    "layer_latencies", "match_original", "merge", "merge_lora", "output_moments", "parameters", "plan_for_energy",
    "plan_for_size", "rank_for_energy", "ranks_for_size", "relative_error", "sensitivity_scan", "singular_values",
    "svd_factors", "tucker_factors", "tucker_share",
]  # fmt: skip
