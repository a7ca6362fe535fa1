"""Packed weights in blocks: the bytes of the file, the values of the decoded matrix, and what the kernel refuses."""

import numpy
import pytest
import torch

from course_lib import quantization, storage
from course_lib.deploy import block_weight, packed_matrices
from course_lib.deploy.block_weights import join_rows
from course_lib.quantization.weight_only import WeightScheme, round_to_nearest
from course_lib.storage.packed import unpack_codes
from tests.deploy.conftest import GROUPS, packed
from tests.quantization.small_transformers import small
from tests.toys import small_convolutional


def values(weight):
    """The values that MatMulNBits computes with, as its documentation describes the layout."""
    outputs, inputs, bits = weight.outputs, weight.inputs, weight.bits
    codes = unpack_codes(weight.codes.flatten(), bits, outputs * inputs).view(outputs, -1, weight.block_size).float()
    blocks = codes.shape[1]
    zeros = torch.full((outputs, blocks), 2.0 ** (bits - 1))
    if weight.zero_points is not None:
        per_row = weight.zero_points.shape[1] * 8 // bits
        zeros = (
            unpack_codes(weight.zero_points.flatten(), bits, outputs * per_row).view(outputs, -1)[:, :blocks].float()
        )
    return ((codes - zeros[..., None]) * weight.scales.float()[..., None]).view(outputs, inputs)


@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("group", GROUPS)
@pytest.mark.parametrize("bits", [2, 4, 8])
def test_codes_are_the_bytes_of_the_file_and_give_the_decoded_values(bits, group, symmetric):
    encoded = packed(bits, group, symmetric)
    weight = block_weight("w", encoded)
    assert (weight.outputs, weight.inputs, weight.block_size) == (24, 512, group)
    assert weight.codes.numpy().tobytes() == encoded.parts["codes"].numpy().tobytes()
    assert torch.equal(weight.scales.flatten(), encoded.parts["scales"]) and weight.scales.dtype == torch.float16
    assert torch.equal(values(weight), storage.decode(encoded))
    assert weight.bytes >= encoded.bytes


@pytest.mark.parametrize(
    ("granularity", "inputs", "block"), [("per_channel", 96, 32), ("per_channel", 512, 256), ("per_tensor", 48, 16)]
)
def test_a_long_group_gives_its_scale_to_several_blocks(granularity, inputs, block):
    encoded = packed(8, None, True, (6, inputs), granularity)
    weight = block_weight("w", encoded)
    assert weight.block_size == block and weight.scales.shape == (6, inputs // block)
    assert torch.equal(values(weight), storage.decode(encoded))


def test_a_row_of_zero_points_starts_at_a_new_byte():
    encoded = packed(2, 16, False, (5, 48))  # 3 blocks: 6 bits of zero-points
    weight = block_weight("w", encoded)
    assert weight.zero_points.shape == (5, 1) and torch.equal(values(weight), storage.decode(encoded))


def test_a_transposed_layer_is_read_along_its_inputs():
    layer = small("gpt2").transformer.h[0].mlp.c_fc
    encoded = round_to_nearest(layer, WeightScheme(4, 16))
    assert encoded.shape == (32, 128)
    weight = block_weight("w", encoded)
    assert (weight.outputs, weight.inputs) == (128, 32)
    assert torch.equal(values(weight), storage.decode(encoded).T)


@pytest.mark.parametrize(
    ("encoded", "message"),
    [
        (packed(3, 16), r"weight 'w' has 3 bits; MatMulNBits takes 2, 4 or 8"),
        (packed(4, 8), r"weight 'w' has groups of 8 of its 512 inputs; .* must be multiples of 16"),
        (packed(4, 24, shape=(4, 48)), r"groups of 24 of its 48 inputs"),
        (packed(4, None, False, (4, 100), "per_channel"), r"groups of 100 of its 100 inputs"),
        (
            storage.encode_columns(packed(4, 16), kept=torch.ones(24, 1), kept_index=torch.tensor([3])),
            "weight 'w' has kept columns",
        ),
        (
            storage.encode_codebook(torch.zeros(4, 16, dtype=torch.uint8), torch.ones(2), bits=1),
            "weight 'w' has encoding 'codebook'",
        ),
    ],
)
def test_what_the_kernel_does_not_take_is_refused_by_name(encoded, message):
    with pytest.raises(ValueError, match=message):
        block_weight("w", encoded)


def test_weights_with_one_input_are_joined_and_others_are_not():
    one, other = (block_weight("w", packed(4, 16, seed=seed)) for seed in (0, 1))
    assert torch.equal(values(join_rows([one, other])), torch.cat([values(one), values(other)]))
    for different in (packed(4, 32), packed(8, 16), packed(4, 16, True)):
        assert join_rows([one, block_weight("w", different)]) is None
    divided = storage.encode_columns(packed(4, 16), divisor=torch.full((512,), 2.0))
    assert join_rows([one, block_weight("w", divided)]) is None
    assert join_rows([block_weight("w", divided)] * 2).divisor is not None


def test_only_packed_matrices_with_the_values_of_the_model_are_exported():
    with pytest.raises(ValueError, match="has no packed weights; quantize it first"):
        packed_matrices(small("bert"))
    convolution = small_convolutional()
    weight = convolution.conv.weight.detach()
    quantized = quantization.quantize_tensor(weight, quantization.weight_params(weight, 8))
    quantization.set_weights(convolution, {"conv.weight": quantized})
    with pytest.raises(ValueError, match=r"'conv.weight' has shape \(8, 3, 3, 3\).*needs quantization.deploy_static"):
        packed_matrices(convolution)
    changed = quantization.rtn(small("bert"), 4, group_size=16).model
    assert len(packed_matrices(changed)) == 14
    with torch.no_grad():
        changed.bert.encoder.layer[0].output.dense.weight[0, 0] += 1
    with pytest.raises(ValueError, match="holds other values than the model"):
        packed_matrices(changed)


def test_bytes_count_every_part():
    weight = block_weight("w", storage.encode_columns(packed(4, 16), divisor=torch.full((512,), 2.0)))
    assert weight.bytes == 24 * 256 + 24 * 32 * 2 + 24 * 16 + 512 * 2
    assert weight.codes.numpy().dtype == numpy.uint8
