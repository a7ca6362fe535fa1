"""Initialization of a BERT student from the weights of its teacher, projected where the student is narrower."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from course_lib import models
from course_lib.core import memory
from course_lib.data import Split, refuse_test

MOMENT_SENTENCES = 256


@torch.no_grad()
def main_directions(teacher: nn.Module, width: int, sentences: Split | None = None) -> Tensor:
    """Orthonormal ``(teacher width, width)``: the directions in which the teacher's hidden states vary most.

    They are the leading eigenvectors of the second moment of the states over all layers and tokens; at the width of the
    teacher the result is the identity, so that a copy is exact.
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
    """Sum of ``h hᵀ`` over the hidden states ``h`` of all layers and tokens; small batches save memory."""
    refuse_test(sentences, "used to initialise a student")
    moment: Any = 0
    with models.evaluating(teacher):
        batches: Any = sentences.subset(MOMENT_SENTENCES).batches(32)
        for batch, _ in batches:
            mask = batch.get("attention_mask", torch.ones_like(batch["input_ids"])).bool()
            output = teacher(**batch, output_hidden_states=True)
            for state in output.hidden_states:
                tokens = state[mask].double()
                moment = moment + tokens.T @ tokens
    memory.return_freed()
    return moment


@torch.no_grad()
def copy_from_teacher(teacher: Any, student: Any, basis: Tensor, layers: Sequence[int]) -> None:
    """Initialize ``student`` in place from ``layers`` of ``teacher``, hidden states projected onto ``basis``."""
    _copy_embeddings(teacher, student, basis)
    for number, layer in zip(layers, student.bert.encoder.layer, strict=True):
        source = teacher.bert.encoder.layer[number]
        _copy_attention(source.attention, layer.attention, basis)
        _copy_feed_forward(source, layer, basis)
    _copy_head(teacher, student, basis)


def _copy_embeddings(teacher: Any, student: Any, basis: Tensor) -> None:
    source, target = teacher.bert.embeddings, student.bert.embeddings
    for name in ("position_embeddings", "token_type_embeddings"):
        getattr(target, name).weight.copy_(getattr(source, name).weight @ basis)
    words = source.word_embeddings.weight @ basis
    if isinstance(target.word_embeddings, nn.Embedding):
        target.word_embeddings.weight.copy_(words)
    else:
        _factorize(words, target.word_embeddings)
    _copy_norm(source.LayerNorm, target.LayerNorm, basis)


def _factorize(words: Tensor, embedding: Any) -> None:
    """Best ``table @ widen`` for the kept rows (truncated SVD); the shared row is the mean of all other tokens."""
    rows, factor = embedding.table.weight.shape
    sums = torch.zeros(rows, words.shape[1]).index_add_(0, embedding.row_of_token.long(), words)
    counts = torch.bincount(embedding.row_of_token.long(), minlength=rows).clamp(min=1)
    kept = sums / counts[:, None]
    leading = torch.linalg.eigh(kept.double().T @ kept.double()).eigenvectors.flip(1)[:, :factor].T.float()
    embedding.table.weight.copy_(kept @ leading.T)
    embedding.widen.weight.copy_(leading.T)


def _copy_attention(teacher: Any, student: Any, basis: Tensor) -> None:
    theirs, ours = teacher.self, student.self
    score = _row_norm(theirs.query) * _row_norm(theirs.key)
    strength = _row_norm(theirs.value) * teacher.output.dense.weight.norm(dim=0)
    heads = theirs.num_attention_heads, ours.num_attention_heads
    query_rows, value_rows = kept_units(score, strength, heads, student.output.dense.out_features)
    for name in ("query", "key"):
        _copy_rows(getattr(theirs, name), getattr(ours, name), basis, query_rows)
    _copy_rows(theirs.value, ours.value, basis, value_rows)
    _copy_columns(teacher.output.dense, student.output.dense, basis, value_rows)
    _copy_norm(teacher.output.LayerNorm, student.output.LayerNorm, basis)


def _copy_feed_forward(teacher: Any, student: Any, basis: Tensor) -> None:
    strength = _row_norm(teacher.intermediate.dense) * teacher.output.dense.weight.norm(dim=0)
    units = strength.topk(student.intermediate.dense.out_features).indices.sort().values
    _copy_rows(teacher.intermediate.dense, student.intermediate.dense, basis, units)
    _copy_columns(teacher.output.dense, student.output.dense, basis, units)
    _copy_norm(teacher.output.LayerNorm, student.output.LayerNorm, basis)


def kept_units(score: Tensor, strength: Tensor, heads: tuple[int, int], width: int) -> tuple[Tensor, Tensor]:
    """Rows of query and key, and rows of value, that are copied to the student's attention; ``width`` of each.

    The strongest heads are kept, and within each the strongest units. Where the student's heads are wider than the
    teacher's, the strongest rows are kept in order, across heads.

    Args:
        score: strength of each unit of query and key, ``(teacher width,)``.
        strength: likewise of value and output.
        heads: numbers of heads of the teacher and of the student.
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
    """Pooler and classifier; each unit of the pooler passes a tanh, so that units can be selected but not mixed."""
    strength = _row_norm(teacher.bert.pooler.dense) * teacher.classifier.weight.norm(dim=0)
    units = strength.topk(student.config.hidden_size).indices.sort().values
    _copy_rows(teacher.bert.pooler.dense, student.bert.pooler.dense, basis, units)
    student.classifier.weight.copy_(teacher.classifier.weight[:, units])
    student.classifier.bias.copy_(teacher.classifier.bias)


def _row_norm(layer: nn.Linear) -> Tensor:
    return layer.weight.norm(dim=1)


def _copy_rows(source: nn.Linear, target: nn.Linear, basis: Tensor, rows: Tensor) -> None:
    """A projection from hidden states to the selected units: ``W[rows] @ basis``."""
    target.weight.copy_(source.weight[rows] @ basis)
    target.bias.copy_(source.bias[rows])


def _copy_columns(source: nn.Linear, target: nn.Linear, basis: Tensor, columns: Tensor) -> None:
    """A projection from the selected units to hidden states: ``basisᵀ @ W[:, columns]``."""
    target.weight.copy_(basis.T @ source.weight[:, columns])
    target.bias.copy_(basis.T @ source.bias)


def _copy_norm(source: nn.LayerNorm, target: nn.LayerNorm, basis: Tensor) -> None:
    """One scale for each direction: an average weighted by the squares of the orthonormal basis."""
    target.weight.copy_((basis.square()).T @ source.weight)
    target.bias.copy_(basis.T @ source.bias)
