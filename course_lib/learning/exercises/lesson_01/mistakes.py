"""Known mistakes of exercise 01: what to tell a learner, and the edits of the solution that make the mistake."""

from __future__ import annotations

from course_lib.learning.diagnosis import Mistakes

MISTAKES = {
    "01.1": Mistakes(
        "dense_bytes",
        {
            "eight bits are one byte: divide the bits by 8": [(" / 8", "")],
            "two 4-bit values share one byte": [('"int4": 4', '"int4": 8')],
            "a byte that is only partly used counts as a whole one: round up, not down": [
                ("math.ceil(math.prod(shape) * bits / 8)", "math.prod(shape) * bits // 8")
            ],
            "the shape () is a single number: it holds one value": [
                ("for shape in shapes", "for shape in shapes if shape")
            ],
            "multiply the dimensions of a shape, do not add them": [("math.prod(shape)", "sum(shape)")],
            "the bytes of a value depend on `dtype`": [("* bits / 8", "* 4")],
        },
    ),
    "01.2": Mistakes(
        "cheapest_encoding",
        {
            "the bitmask also stores one bit for each entry": [("math.ceil(rows * columns / 8) + ", "")],
            "the mask takes one bit for each entry, not one byte": [
                ("math.ceil(rows * columns / 8)", "rows * columns")
            ],
            "round the bits of the mask up to a whole byte": [("math.ceil(rows * columns / 8)", "rows * columns // 8")],
            "CSR stores a column number of 4 bytes beside each value": [("(value_bytes + 4)", "value_bytes")],
            "CSR has rows + 1 row pointers, one more than there are rows": [("(rows + 1) * 4", "rows * 4")],
            "CSR also stores row pointers": [(" + (rows + 1) * 4", "")],
            "return the smallest of the three, not the largest": [("min(pairs", "max(pairs")],
            "`min` compares the names first here: compare the sizes": [(", key=lambda pair: pair[1]", "")],
            "the name comes first, then the bytes": [("key=lambda pair: pair[1])", "key=lambda pair: pair[1])[::-1]")],
        },
    ),
    "01.4": Mistakes(
        "bits_per_weight",
        {
            "scales and zero-points are stored too": [
                ("bits + groups * (scale_bits + zero_point_bits) / (rows * columns)", "float(bits)")
            ],
            "each group also stores a zero-point": [("(scale_bits + zero_point_bits)", "scale_bits")],
            "a last group that is not full costs a whole scale": [
                ("math.ceil(columns / group_size)", "columns / group_size")
            ],
            "round the number of groups in a row up, not down": [
                ("math.ceil(columns / group_size)", "max(1, columns // group_size)")
            ],
            "a group never reaches into the next row: round up in each row": [
                ("rows * math.ceil(columns / group_size)", "math.ceil(rows * columns / group_size)")
            ],
            "groups lie along a row: divide the columns by group_size, not the rows": [
                ("rows * math.ceil(columns / group_size)", "columns * math.ceil(rows / group_size)")
            ],
            "each group has a scale of its own, not the whole matrix": [
                ("rows * math.ceil(columns / group_size)", "1")
            ],
            "these are the bits of all weights: divide by their number": [
                (
                    "bits + groups * (scale_bits + zero_point_bits) / (rows * columns)",
                    "rows * columns * bits + groups * (scale_bits + zero_point_bits)",
                )
            ],
        },
    ),
    "01.5": Mistakes(
        "pass_seconds",
        {
            "the longer of the two times decides, not the shorter": [("max(", "min(")],
            "a multiply-accumulate is two operations": [("2 * parameters", "parameters")],
            "each input of the batch has its own operations": [(" * batch_size", "")],
            "the two names are swapped: 'memory' if reading takes longer": [
                ('"memory" if reading > calculating else "compute"', '"compute" if reading > calculating else "memory"')
            ],
            "if both take equally long, the bound is 'compute'": [("reading > calculating", "reading >= calculating")],
            "a gigabyte is 10**9 bytes, not 2**30": [("1e9", "2**30")],
            "`bits` need not be a whole number": [("parameters * bits", "parameters * int(bits)")],
            "bandwidth and peak need not be whole numbers": [
                ("bandwidth_gbs *", "int(bandwidth_gbs) *"),
                ("peak_gflops *", "int(peak_gflops) *"),
            ],
        },
    ),
    "01.6": Mistakes(
        "best_plan",
        {
            "a pruned plan stores one bit of mask for every weight": [("1 if sparsity > 0 else 0", "0")],
            "below 16 bits each remaining weight has a share of 16 / 128 bit for its scale": [
                ("16 / 128 if bits < 16 else 0", "0")
            ],
            "a plan with 16 bits has no scales": [("16 / 128 if bits < 16 else 0", "16 / 128")],
            "a plan without pruning has no mask": [("1 if sparsity > 0 else 0", "1")],
            "a weight that was set to zero needs no scale": [("(bits + scale)", "bits + scale")],
            "plans that prune may be better: try all 30": [
                ("for plan in PLANS if", "for plan in PLANS if plan[0] == 0 and")
            ],
            "plans with fewer bits may be better: try all 30": [
                ("for plan in PLANS if", "for plan in PLANS if plan[1] == 16 and")
            ],
            "compare the errors, not the sizes: the largest plan that fits is not the best": [
                ("(relative_error(weight, *plan), gigabytes(plan))", "-gigabytes(plan)")
            ],
            "the size depends on `parameters`; you use 175 billion": [("return parameters *", "return 175e9 *")],
            "a plan that needs exactly the budget fits": [("<= budget_gb", "< budget_gb")],
        },
    ),
}
