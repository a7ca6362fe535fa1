"""Quantization: fewer bits per number, and what that costs.

All methods build on these::

    params = weight_params(weight, bits=4, granularity="group", group_size=64)   # min-max scales; or choose_params
    quantized = quantize_tensor(weight, params)      # QuantizedTensor: integers (int8/uint8) and params
    quantized.values()                               # dequantized, fp32: scale * (integers - zero_point)

    compressed = copy.deepcopy(model)                # the original is never changed
    set_weights(compressed, {"layer.weight": quantized, ...})   # dequantized weights, and their encodings for storage
    storage.save(compressed, path)                   # packed integers, scales, zero-points
    quantized_weights(storage.load(path))            # the same integers; the logits are the same bit for bit

``QuantizedTensor(integers, QuantParams(scale, zero_point, bits, symmetric, axis, group_size))`` may come from any
method (GPTQ, AdaRound, LSQ): scales are [blocks], in the order of ``params.blocks(weight)``. Scales that are exact in
fp16 are stored in two bytes (``scale_dtype="fp16"`` makes them so). Symmetric integers run from -2^(b-1) to
2^(b-1) - 1, asymmetric ones from 0 to 2^b - 1. ``set_weights`` also accepts an encoded tensor, such as
``nf4(weight)``. If weights are changed after ``set_weights``, call ``storage.set_encodings(model, {})`` before saving.
"""

from course_lib.architectures.batchnorm_folding import batchnorm_pairs, fold_batchnorm
from course_lib.quantization.adaround import adaround, round_adaptively
from course_lib.quantization.affine import (
    QuantizedTensor,
    QuantParams,
    choose_params,
    dequantize,
    fake_quantize,
    integer_range,
    quantize,
    quantize_tensor,
    weight_params,
)
from course_lib.quantization.awq import ScaleSearch, activation_scales, awq, quantize_scaled, search_scales
from course_lib.quantization.bias_correction import correct_bias
from course_lib.quantization.bit_allocation import bits_per_layer, choose_bits
from course_lib.quantization.bit_sweep import bits_scan
from course_lib.quantization.calibration import calibrate, quantizable_layers
from course_lib.quantization.deployment import deploy_dynamic, deploy_static
from course_lib.quantization.equalization import equalize
from course_lib.quantization.gptq import GPTQTrace, gptq, gptq_matrix, gptq_trace
from course_lib.quantization.integer import IntegerLayer, integer_layer, requantization, requantize
from course_lib.quantization.llm import LLMQuantizer
from course_lib.quantization.mixed_precision import bit_sensitivity
from course_lib.quantization.mse_scale import best_step, best_weight_params, clipped_params
from course_lib.quantization.nf4 import nf4, nf4_table
from course_lib.quantization.observers import OBSERVERS, Observer, make_observer
from course_lib.quantization.packing import pack, quantized_bytes, quantized_weights, set_weights, unpack
from course_lib.quantization.ptq import (
    QuantizationResult,
    Scheme,
    post_training_quantization,
    quantize_activations,
    quantize_weights,
)
from course_lib.quantization.qat import TrainedResult, train_quantized
from course_lib.quantization.quantizer import AdvancedQuantizer
from course_lib.quantization.rtn import rtn
from course_lib.quantization.salient import keep_salient, salient_columns
from course_lib.quantization.saturation import saturating_layers, saturating_sums
from course_lib.quantization.smoothquant import smoothing_factors, smoothquant
from course_lib.quantization.sqnr import output_report, sqnr_db, weight_report
from course_lib.quantization.straight_through import (
    quantize_learned_step,
    quantize_straight_through,
    round_straight_through,
)
from course_lib.quantization.weight_only import WeightOnly, WeightScheme
from course_lib.training.input_statistics import LayerInputs, inverse_factor
from course_lib.training.sequential_calibration import (
    Stage,
    calibration_batches,
    layer_inputs,
    linear_layers,
    walk,
    weight_matrix,
)

__all__ = [
    "OBSERVERS", "AdvancedQuantizer", "GPTQTrace", "IntegerLayer", "LLMQuantizer", "LayerInputs", "Observer",
    "QuantParams", "QuantizationResult", "QuantizedTensor", "ScaleSearch", "Scheme", "Stage", "TrainedResult",
    "WeightOnly", "WeightScheme", "activation_scales", "adaround", "awq", "batchnorm_pairs", "best_step",
    "best_weight_params", "bit_sensitivity", "bits_per_layer", "bits_scan", "calibrate", "calibration_batches",
    "choose_bits", "choose_params", "clipped_params", "correct_bias", "deploy_dynamic", "deploy_static",
    "dequantize", "equalize", "fake_quantize", "fold_batchnorm", "gptq", "gptq_matrix", "gptq_trace",
    "integer_layer", "integer_range", "inverse_factor", "keep_salient", "layer_inputs", "linear_layers",
    "make_observer", "nf4", "nf4_table", "output_report", "pack", "post_training_quantization",
    "quantizable_layers", "quantize", "quantize_activations", "quantize_learned_step", "quantize_scaled",
    "quantize_straight_through", "quantize_tensor", "quantize_weights", "quantized_bytes", "quantized_weights",
    "requantization", "requantize", "round_adaptively", "round_straight_through", "rtn", "salient_columns",
    "saturating_layers", "saturating_sums", "search_scales", "set_weights", "smoothing_factors", "smoothquant",
    "sqnr_db", "train_quantized", "unpack", "walk", "weight_matrix", "weight_params", "weight_report",
]  # fmt: skip
