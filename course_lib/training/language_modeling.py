"""Language modeling: next-token loss, perplexity, greedy completion."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from course_lib import models
from course_lib.data import Split
from course_lib.data.text_windows import token_ids, tokenizer


def next_token_loss(model: nn.Module, inputs: Any, labels: Tensor | None = None) -> Tensor:
    """Mean cross entropy in nats of every token but the first, given the tokens before it; a loss for ``training.fit``.

    ``labels`` is not used: the tokens are the labels. Windows have no padding, so no attention mask is needed.
    """
    tokens = inputs["input_ids"]
    logits = models.forward(model, {"input_ids": tokens})[:, :-1].float()
    return F.cross_entropy(logits.flatten(0, 1), tokens[:, 1:].flatten())


@torch.no_grad()
def complete(model: nn.Module, prompt: str, count: int = 12) -> str:
    """``prompt`` followed by ``count`` tokens: greedy decoding with the tiny Llama's tokenizer."""
    encoder = tokenizer()
    tokens = token_ids([prompt])
    with models.evaluating(model):
        for _ in range(count):
            next_token = models.forward(model, {"input_ids": tokens[None]})[0, -1].argmax()
            tokens = torch.cat([tokens, next_token[None]])
    return encoder.decode(tokens.tolist()).strip()


@torch.no_grad()
def perplexity(model: nn.Module, split: Split, *, batch_size: int = 32) -> float:
    """``exp`` of the mean cross entropy per token, over all windows of ``split``, in eval mode.

    Raises:
        ValueError: if the split is empty.

    Source: Jelinek et al., Perplexity, a measure of the difficulty of speech recognition tasks, 1977.
    """
    if len(split) == 0:
        raise ValueError(f"split {split.name!r} of {split.dataset} is empty; there is nothing to evaluate")
    device = next(model.parameters()).device
    total, count = 0.0, 0
    with models.evaluating(model):
        for inputs, _ in split.batches(batch_size):
            windows = models.to_device(inputs, device)
            targets = windows["input_ids"][:, 1:].numel()
            total += next_token_loss(model, windows).item() * targets
            count += targets
    return math.exp(total / count)
