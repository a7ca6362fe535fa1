"""Known mistakes of exercise 05: what to tell a learner, and the edits of the solution that make the mistake."""

from __future__ import annotations

from course_lib.learning.diagnosis import Mistakes

_ROUNDED = "torch.round(weight / scale)"
_ZERO_POINT = "min(max(round(-low / scale), 0), 2**bits - 1)"
_NEAREST = "(values[:, None] - centroids[None, :]).abs().argmin(dim=1)"
_MEAN = "            centroids[k] = values[codes == k].mean()\n"
_LAST = "    codes = (values[:, None] - centroids[None, :]).abs().argmin(dim=1)\n    return"

MISTAKES = {
    "05.1": Mistakes(
        "quantize_symmetric",
        {
            "the scale comes from the largest magnitude, so take abs() first": [("weight.abs().max()", "weight.max()")],
            "the largest integer is 2**(bits-1) - 1, not 2**(bits-1)": [("2 ** (bits - 1) - 1", "2 ** (bits - 1)")],
            "round to the nearest integer: the cast alone cuts off": [(_ROUNDED, "(weight / scale)")],
            "round to the nearest integer, not always down": [(_ROUNDED, "torch.floor(weight / scale)")],
            "halves go to the even neighbour, as in torch.round": [
                (_ROUNDED, "(torch.sign(weight) * torch.floor(weight.abs() / scale + 0.5))")
            ],
            "the integers are signed: zero stays 0": [(_ROUNDED, "(torch.round(weight / scale) + qmax + 1)")],
            "a tensor of zeros gets the scale 1": [("    if scale == 0:\n        scale = 1.0\n", "")],
            "the integers come first, then the scale": [
                (f"return {_ROUNDED}.to(torch.int32), scale", f"return scale, {_ROUNDED}.to(torch.int32)")
            ],
        },
    ),
    "05.2": Mistakes(
        "scale_and_zero_point",
        {
            "the range must contain zero: widen it at both ends": [
                ("low, high = min(low, 0.0), max(high, 0.0)", "high = max(high, 0.0)")
            ],
            "the zero-point is the number of steps from the low end up to zero: mind the sign": [
                (_ZERO_POINT, "round(low / scale)")
            ],
            "round the zero-point to the nearest integer, do not cut it off": [(_ZERO_POINT, "int(-low / scale)")],
            "count the steps from the low end to zero, not from the high end": [(_ZERO_POINT, "round(high / scale)")],
            "the integers go from 0 to 2**bits - 1: they are not signed": [
                (_ZERO_POINT, "round(-low / scale) - 2 ** (bits - 1)")
            ],
            "a range without width gives (1.0, 0)": [("    if low == high:\n        return 1.0, 0\n", "")],
        },
    ),
    "05.3": Mistakes(
        "group_quantize",
        {
            "a group is a run of neighbours in a row, not every n-th entry": [
                ("weight.reshape(len(weight), -1, group_size)", "weight.reshape(len(weight), group_size, -1).mT")
            ],
            "each group has a scale of its own, not one for the row": [
                ("groups.abs().amax(dim=2)", "groups.abs().amax(dim=(1, 2))[:, None].expand(groups.shape[:2])")
            ],
            "the scale comes from the largest magnitude, so take abs() first": [("groups.abs()", "groups")],
            "a group of zeros gets the scale 1": [("    scale = torch.where(scale > 0, scale, 1.0)\n", "")],
            "the largest integer is 2**(bits-1) - 1, not 2**(bits-1)": [("2 ** (bits - 1) - 1", "2 ** (bits - 1)")],
            "give the integers the shape of the matrix again": [("integers.reshape(weight.shape)", "integers")],
            "the scales have the shape [rows, columns // group_size]": [
                ("to(torch.int32), scale", "to(torch.int32), scale.flatten()")
            ],
            "round to the nearest integer: the cast alone cuts off": [
                ("torch.round(groups / scale[:, :, None])", "(groups / scale[:, :, None])")
            ],
        },
    ),
    "05.4": Mistakes(
        "kmeans",
        {
            "a centroid without values has no mean: it does not move": [
                ("for k in codes.unique().tolist()", "for k in range(len(centroids))")
            ],
            "a centroid moves to the mean of its values, not to the middle between the ends": [
                ("values[codes == k].mean()", "(values[codes == k].min() + values[codes == k].max()) / 2")
            ],
            "that is one round too many": [("range(steps)", "range(steps + 1)")],
            "nearest means the smallest distance: take abs() of the difference": [(").abs().argmin", ").argmin")],
            "assign to the nearest centroid, not to the farthest": [("argmin", "argmax")],
            "give the codes the shape of the weight": [("codes.reshape(weight.shape)", "codes.flatten()[None]")],
            "the centroids have not moved: after the assignment each goes to the mean of its values": [
                (_MEAN, "            pass\n")
            ],
        },
    ),
}
