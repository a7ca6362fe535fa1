"""The data of the course: shipped splits, and larger data sets on request.

Training, tuning and calibration use ``train`` or ``validation``. ``test`` is only for the reported number: it cannot be
shuffled or passed to a function that learns.
"""

from course_lib.data import text_windows
from course_lib.data.inputs import (
    Augmentation,
    Inputs,
    augment_images,
    group_by_length,
    join_inputs,
    move_images,
    prepare_images,
    trim_padding,
)
from course_lib.data.loading import FASHION_CLASSES, load
from course_lib.data.sentiment import (
    MAX_TOKENS,
    SENTIMENT_CLASSES,
    SENTIMENT_DOMAINS,
    sentences,
    tokenize,
    tokenizer,
)
from course_lib.data.splits import SPLIT_NAMES, Split, Splits, TestSplitError, flatten_images, join, refuse_test

__all__ = [
    "FASHION_CLASSES", "MAX_TOKENS", "SENTIMENT_CLASSES", "SENTIMENT_DOMAINS", "SPLIT_NAMES", "Augmentation",
    "Inputs", "Split", "Splits", "TestSplitError", "augment_images", "flatten_images", "group_by_length", "join",
    "join_inputs", "load", "move_images", "prepare_images", "refuse_test", "sentences", "text_windows", "tokenize",
    "tokenizer", "trim_padding",
]  # fmt: skip
