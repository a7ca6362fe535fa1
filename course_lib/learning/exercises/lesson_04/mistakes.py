"""Known mistakes of exercise 04: what to tell a learner, and the edits of the solution that make the mistake."""

from __future__ import annotations

from course_lib.learning.diagnosis import Mistakes

_VOTES = (
    "    votes = [norms / norms.mean() if norms.mean() > 0 else torch.ones_like(norms) for norms in (rows, columns)]\n"
)
_SORTED = "return sorted(order[:count].tolist())"
_COUNT = "    order = "
_PLACES = "[head * size + offset for head in keep for offset in range(size)]"

MISTAKES = {
    "04.1": Mistakes(
        "channel_scores",
        {
            "the consumer has a vote too": [("(votes[0] + votes[1]) / 2", "votes[0]")],
            "divide the norms of each layer by their mean": [(_VOTES, "    votes = [rows, columns]\n")],
            "divide by the mean of each layer before you add, not after": [
                (
                    _VOTES,
                    "    votes = [2 * (rows + columns) / (rows + columns).mean() if (rows + columns).any() else "
                    "torch.full_like(rows, 2.0), 0]\n",
                )
            ],
            "the average of the two votes is asked, not their sum": [
                ("(votes[0] + votes[1]) / 2", "votes[0] + votes[1]")
            ],
            "the vote is an L2 norm, not a sum of magnitudes": [("norm(dim=1)", "abs().sum(dim=1)")],
            "the L2 norm is the root of the sum of squares": [("norm(dim=1)", "square().sum(dim=1)")],
            "in the consumer a channel is a slice of the second dimension, not a filter": [
                ("consumer.transpose(0, 1).flatten(1)", "consumer.flatten(1)")
            ],
            "a layer of zeros has no mean to divide by: it votes 1 for every channel": [
                (" if norms.mean() > 0 else torch.ones_like(norms)", "")
            ],
            "if one layer is all zeros, the other still votes": [
                (_VOTES, _VOTES + "    if not rows.any() or not columns.any():\n        return torch.ones_like(rows)\n")
            ],
            "divide by the mean of the norms, not by the largest": [("norms / norms.mean()", "norms / norms.max()")],
        },
    ),
    "04.2": Mistakes(
        "channels_to_keep",
        {
            "keep the highest scores; these are the lowest": [("descending=True", "descending=False")],
            "return the indices in increasing order, not in order of importance": [
                (_SORTED, "return order[:count].tolist()")
            ],
            "the nearest multiple is asked: do not always round down": [(" / multiple + 0.5)", " / multiple)")],
            "keep a multiple of `multiple`": [
                ("max(multiple, nearest)", "max(1, math.floor(ratio * len(scores) + 0.5))")
            ],
            "keep at least one `multiple`": [("max(multiple, nearest)", "nearest")],
            "half way between two multiples the larger one is taken; round() takes the even one": [
                ("math.floor(ratio * len(scores) / multiple + 0.5)", "round(ratio * len(scores) / multiple)")
            ],
            "of equal scores the lower index stays": [
                (_SORTED, "return sorted(scores.argsort(stable=True)[len(scores) - count :].tolist())")
            ],
            "`ratio` is the fraction that stays, not the one that goes": [("(ratio *", "((1 - ratio) *")],
        },
    ),
    "04.3": Mistakes(
        "shrink",
        {
            "conv3 puts its result into the stream: its outputs are channels of the stream": [
                ('"conv3": stem, "bn3"', '"bn3"')
            ],
            "conv2 reads the stream: its inputs are channels of the stream": [('{"conv2": stem, "conv3"', '{"conv3"')],
            "the running statistics of a norm belong to channels too": [
                ("layer in outputs and", 'layer in outputs and "running" not in name and')
            ],
            "flatten makes four columns of each channel, one for each pixel": [('"fc": pixels', '"fc": stem')],
            "flatten goes channel by channel: the four pixels of channel 0 come first": [
                (
                    "[4 * channel + pixel for channel in stem for pixel in range(4)]",
                    "[8 * pixel + channel for pixel in range(4) for channel in stem]",
                )
            ],
            "bn3 normalises what goes into the stream: its channels are those of the stream": [
                ('"bn3": stem', '"bn3": inner')
            ],
            "keep the chosen channels, not the first ones": [
                ("    pixels =", "    stem, inner = list(range(len(stem))), list(range(len(inner)))\n    pixels =")
            ],
            "the five classes remain: do not cut the bias of the last layer": [
                (
                    "        small[name] = tensor",
                    '        small[name] = tensor[: len(stem)] if name == "fc.bias" else tensor',
                )
            ],
            "num_batches_tracked stays: the names are the same": [
                (
                    "    return small",
                    '    return {name: one for name, one in small.items() if "num_batches" not in name}',
                )
            ],
        },
    ),
    "04.4": Mistakes(
        "keep_heads",
        {
            "a head is a block of rows, not a single row": [(_PLACES, "keep")],
            "the rows of a head are neighbours: head h begins at row h * size": [
                (_PLACES, "[offset * heads + head for head in keep for offset in range(size)]")
            ],
            "the output layer reads the heads: it loses columns, not rows": [
                (
                    '["output.weight"][:, places]',
                    '["output.weight"][[one for one in places if one < len(layer["output.bias"])]]',
                )
            ],
            "the output layer reads the heads: it loses the same columns": [
                ('["output.weight"][:, places]', '["output.weight"]')
            ],
            "the biases of query, key and value lose their entries too": [
                ("tensor[places] for", 'tensor if name.endswith("bias") else tensor[places] for')
            ],
            "`keep` names the heads that stay": [("for head in keep", "for head in range(heads) if head not in keep")],
            "the value layer has heads too": [
                ("tensor[places] for", 'tensor if name.startswith("value") else tensor[places] for')
            ],
            "the heads are in the columns of the output layer, also where its weight is square": [
                (
                    '["output.weight"][:, places]',
                    '["output.weight"][places] if len(layer["output.weight"]) == heads * size '
                    'else layer["output.weight"][:, places]',
                )
            ],
        },
    ),
    "04.5": Mistakes(
        "two_four_mask",
        {
            "compare magnitudes: take abs() first": [("weight.abs()", "weight")],
            "the two largest stay, not the two smallest": [("descending=True", "descending=False")],
            "two of every four neighbours, not half of a whole row": [
                ("(len(weight), -1, 4)", "(len(weight), 1, -1)"),
                ("[..., :2]", "[..., : weight.shape[1] // 2]"),
            ],
            "the four neighbours are in a row, that is along the inputs": [
                ("    fours = weight.abs().reshape(len(weight), -1, 4)", "    fours = weight.abs().T.reshape(-1, 4)"),
                ("mask.reshape(weight.shape)", "mask.reshape(weight.T.shape).T"),
            ],
            "a threshold keeps all equal magnitudes: exactly two of each four stay": [
                (
                    "    mask.scatter_(-1, order[..., :2], True)",
                    "    mask = fours >= fours.sort(dim=-1, descending=True).values[..., 1:2]",
                )
            ],
            "two of each four stay, not one": [("[..., :2]", "[..., :1]")],
            "of equal magnitudes those further to the left stay": [
                ("descending=True, stable=True)", "stable=True).flip(-1)")
            ],
            "the places depend on the magnitudes: they are not the same in every four": [
                ("    mask.scatter_(-1, order[..., :2], True)", "    mask[..., ::2] = True")
            ],
        },
    ),
}
