"""Answers to exercise 01 that must fail, and others that must pass."""

from __future__ import annotations

from tests.exercises.answers import Answers

DENSE = Answers(
    name="dense_bytes",
    wrong={
        "bits instead of bytes": """
import math
def dense_bytes(shapes, dtype):
    return sum(math.prod(shape) for shape in shapes) * {"fp32": 32, "fp16": 16, "int8": 8, "int4": 4}[dtype]
""",
        "int4 counted as a whole byte": """
import math
def dense_bytes(shapes, dtype):
    return sum(math.prod(shape) for shape in shapes) * {"fp32": 4, "fp16": 2, "int8": 1, "int4": 1}[dtype]
""",
        "rounded up once for the sum": """
import math
def dense_bytes(shapes, dtype):
    bits = {"fp32": 32, "fp16": 16, "int8": 8, "int4": 4}[dtype]
    return math.ceil(sum(math.prod(shape) for shape in shapes) * bits / 8)
""",
        "rounded down": """
import math
def dense_bytes(shapes, dtype):
    bits = {"fp32": 32, "fp16": 16, "int8": 8, "int4": 4}[dtype]
    return sum(math.prod(shape) * bits // 8 for shape in shapes)
""",
        "a scalar holds nothing": """
import math
def dense_bytes(shapes, dtype):
    bits = {"fp32": 32, "fp16": 16, "int8": 8, "int4": 4}[dtype]
    return sum(-(-math.prod(shape) * bits // 8) for shape in shapes if shape)
""",
        "the dimensions are added": """
import math
def dense_bytes(shapes, dtype):
    bits = {"fp32": 32, "fp16": 16, "int8": 8, "int4": 4}[dtype]
    return sum(math.ceil(sum(shape) * bits / 8) for shape in shapes)
""",
        "always fp32": """
import math
def dense_bytes(shapes, dtype):
    return sum(math.prod(shape) * 4 for shape in shapes)
""",
        "a float": """
import math
def dense_bytes(shapes, dtype):
    bits = {"fp32": 32, "fp16": 16, "int8": 8, "int4": 4}[dtype]
    return float(sum(math.ceil(math.prod(shape) * bits / 8) for shape in shapes))
""",
    },
    advice={
        "bits instead of bytes": "Eight bits are one byte",
        "int4 counted as a whole byte": "Two 4-bit values share one byte",
        "rounded up once for the sum": "round up per tensor, not once for the sum",
        "rounded down": "round up, not down",
        "a scalar holds nothing": "holds one value",
        "the dimensions are added": "do not add them",
        "always fp32": "depend on `dtype`",
        "a float": "return an int",
    },
    right={
        "integer arithmetic": """
def dense_bytes(shapes, dtype):
    per_byte = {"fp32": 1, "fp16": 2, "int8": 4, "int4": 8}[dtype]
    total = 0
    for shape in shapes:
        values = 1
        for size in shape:
            values *= size
        total += (4 * values + per_byte - 1) // per_byte
    return total
""",
        "numpy": """
import numpy
def dense_bytes(shapes, dtype):
    bits = dict(fp32=32, fp16=16, int8=8, int4=4)[dtype]
    return int(sum(numpy.ceil(numpy.prod(shape) * bits / 8) for shape in shapes))
""",
    },
)

_THREE_SIZES = """
import math
def cheapest_encoding(rows, columns, nonzeros, value_bytes):
    dense = rows * columns * value_bytes
    bitmask = math.ceil(rows * columns / 8) + nonzeros * value_bytes
    csr = nonzeros * (value_bytes + 4) + (rows + 1) * 4
    return {RETURN}
"""


def _sizes(before: str = "", after: str = "", returned: str = "") -> str:
    """The three sizes with one line changed, or with another return."""
    source = _THREE_SIZES.replace(before, after) if before else _THREE_SIZES
    pairs = '[("dense", dense), ("bitmask", bitmask), ("csr", csr)]'
    return source.replace("{RETURN}", returned or f"min({pairs}, key=lambda pair: pair[1])")


ENCODING = Answers(
    name="cheapest_encoding",
    wrong={
        "the mask is free": _sizes("math.ceil(rows * columns / 8) + ", ""),
        "a byte of mask for each entry": _sizes("math.ceil(rows * columns / 8)", "rows * columns"),
        "the mask is rounded down": _sizes("math.ceil(rows * columns / 8)", "rows * columns // 8"),
        "the positions of csr are free": _sizes("(value_bytes + 4)", "value_bytes"),
        "one row pointer too few": _sizes("(rows + 1) * 4", "rows * 4"),
        "no row pointers": _sizes(" + (rows + 1) * 4", ""),
        "a tie goes to the last": _sizes(
            returned='min([("csr", csr), ("bitmask", bitmask), ("dense", dense)], key=lambda pair: pair[1])'
        ),
        "the largest": _sizes(
            returned='max([("dense", dense), ("bitmask", bitmask), ("csr", csr)], key=lambda pair: pair[1])'
        ),
        "sorted by name": _sizes(returned='min([("dense", dense), ("bitmask", bitmask), ("csr", csr)])'),
        "the pair is swapped": _sizes(returned='min([(dense, "dense"), (bitmask, "bitmask"), (csr, "csr")])'),
        "csr wins a tie with the bitmask": _sizes(
            returned='min([("dense", dense), ("csr", csr), ("bitmask", bitmask)], key=lambda pair: pair[1])'
        ),
    },
    advice={
        "the mask is free": "also stores one bit for each entry",
        "a byte of mask for each entry": "not one byte",
        "the mask is rounded down": "up to a whole byte",
        "the positions of csr are free": "a column number of 4 bytes",
        "one row pointer too few": "rows + 1 row pointers",
        "no row pointers": "CSR also stores row pointers",
        "a tie goes to the last": "equally small: the first in the order",
        "the largest": "not the largest",
        "sorted by name": "compares the names first",
        "the pair is swapped": "The name comes first",
        "csr wins a tie with the bitmask": "equally small: the first in the order dense, bitmask, csr",
    },
    right={
        "comparisons": """
def cheapest_encoding(rows, columns, nonzeros, value_bytes):
    values = nonzeros * value_bytes
    best, size = "dense", rows * columns * value_bytes
    mask = (rows * columns + 7) // 8 + values
    if mask < size:
        best, size = "bitmask", mask
    index = values + 4 * nonzeros + 4 * rows + 4
    if index < size:
        best, size = "csr", index
    return best, size
""",
        "a dictionary": _sizes(
            returned="(lambda sizes: (min(sizes, key=sizes.get), min(sizes.values())))"
            '({"dense": dense, "bitmask": bitmask, "csr": csr})'
        ),
    },
)

HEADLINE = Answers(
    name="headline_assumptions",
    wrong={
        "only the number format": "def headline_assumptions(): return {'A'}",
        "only the positions": "def headline_assumptions(): return {'B'}",
        "speed as well": "def headline_assumptions(): return {'A', 'B', 'C'}",
        "everything": "def headline_assumptions(): return set('ABCDEF')",
        "quality": "def headline_assumptions(): return {'A', 'E'}",
        "nothing": "def headline_assumptions(): return set()",
        "one string": "def headline_assumptions(): return 'AB'",
        "the same sparsity everywhere": "def headline_assumptions(): return {'A', 'B', 'D'}",
        "memory traffic": "def headline_assumptions(): return {'F'}",
    },
    advice={
        "only the number format": "without knowing which weights remain",
        "only the positions": "how many bytes a remaining weight has",
        "speed as well": "C is about time",
        "everything": "C is about time",
        "quality": "E is about accuracy",
        "nothing": "how many bytes a remaining weight has",
        "one string": "return a set of letters",
        "the same sparsity everywhere": "D only says how the zeros are spread",
        "memory traffic": "F is about time",
    },
    right={
        "the other order": "def headline_assumptions(): return {'B', 'A'}",
        "from a string": "def headline_assumptions(): return set('BA')",
    },
)


def _bits(expression: str) -> str:
    return f"""
import math
def bits_per_weight(rows, columns, bits, group_size, scale_bits=16, zero_point_bits=0):
    return {expression}
"""


GROUPS = Answers(
    name="bits_per_weight",
    wrong={
        "scales and zero-points are free": _bits("float(bits)"),
        "zero-points are free": _bits("bits + math.ceil(columns / group_size) * scale_bits / columns"),
        "no partly filled groups": _bits("bits + (scale_bits + zero_point_bits) / group_size"),
        "groups rounded down": _bits("bits + max(1, columns // group_size) * (scale_bits + zero_point_bits) / columns"),
        "groups run over the ends of rows": _bits(
            "bits + math.ceil(rows * columns / group_size) * (scale_bits + zero_point_bits) / (rows * columns)"
        ),
        "groups along the columns": _bits(
            "bits + math.ceil(rows / group_size) * (scale_bits + zero_point_bits) / rows"
        ),
        "one scale for the matrix": _bits("bits + (scale_bits + zero_point_bits) / (rows * columns)"),
        "all bits, not per weight": _bits(
            "rows * columns * bits + rows * math.ceil(columns / group_size) * (scale_bits + zero_point_bits)"
        ),
    },
    advice={
        "scales and zero-points are free": "stored too",
        "zero-points are free": "also stores a zero-point",
        "no partly filled groups": "not full costs a whole scale",
        "groups rounded down": "up, not down",
        "groups run over the ends of rows": "never reaches into the next row",
        "groups along the columns": "Groups lie along a row",
        "one scale for the matrix": "not the whole matrix",
        "all bits, not per weight": "divide by their number",
    },
    right={
        "one row is enough": _bits("bits + -(-columns // group_size) * (scale_bits + zero_point_bits) / columns"),
        "all bits, then divide": """
def bits_per_weight(rows, columns, bits, group_size, scale_bits=16, zero_point_bits=0):
    total = 0
    for _ in range(rows):
        for start in range(0, columns, group_size):
            total += min(group_size, columns - start) * bits + scale_bits + zero_point_bits
    return total / (rows * columns)
""",
    },
)


def _seconds(reading: str, calculating: str, returned: str) -> str:
    return f"""
def pass_seconds(parameters, bits, batch_size, bandwidth_gbs, peak_gflops):
    reading = {reading}
    calculating = {calculating}
    return {returned}
"""


_READING = "parameters * bits / 8 / (bandwidth_gbs * 1e9)"
_CALCULATING = "2 * parameters * batch_size / (peak_gflops * 1e9)"
_SLOWER = '(reading, "memory") if reading > calculating else (calculating, "compute")'

SECONDS = Answers(
    name="pass_seconds",
    wrong={
        "the two clocks are added": _seconds(
            _READING, _CALCULATING, 'reading + calculating, "memory" if reading > calculating else "compute"'
        ),
        "the faster clock": _seconds(
            _READING, _CALCULATING, '(reading, "memory") if reading < calculating else (calculating, "compute")'
        ),
        "the bounds are swapped": _seconds(
            _READING, _CALCULATING, 'max(reading, calculating), "compute" if reading > calculating else "memory"'
        ),
        "one operation for each weight": _seconds(_READING, _CALCULATING.removeprefix("2 * "), _SLOWER),
        "bits are not turned into bytes": _seconds(_READING.replace(" / 8", ""), _CALCULATING, _SLOWER),
        "weights are read for every input": _seconds(f"batch_size * {_READING}", _CALCULATING, _SLOWER),
        "the batch is forgotten": _seconds(_READING, _CALCULATING.replace(" * batch_size", ""), _SLOWER),
        "a tie is memory-bound": _seconds(_READING, _CALCULATING, _SLOWER.replace(">", ">=")),
        "a giga is 2**30": _seconds(_READING.replace("1e9", "2**30"), _CALCULATING.replace("1e9", "2**30"), _SLOWER),
        "bits are whole": _seconds(_READING.replace("bits", "int(bits)"), _CALCULATING, _SLOWER),
        "bandwidth and peak are whole": _seconds(
            _READING.replace("bandwidth_gbs", "int(bandwidth_gbs)"),
            _CALCULATING.replace("peak_gflops", "int(peak_gflops)"),
            _SLOWER,
        ),
    },
    advice={
        "the two clocks are added": "added the two times",
        "the faster clock": "not the shorter",
        "the bounds are swapped": "names are swapped",
        "one operation for each weight": "two operations",
        "bits are not turned into bytes": "bits divided by the bandwidth, which is in bytes",
        "weights are read for every input": "one reading serves the whole batch",
        "the batch is forgotten": "Each input of the batch",
        "a tie is memory-bound": "equally long",
        "a giga is 2**30": "10**9 bytes",
        "bits are whole": "`bits` need not be a whole number",
        "bandwidth and peak are whole": "need not be whole numbers",
    },
    right={
        "the maximum": _seconds(
            _READING, _CALCULATING, 'max(reading, calculating), "compute" if calculating >= reading else "memory"'
        ),
        "arithmetic intensity": """
def pass_seconds(parameters, bits, batch_size, bandwidth_gbs, peak_gflops):
    flops, size = 2 * parameters * batch_size, parameters * bits / 8
    if flops / size >= peak_gflops / bandwidth_gbs:
        return flops / peak_gflops / 1e9, "compute"
    return size / bandwidth_gbs / 1e9, "memory"
""",
    },
)

_PLANNING = """
from course_lib.learning.exercises.lesson_01.playground import PLANS, relative_error
def best_plan(weight, budget_gb, parameters=175e9):
    def size(sparsity, bits):
        return parameters / 8e9 * (
            (1 if sparsity > 0 else 0) + (1 - sparsity) * (bits + (16 / 128 if bits < 16 else 0))
        )
    fitting = [plan for plan in PLANS if size(*plan) <= budget_gb]
    if not fitting:
        return None
    return min(fitting, key=lambda plan: (relative_error(weight, *plan), size(*plan)))
"""

PLAN = Answers(
    name="best_plan",
    wrong={
        "the mask is free": _PLANNING.replace("(1 if sparsity > 0 else 0) + ", ""),
        "the scales are free": _PLANNING.replace(" + (16 / 128 if bits < 16 else 0)", ""),
        "16-bit plans pay for scales": _PLANNING.replace("16 / 128 if bits < 16 else 0", "16 / 128"),
        "dense plans pay for a mask": _PLANNING.replace("1 if sparsity > 0 else 0", "1"),
        "a scale for each weight that is gone, too": _PLANNING.replace(
            "(1 - sparsity) * (bits + (16 / 128 if bits < 16 else 0))", "(1 - sparsity) * bits + 16 / 128"
        ),
        "quantization only": _PLANNING.replace("size(*plan) <= budget_gb", "size(*plan) <= budget_gb and plan[0] == 0"),
        "pruning only": _PLANNING.replace("size(*plan) <= budget_gb", "size(*plan) <= budget_gb and plan[1] == 16"),
        "the largest that fits": _PLANNING.replace("(relative_error(weight, *plan), size(*plan))", "-size(*plan)"),
        "ties are ignored": _PLANNING.replace(
            "(relative_error(weight, *plan), size(*plan))", "relative_error(weight, *plan)"
        ),
        "always 175 billion": _PLANNING.replace("return parameters / 8e9", "return 175e9 / 8e9"),
        "never says that nothing fits": _PLANNING.replace("return None", "return 0.95, 2"),
        "strictly less than the budget": _PLANNING.replace("<= budget_gb", "< budget_gb"),
    },
    advice={
        "the mask is free": "one bit of mask",
        "the scales are free": "16 / 128 bit for its scale",
        "16-bit plans pay for scales": "16 bits has no scales",
        "dense plans pay for a mask": "without pruning has no mask",
        "a scale for each weight that is gone, too": "needs no scale",
        "quantization only": "Plans that prune may be better",
        "pruning only": "fewer bits may be better",
        "the largest that fits": "not the sizes",
        "ties are ignored": "not the smallest of the plans with this error",
        "always 175 billion": "depends on `parameters`",
        "never says that nothing fits": "so return None",
        "strictly less than the budget": "exactly the budget fits",
    },
    right={
        "sorted": _PLANNING.replace(
            "min(fitting, key=lambda plan: (relative_error(weight, *plan), size(*plan)))",
            "sorted(sorted(fitting, key=lambda plan: size(*plan)), key=lambda plan: relative_error(weight, *plan))[0]",
        ),
        "a loop": """
from course_lib.learning.exercises.lesson_01.playground import PLANS, relative_error
def best_plan(weight, budget_gb, parameters=175e9):
    best = None
    for sparsity, bits in PLANS:
        cost = bits * (1 - sparsity)
        if bits != 16:
            cost += (1 - sparsity) / 8
        if sparsity:
            cost += 1
        if cost * parameters / 8 / 1e9 > budget_gb:
            continue
        found = (relative_error(weight, sparsity, bits), cost, (sparsity, bits))
        if best is None or found < best:
            best = found
    return best[2] if best else None
""",
    },
)

ANSWERS = {"01.1": DENSE, "01.2": ENCODING, "01.3": HEADLINE, "01.4": GROUPS, "01.5": SECONDS, "01.6": PLAN}
