"""Decoding with a KV cache: the logits of the model itself, token after token."""

import onnx
import pytest
import torch

from course_lib import models, quantization
from course_lib.deploy import Decoder, decoding_speed, export_decoder
from course_lib.deploy.token_timing import weight_bytes
from course_lib.quantization.weight_only import WeightScheme, round_to_nearest
from tests.deploy.conftest import relative_error

FP32_TOLERANCE = 1e-5  # of the largest logit, accuracy level 0
INT8_TOLERANCE = 5e-2  # accuracy level 4, in a model of two layers with random weights
SHAPE = {
    "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "vocab_size": 200, "max_position_embeddings": 64, "use_cache": False,
}  # fmt: skip
FAMILIES = {
    "llama": {"tie_word_embeddings": True},
    "untied llama": {"model_type": "llama", "tie_word_embeddings": False},
    "qwen2": {"tie_word_embeddings": True},
    "mistral": {"tie_word_embeddings": False, "sliding_window": None},
}


def language_model(kind="llama", **changes):
    torch.manual_seed(0)
    model = models.build(
        {"builder": "causal_lm", "arguments": {"model_type": kind, **SHAPE, **FAMILIES[kind], **changes}}
    )
    for name, parameter in model.named_parameters():
        if name.endswith(("norm.weight", "bias")):
            parameter.data += 0.3 * torch.randn_like(parameter)
        elif parameter.dim() > 1:
            parameter.data *= 4
        parameter.data = parameter.data.half().float()
    return model


def tokens(count=20):
    return torch.randint(1, 200, (count,), generator=torch.Generator().manual_seed(1))


@torch.no_grad()
def eager(model, ids):
    return models.forward(model, {"input_ids": ids[None]})[0]


@torch.no_grad()
def greedy(model, ids, count):
    for _ in range(count):
        ids = torch.cat([ids, eager(model, ids)[-1].argmax()[None]])
    return ids[-count:]


@pytest.fixture
def decoder(tmp_path):
    def make(model, **options):
        return Decoder(export_decoder(model, tmp_path / "model.onnx", **{"length": 48, **options}), threads=1)

    return make


@pytest.mark.parametrize("kind", FAMILIES)
@pytest.mark.parametrize("bits", [None, 4])
def test_logits_are_those_of_the_model_for_all_tokens_at_once_and_one_by_one(decoder, kind, bits):
    model = language_model(kind)
    if bits:
        model = quantization.rtn(model, bits, group_size=16, embedding_bits=4).model
    runtime, ids = decoder(model, accuracy_level=0), tokens()
    expected = eager(model, ids)
    assert relative_error(runtime.logits(ids), expected) < FP32_TOLERANCE
    runtime.reset()
    assert relative_error(torch.cat([runtime.feed(token[None]) for token in ids]), expected) < FP32_TOLERANCE
    runtime.reset()
    parts = torch.cat([runtime.feed(part, all_rows=True) for part in (ids[:9], ids[9:10], ids[10:])])
    assert relative_error(parts, expected) < FP32_TOLERANCE


@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize(("bits", "group"), [(2, 16), (4, 32), (8, 16), (4, None)])
def test_every_group_size_and_zero_points(decoder, bits, group, symmetric):
    model = quantization.rtn(language_model(), bits, group_size=group, symmetric=symmetric).model
    expected = eager(model, tokens())
    assert relative_error(decoder(model, accuracy_level=0).logits(tokens()), expected) < FP32_TOLERANCE
    assert relative_error(decoder(model, accuracy_level=4).logits(tokens()), expected) < INT8_TOLERANCE


def test_layers_with_other_bits_are_not_joined(decoder):
    model = language_model()
    weights = {
        f"model.layers.0.{layer}.weight": round_to_nearest(
            model.get_submodule(f"model.layers.0.{layer}"), WeightScheme(bits, 16)
        )
        for layer, bits in {"self_attn.q_proj": 4, "self_attn.k_proj": 8, "mlp.gate_proj": 4, "mlp.up_proj": 2}.items()
    }
    quantization.set_weights(model, weights)
    assert relative_error(decoder(model, accuracy_level=0).logits(tokens()), eager(model, tokens())) < FP32_TOLERANCE


def test_scales_of_awq_are_exported(decoder):
    from tests.quantization.small_transformers import tokens as windows

    model = quantization.awq(language_model(), windows(), 4, group_size=16, fold=False).model
    assert relative_error(decoder(model, accuracy_level=0).logits(tokens()), eager(model, tokens())) < FP32_TOLERANCE


def test_greedy_completion_is_that_of_the_model(decoder):
    model = quantization.rtn(language_model(), 4, group_size=16).model
    runtime = decoder(model, accuracy_level=0)
    completion = runtime.complete(tokens(5), 12)
    assert torch.equal(completion.tokens, greedy(model, tokens(5), 12))
    assert len(completion.following_ms) == 11 and completion.first_ms > 0 and completion.tokens_per_second > 0
    assert torch.equal(runtime.complete(tokens(5), 12).tokens, completion.tokens)


def test_a_tied_matrix_is_stored_once(tmp_path):
    sizes = {}
    for kind in ("llama", "untied llama"):
        for bits in (None, 4, 8):
            model = quantization.rtn(language_model(kind), 4, group_size=16, embedding_bits=bits).model
            file = export_decoder(model, tmp_path / "model.onnx", length=48)
            shapes = [tuple(it.dims) for it in onnx.load(file).graph.initializer]
            sizes[kind, bits] = sum(200 in shape and max(shape) * min(shape) >= 200 * 32 for shape in shapes)
    assert all(sizes["untied llama", bits] == 2 * sizes["llama", bits] for bits in (None, 4, 8))


def test_weights_can_lie_beside_the_file(tmp_path):
    model = quantization.rtn(language_model(), 4, group_size=16).model
    file = export_decoder(model, tmp_path / "model.onnx", length=48, beside=True, accuracy_level=0)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.onnx", "model.onnx.data"]
    assert relative_error(Decoder(file, 1).logits(tokens()), eager(model, tokens())) < FP32_TOLERANCE


def test_the_cache_ends_where_its_length_says(decoder):
    runtime = decoder(language_model(), length=16)
    assert runtime.length == 16
    runtime.feed(tokens(15))
    with pytest.raises(ValueError, match=r"must hold 1 to 1 entries \(the cache takes 16, 15 are used\), got 2"):
        runtime.feed(tokens(2))
    runtime.feed(tokens(1))
    with pytest.raises(ValueError, match="got 0"):
        runtime.feed(tokens(0))
    assert len(runtime.logits(tokens(16))) == 16


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"hidden_act": "gelu"}, "hidden_act 'gelu'"),
        ({"kind": "mistral", "sliding_window": 8}, "attention to the last 8 of 48 tokens"),
        ({"rope_parameters": {"rope_type": "dynamic", "rope_theta": 10000.0, "factor": 2.0}}, "rope_type 'dynamic'"),
    ],
)
def test_a_model_that_the_graph_cannot_hold_is_refused(tmp_path, changes, message):
    with pytest.raises(ValueError, match=message):
        export_decoder(language_model(**changes), tmp_path / "model.onnx", length=48)
    assert list(tmp_path.iterdir()) == []


def test_bad_arguments_are_refused(tmp_path):
    from tests.quantization.small_transformers import small

    with pytest.raises(ValueError, match=r"must be a causal language model of llama, mistral, qwen2; got 'gpt2'"):
        export_decoder(small("gpt2"), tmp_path / "model.onnx")
    with pytest.raises(ValueError, match="length must be at most 64, the positions of the model; got 65"):
        export_decoder(language_model(), tmp_path / "model.onnx", length=65)
    with pytest.raises(ValueError, match="accuracy_level must be one of 0, 4"):
        export_decoder(language_model(), tmp_path / "model.onnx", accuracy_level=1, length=48)
    three = quantization.rtn(language_model(), 3, group_size=16).model
    with pytest.raises(ValueError, match="has 3 bits; MatMulNBits takes 2, 4 or 8"):
        export_decoder(three, tmp_path / "model.onnx", length=48)


def test_speeds_are_medians_and_count_the_bytes_that_a_token_reads(tmp_path):
    files = {}
    for bits in (4, 8):
        model = quantization.rtn(language_model(), bits, group_size=16, embedding_bits=4).model
        files[bits] = export_decoder(model, tmp_path / f"{bits}.onnx", length=48)
    speeds = decoding_speed({str(bits): Decoder(file, 1) for bits, file in files.items()}, tokens(4), 6, rounds=2)
    assert [speed.tokens for speed in speeds.values()] == [10, 10]
    for bits, speed in zip(files, speeds.values(), strict=True):
        head, blocks = 200 * 64, 2 * (64 * 64 * 2 + 64 * 32 * 2 + 3 * 64 * 96)
        least = sum(count * (size / 8 + (2 + size / 8) / 16) for count, size in ((head, 4), (blocks, bits)))
        assert least <= speed.bytes_per_token <= least + 5 * 64 * 4 + 600
        assert speed.token_ms <= speed.token_p95_ms
        assert speed.bandwidth_gbs == pytest.approx(speed.bytes_per_token / speed.token_ms / 1e6)
    with pytest.raises(ValueError, match="count must be at least 2"):
        decoding_speed({}, tokens(4), 1)


def test_an_embedding_of_its_own_is_not_read_as_a_whole(tmp_path):
    counted = {}
    for kind in ("llama", "untied llama"):
        counted[kind] = weight_bytes(export_decoder(language_model(kind), tmp_path / "model.onnx", length=48))
    assert abs(counted["llama"] - counted["untied llama"]) < 100
