"""Answers to exercise 12 that must fail, and others that must pass."""

from __future__ import annotations

from tests.exercises.answers import Answers


def _step(
    indices: str = "torch.cdist(values[:, None], centroids[:, None], p=1).argmin(1)",
    mean: str = "cluster.mean()",
    empty: str = "values[order[taken]]",
    order: str = "(values - own).abs().argsort(descending=True, stable=True)",
    returned: str = "nearest, moved",
    start: str = "centroids.clone()",
) -> str:
    return f"""
def kmeans_step(values, centroids):
    nearest = {indices}
    moved, taken = {start}, 0
    for k in range(len(centroids)):
        cluster = values[nearest == k]
        if len(cluster):
            moved[k] = {mean}
    own = moved[nearest]
    order = {order}
    for k in range(len(centroids)):
        if not (nearest == k).any():
            moved[k] = {empty}
            taken += 1
    return {returned}
"""


STEP = Answers(
    name="kmeans_step",
    wrong={
        "ties to the higher index": _step(indices="(values[:, None] >= (centroids[1:] + centroids[:-1]) / 2).sum(1)"),
        "an empty one stays": _step(empty="centroids[k]"),
        "an empty one is NaN": _step(empty="values[nearest == k].mean()"),
        "an empty one is zero": _step(empty="0.0"),
        "far from the old centroid": _step(
            order="(values - centroids[nearest]).abs().argsort(descending=True, stable=True)"
        ),
        "far from all values": _step(order="(values - values.mean()).abs().argsort(descending=True, stable=True)"),
        "the same value twice": _step(empty="values[order[0]]"),
        "the closest value": _step(order="(values - own).abs().argsort(stable=True)"),
        "indices of the moved ones": _step(returned="(values[:, None] - moved[None]).abs().argmin(1), moved"),
        "in place": _step(start="centroids"),
        "sums": _step(mean="cluster.sum()"),
        "medians": _step(mean="cluster.median()"),
        "only the centroids": _step(returned="moved"),
        "the indices as int32": _step(returned="nearest.int(), moved"),
    },
    advice={
        "ties to the higher index": "the lower index",
        "an empty one stays": "does not stay where it is",
        "an empty one is NaN": "no number",
        "an empty one is zero": "0 is not the place",
        "far from the old centroid": "not from the old centroid",
        "far from all values": "not from the mean of all values",
        "the same value twice": "not the same one",
        "the closest value": "descending order",
        "indices of the moved ones": "not of the moved ones",
        "in place": "changed its input",
        "sums": "not their sum",
        "medians": "The mean of the cluster",
        "only the centroids": "return two values",
        "the indices as int32": "should have dtype torch.int64",
    },
    right={
        "a loop": _step(),
        "buckets": """
def kmeans_step(values, centroids):
    nearest = torch.bucketize(values, (centroids[1:] + centroids[:-1]) / 2)
    members = torch.nn.functional.one_hot(nearest, len(centroids)).double()
    sizes = members.sum(0)
    means = (members.T @ values.double()) / sizes.clamp_min(1)
    far = sorted(range(len(values)), key=lambda i: -abs(float(values[i]) - float(means[nearest[i]])))
    for rank, k in enumerate((sizes == 0).nonzero().flatten().tolist()):
        means[k] = values[far[rank]]
    return nearest, means.to(centroids.dtype)
""",
    },
)


def _codes(
    order: str = "sorted((n, s) for s, n in enumerate(lengths) if n)",
    kraft: str = "sum(2.0**-n for n in lengths if n) > 1",
    fill: str = "word = word + '0' * (length - len(word))",
    following: str = "format(int(word, 2) + 1, f'0{len(word)}b')",
    more: str = "",
) -> str:
    return f"""
def canonical_codes(lengths):
    if {kraft}:
        raise ValueError("no prefix code")
    codes, word = {{}}, ""
    for length, symbol in {order}:
        if codes:
            word = {following}
        {fill}
        codes[symbol] = word
    {more}
    return codes
"""


CODES = Answers(
    name="canonical_codes",
    wrong={
        "in the order of the symbols": """
def canonical_codes(lengths):
    if sum(2.0**-n for n in lengths if n) > 1:
        raise ValueError("no prefix code")
    codes, code, before = {}, 0, 0
    for symbol, length in enumerate(lengths):
        if length:
            code = code << length - before if length > before else code
            codes[symbol], code, before = format(code, f"0{length}b"), code + 1, length
    return codes
""",
        "filled on the left": """
def canonical_codes(lengths):
    if sum(2.0**-n for n in lengths if n) > 1:
        raise ValueError("no prefix code")
    order = sorted((n, s) for s, n in enumerate(lengths) if n)
    return {s: format(place, f"0{n}b") for place, (n, s) in enumerate(order)}
""",
        "without leading zeros": """
def canonical_codes(lengths):
    if sum(2.0**-n for n in lengths if n) > 1:
        raise ValueError("no prefix code")
    codes, code, before = {}, 0, 0
    for n, s in sorted((n, s) for s, n in enumerate(lengths) if n):
        code <<= n - before
        codes[s], code, before = bin(code)[2:], code + 1, n
    return codes
""",
        "higher symbols first": """
def canonical_codes(lengths):
    if sum(2.0**-n for n in lengths if n) > 1:
        raise ValueError("no prefix code")
    codes, code, before = {}, 0, 0
    for n, s in sorted((n, -s) for s, n in enumerate(lengths) if n):
        code <<= n - before
        codes[-s], code, before = format(code, f"0{n}b"), code + 1, n
    return codes
""",
        "a word for every symbol": _codes(more='codes |= {s: "" for s, n in enumerate(lengths) if not n}'),
        "from ones downwards": """
def canonical_codes(lengths):
    if sum(2.0**-n for n in lengths if n) > 1:
        raise ValueError("no prefix code")
    codes, code, before = {}, 0, 0
    for n, s in sorted((n, s) for s, n in enumerate(lengths) if n):
        code <<= n - before
        codes[s], code, before = format(2**n - 1 - code, f"0{n}b"), code + 1, n
    return codes
""",
        "never refuses": _codes(kraft="False"),
        "refuses incomplete codes": _codes(kraft="sum(2.0**-n for n in lengths if n) not in (0, 1)"),
        "numbers instead of text": """
def canonical_codes(lengths):
    if sum(2.0**-n for n in lengths if n) > 1:
        raise ValueError("no prefix code")
    codes, code, before = {}, 0, 0
    for n, s in sorted((n, s) for s, n in enumerate(lengths) if n):
        code <<= n - before
        codes[s], code, before = code, code + 1, n
    return codes
""",
        "steps of two": """
def canonical_codes(lengths):
    if sum(2.0**-n for n in lengths if n) > 1:
        raise ValueError("no prefix code")
    codes, code, before = {}, 0, 0
    for n, s in sorted((n, s) for s, n in enumerate(lengths) if n):
        code <<= n - before
        codes[s], code, before = format(code, f"0{n}b"), code + 2, n
    return codes
""",
    },
    advice={
        "in the order of the symbols": "whatever the order of the symbols",
        "filled on the left": "zeros on the right",
        "without leading zeros": "keeps its leading zeros",
        "higher symbols first": "lower symbol comes first",
        "a word for every symbol": "so it has no word",
        "from ones downwards": "count upwards",
        "never refuses": "must raise ValueError",
        "refuses incomplete codes": "below 1 is allowed",
        "numbers instead of text": "text of 0 and 1",
        "steps of two": "the one before plus 1",
    },
    right={
        "with text": _codes(),
        "first code of each length": """
def canonical_codes(lengths):
    if sum(Fraction(1, 2**n) for n in lengths if n) > 1:
        raise ValueError(lengths)
    longest, code, result = max(lengths, default=0), 0, {}
    for n in range(1, longest + 1):
        code *= 2
        for symbol, own in enumerate(lengths):
            if own == n:
                result[symbol] = bin(code)[2:].zfill(n)
                code += 1
    return result
""",
    },
)


def _both(entropy: str = "-sum(p * math.log2(p) for p in shares)", length: str = "mean", before: str = "") -> str:
    return f"""
def entropy_and_length(counts):
    used = sorted(count for count in counts if count)
    shares = [count / sum(used) for count in used]
    entropy = {entropy}
    nodes, mean = list(shares), 1.0 if len(used) == 1 else 0.0
    {before}
    while len(nodes) > 1:
        nodes.sort()
        nodes = [nodes[0] + nodes[1], *nodes[2:]]
        mean += nodes[0]
    return entropy, {length}
"""


BOTH = Answers(
    name="entropy_and_length",
    wrong={
        "natural logarithm": _both("-sum(p * math.log(p) for p in shares)"),
        "bits of the message": _both(length="mean * sum(used)"),
        "not divided": _both("sum(count * math.log2(count) for count in used)"),
        "not weighted": _both("-sum(math.log2(p) for p in shares) / len(shares)"),
        "joins the most frequent": """
def entropy_and_length(counts):
    used = [count for count in counts if count]
    entropy = sum(count / sum(used) * math.log2(sum(used) / count) for count in used)
    total, bits = sum(used), sum(used) if len(used) == 1 else 0
    while len(used) > 1:
        used.sort(reverse=True)
        used = [used[0] + used[1], *used[2:]]
        bits += used[0]
    return entropy, bits / total
""",
        "no bits for one symbol": _both(before="mean = 0.0"),
        "Shannon's lengths": _both(length="sum(p * max(1, math.ceil(-math.log2(p) - 1e-12)) for p in shares)"),
        "a fixed length": _both(length="math.ceil(math.log2(max(2, len(used))))"),
        "the wrong order": _both().replace("return entropy, mean", "return mean, entropy"),
        "zeros in the tree": """
def entropy_and_length(counts):
    total, nodes = sum(counts), sorted(counts)
    entropy = sum(count / total * math.log2(total / count) for count in counts if count)
    bits = total if len(counts) == 1 else 0
    while len(nodes) > 1:
        joined = nodes[0] + nodes[1]
        nodes = sorted([joined, *nodes[2:]])
        bits += joined
    return entropy, bits / total
""",
        "the logarithm of zero": """
def entropy_and_length(counts):
    total = sum(counts)
    entropy = -sum(count / total * math.log2(count / total) for count in counts)
    nodes, bits = [count for count in counts if count], 0
    while len(nodes) > 1:
        nodes = sorted(nodes)
        nodes = [nodes[0] + nodes[1], *nodes[2:]]
        bits += nodes[0]
    return entropy, (bits or total) / total
""",
    },
    advice={
        "natural logarithm": "to the base 2",
        "bits of the message": "divide the bits of the message",
        "not divided": "divided by all counts",
        "not weighted": "as often as its symbol occurs",
        "joins the most frequent": "not the two most frequent",
        "no bits for one symbol": "has a word of 1 bit",
        "Shannon's lengths": "Shannon's code",
        "a fixed length": "fixed length of an index",
        "the wrong order": "the entropy first",
        "zeros in the tree": "do not take part in the tree",
        "the logarithm of zero": "ValueError",
    },
    right={
        "shares in a list": _both(),
        "words of a tree": """
def entropy_and_length(counts):
    used = [count for count in counts if count]
    lengths = [0] * len(used)
    groups = [(count, [place]) for place, count in enumerate(used)]
    while len(groups) > 1:
        groups.sort()
        for place in groups[0][1] + groups[1][1]:
            lengths[place] += 1
        groups = [(groups[0][0] + groups[1][0], groups[0][1] + groups[1][1]), *groups[2:]]
    p = torch.tensor(used, dtype=torch.float64) / sum(used)
    mean = sum(count * max(1, length) for count, length in zip(used, lengths)) / sum(used)
    return torch.special.entr(p).sum().item() / math.log(2), mean
""",
    },
)


def _encode(
    narrow: str = "low, width = low * total + width * sum(counts[:symbol]), width * counts[symbol]",
    start: str = "low, width, scale, total = 0, 1, 1, sum(counts)",
    digits: str = "n = 0",
    first: str = "-(-low * 2**n // scale)",
    fits: str = "(first + 1) * scale <= (low + width) * 2**n",
    text: str = "format(first, f'0{n}b') if n else ''",
) -> str:
    """In whole numbers: the interval is [low, low + width) / scale."""
    return f"""
def arithmetic_encode(message, counts):
    {start}
    for symbol in message:
        {narrow}
        scale *= total
    {digits}
    while True:
        first = {first}
        if {fits}:
            return {text}
        n += 1
"""


ENCODE = Answers(
    name="arithmetic_encode",
    wrong={
        "narrowed first": """
def arithmetic_encode(message, counts):
    low, width = Fraction(0), Fraction(1)
    for symbol in message:
        width *= Fraction(counts[symbol], sum(counts))
        low += width * Fraction(sum(counts[:symbol]), sum(counts))
    for n in range(1000):
        first = math.ceil(low * 2**n)
        if Fraction(first + 1, 2**n) <= low + width:
            return format(first, f"0{n}b") if n else ""
""",
        "one number inside": _encode(fits="first * scale < (low + width) * 2**n"),
        "rounded down": _encode(first="low * 2**n // scale"),
        "strictly below the end": _encode(fits="(first + 1) * scale < (low + width) * 2**n"),
        "no leading zeros": _encode(text="format(first, 'b') if n else ''"),
        "a digit for the empty message": _encode(text="format(first, f'0{n}b')"),
        "floats": """
def arithmetic_encode(message, counts):
    low, width = 0.0, 1.0
    for symbol in message:
        low, width = low + width * sum(counts[:symbol]) / sum(counts), width * counts[symbol] / sum(counts)
    for n in range(400):
        first = math.ceil(low * 2**n)
        if (first + 1) / 2**n <= low + width:
            return format(first, f"0{n}b") if n else ""
    return ""
""",
        "always one digit more": """
def arithmetic_encode(message, counts):
    low, width = Fraction(0), Fraction(1)
    for symbol in message:
        low += width * Fraction(sum(counts[:symbol]), sum(counts))
        width *= Fraction(counts[symbol], sum(counts))
    if not message:
        return ""
    n = math.ceil(-math.log2(width)) + 1
    return format(math.ceil(low * 2**n), f"0{n}b")
""",
        "from the upper end": _encode(
            "low, width = low * total + width * sum(counts[symbol + 1:]), width * counts[symbol]"
        ),
        "equal parts": _encode(
            "low, width = low * 3 + width * symbol, width", start="low, width, scale, total = 0, 1, 1, 3"
        ),
        "the highest text": _encode(first="(low + width) * 2**n // scale - 1", fits="first * scale >= low * 2**n"),
        "with the point": _encode(text="'0.' + format(first, f'0{n}b') if n else ''"),
    },
    advice={
        "narrowed first": "by the old width",
        "one number inside": "ne number in the interval is not enough",
        "rounded down": "lies outside of the interval",
        "strictly below the end": "just below its upper end",
        "no leading zeros": "eep leading zeros",
        "a digit for the empty message": "An empty message has no digits",
        "floats": "too few digits for a long message",
        "always one digit more": "fewer may do",
        "from the upper end": "is at the lower end",
        "equal parts": "as wide as the counts say",
        "the highest text": "return the lowest",
        "with the point": "arrow to the part of each symbol",
    },
    right={
        "whole numbers": _encode(),
        "digit by digit": """
def arithmetic_encode(message, counts):
    low, high = Fraction(0), Fraction(1)
    for symbol in message:
        edges = [low + (high - low) * Fraction(sum(counts[:place]), sum(counts)) for place in range(4)]
        low, high = edges[symbol], edges[symbol + 1]
    size, n = Fraction(1), 0
    while True:
        start = -(-low // size) * size
        if start + size <= high:
            number = int(start / size)
            return "".join(str(number >> place & 1) for place in reversed(range(n)))
        size, n = size / 2, n + 1
""",
    },
)


def _levels(
    nearest: str = "torch.round(weights / step).clamp(-m, m)",
    tried: str = "[torch.zeros_like(near), near - near.sign(), near]",
    cost: str = "(weights - step * q) ** 2 + lam * bits[(q + m).long()]",
    returned: str = "best.long()",
) -> str:
    return f"""
def rdoq(weights, step, lam, bits):
    m = (len(bits) - 1) // 2
    near = {nearest}
    best, lowest = torch.zeros_like(near), torch.full_like(near, float("inf"), dtype=torch.float64)
    for q in {tried}:
        cost = {cost}
        better = cost < lowest
        best, lowest = torch.where(better, q, best), torch.where(better, cost.double(), lowest)
    return {returned}
"""


LEVELS = Answers(
    name="rdoq",
    wrong={
        "no rate": _levels(cost="(weights - step * q) ** 2"),
        "absolute error": _levels(cost="(weights - step * q).abs() + lam * bits[(q + m).long()]"),
        "without the step": _levels(cost="(weights - q) ** 2 + lam * bits[(q + m).long()]"),
        "bits of the magnitude": _levels(cost="(weights - step * q) ** 2 + lam * bits[q.abs().long()]"),
        "zero is not tried": _levels(tried="[near - near.sign(), near]"),
        "the smaller one is not tried": _levels(tried="[torch.zeros_like(near), near]"),
        "every level is tried": _levels(tried="[torch.full_like(near, q) for q in range(-m, m + 1)]"),
        "ties to the larger": _levels(tried="[near, near - near.sign(), torch.zeros_like(near)]"),
        "not clipped": _levels(
            nearest="torch.round(weights / step)",
            cost="(weights - step * q) ** 2 + lam * bits[(q + m).clamp(0, 2 * m).long()]",
        ),
        "values instead of levels": _levels(returned="best * step"),
        "levels as float": _levels(returned="best"),
        "λ at the error": _levels(cost="lam * (weights - step * q) ** 2 + bits[(q + m).long()]"),
        "nearest": "def rdoq(weights, step, lam, bits):\n    return (weights / step).round().long()",
    },
    advice={
        "no rate": "is missing in the cost",
        "absolute error": "The error is squared",
        "without the step": "stands for the value step",
        "bits of the magnitude": "at index q + m",
        "zero is not tried": "ero is a candidate, too",
        "the smaller one is not tried": "one nearer to zero is a candidate",
        "every level is tried": "nly the nearest level",
        "ties to the larger": "the level nearer to zero",
        "not clipped": "larger ones have no bits",
        "values instead of levels": "not the values",
        "levels as float": "should have dtype torch.int64",
        "λ at the error": "not the error",
        "nearest": "is missing in the cost",
    },
    right={
        "one candidate after another": _levels(),
        "a loop over weights": """
def rdoq(weights, step, lam, bits):
    m, levels = len(bits) // 2, []
    for w in weights.flatten().tolist():
        near = max(-m, min(m, round(w / step)))
        tried = [0, near - (near > 0) + (near < 0), near]
        levels.append(min(tried, key=lambda q: (w - step * q) ** 2 + lam * float(bits[q + m])))
    return torch.tensor(levels, dtype=torch.int64).view(weights.shape)
""",
    },
)


def _bytes(
    width: str = "math.ceil(math.log2(k))",
    fixed: str = "math.ceil(sum(counts) * width / 8) + k * value_bytes",
    words: str = "sum(a * b for a, b in zip(counts, lengths))",
    huffman: str = "math.ceil(words / 8) + math.ceil(5 * k / 8) + k * value_bytes",
) -> str:
    return f"""
def layer_bytes(counts, lengths, value_bytes):
    k = len(counts)
    width, words = {width}, {words}
    return {{"fixed": {fixed}, "huffman": {huffman}}}
"""


BYTES = Answers(
    name="layer_bytes",
    wrong={
        "rounded down": _bytes(
            fixed="sum(counts) * width // 8 + k * value_bytes", huffman="words // 8 + 5 * k // 8 + k * value_bytes"
        ),
        "no codebook": _bytes(
            fixed="math.ceil(sum(counts) * width / 8)", huffman="math.ceil(words / 8) + math.ceil(5 * k / 8)"
        ),
        "no table": _bytes(huffman="math.ceil(words / 8) + k * value_bytes"),
        "the logarithm rounded down": _bytes(width="int(math.log2(k))"),
        "one bit too many": _bytes(width="k.bit_length()"),
        "a bit for one value": _bytes(width="max(1, math.ceil(math.log2(k)))"),
        "lengths not weighted": _bytes(words="sum(lengths)"),
        "a codebook in bits": _bytes(
            fixed="math.ceil(sum(counts) * width / 8) + math.ceil(k * value_bytes / 8)",
            huffman="math.ceil(words / 8) + math.ceil(5 * k / 8) + math.ceil(k * value_bytes / 8)",
        ),
        "rounded up together": _bytes(huffman="math.ceil((words + 5 * k) / 8) + k * value_bytes"),
        "a table in bytes": _bytes(huffman="math.ceil(words / 8) + 5 * k + k * value_bytes"),
        "floats": _bytes(
            fixed="float(math.ceil(sum(counts) * width / 8) + k * value_bytes)",
            huffman="float(math.ceil(words / 8) + math.ceil(5 * k / 8) + k * value_bytes)",
        ),
        "a pair": """
def layer_bytes(counts, lengths, value_bytes):
    k = len(counts)
    words = sum(a * b for a, b in zip(counts, lengths))
    return -(-sum(counts) * (k - 1).bit_length() // 8) + k * value_bytes, -(-words // 8) - (-5 * k // 8) + 4 * k
""",
    },
    advice={
        "rounded down": "takes a whole byte",
        "no codebook": "codebook is stored, too",
        "no table": "the table is missing",
        "the logarithm rounded down": "round the logarithm up",
        "one bit too many": "0, 1, 2 and 3",
        "a bit for one value": "needs no index",
        "lengths not weighted": "multiply the lengths by the counts",
        "a codebook in bits": "value_bytes, not bits",
        "rounded up together": "not their sum",
        "a table in bytes": "5 bits in the table",
        "floats": "each rounded up to whole bytes",
        "a pair": "each rounded up to whole bytes",
    },
    right={
        "ceilings": _bytes(),
        "bits in text": """
def layer_bytes(counts, lengths, value_bytes):
    k, bits = len(counts), lambda n: (n + 7) // 8
    width = len(format(k - 1, "b")) if k > 1 else 0
    shared = k * value_bytes
    coded = bits(sum(n * counts[place] for place, n in enumerate(lengths))) + bits(5 * k)
    return {"huffman": coded + shared, "fixed": bits(width * sum(counts)) + shared}
""",
    },
)

ANSWERS = {"12.1": STEP, "12.2": CODES, "12.3": BOTH, "12.4": ENCODE, "12.5": LEVELS, "12.6": BYTES}
