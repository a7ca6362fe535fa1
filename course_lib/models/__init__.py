"""Trained models by name, and running them; ``build``, ``describe`` and the builders are those of ``architectures``."""

from course_lib.architectures.builders import (
    BERT_SHAPE,
    CAUSAL_LMS,
    CLASSIFIERS,
    bert,
    causal_lm,
    classifier,
    mlp,
    resnet18,
    slim_bert,
    small_resnet,
    torchvision_classifier,
)
from course_lib.architectures.modes import evaluating
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
from course_lib.models.fetching import FETCHABLE, fetch, fetched_path
from course_lib.models.gguf_file import gguf_tokenizer, load_gguf
from course_lib.models.pretrained import BASELINES, SHIPPED, hugging_face_tokenizer, load, shipped_models
from course_lib.models.running import call, device, forward, prunable_layers, to_device

__all__ = [
    "ADDITIONS", "ARCHITECTURE_ATTRIBUTE", "BASELINES", "BERT_SHAPE", "BUILDERS", "CAUSAL_LMS", "CLASSIFIERS",
    "FETCHABLE", "RESIZING", "SHIPPED", "Builder", "bert", "build", "builder", "call", "causal_lm", "classifier",
    "describe", "device", "evaluating", "fetch", "fetched_path", "forward", "gguf_tokenizer",
    "hugging_face_tokenizer", "load", "load_gguf", "mlp", "prunable_layers", "resnet18", "shipped_models",
    "slim_bert", "small_resnet", "to_device", "torchvision_classifier",
]  # fmt: skip
