"""Padding on either side, with any token, or no attention mask at all: the logits are those of the model itself."""

import pytest
import torch
from torch import Tensor

from course_lib import data, models, training
from course_lib.data import Split
from course_lib.data.inputs import join_inputs, token_counts, trim_padding
from tests.toys import one_layer_bert

PAD = 49


def sentences(side: str, length: int = 9, pad: int = PAD) -> dict[str, Tensor]:
    """Sentences of 3, 5 and 7 tokens, padded with ``pad``."""
    tokens = torch.full((3, length), pad)
    mask = torch.zeros(3, length, dtype=torch.long)
    for row, count in enumerate((3, 5, 7)):
        place = slice(0, count) if side == "right" else slice(length - count, length)
        tokens[row, place] = torch.arange(5, 5 + count) + row
        mask[row, place] = 1
    return {"input_ids": tokens, "attention_mask": mask}


def split_of(inputs: dict[str, Tensor]) -> Split:
    return Split("sentences", "train", inputs, torch.arange(3) % 2, ("a", "b"))


@pytest.fixture(scope="module")
def bert():
    return one_layer_bert()


@pytest.mark.parametrize("batch_size", [1, 2, 3])
@pytest.mark.parametrize("pad", [0, PAD])
@pytest.mark.parametrize("side", ["left", "right"])
def test_logits_are_those_of_the_model_itself(bert, side, pad, batch_size):
    inputs = sentences(side, pad=pad)
    with torch.no_grad():
        expected = bert(**inputs).logits
    logits = training.predict_logits(bert, split_of(inputs), batch_size=batch_size)
    assert torch.allclose(logits, expected, atol=1e-5)


@pytest.mark.parametrize("shuffle", [False, True])
def test_tokens_without_a_mask_are_all_real(bert, shuffle):
    tokens = sentences("right")["input_ids"]
    split = split_of({"input_ids": tokens})
    batches = [inputs["input_ids"] for inputs, _ in split.batches(2, shuffle=shuffle)]
    assert sorted(map(tuple, torch.cat(batches).tolist())) == sorted(map(tuple, tokens.tolist()))
    with torch.no_grad():
        assert torch.allclose(training.predict_logits(bert, split), bert(input_ids=tokens).logits, atol=1e-5)


def test_only_padding_after_the_last_token_is_cut():
    assert trim_padding(sentences("right"))["input_ids"].shape == (3, 7)
    assert trim_padding(sentences("left"))["input_ids"].shape == (3, 9)
    assert token_counts(sentences("right")).tolist() == [3, 5, 7]
    assert token_counts(sentences("left")).tolist() == [9, 9, 9]


def test_tensors_of_another_shape_are_not_cut():
    images = torch.randn(3, 20, 20)
    assert trim_padding({**sentences("right"), "pixel_values": images})["pixel_values"] is images


def test_joined_sentences_keep_their_own_padding_token():
    joined = join_inputs([sentences("right", 8), sentences("right", 11)])
    assert joined["input_ids"].shape == joined["attention_mask"].shape == (6, 11)
    assert (joined["input_ids"][joined["attention_mask"] == 0] == PAD).all()


def test_joined_splits_give_the_logits_of_their_parts(bert):
    parts = [split_of(sentences("left", 8)), split_of(sentences("right", 11))]
    expected = torch.cat([training.predict_logits(bert, part) for part in parts])
    assert torch.allclose(training.predict_logits(bert, data.join(parts)), expected, atol=1e-5)


def test_sentences_of_several_lengths_without_a_mask_are_refused():
    tokens = [{"input_ids": torch.ones(2, length, dtype=torch.long)} for length in (4, 6)]
    with pytest.raises(ValueError, match=r"lengths \[4, 6\] need an attention_mask"):
        join_inputs(tokens)
    with pytest.raises(ValueError, match="same names"):
        join_inputs([tokens[0], sentences("right")])


def test_a_model_that_looks_for_its_padding_token_still_finds_the_last_word(tmp_path):
    import transformers

    torch.manual_seed(0)
    config = transformers.GPT2Config(
        vocab_size=50, n_embd=16, n_layer=1, n_head=2, n_positions=16, pad_token_id=PAD, bos_token_id=1, eos_token_id=2
    )
    gpt2 = transformers.GPT2ForSequenceClassification(config).eval()
    inputs = [sentences("right", 8), sentences("right", 11)]
    with torch.no_grad():
        expected = torch.cat([models.forward(gpt2, part) for part in inputs])
        logits = training.predict_logits(gpt2, data.join([split_of(part) for part in inputs]))
    assert torch.allclose(logits, expected, atol=1e-5)
