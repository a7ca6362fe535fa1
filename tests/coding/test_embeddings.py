"""Embeddings: counted words, and steps that follow from the counts."""

from __future__ import annotations

import pytest
import torch

from course_lib import coding
from course_lib.coding.embeddings import quantize_embeddings, row_fisher
from course_lib.data import Split, TestSplitError
from tests.toys import one_layer_bert

WORDS, POSITIONS = "bert.embeddings.word_embeddings.weight", "bert.embeddings.position_embeddings.weight"


def sentences(name="train"):
    mask = torch.tensor([[1, 1, 1, 0], [1, 1, 0, 0]])
    tokens = {"input_ids": torch.tensor([[7, 7, 3, 0], [3, 9, 0, 0]]), "attention_mask": mask}
    return Split("words", name, tokens, torch.zeros(2, dtype=torch.int64), ("a", "b"))


def test_words_and_positions_are_counted_without_padding():
    counts = coding.embedding_counts(one_layer_bert(), sentences())
    wanted = torch.full((50,), 0.5)
    wanted[7] += 2
    wanted[3] += 2
    wanted[9] += 1
    assert torch.equal(counts[WORDS], wanted / 2)
    assert (counts[POSITIONS][:4] * 2).tolist() == [2.5, 2.5, 1.5, 0.5]


def test_the_fisher_information_of_a_row_is_shared_out_by_its_count():
    fisher = torch.tensor([[1.0, 3.0], [0.0, 0.0], [2.0, 2.0]])  # row means 2, 0, 2
    assert row_fisher(fisher, torch.tensor([2.0, 1.0, 1.0])).tolist() == [2, 1, 1]


def test_four_times_as_frequent_words_get_half_the_step():
    model = one_layer_bert()
    fisher = {name: torch.ones_like(value) for name, value in model.named_parameters()}
    counts = torch.ones(50)
    counts[5] = 4
    quantize_embeddings(model, fisher, 0.01, {WORDS: counts})
    levels, steps = coding.levels_of(model)[WORDS]
    assert steps[5] * 2 == steps[6] and len(steps) == 50
    assert torch.equal(levels * steps.float()[:, None], model.bert.embeddings.word_embeddings.weight)
    assert len(coding.levels_of(model)[POSITIONS][1].unique()) == 1


def test_the_test_split_is_refused():
    with pytest.raises(TestSplitError):
        coding.embedding_counts(one_layer_bert(), sentences("test"))
