"""Architectures that can be built from a description, and their compressed forms."""

from course_lib.architectures.builders import (
    BERT_SHAPE,
    CAUSAL_LMS,
    bert,
    causal_lm,
    mlp,
    resnet18,
    slim_bert,
    small_resnet,
    torchvision_classifier,
)
from course_lib.architectures.registry import (
    ADDITIONS,
    ARCHITECTURE_ATTRIBUTE,
    BUILDERS,
    RESIZING,
    Builder,
    build,
    builder,
    describe,
)

__all__ = [
    "ADDITIONS", "ARCHITECTURE_ATTRIBUTE", "BERT_SHAPE", "BUILDERS", "CAUSAL_LMS", "RESIZING", "Builder", "bert",
    "build", "builder", "causal_lm", "describe", "mlp", "resnet18", "slim_bert", "small_resnet",
    "torchvision_classifier",
]  # fmt: skip
