"""The data of the course: shipped splits, and bigger data sets on request.

Splits are sacred. Training, tuning and calibration use ``train`` or ``validation``; ``test`` is only for the
number that is reported, and refuses to be shuffled or handed to a function that learns from it.
"""

from course_lib.data import text_windows
from course_lib.data.inputs import (
    Augmentation,
    augment_images,
    group_by_length,
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
from course_lib.data.splits import SPLIT_NAMES, Inputs, Split, Splits, TestSplitError, join, refuse_test

__all__ = [
    "FASHION_CLASSES",
    "MAX_TOKENS",
    "SENTIMENT_CLASSES",
    "SENTIMENT_DOMAINS",
    "SPLIT_NAMES",
    "Augmentation",
    "Inputs",
    "Split",
    "Splits",
    "TestSplitError",
    "augment_images",
    "group_by_length",
    "join",
    "load",
    "move_images",
    "prepare_images",
    "refuse_test",
    "sentences",
    "text_windows",
    "tokenize",
    "tokenizer",
    "trim_padding",
]  # fmt: skip
