"""A header whose architecture does not fit the stored tensors is refused before memory is used."""

import pytest
import torch

from course_lib import storage
from tests.storage.models_and_forgeries import BERT, RESNET, forge, set_in


def grow_argument(header, parts):
    header["architecture"]["arguments"]["sizes"] = [40, 2**40, 10]


def wide_layer(header, parts):
    header["architecture"]["arguments"]["sizes"] = [40, 2**19, 2**19, 10]


def extra_record(header, parts):
    header["tensors"]["surprise"] = {"encoding": "dense", "dtype": "fp32", "shape": [2]}
    parts["surprise"] = torch.ones(2)


def missing_record(header, parts):
    del header["tensors"]["1.bias"], parts["1.bias"]


def deep_bert(header, parts):
    header["architecture"] = {"builder": "bert", "arguments": {**BERT["arguments"], "num_hidden_layers": 2**19}}


def endless_bert(header, parts):
    header["architecture"] = {"builder": "bert", "arguments": {**BERT["arguments"], "num_labels": 2**40}}


def code_from_the_hub(header, parts):
    header["architecture"] = {"builder": "bert", "arguments": {**BERT["arguments"], "attn_implementation": "some/repo"}}


def code_by_another_name(header, parts):
    arguments = {**BERT["arguments"], "_attn_implementation_internal": "some/repo"}
    header["architecture"] = {"builder": "bert", "arguments": arguments}


FORGERIES = {
    "an unknown builder": (set_in("architecture", "builder", value="os.system"), "builder must be one of"),
    "a builder that is not a name": (set_in("architecture", "builder", value=["mlp"]), "builder must be one of"),
    "arguments that are not a dict": (set_in("architecture", "arguments", value=[1]), "architecture is not"),
    "no architecture": (set_in("architecture", value=None), "architecture is not"),
    "unknown arguments": (set_in("architecture", "arguments", "depth", value=3), "cannot be built"),
    "a negative width": (set_in("architecture", "arguments", "sizes", value=[40, -30, 10]), "cannot be built"),
    "an argument beyond all that is stored": (grow_argument, "larger than anything that is stored"),
    "a layer that would take a terabyte": (wide_layer, "misses 2 tensors"),
    "half a million layers": (deep_bert, "far more than tensors are stored"),
    "a class for every atom": (endless_bert, "larger than anything that is stored"),
    "code from a model hub": (code_from_the_hub, "attn_implementation must be one of 'eager', 'sdpa'"),
    "code from a model hub by a private name": (code_by_another_name, "config must be one of"),
    "another architecture": (set_in("architecture", value=RESNET), "misses 122 tensors"),
    "other widths": (set_in("architecture", "arguments", "sizes", value=[40, 20, 10]), r"the architecture has \(20"),
    "a tensor that the model has not": (extra_record, "unexpected 1 tensors of this architecture"),
    "a missing tensor": (missing_record, "misses 1 tensors of this architecture, for example '1.bias'"),
}


@pytest.mark.parametrize("forgery", FORGERIES)
def test_a_forged_architecture_is_refused_in_one_line(stored_mlp, forgery):
    change, message = FORGERIES[forgery]
    with pytest.raises(storage.FormatError, match=message) as caught:
        storage.load(forge(stored_mlp, change))
    assert "\n" not in str(caught.value)
