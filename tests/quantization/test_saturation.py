"""Pairs of products in 16 bits, emulated: against the definition, and in a whole model."""

import torch

from course_lib.quantization import Scheme, post_training_quantization, saturating_layers, saturating_sums, sqnr_db


def random_integers(seed=0, rows=50, width=7, channels=5):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randint(256, (rows, width), generator=generator).to(torch.uint8)
    return x, torch.randint(-128, 128, (channels, width), generator=generator).to(torch.int8)


def test_pairs_of_large_products_saturate_and_seven_bits_do_not():
    x = torch.full((1, 4), 255, dtype=torch.uint8)
    weight = torch.full((1, 4), 127, dtype=torch.int8)
    assert saturating_sums(x, weight).item() == 2 * 32767  # the exact sum is 4 * 255 * 127
    assert saturating_sums(x, weight // 2).item() == 4 * 255 * 63
    generator = torch.Generator().manual_seed(0)
    x = torch.randint(256, (150, 7), generator=generator).to(torch.uint8)
    weight = torch.randint(-64, 64, (5, 7), generator=generator).to(torch.int8)
    assert torch.equal(saturating_sums(x, weight), x.int() @ weight.int().T)


def test_sums_are_those_of_the_definition():
    x, weight = random_integers()
    for row, values in zip(x.int().tolist(), saturating_sums(x, weight).tolist(), strict=True):
        for factors, value in zip(weight.int().tolist(), values, strict=True):
            products = [a * b for a, b in zip(row, factors, strict=True)] + [0]
            pairs = [products[i] + products[i + 1] for i in range(0, 8, 2)]
            assert value == sum(max(-32768, min(32767, pair)) for pair in pairs)


@torch.no_grad()
def test_a_model_whose_weights_have_seven_bits_does_not_notice(small, split):
    x = split.example(16)
    reduced = post_training_quantization(small, split, weights=Scheme(bits=7)).model
    plain = reduced(x)
    with saturating_layers(reduced):
        assert sqnr_db(plain, reduced(x)) > 80
    assert torch.equal(reduced(x), plain)


@torch.no_grad()
def test_with_eight_bits_large_pairs_are_lost(small, split):
    full = post_training_quantization(small, split).model
    full.get_parameter("block.conv1.weight")
    x = torch.ones(4, 3, 12, 12)
    plain = full(x)
    with saturating_layers(full):
        assert sqnr_db(plain, full(x)) < 60
