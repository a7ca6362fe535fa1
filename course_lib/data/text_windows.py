"""Token windows of the shipped sentences, for language models.

A language model is trained and evaluated on windows of consecutive tokens, from the sentences of all three domains.
Every sentence starts with ``<s>``, and each stays in the split that it has in ``data``.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
from torch import Tensor

from course_lib import assets
from course_lib.core.validation import check_choice, check_positive
from course_lib.data.sentiment import SENTIMENT_DOMAINS, sentences
from course_lib.data.splits import SPLIT_NAMES, Split, Splits

WINDOW = 128
START = "<s>"


@cache
def tokenizer() -> Any:
    """The byte-level BPE tokenizer of the tiny Llama, trained on the train splits (Sennrich et al., 2016)."""
    from tokenizers import Tokenizer

    return Tokenizer.from_file(str(assets.path("tiny_llama_tokenizer")))


def token_ids(texts: list[str] | tuple[str, ...], encoder: Any = None) -> Tensor:
    """Token ids of the sentences one after another, each after ``<s>``: int64 ``(T,)``.

    Args:
        encoder: a ``tokenizers.Tokenizer``, or a tokenizer of transformers; the tiny Llama's by default.
    """
    encoder = tokenizer() if encoder is None else encoder
    if hasattr(encoder, "encode_batch"):
        pieces = [[encoder.token_to_id(START), *encoding.ids] for encoding in encoder.encode_batch(list(texts))]
    else:
        first = [encoder.bos_token_id] if encoder.bos_token_id is not None else []
        rows = encoder(list(texts), add_special_tokens=False, return_attention_mask=False)["input_ids"]
        pieces = [[*first, *row] for row in rows]
    return torch.tensor([token for piece in pieces for token in piece], dtype=torch.int64)


def windows(tokens: Tensor, length: int = WINDOW) -> Tensor:
    """Consecutive windows ``(N, length)`` of ``tokens`` ``(T,)``; an incomplete last window is dropped.

    Raises:
        ValueError: if there are fewer than ``length`` tokens.
    """
    check_positive("length", length)
    count = len(tokens) // length
    if count == 0:
        raise ValueError(f"length must be at most the number of tokens, {len(tokens)}; got {length}")
    return tokens[: count * length].reshape(count, length)


def load(length: int = WINDOW, encoder: Any = None) -> Splits:
    """Windows of ``length`` tokens of the shipped sentences, labelled by domain; ``encoder`` as in ``token_ids``."""
    texts = sentences()

    def split(name: str) -> Split:
        parts = [windows(token_ids(texts[domain, name], encoder), length) for domain in SENTIMENT_DOMAINS]
        inputs = torch.cat(parts)
        labels = torch.cat([torch.full((len(part),), label) for label, part in enumerate(parts)])
        tokens = {"input_ids": inputs, "attention_mask": torch.ones_like(inputs)}
        return Split("sentences", name, tokens, labels, SENTIMENT_DOMAINS)

    return Splits(*(split(name) for name in SPLIT_NAMES))


def domain(split: Split, name: str) -> Split:
    """The windows of one domain: ``"movies"``, ``"amazon"`` or ``"tweets"``."""
    rows = split.labels == split.classes.index(check_choice("name", name, split.classes))
    return split.take(rows.nonzero().flatten())
