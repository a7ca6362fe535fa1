"""Training and judging language models: next-token loss, perplexity, greedy completion."""

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
