"""Text for language models: the tokenizer of the tiny Llama, token windows with splits, and perplexity.

A language model is trained and judged on windows of consecutive tokens. The windows are made of the shipped sentences
of all three domains; every sentence starts with ``<s>``, and a sentence's split is the one that it has in ``data``.
"""

from __future__ import annotations

import math
from dataclasses import replace
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from course_lib import assets, data, models
from course_lib.arguments import check_choice, check_positive
from course_lib.data import SENTIMENT_DOMAINS, SPLIT_NAMES, Split, Splits

WINDOW = 128
START = "<s>"


@cache
def tokenizer() -> Any:
    """The byte-level BPE tokenizer of the tiny Llama, trained on the train splits (Sennrich et al., 2016)."""
    from tokenizers import Tokenizer

    return Tokenizer.from_file(str(assets.path("tiny_llama_tokenizer")))


def token_ids(texts: list[str] | tuple[str, ...], encoder: Any = None) -> Tensor:
    """int64 ``(T,)``: the sentences one after another, each after ``<s>``.

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
    """Consecutive windows ``(N, length)`` of ``tokens`` ``(T,)``; what is left over at the end is dropped.

    Raises:
        ValueError: if there are fewer than ``length`` tokens.
    """
    check_positive("length", length)
    count = len(tokens) // length
    if count == 0:
        raise ValueError(f"length must be at most the number of tokens, {len(tokens)}; got {length}")
    return tokens[: count * length].reshape(count, length)


def load(length: int = WINDOW, encoder: Any = None) -> Splits:
    """Token windows of the shipped sentences; ``labels`` say from which domain a window comes.

    Args:
        length: tokens per window.
        encoder: as in ``token_ids``.
    """
    texts = data.sentences()

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
    inputs = {key: value[rows] for key, value in dict(split.inputs).items()}
    return replace(split, inputs=inputs, labels=split.labels[rows])


def next_token_loss(model: nn.Module, inputs: Any, labels: Tensor | None = None) -> Tensor:
    """Mean cross entropy in nats of every token but the first, given those before it; a loss for ``training.fit``.

    ``labels`` is not used: the tokens are their own labels. Windows have no padding, so the mask is left out.
    """
    tokens = inputs["input_ids"]
    logits = models.forward(model, {"input_ids": tokens})[:, :-1].float()
    return F.cross_entropy(logits.flatten(0, 1), tokens[:, 1:].flatten())


@torch.no_grad()
def complete(model: nn.Module, prompt: str, count: int = 12) -> str:
    """``prompt``, and the ``count`` tokens that the tiny Llama finds most likely, one after the other."""
    encoder = tokenizer()
    tokens = token_ids([prompt])
    for _ in range(count):
        following = models.forward(model, {"input_ids": tokens[None]})[0, -1].argmax()
        tokens = torch.cat([tokens, following[None]])
    return encoder.decode(tokens.tolist()).strip()


@torch.no_grad()
def perplexity(model: nn.Module, split: Split, *, batch_size: int = 32) -> float:
    """``exp`` of the mean cross entropy per token, over all windows of ``split``; the model's mode is put back.

    Raises:
        ValueError: if the split is empty.

    Source: Jelinek et al., Perplexity, a measure of the difficulty of speech recognition tasks, 1977.
    """
    if len(split) == 0:
        raise ValueError(f"split {split.name!r} of {split.dataset} is empty; there is nothing to evaluate")
    place, was_training = next(model.parameters()).device, model.training
    model.eval()
    total, count = 0.0, 0
    for inputs, _ in split.batches(batch_size):
        windows_here = models.to_device(inputs, place)
        targets = windows_here["input_ids"][:, 1:].numel()
        total += next_token_loss(model, windows_here).item() * targets
        count += targets
    model.train(was_training)
    return math.exp(total / count)
