"""Known mistakes of exercise 12: what to tell a learner, and the edits of the solution that make the mistake."""

from __future__ import annotations

from course_lib.learning.diagnosis import Mistakes

_FARTHEST = "values[farthest[: int(empty.sum())]]"
_DISTANCES = "(values - moved[indices]).abs()"
_ENTROPY = "sum(count / total * math.log2(total / count) for count in heap)"
_FIRST = "first = math.ceil(low * 2**n)"
_INSIDE = "Fraction(first + 1, 2**n) <= low + width"
_COSTS = "(weights - step * candidates).square() + lam * bits[candidates + m]"
_CANDIDATES = "torch.stack([torch.zeros_like(nearest), nearest - nearest.sign(), nearest])"
_INDICES = "-(-sum(counts) * (k - 1).bit_length() // 8)"
_WORDS = "-(-sum(count * length for count, length in zip(counts, lengths, strict=True)) // 8)"
_BOTH = '{"fixed": indices + codebook, "huffman": words + table + codebook}'

MISTAKES = {
    "12.1": Mistakes(
        "kmeans_step",
        {
            "equally near: the lower index": [
                (".argmin(dim=1)", ".flip(1).argmin(dim=1).neg() + len(centroids) - 1"),
            ],
            "an empty centroid does not stay where it is: it moves to the farthest value": [
                (f"moved[empty] = {_FARTHEST}", "moved[empty] = centroids[empty]")
            ],
            "the mean of an empty cluster is 0 / 0, which is no number": [
                ("counts.clamp(min=1)", "counts"),
                (f"    moved[empty] = {_FARTHEST}\n", ""),
            ],
            "0 is not the place of an empty centroid: it moves to the farthest value": [
                (f"    moved[empty] = {_FARTHEST}\n", "")
            ],
            "take the distance from the new mean of the cluster, not from the old centroid": [
                (_DISTANCES, "(values - centroids[indices]).abs()")
            ],
            "take the distance from the mean of its own cluster, not from the mean of all values": [
                (_DISTANCES, "(values - values.mean()).abs()")
            ],
            "the second empty centroid gets the second farthest value, not the same one": [
                (_FARTHEST, "values[farthest[0]]")
            ],
            "the largest distance is wanted: sort in descending order": [("descending=True", "descending=False")],
            "the indices are those of the given centroids, not of the moved ones": [
                ("return indices, moved", "return (values[:, None] - moved[None, :]).abs().argmin(dim=1), moved")
            ],
            "a centroid is the mean of its values, not their sum": [("sums / counts.clamp(min=1)", "sums")],
        },
    ),
    "12.2": Mistakes(
        "canonical_codes",
        {
            "shorter words come first, whatever the order of the symbols": [
                (
                    "in sorted((length, symbol) for symbol, length in enumerate(lengths) if length)",
                    "in [(length, symbol) for symbol, length in enumerate(lengths) if length]",
                ),
                ("word <<= length - before", "word = word << length - before if length > before else word"),
            ],
            "a longer word is filled up with zeros on the right: shift it to the left": [
                ("word <<= length - before", "pass")
            ],
            "a word keeps its leading zeros: it has as many digits as its length says": [
                ('format(word, f"0{length}b")', 'format(word, "b")')
            ],
            "among equal lengths, the lower symbol comes first": [
                (
                    "sorted((length, symbol) for symbol, length in enumerate(lengths) if length)",
                    "[(a, -b) for a, b in sorted((n, -s) for s, n in enumerate(lengths) if n)]",
                )
            ],
            "a symbol of length 0 does not occur, so it has no word": [
                ("return codes", 'return codes | {s: "" for s, length in enumerate(lengths) if not length}')
            ],
            "the first word is all zeros, and the next ones count upwards": [
                ('format(word, f"0{length}b")', 'format(2**length - 1 - word, f"0{length}b")')
            ],
            "a code word is text of 0 and 1, not a number": [('format(word, f"0{length}b")', "word")],
            "each word is the one before plus 1": [("word + 1, length", "word + 2, length")],
        },
    ),
    "12.3": Mistakes(
        "entropy_and_length",
        {
            "bits come from the logarithm to the base 2": [("math.log2(", "math.log(")],
            "per symbol: divide the bits of the message by its symbols": [("bits / total", "bits")],
            "a probability is a count divided by all counts": [(_ENTROPY, "sum(c * math.log2(c) for c in heap)")],
            "the entropy is weighted: each logarithm counts as often as its symbol occurs": [
                (_ENTROPY, "sum(math.log2(total / count) for count in heap) / len(heap)")
            ],
            "join the two rarest nodes, not the two most frequent": [
                ("heap = [count for", "heap = [-count for"),
                ("total = sum(heap)", "total = -sum(heap)"),
                ("count / total * math.log2(total / count)", "-count / total * math.log2(total / -count)"),
                ("bits += joined", "bits -= joined"),
            ],
            "a symbol that is alone has a word of 1 bit": [("bits = total if len(heap) == 1 else 0", "bits = 0")],
            "that rounds up the logarithm of each symbol (Shannon's code); Huffman's code is shorter": [
                (
                    "return entropy, bits / total",
                    "return entropy, sum(c * max(1, math.ceil(math.log2(total / c))) for c in counts if c) / total",
                )
            ],
            "that is the fixed length of an index, not Huffman's code": [
                (
                    "return entropy, bits / total",
                    "return entropy, math.ceil(math.log2(max(2, len([c for c in counts if c]))))",
                )
            ],
            "return the entropy first, then the mean length": [
                ("return entropy, bits / total", "return bits / total, entropy")
            ],
            "symbols with count 0 do not take part in the tree": [
                ("bits = total if len(heap) == 1 else 0", "heap, bits = list(counts), total if len(counts) == 1 else 0")
            ],
        },
    ),
    "12.4": Mistakes(
        "arithmetic_encode",
        {
            "move the lower end by the old width, before you narrow it": [
                ("        low += width * Fraction(sum(counts[:symbol]), total)\n", ""),
                (
                    "        width *= Fraction(counts[symbol], total)\n",
                    "        width *= Fraction(counts[symbol], total)\n"
                    "        low += width * Fraction(sum(counts[:symbol]), total)\n",
                ),
            ],
            "one number in the interval is not enough: all numbers that begin with the digits must lie in it": [
                (_INSIDE, "Fraction(first, 2**n) < low + width")
            ],
            "round up: a multiple below the lower end lies outside of the interval": [
                (_FIRST, "first = math.floor(low * 2**n)")
            ],
            "the interval ends where it ends: the last number may lie just below its upper end": [
                (_INSIDE, "Fraction(first + 1, 2**n) < low + width")
            ],
            "keep leading zeros: there are n digits": [('format(first, f"0{n}b")', 'format(first, "b")')],
            "an empty message has no digits": [(' if n else ""', "")],
            "a float has too few digits for a long message: use Fraction or whole numbers": [
                ("low, width, total = Fraction(0), Fraction(1)", "low, width, total = 0.0, 1.0"),
                ("width * Fraction(sum(counts[:symbol]), total)", "width * sum(counts[:symbol]) / total"),
                ("width *= Fraction(counts[symbol], total)", "width *= counts[symbol] / total"),
                (_INSIDE, "(first + 1) / 2**n <= low + width or n > 999"),
            ],
            "that many digits are always enough, but fewer may do: try n = 0, 1, 2, … in turn": [
                ("n = 0", "n = math.ceil(math.log2(width.denominator / width.numerator)) + 1 if message else 0")
            ],
            "the parts lie in the order 0, 1, 2: symbol 0 is at the lower end": [
                ("sum(counts[:symbol])", "sum(counts[symbol + 1 :])")
            ],
            "the parts are as wide as the counts say, not equal": [
                ("Fraction(sum(counts[:symbol]), total)", "Fraction(symbol, 3)"),
                ("Fraction(counts[symbol], total)", "Fraction(1, 3)"),
            ],
            "several texts are that short: return the lowest": [
                (_FIRST, "first = math.floor((low + width) * 2**n) - 1"),
                (_INSIDE, "Fraction(first, 2**n) >= low"),
            ],
        },
    ),
    "12.5": Mistakes(
        "rdoq",
        {
            "λ times the bits is missing in the cost": [(f"costs = {_COSTS}", f"costs = {_COSTS} * 0")],
            "the error is squared": [("(weights - step * candidates).square()", "(weights - step * candidates).abs()")],
            "a level stands for the value step · q": [("(weights - step * candidates)", "(weights - candidates)")],
            "level q has its bits at index q + m": [("bits[candidates + m]", "bits[candidates.abs()]")],
            "zero is a candidate, too": [(_CANDIDATES, "torch.stack([nearest - nearest.sign(), nearest])")],
            "the level that is one nearer to zero is a candidate, too": [
                (_CANDIDATES, "torch.stack([torch.zeros_like(nearest), nearest])")
            ],
            "only the nearest level, the one nearer to zero, and zero are tried": [
                (_CANDIDATES, "torch.arange(-m, m + 1).reshape(-1, *[1] * weights.dim()).expand(-1, *weights.shape)")
            ],
            "equal costs: the level nearer to zero": [
                (_CANDIDATES, "torch.stack([nearest, nearest - nearest.sign(), torch.zeros_like(nearest)])")
            ],
            "the nearest level is at most m: larger ones have no bits": [
                (".clamp(-m, m)", ""),
                ("bits[candidates + m]", "bits[(candidates + m).clamp(0, 2 * m)]"),
            ],
            "return the levels, not the values": [
                ("return candidates.gather(0, best)[0]", "return candidates.gather(0, best)[0] * step")
            ],
            "λ weighs the bits, not the error": [(_COSTS, _COSTS.replace(".square() + lam *", ".square() * lam +"))],
        },
    ),
    "12.6": Mistakes(
        "layer_bytes",
        {
            "a part of a byte takes a whole byte: round up": [
                (_INDICES, "sum(counts) * (k - 1).bit_length() // 8"),
                (_WORDS, "sum(count * length for count, length in zip(counts, lengths, strict=True)) // 8"),
                ("-(-5 * k // 8)", "5 * k // 8"),
            ],
            "the codebook is stored, too": [(_BOTH, '{"fixed": indices, "huffman": words + table}')],
            "without the lengths of its words, nobody can read the code: the table is missing": [
                (_BOTH, '{"fixed": indices + codebook, "huffman": words + codebook}')
            ],
            "5 values need indices of 3 bits: round the logarithm up": [
                ("(k - 1).bit_length()", "(k.bit_length() - 1)")
            ],
            "4 values need indices of 2 bits: 0, 1, 2 and 3": [("(k - 1).bit_length()", "k.bit_length()")],
            "one value needs no index: 0 bits": [("(k - 1).bit_length()", "max(1, (k - 1).bit_length())")],
            "each weight takes the bits of its word: multiply the lengths by the counts": [
                ("count * length for count", "length for count")
            ],
            "count each part in bytes: the codebook has value_bytes, not bits": [
                ("codebook = k * value_bytes", "codebook = -(-k * value_bytes // 8)")
            ],
            "round up every part by itself, not their sum": [
                (
                    _BOTH,
                    '{"fixed": indices + codebook, "huffman": codebook'
                    " - (-(sum(c * n for c, n in zip(counts, lengths, strict=True)) + 5 * k) // 8)}",
                ),
            ],
            "each of the k code words has 5 bits in the table": [("-(-5 * k // 8)", "5 * k")],
        },
    ),
}
