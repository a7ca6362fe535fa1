"""Small models to store, and stored files with a changed header or changed parts."""

import json
import struct

import torch
from safetensors.torch import load as read_safetensors
from safetensors.torch import save as write_safetensors

from course_lib import models, storage
from course_lib.storage import container

PACKED = "1.weight"
MLP = {"builder": "mlp", "arguments": {"sizes": [6, 5, 3]}}
RESNET = {"builder": "resnet18", "arguments": {"num_classes": 10}}
BERT = {
    "builder": "bert",
    "arguments": {
        "vocab_size": 50, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2,
        "intermediate_size": 32, "max_position_embeddings": 12,
    },
}  # fmt: skip


def sparse_mlp(sparsity=0.9, sizes=(40, 30, 10)):
    torch.manual_seed(0)
    model = models.build({"builder": "mlp", "arguments": {"sizes": list(sizes)}})
    with torch.no_grad():
        for layer in models.prunable_layers(model).values():
            layer.weight.mul_(torch.rand_like(layer.weight) >= sparsity)
    return model


def packed_mlp(sizes=(40, 30, 10), bits=4, double=False):
    """Its first weight is stored as ``packed``, or as ``codebook`` with packed scales if ``double``."""
    torch.manual_seed(0)
    model = models.build({"builder": "mlp", "arguments": {"sizes": list(sizes)}})
    codes = torch.randint(2**bits, (sizes[1], sizes[0])).to(torch.uint8)
    if double:
        scales = storage.encode_packed(
            torch.randint(256, (60,)).to(torch.uint8), torch.rand(3) + 0.1, torch.zeros(3, dtype=torch.uint8),
            bits=8, group=20,
        )  # fmt: skip
        encoded = storage.encode_codebook(codes, torch.randn(2**bits), scales, bits=bits, group=20)
    else:
        zeros = torch.randint(2**bits, (60,)).to(torch.uint8)
        encoded = storage.encode_packed(codes, torch.rand(60) + 0.1, zeros, bits=bits, group=20)
    with torch.no_grad():
        model.get_parameter(PACKED).copy_(storage.decode(encoded))
    storage.set_encodings(model, {PACKED: encoded})
    return model


def forge(stored, change):
    """A copy of the stored file after ``change(header, parts)``."""
    content = stored.read_bytes()
    (size,) = struct.unpack("<Q", content[:8])
    header = json.loads(json.loads(content[8 : 8 + size])["__metadata__"][container.HEADER_KEY])
    parts = read_safetensors(content)
    change(header, parts)
    forged = stored.with_name("forged.safetensors")
    forged.write_bytes(write_safetensors(parts, {container.HEADER_KEY: json.dumps(header)}))
    return forged


def set_in(*path, value):
    def change(header, parts):
        target = header
        for key in path[:-1]:
            target = target[key]
        target[path[-1]] = value

    return change
