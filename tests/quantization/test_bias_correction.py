"""Bias correction: the channel means of the unquantized model."""

import torch

from course_lib.quantization import Scheme, correct_bias, fold_batchnorm, quantize_weights


@torch.no_grad()
def test_corrected_biases_restore_the_means(small, split):
    folded = fold_batchnorm(small)
    rough = quantize_weights(folded, Scheme(bits=3, granularity="per_tensor"))
    repaired = correct_bias(rough, folded, split)
    x = split.example(len(split))
    shifts = [(model(x) - folded(x)).mean(dim=0).abs().max() for model in (rough, repaired)]
    assert shifts[1] < 1e-4 < shifts[0]
    assert torch.equal(repaired.conv.weight, rough.conv.weight)
