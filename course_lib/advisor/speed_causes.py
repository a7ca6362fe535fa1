"""Why a compressed model is not faster: each millisecond of its nodes is booked to the cause that keeps it there.

Of a node whose kernel cannot use what compression promises (a zero, fewer bits), the promised saving is booked: half of
the time for fp16, three quarters for 8 bits, the share of the zeros for pruning. A node that only converts is booked
whole. What compression did not touch is booked as it is.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from course_lib.advisor.node_times import NodeTime, Profile
from course_lib.profiling import Machine, Roofline

CONVERSIONS = ("QuantizeLinear", "DequantizeLinear")
SIMULATED = ("Round", "Clip", "Div", "Floor")
PRODUCTS = ("MatMul", "Gemm", "FusedGemm", "FusedMatMul", "Conv", "FusedConv", "ConvTranspose")
INTEGER = ("QLinearConv", "QLinearMatMul", "QGemm", "MatMulInteger", "ConvInteger", "MatMulIntegerToFloat",
           "DynamicQuantizeMatMul")  # fmt: skip
DYNAMIC = ("DynamicQuantizeMatMul", "MatMulIntegerToFloat", "MatMulInteger", "ConvInteger")
FEW_BITS = ("MatMulNBits",)
SLOW_KERNELS = ("ConvInteger",)  # has no vectorized kernel on CPUs
MANY_ZEROS = 0.3
SAVED_BY_HALF, SAVED_BY_INT8 = 1 / 2, 3 / 4

CAUSES: dict[str, tuple[str, str]] = {
    "zeros in dense kernels": (
        "the kernels multiply by the zeros too",
        "remove whole channels (pruning.prune_channels), or keep the zeros for the file size only",
    ),
    "unfused quantize and dequantize nodes": (
        "values are converted to integers and back around kernels that compute in floating point",
        "quantize inputs and weights of a layer together, so that the pair is fused into an integer kernel "
        "(quantization.deploy_static)",
    ),
    "missing kernel or instruction set": (
        "this processor has no kernel for these numbers, so they are converted or computed the slow way",
        "choose a format with a kernel here: 8-bit integers if there is VNNI, MatMulNBits for few bits, else fp32",
    ),
    "weights fit the cache": (
        "the weights are read from a cache already, so reading fewer bytes saves nothing",
        "keep few bits for large layers, and make small ones thinner instead",
    ),
    "compute-bound batch": (
        "with this many rows the arithmetic takes the time, not the reading of weights",
        "use integer arithmetic (deploy_static) or fewer multiplications; few-bit weights pay at small batches",
    ),
    "dynamic quantization": (
        "the range of every input is computed and the input is rounded at run time",
        "calibrate static ranges (quantization.deploy_static)",
    ),
    "threads": (
        "it ran with another number of threads, or with more threads than cores",
        "use as many threads as there are cores, the same before and after",
    ),
    "unquantized head": (
        "the last layer is as it was, and takes most of the time that is left",
        "compress the head too: 8 bits are nearly free of loss",
    ),
    "time spent elsewhere": (
        "the layers that were compressed take a small part of the time",
        "compress what takes the time: see the table of nodes",
    ),
}  # fmt: skip
"""Cause → what happens, and what to do."""


@dataclass(frozen=True)
class Surroundings:
    """What is known beside the nodes: of the machine, and of the weights before."""

    machine: Machine
    roofline: Roofline
    cache_bytes: int
    before: Profile
    decoded: bool = False

    @property
    def old_weights(self) -> set[str]:
        """Digests of the weights before."""
        return {node.weight.digest for node in self.before.nodes if node.weight}


def book(after: Profile, known: Surroundings) -> dict[str, dict[str, float]]:
    """Cause → node → milliseconds that are lost to it."""
    booked: dict[str, dict[str, float]] = defaultdict(dict)
    head = next((node.name for node in reversed(after.nodes) if node.weight), "")
    for node in after.nodes:
        for cause, ms in _losses(node, after, known, head):
            booked[cause][node.name] = booked[cause].get(node.name, 0.0) + ms
    return booked


def _losses(node: NodeTime, after: Profile, known: Surroundings, head: str) -> Iterator[tuple[str, float]]:
    if node.op in CONVERSIONS or (node.op in SIMULATED and _simulates(after)):
        yield "unfused quantize and dequantize nodes", node.ms
    elif node.op == "DynamicQuantizeLinear" or (node.op in ("Cast", "Mul") and "MatMulInteger" in node.inputs_from):
        yield "dynamic quantization", node.ms
    elif node.op == "Cast" and "float16" in node.dtypes:
        yield "missing kernel or instruction set", node.ms
    elif node.op in INTEGER:
        yield from _integer_losses(node, known)
    elif node.op in FEW_BITS:
        yield _few_bits_cause(node, after, known), node.ms
    elif node.op in PRODUCTS and "DequantizeLinear" in node.inputs_from:
        yield "unfused quantize and dequantize nodes", node.ms * SAVED_BY_INT8
    elif node.op in PRODUCTS and node.weight:
        yield from _product_losses(node, after, known, head)
    else:
        yield "time spent elsewhere", node.ms


def _product_losses(node: NodeTime, after: Profile, known: Surroundings, head: str) -> Iterator[tuple[str, float]]:
    """A product in floating point."""
    assert node.weight is not None
    if node.weight.sparsity > MANY_ZEROS:
        yield "zeros in dense kernels", node.ms * node.weight.sparsity
    elif _simulates(after):
        yield "unfused quantize and dequantize nodes", node.ms * SAVED_BY_INT8
    elif "FLOAT16" in after.originals or known.decoded:
        yield "missing kernel or instruction set", node.ms * SAVED_BY_HALF
    elif node.weight.digest in known.old_weights:
        yield ("unquantized head" if node.name == head else "time spent elsewhere"), node.ms


def _integer_losses(node: NodeTime, known: Surroundings) -> Iterator[tuple[str, float]]:
    """A product in integers: slow where there is no kernel for them; dynamic ones also round their input."""
    if node.op in SLOW_KERNELS or not known.machine.vnni:
        yield "missing kernel or instruction set", node.ms * SAVED_BY_INT8
    elif node.op in DYNAMIC:
        yield "dynamic quantization", node.ms * SAVED_BY_INT8


def _few_bits_cause(node: NodeTime, after: Profile, known: Surroundings) -> str:
    """Why a kernel that reads few-bit weights saves nothing: many rows, or weights that were in the cache before."""
    if node.rows / 2 >= known.roofline.ridge:  # an fp32 weight (4 bytes) takes 2 FLOP a row
        return "compute-bound batch"
    return "weights fit the cache"


def _simulates(profile: Profile) -> bool:
    """Whether the graph rounds its activations in floating point, as a fake-quantized model does."""
    return any(node.op == "Round" for node in profile.nodes)


def ranked(booked: Mapping[str, Mapping[str, float]]) -> list[tuple[str, float]]:
    """Causes by the milliseconds that are lost to them, the largest first."""
    totals = [(cause, sum(nodes.values())) for cause, nodes in booked.items()]
    return sorted(totals, key=lambda entry: -entry[1])
