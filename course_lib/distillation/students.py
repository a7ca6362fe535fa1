"""Students: how small they are, and what they take over from the teacher before they learn anything."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from course_lib import models
from course_lib.core import memory
from course_lib.core.validation import check_choice, check_positive
from course_lib.data import Split, refuse_test
from course_lib.distillation.matching import layer_map

UNKNOWN_TOKEN = 100
RESIDUAL_SENTENCES = 256


def resnet_student(
    channels: Sequence[int] = (20, 40, 80, 160),
    blocks: Sequence[int] = (2, 2, 2, 2),
    *,
    shrink: int = 1,
    stem_stride: int = 2,
    depthwise: bool = False,
    num_classes: int = 10,
) -> nn.Module:
    """An untrained ResNet18 with other widths and depths; arguments as in ``small_nets.SmallResNet``.

    The default has a tenth of ResNet18's parameters: half of the width is a quarter of the weights.
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
        embedding_factor: numbers per row of a factorised embedding; ``hidden_size`` by default.
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
        """Whether the word embedding is trimmed or factorised."""
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
    """A smaller BERT that starts from the teacher's weights.

    Layers are copied by ``layer_map``. Where the student is narrower, hidden states are projected onto their main
    directions (``main_directions``), and the strongest heads and inner units are kept.

    Args:
        teacher: a ``BertForSequenceClassification``; it is not changed.
        layers: as ``kind`` of ``layer_map``.
        initialise: ``"teacher"`` or ``"random"``.
        sentences: from which the main directions are read; the teacher's word embedding by default.
        tokens: ids that get a row of their own if the vocabulary is trimmed; see ``frequent_tokens``.

    Raises:
        ValueError: if heads do not divide the hidden size, or the student is larger than the teacher anywhere while
            ``initialise="teacher"``.
    """
    check_choice("initialise", initialise, ("teacher", "random"))
    original = teacher_config(teacher)
    arguments: dict[str, Any] = {
        "vocab_size": original.vocab_size, "hidden_size": size.hidden_size, "num_hidden_layers": size.num_layers,
        "num_attention_heads": size.num_heads, "intermediate_size": size.intermediate_size,
        "max_position_embeddings": original.max_position_embeddings, "num_labels": original.num_labels,
        "attn_implementation": attn_implementation,
    }  # fmt: skip
    if size.slim:
        arguments["embedding_rows"] = size.embedding_rows or original.vocab_size
        arguments["embedding_factor"] = size.embedding_factor or size.hidden_size
    student = models.build({"builder": "slim_bert" if size.slim else "bert", "arguments": arguments})
    if size.slim:
        _assign_rows(student, tokens)
    if initialise == "teacher":
        _check_fits(size, original)
        basis = main_directions(teacher, size.hidden_size, sentences)
        chosen = layer_map(size.num_layers, original.num_hidden_layers, layers)
        with torch.no_grad():
            _copy_embeddings(teacher, student, basis)
            _copy_layers(teacher, student, basis, chosen)
            _copy_head(teacher, student, basis)
    return student


def teacher_config(teacher: Any) -> Any:
    """Its ``BertConfig``; ``ValueError`` if it is no BERT with a classification head."""
    if not (hasattr(teacher, "bert") and hasattr(teacher, "classifier")):
        raise ValueError(
            f"teacher must be a BertForSequenceClassification, got {type(teacher).__name__}; a model without a "
            "classification head (AutoModel) has no logits to learn from"
        )
    return teacher.config


def frequent_tokens(splits: Sequence[Split], rows: int) -> list[int]:
    """The ``rows - 1`` token ids that occur most often in ``splits``, and always padding and the special tokens.

    The last row of the table is shared by all other tokens.

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


@torch.no_grad()
def main_directions(teacher: nn.Module, width: int, sentences: Split | None = None) -> Tensor:
    """Orthonormal ``(teacher width, width)``: the directions in which the teacher's hidden states vary most.

    They are eigenvectors of the states' second moment over all layers and tokens; at the teacher's own width the result
    is the identity, so that a copy is exact.
    """
    network: Any = teacher
    full = network.config.hidden_size
    if width == full:
        return torch.eye(full)
    if sentences is None:
        states = network.bert.embeddings.word_embeddings.weight.double()
        moment = states.T @ states
    else:
        moment = _state_moment(teacher, sentences)
    return torch.linalg.eigh(moment).eigenvectors.flip(1)[:, :width].float()


def _state_moment(teacher: nn.Module, sentences: Split) -> Tensor:
    """Sum of ``h hᵀ`` over the hidden states ``h`` of all layers and words; few sentences at a time save memory."""
    refuse_test(sentences, "used to initialise a student")
    moment: Any = 0
    with models.evaluating(teacher):
        batches: Any = sentences.subset(RESIDUAL_SENTENCES).batches(32)
        for batch, _ in batches:
            real = batch["attention_mask"].bool()
            output = teacher(**batch, output_hidden_states=True)
            for state in output.hidden_states:
                words = state[real].double()
                moment = moment + words.T @ words
    memory.return_freed()
    return moment


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


def _copy_embeddings(teacher: Any, student: Any, basis: Tensor) -> None:
    source, target = teacher.bert.embeddings, student.bert.embeddings
    for name in ("position_embeddings", "token_type_embeddings"):
        getattr(target, name).weight.copy_(getattr(source, name).weight @ basis)
    words = source.word_embeddings.weight @ basis
    if isinstance(target.word_embeddings, nn.Embedding):
        target.word_embeddings.weight.copy_(words)
    else:
        _factorise(words, target.word_embeddings)
    _copy_norm(source.LayerNorm, target.LayerNorm, basis)


def _factorise(words: Tensor, embedding: Any) -> None:
    """Best ``table @ widen`` for the kept rows (truncated SVD); the shared row is the mean of all others."""
    rows, factor = embedding.table.weight.shape
    sums = torch.zeros(rows, words.shape[1]).index_add_(0, embedding.row_of_token.long(), words)
    counts = torch.bincount(embedding.row_of_token.long(), minlength=rows).clamp(min=1)
    kept = sums / counts[:, None]
    main = torch.linalg.eigh(kept.double().T @ kept.double()).eigenvectors.flip(1)[:, :factor].T.float()
    embedding.table.weight.copy_(kept @ main.T)
    embedding.widen.weight.copy_(main.T)


def _copy_layers(teacher: Any, student: Any, basis: Tensor, chosen: Sequence[int]) -> None:
    for number, layer in zip(chosen, student.bert.encoder.layer, strict=True):
        source = teacher.bert.encoder.layer[number]
        theirs, ours = source.attention, layer.attention
        heads = (teacher.config.num_attention_heads, student.config.num_attention_heads)
        score = _row_norm(theirs.self.query) * _row_norm(theirs.self.key)
        strength = _row_norm(theirs.self.value) * theirs.output.dense.weight.norm(dim=0)
        matched = kept_units(score, strength, heads, student.config.hidden_size)
        for name in ("query", "key"):
            _copy_rows(getattr(theirs.self, name), getattr(ours.self, name), basis, matched[0])
        _copy_rows(theirs.self.value, ours.self.value, basis, matched[1])
        _copy_columns(theirs.output.dense, ours.output.dense, basis, matched[1])
        _copy_norm(theirs.output.LayerNorm, ours.output.LayerNorm, basis)
        inner = _row_norm(source.intermediate.dense) * source.output.dense.weight.norm(dim=0)
        units = inner.topk(student.config.intermediate_size).indices.sort().values
        _copy_rows(source.intermediate.dense, layer.intermediate.dense, basis, units)
        _copy_columns(source.output.dense, layer.output.dense, basis, units)
        _copy_norm(source.output.LayerNorm, layer.output.LayerNorm, basis)


def kept_units(score: Tensor, strength: Tensor, heads: tuple[int, int], width: int) -> tuple[Tensor, Tensor]:
    """Rows of query and key, and rows of value, that the student's attention takes over; ``width`` of each.

    The strongest heads stay, and within each the strongest units. Where the student's heads are wider than the
    teacher's, neighbours are merged: rows are taken over in order.

    Args:
        score: strength of each unit of query and key, ``(teacher width,)``.
        strength: likewise of value and output.
        heads: of the teacher, of the student.
    """
    theirs, ours = heads
    size, wanted = len(score) // theirs, width // ours
    if wanted > size or ours > theirs:
        return tuple(values.topk(width).indices.sort().values for values in (score, strength))  # type: ignore[return-value]
    best = strength.view(theirs, size).sum(dim=1).topk(ours).indices.sort().values
    rows = [
        values.view(theirs, size)[best].topk(wanted, dim=1).indices.sort(dim=1).values + best[:, None] * size
        for values in (score, strength)
    ]
    return rows[0].flatten(), rows[1].flatten()


def _copy_head(teacher: Any, student: Any, basis: Tensor) -> None:
    """The pooler's units pass a tanh one by one, so that they can be chosen but not mixed."""
    strength = _row_norm(teacher.bert.pooler.dense) * teacher.classifier.weight.norm(dim=0)
    units = strength.topk(student.config.hidden_size).indices.sort().values
    _copy_rows(teacher.bert.pooler.dense, student.bert.pooler.dense, basis, units)
    student.classifier.weight.copy_(teacher.classifier.weight[:, units])
    student.classifier.bias.copy_(teacher.classifier.bias)


def _row_norm(layer: nn.Linear) -> Tensor:
    return layer.weight.norm(dim=1)


def _copy_rows(source: nn.Linear, target: nn.Linear, basis: Tensor, rows: Tensor) -> None:
    """From hidden states to chosen units: ``W[rows] @ basis``."""
    target.weight.copy_(source.weight[rows] @ basis)
    target.bias.copy_(source.bias[rows])


def _copy_columns(source: nn.Linear, target: nn.Linear, basis: Tensor, columns: Tensor) -> None:
    """From chosen units back to hidden states: ``basisᵀ @ W[:, columns]``."""
    target.weight.copy_(basis.T @ source.weight[:, columns])
    target.bias.copy_(basis.T @ source.bias)


def _copy_norm(source: nn.LayerNorm, target: nn.LayerNorm, basis: Tensor) -> None:
    """A scale per direction: the squares of an orthonormal basis are weights of an average."""
    target.weight.copy_((basis.square()).T @ source.weight)
    target.bias.copy_(basis.T @ source.bias)
