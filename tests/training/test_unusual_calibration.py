"""Sequential calibration of models that are no simple chain of blocks; inputs that hardly vary."""

import pytest
import torch
import transformers
from torch import nn

from course_lib import models
from course_lib.models.hooks import forward_pre_hooks
from course_lib.quantization import awq, gptq, rtn, smoothquant
from course_lib.training.input_statistics import LayerInputs, inverse_factor
from course_lib.training.sequential_calibration import blocks, calibration_batches, layer_inputs, linear_layers, walk
from tests.unusual_models import ByKeyword, WithAttention, image_split, tiny_causal_lm, token_split


@pytest.fixture
def albert():
    torch.manual_seed(0)
    config = transformers.AlbertConfig(
        vocab_size=64, embedding_size=16, hidden_size=32, num_hidden_layers=4, num_attention_heads=2,
        intermediate_size=64, max_position_embeddings=32, pad_token_id=1,
    )  # fmt: skip
    return transformers.AlbertForSequenceClassification(config).eval()


@pytest.fixture
def bart():
    torch.manual_seed(0)
    config = transformers.BartConfig(
        vocab_size=64, d_model=32, encoder_layers=2, decoder_layers=1, encoder_attention_heads=2,
        decoder_attention_heads=2, encoder_ffn_dim=64, decoder_ffn_dim=64, max_position_embeddings=32, pad_token_id=1,
        eos_token_id=2, bos_token_id=0, num_labels=2,
    )  # fmt: skip
    return transformers.BartForSequenceClassification(config).eval()


class Branches(nn.Module):
    """Two lists of blocks within a list; the output of a block is scaled before the next one sees it."""

    def __init__(self) -> None:
        super().__init__()
        block = [nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 8)) for _ in range(4)]
        self.branches = nn.ModuleList([nn.ModuleList(block[:2]), nn.ModuleList(block[2:])])
        self.head = nn.Linear(8, 2)

    def forward(self, x):
        x = x.flatten(1)[:, :8]
        return self.head(sum(second(0.5 * first(x)) for first, second in self.branches))


class Scaled(nn.Module):
    """A list of blocks whose outputs are scaled on the way to the next block."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 8)) for _ in range(2))

    def forward(self, x):
        x = x.flatten(1)[:, :8]
        for layer in self.layers:
            x = 2 * layer(x)
        return x


def recorded_inputs(model, split):
    """Layer → all rows that it is called with, without padding, found with plain hooks."""
    rows = {name: [] for name in linear_layers(model)}
    mask = None

    def recorder(name):
        def hook(_, args, kwargs):
            values = (args[0] if args else kwargs["input"]).detach().flatten(0, -2)
            padded = mask is not None and mask.numel() == len(values)
            rows[name].append(values[mask.flatten().bool()] if padded else values)

        return hook

    hooks = {name: recorder(name) for name in rows}
    with torch.no_grad(), forward_pre_hooks(model, hooks, with_kwargs=True):
        for batch in calibration_batches(split):
            mask = batch.get("attention_mask") if isinstance(batch, dict) else None
            models.call(model, batch)
    return {name: torch.cat(parts) for name, parts in rows.items()}


def check_statistics(model, split):
    found, expected = layer_inputs(model, split), recorded_inputs(model, split)
    assert found.keys() == expected.keys()
    for name, inputs in found.items():
        rows = expected[name]
        assert inputs.count == len(rows), name
        assert torch.allclose(inputs.hessian, rows.T @ rows, rtol=1e-3, atol=1e-3), name
        assert torch.allclose(inputs.mean, rows.mean(dim=0), atol=1e-5), name


def test_a_block_that_is_called_four_times_is_seen_four_times(albert):
    check_statistics(albert, token_split())
    counts = {inputs.count for inputs in layer_inputs(albert, token_split()).values()}
    assert counts == {4 * int(token_split().inputs["attention_mask"].sum())}


def test_both_sides_of_an_encoder_decoder_are_calibrated(bart):
    split = token_split()
    split.inputs["input_ids"][:, 5] = 2
    names = linear_layers(bart)
    assert (
        sum("encoder.layers" in name for name in names) == 12 and sum("decoder.layers" in name for name in names) == 10
    )
    found = layer_inputs(bart, split)
    assert found.keys() == names.keys() and all(inputs.count for inputs in found.values())


@pytest.mark.parametrize("method", [rtn, gptq, awq])
def test_both_sides_of_an_encoder_decoder_get_four_bits(bart, method):
    split = token_split()
    split.inputs["input_ids"][:, 5] = 2
    result = rtn(bart, 4, group_size=16) if method is rtn else method(bart, split, 4, group_size=16)
    assert (result.report.bits == 4).all() and len(result.report) == 22


@pytest.mark.parametrize("make", [Branches, Scaled, ByKeyword])
def test_models_that_are_no_chain_of_blocks_are_run_as_a_whole(make):
    torch.manual_seed(0)
    model = make().eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    check_statistics(model, image_split())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_a_list_within_a_list_has_no_blocks_of_its_own():
    assert list(blocks(Branches())) == [""]
    assert list(blocks(Scaled())) == ["layers.0", "layers.1"]
    assert len(linear_layers(Branches())) == 8  # without the head


def test_later_stages_see_what_earlier_ones_were_changed_to(albert):
    def zero(stage, inputs):
        if not seen:
            for layer in stage.layers.values():
                layer.weight.data.zero_()
                layer.bias.data.zero_()
        seen.append(inputs.max_abs.max().item())

    seen: list[float] = []
    walk(albert, calibration_batches(token_split()), zero)
    assert seen[0] > 0 and seen[1] == 0  # values of attention are zero, and so is the input of its output layer


@pytest.mark.parametrize("method", [gptq, awq, smoothquant])
def test_weights_that_no_layer_holds_are_refused_by_name(method, monkeypatch):
    monkeypatch.setitem(models.BUILDERS, "with_attention", WithAttention)
    model = models.build({"builder": "with_attention", "arguments": {}})
    with pytest.raises(ValueError, match=r"cannot reach 'attention\.in_proj_weight'.*rtn"):
        method(model, image_split(), **({} if method is smoothquant else {"group_size": 4}))


@pytest.mark.parametrize("offset", [10.0, 1000.0, 1e5])
def test_the_scatter_of_inputs_that_hardly_vary_is_exact(offset):
    rows = torch.randn(500, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64) + offset
    inputs = LayerInputs.empty(6)
    for part in rows.float().split(77):
        inputs.add(part)
    exact = rows.float().double() - rows.float().double().mean(dim=0)
    assert torch.allclose(inputs.centred().hessian.double(), exact.T @ exact, rtol=1e-3, atol=0.05 + offset**2 * 1e-9)
    inverse_factor(inputs.centred().hessian)


def test_constant_inputs_have_no_scatter():
    inputs = LayerInputs.empty(3)
    for _ in range(5):
        inputs.add(torch.full((20, 3), 0.1))
    inverse_factor(inputs.centred().hessian)
    assert inputs.centred().hessian.abs().max() < 1e-9


@pytest.mark.parametrize("pre_norm", [True, False])
def test_gptq_quantizes_layers_whose_inputs_hardly_vary(pre_norm):
    model = tiny_causal_lm("opt", do_layer_norm_before=pre_norm)
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.LayerNorm):
                module.weight.mul_(1e-3)
                module.bias.add_(1.0)
    result = gptq(model, token_split(), 4, group_size=16)
    assert len(result.report) == 12 and result.report.output_error.max() < 0.1


def test_a_nan_in_the_inputs_names_the_layer():
    model = tiny_causal_lm("llama")
    with torch.no_grad():
        model.model.embed_tokens.weight[5] = float("nan")
    tokens = token_split()
    tokens.inputs["input_ids"][0, 0] = 5
    with pytest.raises(ValueError, match=r"input of layer 'model\.layers\.0\.self_attn\.q_proj': .*finite"):
        layer_inputs(model, tokens)
