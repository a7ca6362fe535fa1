"""Students: small ResNets, and BERTs of any size that start from the weights of the teacher."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from course_lib import models
from course_lib.core.validation import check_choice, check_positive
from course_lib.data import Split, refuse_test
from course_lib.distillation.initialization import copy_from_teacher, main_directions
from course_lib.distillation.matching import layer_map

UNKNOWN_TOKEN = 100


def resnet_student(
    channels: Sequence[int] = (20, 40, 80, 160),
    blocks: Sequence[int] = (2, 2, 2, 2),
    *,
    shrink: int = 1,
    stem_stride: int = 2,
    depthwise: bool = False,
    num_classes: int = 10,
) -> nn.Module:
    """An untrained ResNet18 with other widths and depths; arguments as in ``architectures.compact.SmallResNet``.

    The default has a tenth of ResNet18's parameters.
    """
    arguments = {
        "channels": list(channels), "blocks": list(blocks), "shrink": shrink, "stem_stride": stem_stride,
        "depthwise": depthwise, "num_classes": num_classes,
    }  # fmt: skip
    return models.build({"builder": "small_resnet", "arguments": arguments})


@dataclass(frozen=True)
class BertSize:
    """Size of a BERT student.

    Args:
        hidden_size, num_layers, num_heads, intermediate_size: as in ``BertConfig``.
        embedding_rows: rows of a trimmed vocabulary; all tokens by default.
        embedding_factor: width of a factorized embedding; ``hidden_size`` by default.
    """

    hidden_size: int
    num_layers: int
    num_heads: int
    intermediate_size: int
    embedding_rows: int | None = None
    embedding_factor: int | None = None

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if value is not None:
                check_positive(name, value)
        if self.hidden_size % self.num_heads:
            raise ValueError(
                f"num_heads must divide hidden_size, got {self.num_heads} heads for a hidden size of {self.hidden_size}"
            )

    @property
    def slim(self) -> bool:
        """Whether the word embedding is trimmed or factorized."""
        return self.embedding_rows is not None or self.embedding_factor is not None


def bert_student(
    teacher: nn.Module,
    size: BertSize,
    *,
    layers: str | Sequence[int] = "uniform",
    initialise: str = "teacher",
    sentences: Split | None = None,
    tokens: Sequence[int] | None = None,
    attn_implementation: str = "sdpa",
) -> nn.Module:
    """A smaller BERT that is initialized from the teacher's weights.

    Layers are copied by ``layer_map``. Where the student is narrower, hidden states are projected onto their main
    directions (``main_directions``), and the strongest heads and feed-forward units are kept.

    Args:
        teacher: a ``BertForSequenceClassification``; it is not changed.
        layers: as ``kind`` of ``layer_map``.
        initialise: ``"teacher"`` or ``"random"``.
        sentences: whose hidden states give the main directions; the teacher's word embedding by default.
        tokens: ids that get a row of their own if the vocabulary is trimmed; see ``frequent_tokens``.

    Raises:
        ValueError: if heads do not divide the hidden size, or the student is larger than the teacher anywhere while
            ``initialise="teacher"``.
    """
    check_choice("initialise", initialise, ("teacher", "random"))
    original = teacher_config(teacher)
    student = models.build(_description(size, original, attn_implementation))
    if size.slim:
        _assign_rows(student, tokens)
    if initialise == "teacher":
        _check_fits(size, original)
        basis = main_directions(teacher, size.hidden_size, sentences)
        copy_from_teacher(teacher, student, basis, layer_map(size.num_layers, original.num_hidden_layers, layers))
    return student


def _description(size: BertSize, original: Any, attn_implementation: str) -> dict[str, Any]:
    """Builder and arguments of a student of the teacher with the config ``original``."""
    arguments: dict[str, Any] = {
        "vocab_size": original.vocab_size, "hidden_size": size.hidden_size, "num_hidden_layers": size.num_layers,
        "num_attention_heads": size.num_heads, "intermediate_size": size.intermediate_size,
        "max_position_embeddings": original.max_position_embeddings, "num_labels": original.num_labels,
        "attn_implementation": attn_implementation,
    }  # fmt: skip
    if size.slim:
        arguments["embedding_rows"] = size.embedding_rows or original.vocab_size
        arguments["embedding_factor"] = size.embedding_factor or size.hidden_size
    return {"builder": "slim_bert" if size.slim else "bert", "arguments": arguments}


def teacher_config(teacher: Any) -> Any:
    """The ``BertConfig`` of ``teacher``; ``ValueError`` if it is not a BERT with a classification head."""
    if not (hasattr(teacher, "bert") and hasattr(teacher, "classifier")):
        raise ValueError(
            f"teacher must be a BertForSequenceClassification to make a student by its size, got "
            f"{type(teacher).__name__}; for another family give a student of your own as a module (a model without a "
            "classification head, AutoModel, has no logits to learn from)"
        )
    return teacher.config


def frequent_tokens(splits: Sequence[Split], rows: int) -> list[int]:
    """The ``rows - 1`` most frequent token ids in ``splits``, padding and special tokens always among them.

    All other tokens share the last row of the table.

    Raises:
        TestSplitError: if one of them is the test split.
    """
    for split in splits:
        refuse_test(split, "used to choose the vocabulary")
    inputs: list[Any] = [split.inputs for split in splits]
    ids = torch.cat([tokens["input_ids"].flatten() for tokens in inputs])
    counts = torch.bincount(ids, minlength=UNKNOWN_TOKEN + 4).double()
    counts[[0, *range(UNKNOWN_TOKEN, UNKNOWN_TOKEN + 4)]] += len(ids) + 1
    kept = counts.argsort(descending=True, stable=True)[: rows - 1]
    return kept[counts[kept] > 0].sort().values.tolist()


def _check_fits(size: BertSize, original: Any) -> None:
    pairs = {
        "hidden_size": (size.hidden_size, original.hidden_size),
        "num_layers": (size.num_layers, original.num_hidden_layers),
        "intermediate_size": (size.intermediate_size, original.intermediate_size),
    }
    for name, (ours, theirs) in pairs.items():
        if ours > theirs:
            raise ValueError(
                f"{name} must be at most the teacher's {theirs} to start from its weights, got {ours}; "
                "use initialise='random' for a student that is larger"
            )


def _assign_rows(student: Any, tokens: Sequence[int] | None) -> None:
    """Give each of ``tokens`` a row of its own; all others share the last row."""
    embedding = student.bert.embeddings.word_embeddings
    rows, vocabulary = embedding.table.num_embeddings, len(embedding.row_of_token)
    own = range(vocabulary) if tokens is None else sorted(set(tokens))
    if len(own) > (rows if len(own) == vocabulary else rows - 1):
        raise ValueError(f"tokens must leave one of the {rows} rows for unknown words, got {len(own)} tokens")
    embedding.row_of_token.fill_(rows - 1)
    embedding.row_of_token[torch.tensor(own)] = torch.arange(len(own), dtype=torch.int32)
