"""Everything that the lessons use, for one line at their top: ``from course_lib.learning.lesson import *``."""

import copy
import math
import random
import tempfile
import time
import warnings
from dataclasses import replace
from pathlib import Path

import pandas
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils import prune

from course_lib import (
    assets,
    calculator,
    coding,
    data,
    distillation,
    lowrank,
    models,
    plots,
    profiling,
    pruning,
    quantization,
    report,
    search,
    storage,
    training,
)
from course_lib.calculator import judged
from course_lib.learning import check, course_map, hint, lesson_done, lesson_opened, predict, quiz, reveal
from course_lib.quantization import Scheme, qat
from course_lib.widgets import (
    aware_panel,
    bits_panel,
    calculator_panel,
    clipping_panel,
    coder_panel,
    distillation_panel,
    few_bits_panel,
    gptq_panel,
    rank_panel,
    rate_panel,
    roofline_panel,
    sparsity_panel,
    stage_panel,
    subnet_panel,
    verdict_table,
    width_panel,
)

__all__ = [
    "F", "Path", "Scheme", "assets", "aware_panel", "bits_panel", "calculator", "calculator_panel", "check",
    "clipping_panel", "coder_panel", "coding", "copy", "course_map", "data", "distillation", "distillation_panel",
    "few_bits_panel", "gptq_panel", "hint", "judged", "lesson_done", "lesson_opened", "lowrank", "math", "models",
    "nn", "pandas", "plots", "predict", "profiling", "prune", "pruning", "qat", "quantization", "quiz", "random",
    "rank_panel", "rate_panel", "replace", "report", "reveal", "roofline_panel", "search", "sparsity_panel",
    "stage_panel", "storage", "subnet_panel", "tempfile", "time", "torch", "training", "verdict_table", "warnings",
    "width_panel",
]  # fmt: skip
