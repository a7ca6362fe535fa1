"""Damaged and hostile entropy-coded files: each is refused with one line or loads other values, in bounded time.

Small models, one for each encoding and coder, are saved and then changed with a fixed seed: bytes flipped, runs
overwritten, files cut or made longer, streams replaced by noise, values of the header replaced. In most cases the
checksum is made right again, so that the decoders see the damage; without that, the checksum must notice all of it.
"""

from __future__ import annotations

import json
import random
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from common import Results, Row, parser
from safetensors.torch import save as safetensors_bytes
from torch import nn

from course_lib import models, storage
from course_lib.core import memory
from course_lib.storage import coded_file, coded_header
from course_lib.storage.encodings import encode_bitmask

SEED = 0
SIZES = [24, 16, 10]
WEIGHT = "1.weight"
CHECKSUM, START = coded_file.CHECKSUM_BYTES, coded_file.CHECKSUM_BYTES + coded_file.SIZE_BYTES
HOSTILE = (None, True, -1, 0, 1.5, 2**31, 2**63, "", "shared", "int64", [], {}, [["fp16", 2**30]])
Change = Callable[[bytearray, random.Random], bytes]


def main() -> None:
    """Print the outcomes for each encoding and coder, and write the results."""
    arguments = parser(__doc__, "10 mutations of each file")
    arguments.add_argument("--mutations", type=int, default=1000, help="of each of the ten files")
    chosen = arguments.parse_args()
    results = Results(__doc__, chosen)
    mutations = 10 if chosen.quick else chosen.mutations
    with tempfile.TemporaryDirectory() as folder:
        rows = [
            damage(name, coder, Path(folder), mutations) for name in encodings() for coder in ("arithmetic", "huffman")
        ]
    results.table("damage", rows)
    results.table("summary", [summary(rows)])
    results.save()


def encodings() -> dict[str, storage.Encoded]:
    """One encoded weight matrix [16, 24] of each kind."""
    torch.manual_seed(SEED)
    codes = torch.randint(16, (SIZES[1], SIZES[0])).to(torch.uint8)
    zeros = torch.randint(16, (32,)).to(torch.uint8)
    packed = storage.encode_packed(codes, torch.rand(32) + 0.1, zeros, bits=4, group=12)
    levels = torch.randint(-300, 301, (SIZES[1], SIZES[0]))
    return {
        "uniform": storage.encode_uniform(levels, torch.rand(SIZES[1]).half() + 0.1),
        "packed": packed,
        "packed_columns": storage.encode_columns(packed, kept=torch.ones(16, 2), kept_index=torch.tensor([1, 7])),
        "codebook": storage.encode_codebook(codes, torch.randn(16), torch.rand(32) + 0.1, bits=4, group=12),
        "bitmask": encode_bitmask(torch.randn(SIZES[1], SIZES[0]).relu()),
    }


def damage(name: str, coder: str, folder: Path, mutations: int) -> Row:
    """Change the file of one encoding and coder ``mutations`` times, and count what loading it does."""
    path = storage.save(coded_model(encodings()[name]), folder / "good.safetensors", coder=coder)
    content = path.read_bytes()
    payload = content[8 + int.from_bytes(content[:8], "little") :]
    shapes = {key: tuple(value.shape) for key, value in storage.load(path).state_dict().items()}
    generator, outcomes, seconds = random.Random(f"{SEED} {name} {coder}"), [], []
    memory.reset_peak()
    before = memory.peak_bytes()
    for number in range(mutations):
        change, kept_checksum = CHANGES[number % len(CHANGES)], number % 5 == 0
        changed = change(bytearray(payload), generator)
        if changed == payload:
            continue
        bad = write(folder / "bad.safetensors", changed, None if kept_checksum else shapes)
        start = time.process_time()
        outcomes.append((outcome(bad), kept_checksum))
        seconds.append(time.process_time() - start)
    kinds = [kind for kind, _ in outcomes]
    return {
        "encoding": name, "coder": coder, "mutations": len(outcomes),
        "refused": kinds.count("refused"), "loaded": kinds.count("loaded"),
        "other_errors": sorted({kind for kind in kinds if kind not in ("refused", "loaded")}),
        "loaded_against_checksum": outcomes.count(("loaded", True)),
        "longest_s": max(seconds), "memory_mb": (memory.peak_bytes() - before) / 1e6,
    }  # fmt: skip


def coded_model(encoded: storage.Encoded) -> nn.Module:
    """A small model whose first weight is stored so."""
    torch.manual_seed(SEED)
    model = models.build({"builder": "mlp", "arguments": {"sizes": SIZES}})
    model.get_parameter(WEIGHT).data = storage.decode(encoded)
    if encoded.encoding != "bitmask":
        storage.set_encodings(model, {WEIGHT: encoded})
    return model


def write(path: Path, payload: bytes, shapes: Any) -> Path:
    """A coded file with this payload; with ``shapes`` its checksum is right."""
    if shapes is not None:
        payload = coded_file.checksum_of(payload[CHECKSUM:], shapes).to_bytes(CHECKSUM, "little") + payload[CHECKSUM:]
    tensor = torch.frombuffer(bytearray(payload), dtype=torch.uint8) if payload else torch.zeros(0, dtype=torch.uint8)
    path.write_bytes(safetensors_bytes({coded_file.CODED_KEY: tensor}))
    return path


def outcome(path: Path) -> str:
    """``loaded``, ``refused`` (in one line), or the name of another error."""
    try:
        storage.load(path)
    except storage.FormatError as error:
        return "refused" if "\n" not in str(error) else "an error of several lines"
    except BaseException as error:  # also a panic of the coder's native code
        return type(error).__name__
    return "loaded"


def flip(payload: bytearray, generator: random.Random) -> bytes:
    """One byte changed."""
    payload[generator.randrange(len(payload))] ^= generator.randrange(1, 256)
    return bytes(payload)


def overwrite(payload: bytearray, generator: random.Random) -> bytes:
    """A run of noise, zeros or ones."""
    start = generator.randrange(len(payload))
    size = min(generator.randrange(1, 64), len(payload) - start)
    payload[start : start + size] = generator.choice((generator.randbytes(size), bytes(size), b"\xff" * size))
    return bytes(payload)


def cut(payload: bytearray, generator: random.Random) -> bytes:
    """The beginning only."""
    return bytes(payload[: generator.randrange(len(payload))])


def extend(payload: bytearray, generator: random.Random) -> bytes:
    """More bytes, at the end or within."""
    start = generator.choice((len(payload), generator.randrange(len(payload))))
    return bytes(payload[:start] + generator.randbytes(4 * generator.randrange(1, 9)) + payload[start:])


def noise(payload: bytearray, generator: random.Random) -> bytes:
    """The stream replaced by noise of any length."""
    start = START + int.from_bytes(payload[CHECKSUM:START], "little")
    return bytes(payload[:start]) + generator.randbytes(4 * generator.randrange(300))


def forge(payload: bytearray, generator: random.Random) -> bytes:
    """A value of the header replaced by a hostile one."""
    start = START + int.from_bytes(payload[CHECKSUM:START], "little")
    header = json.loads(json.dumps(coded_header.inflate(bytes(payload[START:start]))))
    target, key = header, generator.choice(list(header))
    while isinstance(target[key], dict | list) and target[key] and generator.random() < 0.85:
        target = target[key]
        key = generator.choice(list(target)) if isinstance(target, dict) else generator.randrange(len(target))
    target[key] = generator.choice(HOSTILE)
    text = coded_header.deflate(header)
    return bytes(CHECKSUM) + len(text).to_bytes(coded_file.SIZE_BYTES, "little") + text + bytes(payload[start:])


CHANGES: tuple[Change, ...] = (flip, overwrite, cut, extend, noise, forge, forge)


def summary(rows: list[Row]) -> Row:
    """All files together."""
    return {
        "mutations": sum(row["mutations"] for row in rows),
        "refused": sum(row["refused"] for row in rows),
        "loaded": sum(row["loaded"] for row in rows),
        "other_errors": sum(len(row["other_errors"]) for row in rows),
        "loaded_against_checksum": sum(row["loaded_against_checksum"] for row in rows),
        "longest_s": max(row["longest_s"] for row in rows),
        "memory_mb": max(row["memory_mb"] for row in rows),
    }


if __name__ == "__main__":
    main()
