"""Compressed models on the runtime that would be deployed: few-bit weights in ONNX Runtime, decoding with a KV cache.

``deploy.kernels`` (a 4-bit product in numba) is imported by name, because numba takes half a second to import.
"""

from course_lib.deploy.block_weights import KERNEL_BITS, BlockWeight, block_weight, packed_matrices
from course_lib.deploy.decoder_graph import export_decoder
from course_lib.deploy.decoding import Completion, Decoder
from course_lib.deploy.nbits import ACCURACY_LEVELS, export_nbits
from course_lib.deploy.single_layer import layer_runner
from course_lib.deploy.token_timing import DecodingSpeed, decoding_speed

__all__ = [
    "ACCURACY_LEVELS", "KERNEL_BITS", "BlockWeight", "Completion", "Decoder", "DecodingSpeed", "block_weight",
    "decoding_speed", "export_decoder", "export_nbits", "layer_runner", "packed_matrices",
]  # fmt: skip
