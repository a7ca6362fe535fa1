"""Known mistakes of exercise 10: what to tell a learner, and the edits of the solution that make the mistake."""

from __future__ import annotations

from course_lib.learning.diagnosis import Mistakes

_LAYER = "(layer + 1) * teacher_layers // student_layers - 1"
_RENAMED = 'name = f"{start}{chosen.index(int(number))}.{rest}"'
_PREFIXES = """
def student_state(state, chosen):
    start = "bert.encoder.layer."
    kept = {name: tensor.clone() for name, tensor in state.items() if not name.startswith(start)}
    for place, number in enumerate(chosen):
        for name, tensor in state.items():
            if name.startswith(f"{start}{number}"):
                kept[name.replace(f"{start}{number}", f"{start}{place}", 1)] = tensor.clone()
    return kept
"""
_KL = 'F.kl_div(F.log_softmax(logits / temperature, dim=1), targets, reduction="batchmean")'
_COSINE = "(distance * mask).sum() / mask.sum()"
_PAIRS = "(difference.square() * pairs).sum() / pairs.sum()"
_MIXED = "original_weight * original + (1 - original_weight) * previous"
_TARGET = "target = F.softmax(mixed / temperature, dim=1)"

MISTAKES = {
    "10.1": Mistakes(
        "layer_map",
        {
            "count the layers of the teacher from 0: subtract 1 at the end": [(" - 1 for", " for")],
            "these are the teacher's first layers: spread them evenly, up to the last": [(_LAYER, "layer")],
            "these are the teacher's last layers: spread them evenly": [
                (_LAYER, "teacher_layers - student_layers + layer")
            ],
            "multiply before you divide: teacher / student is not a whole number": [
                ("* teacher_layers // student_layers", "* (teacher_layers // student_layers)")
            ],
            "end with the teacher's last layer, do not start with the first": [
                (_LAYER, "layer * teacher_layers // student_layers")
            ],
            "`floor` is asked, not `round`": [(_LAYER, "round((layer + 1) * teacher_layers / student_layers) - 1")],
            "the quotient of two floats can be a little too small: multiply whole numbers and divide with `//`": [
                (_LAYER, "int((layer + 1) * (teacher_layers / student_layers)) - 1")
            ],
            "a quotient of floats can be a little too small: multiply whole numbers first, then divide with `//`": [
                (_LAYER, "int((layer + 1) / student_layers * teacher_layers) - 1")
            ],
            "the map depends on both numbers of layers": """
def layer_map(student_layers, teacher_layers):
    return (1, 3, 5)
""",
        },
    ),
    "10.2": Mistakes(
        "student_state",
        {
            "chosen layers are renumbered from 0": [(_RENAMED, "pass")],
            "layers that are not chosen are left out": [
                ("                continue", "                kept[name] = tensor.clone()\n                continue")
            ],
            "the first chosen layer gets the number 0, not 1": [
                ("chosen.index(int(number))}", "chosen.index(int(number)) + 1}")
            ],
            "what does not begin with bert.encoder.layer. is kept too": [
                ("        kept[name]", "            kept[name]")
            ],
            "a name begins with the number and a dot: without the dot, 1 matches 11 too": _PREFIXES,
        },
    ),
    "10.3": Mistakes(
        "triple_loss",
        {
            "averaged over the batch only: reduction='batchmean'": [('"batchmean"', '"mean"')],
            "the soft part is multiplied by T²": [("* temperature**2 *", "*")],
            "the divergence is the wrong way round: the teacher's probabilities are the target": [
                (
                    "F.log_softmax(logits / temperature, dim=1), targets",
                    "targets.log(), F.softmax(logits / temperature, dim=1)",
                )
            ],
            "the task is at temperature 1: the labels are compared with the logits as they are": [
                ("cross_entropy(logits, labels)", "cross_entropy(logits / temperature, labels)")
            ],
            "padding does not count in the cosine": [(_COSINE, "distance.mean()")],
            "divide by the number of words, not by that of all positions": [(_COSINE, "(distance * mask).mean()")],
            "one mean over all words of the batch, not a mean of the sentences' means": [
                (_COSINE, "((distance * mask).sum(1) / mask.sum(1)).mean()")
            ],
            "1 - cosine: states in the same direction cost nothing": [("1 - F.cosine", "F.cosine")],
            "each part has its own weight": [("weights[1] * task", "task")],
        },
    ),
    "10.4": Mistakes(
        "attention_loss",
        {
            "padding does not count: only pairs of words": [(_PAIRS, "difference.square().mean()")],
            "both positions must be words, the columns too": [
                ("mask[:, :, None] * mask[:, None, :]", "mask[:, :, None].expand_as(difference)")
            ],
            "divide by the number of pairs of words, not by that of all pairs": [
                (_PAIRS, "(difference.square() * pairs).mean()")
            ],
            "one mean over all pairs of the batch, not a mean of the sentences' means": [
                (_PAIRS, "((difference.square() * pairs).sum((1, 2)) / pairs.sum((1, 2))).mean()")
            ],
            "the difference is squared": [(".square()", ".abs()")],
            "average over the heads, do not add them up": [(".mean(dim=1)", ".sum(dim=1)")],
            "average over all heads, not only the first": [(".mean(dim=1)", "[:, 0]")],
        },
    ),
    "10.5": Mistakes(
        "distil_in_stages",
        {
            "the original helps in every stage: mix its logits with those of the stage before": [(_MIXED, "previous")],
            "w belongs to the original, 1 - w to the stage before": [
                (_MIXED, "original_weight * previous + (1 - original_weight) * original")
            ],
            "the original was in training mode, so dropout changed its logits: eval() first": [
                ("copy.deepcopy(teacher).eval()", "copy.deepcopy(teacher).train()")
            ],
            "a stage learns in training mode": [("copy.deepcopy(student).train()", "copy.deepcopy(student).eval()")],
            "the student's logits are divided by T too": [("learner(inputs) / temperature", "learner(inputs)")],
            "the target's logits are divided by T too": [("mixed / temperature", "mixed")],
            "use the temperature that is given": [(_TARGET, "temperature = 2.0\n        " + _TARGET)],
            "`steps` says how many steps there are": [("range(steps)", "range(3)")],
            "use the learning rate that is given": [("lr=learning_rate", "lr=0.2")],
            "clear the gradients in each step: they add up": [("            optimizer.zero_grad()\n", "")],
            "the loss is multiplied by T²": [("temperature**2 * ", "")],
            "return all students, not only the last": [
                ("return finished, agreement", "return finished[-1:], agreement[-1:]")
            ],
            "compare with the original, not with the stage before": [
                ("        mixed =", "        before = previous\n        mixed ="),
                ("== original.argmax", "== before.argmax"),
            ],
            "a finished stage is evaluated in eval mode and stays in it": [("learner.eval()", "learner")],
            "mix the logits and then take the softmax, do not mix probabilities": [
                (
                    _TARGET,
                    "target = original_weight * F.softmax(original / temperature, dim=1)\n"
                    "        target = target + (1 - original_weight) * F.softmax(previous / temperature, dim=1)",
                )
            ],
            "plain SGD is asked": [("torch.optim.SGD", "torch.optim.Adam")],
        },
    ),
}
