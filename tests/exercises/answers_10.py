"""Answers to exercise 10 that must fail, and others that must pass."""

from __future__ import annotations

from tests.exercises.answers import Answers, changed, solution

_MAP = solution("10.1")
LAYER_MAP = Answers(
    name="layer_map",
    wrong={
        "counted from 1": changed(_MAP, (" - 1 for", " for")),
        "the first layers": changed(_MAP, ("(layer + 1) * teacher_layers // student_layers - 1 for", "layer for")),
        "the last layers": changed(
            _MAP, ("(layer + 1) * teacher_layers // student_layers - 1", "teacher_layers - student_layers + layer")
        ),
        "divided before it is multiplied": changed(
            _MAP, ("* teacher_layers // student_layers", "* (teacher_layers // student_layers)")
        ),
        "starts with the first layer": changed(_MAP, ("(layer + 1)", "layer"), (" - 1 for", " for")),
        "impossible sizes pass": """
def layer_map(student_layers, teacher_layers):
    return tuple((layer + 1) * teacher_layers // max(student_layers, 1) - 1 for layer in range(student_layers))
""",
        "only the map of the example": """
def layer_map(student_layers, teacher_layers):
    return (1, 3, 5)
""",
        "rounded to the nearest": changed(
            _MAP,
            (
                "(layer + 1) * teacher_layers // student_layers - 1",
                "round((layer + 1) * teacher_layers / student_layers) - 1",
            ),
        ),
        "a quotient of floats, then multiplied": changed(
            _MAP,
            (
                "(layer + 1) * teacher_layers // student_layers - 1",
                "int((layer + 1) * (teacher_layers / student_layers)) - 1",
            ),
        ),
        "a fraction of floats, then multiplied": changed(
            _MAP,
            (
                "(layer + 1) * teacher_layers // student_layers - 1",
                "int((layer + 1) / student_layers * teacher_layers) - 1",
            ),
        ),
    },
    advice={
        "counted from 1": "subtract 1 at the end",
        "the first layers": "teacher's first layers",
        "the last layers": "teacher's last layers",
        "divided before it is multiplied": "Multiply before you divide",
        "starts with the first layer": "do not start with the first",
        "impossible sizes pass": "raise ValueError",
        "only the map of the example": "depends on both numbers",
        "rounded to the nearest": "not `round`",
        "a quotient of floats, then multiplied": "can be a little too small",
        "a fraction of floats, then multiplied": "can be a little too small",
    },
    right={
        "a loop": """
def layer_map(student_layers, teacher_layers):
    if student_layers < 1 or student_layers > teacher_layers:
        raise ValueError("no such map")
    chosen = []
    for place in range(1, student_layers + 1):
        chosen.append(int(place * teacher_layers / student_layers + 1e-9) - 1)
    return tuple(chosen)
""",
        "from the back": """
def layer_map(student_layers, teacher_layers):
    if student_layers not in range(1, teacher_layers + 1):
        raise ValueError("no such map")
    back = [place * teacher_layers // student_layers for place in range(student_layers, 0, -1)]
    return tuple(number - 1 for number in reversed(back))
""",
    },
)

_START = solution("10.2")
_NUMBERED = 'name = f"{start}{chosen.index(int(number))}.{rest}"'
START = Answers(
    name="student_state",
    wrong={
        "tensors are shared": changed(_START, ("tensor.clone()", "tensor")),
        "only what is no layer is copied": changed(
            _START, ("tensor.clone()", "tensor if name.startswith(start) else tensor.clone()")
        ),
        "not renumbered": changed(_START, (_NUMBERED, "pass")),
        "layers that are not chosen stay": changed(
            _START,
            ("                continue", "                kept[name] = tensor.clone()\n                continue"),
        ),
        "numbered from 1": changed(_START, ("chosen.index(int(number))}", "chosen.index(int(number)) + 1}")),
        "only the layers": changed(_START, ("        kept[name]", "            kept[name]")),
        "beginnings of names": """
def student_state(state, chosen):
    start, kept = "bert.encoder.layer.", {}
    for name, tensor in state.items():
        if not name.startswith(start):
            kept[name] = tensor.clone()
    for place, number in enumerate(chosen):
        for name, tensor in state.items():
            if name.startswith(f"{start}{number}"):
                kept[name.replace(f"{start}{number}", f"{start}{place}", 1)] = tensor.clone()
    return kept
""",
    },
    advice={
        "tensors are shared": "Clone every tensor",
        "only what is no layer is copied": "Clone every tensor",
        "not renumbered": "renumbered from 0",
        "layers that are not chosen stay": "left out",
        "numbered from 1": "the number 0, not 1",
        "only the layers": "is kept too",
        "beginnings of names": "1 matches 11",
    },
    right={
        "split at dots": """
def student_state(state, chosen):
    new = {old: place for place, old in enumerate(chosen)}
    result = {}
    for name, tensor in state.items():
        parts = name.split(".")
        if parts[:3] == ["bert", "encoder", "layer"]:
            if int(parts[3]) not in new:
                continue
            parts[3] = str(new[int(parts[3])])
        result[".".join(parts)] = tensor.detach().clone()
    return result
""",
        "layer by layer": """
def student_state(state, chosen):
    start = "bert.encoder.layer."
    result = {name: copy.deepcopy(tensor) for name, tensor in state.items() if not name.startswith(start)}
    for place, number in enumerate(chosen):
        old = f"{start}{number}."
        layer = {name[len(old):]: tensor for name, tensor in state.items() if name.startswith(old)}
        result.update({f"{start}{place}.{rest}": tensor + 0 for rest, tensor in layer.items()})
    return result
""",
    },
)

_TRIPLE = solution("10.3")
TRIPLE = Answers(
    name="triple_loss",
    wrong={
        "mean over all entries": changed(_TRIPLE, ('"batchmean"', '"mean"')),
        "T squared is missing": changed(_TRIPLE, (" * temperature**2", "")),
        "divergence the wrong way round": changed(
            _TRIPLE,
            (
                "F.log_softmax(logits / temperature, dim=1), targets",
                "targets.log(), F.softmax(logits / temperature, dim=1)",
            ),
        ),
        "the task is softened too": changed(
            _TRIPLE, ("cross_entropy(logits, labels)", "cross_entropy(logits / temperature, labels)")
        ),
        "padding counts": changed(_TRIPLE, ("(distance * mask).sum() / mask.sum()", "distance.mean()")),
        "divided by all positions": changed(_TRIPLE, (".sum() / mask.sum()", ".mean()")),
        "the teacher learns": changed(_TRIPLE, (".detach()", "")),
        "cosine instead of its distance": changed(_TRIPLE, ("1 - F.cosine", "F.cosine")),
        "a mean of the sentences' means": changed(
            _TRIPLE, ("(distance * mask).sum() / mask.sum()", "((distance * mask).sum(1) / mask.sum(1)).mean()")
        ),
        "a weight is forgotten": changed(_TRIPLE, ("weights[1] * task", "task")),
    },
    advice={
        "mean over all entries": "batchmean",
        "T squared is missing": "multiplied by T²",
        "divergence the wrong way round": "wrong way round",
        "the task is softened too": "at temperature 1",
        "padding counts": "Padding does not count",
        "divided by all positions": "not by that of all positions",
        "the teacher learns": "etach the teacher",
        "cosine instead of its distance": "1 - cosine: states",
        "a mean of the sentences' means": "not a mean of the sentences' means",
        "a weight is forgotten": "its own weight",
    },
    right={
        "by hand": """
def triple_loss(student, teacher, labels, mask, temperature, weights):
    p = (teacher[0].detach() / temperature).softmax(1)
    q = (student[0] / temperature).log_softmax(1)
    soft = (p * (p.log() - q)).sum(1).mean() * temperature ** 2
    task = -student[0].log_softmax(1)[torch.arange(len(labels)), labels].mean()
    ours, theirs = F.normalize(student[1], dim=-1), F.normalize(teacher[1].detach(), dim=-1)
    cosine = (1 - (ours * theirs).sum(-1))[mask.bool()].mean()
    return sum(w * part for w, part in zip(weights, (soft, task, cosine)))
""",
        "with CosineEmbeddingLoss": """
def triple_loss(student, teacher, labels, mask, temperature, weights):
    teacher = [part.detach() for part in teacher]
    soft = F.kl_div(
        (student[0] / temperature).log_softmax(1), (teacher[0] / temperature).log_softmax(1),
        reduction="sum", log_target=True,
    ) * temperature * temperature / len(labels)
    words = mask == 1
    ones = torch.ones(int(words.sum()))
    cosine = F.cosine_embedding_loss(student[1][words], teacher[1][words], ones)
    return weights[0] * soft + weights[1] * F.cross_entropy(student[0], labels) + weights[2] * cosine
""",
    },
)

_MAPS = solution("10.4")
ATTENTION = Answers(
    name="attention_loss",
    wrong={
        "padding counts": changed(
            _MAPS, ("(difference.square() * pairs).sum() / pairs.sum()", "difference.square().mean()")
        ),
        "only rows are masked": changed(
            _MAPS, ("mask[:, :, None] * mask[:, None, :]", "mask[:, :, None].expand_as(difference)")
        ),
        "divided by all pairs": changed(_MAPS, (".sum() / pairs.sum()", ".mean()")),
        "the teacher learns": changed(_MAPS, (".detach()", "")),
        "zero where a map is missing": changed(_MAPS, ("raise ValueError(", "return torch.zeros(())  # ")),
        "absolute difference": changed(_MAPS, (".square()", ".abs()")),
        "summed over heads": changed(_MAPS, (".mean(dim=1)", ".sum(dim=1)")),
        "the first head only": changed(_MAPS, (".mean(dim=1)", "[:, 0]")),
        "a mean of the sentences' means": changed(
            _MAPS,
            (
                "(difference.square() * pairs).sum() / pairs.sum()",
                "((difference.square() * pairs).sum((1, 2)) / pairs.sum((1, 2))).mean()",
            ),
        ),
    },
    advice={
        "padding counts": "Padding does not count",
        "only rows are masked": "the columns too",
        "divided by all pairs": "not by that of all pairs",
        "the teacher learns": "Detach its maps",
        "zero where a map is missing": "not a loss of 0",
        "absolute difference": "difference is squared",
        "summed over heads": "do not add them up",
        "the first head only": "not only the first",
        "a mean of the sentences' means": "not a mean of the sentences' means",
    },
    right={
        "chosen pairs": """
def attention_loss(student, teacher, mask):
    if any(one is None for one in (student, teacher)):
        raise ValueError("no maps; use eager attention")
    words = mask.bool()
    pairs = words.unsqueeze(1) & words.unsqueeze(2)
    return F.mse_loss(student.mean(1)[pairs], teacher.detach().mean(1)[pairs])
""",
        "einsum": """
def attention_loss(student, teacher, mask):
    if student is None or teacher is None:
        raise ValueError("no maps; use eager attention")
    with torch.no_grad():
        theirs = teacher.mean(1)
    pairs = torch.einsum("bi,bj->bij", mask, mask).to(theirs.dtype)
    return ((student.mean(1) - theirs) ** 2 * pairs).sum() / (mask.sum(1) ** 2).sum()
""",
    },
)

_CHAIN = solution("10.5")
_MIXED = "original_weight * original + (1 - original_weight) * previous"
CHAIN = Answers(
    name="distil_in_stages",
    wrong={
        "the original is forgotten": changed(_CHAIN, (_MIXED, "previous")),
        "weights swapped": changed(_CHAIN, (_MIXED, "original_weight * previous + (1 - original_weight) * original")),
        "the teacher drops out": changed(_CHAIN, ("copy.deepcopy(teacher).eval()", "copy.deepcopy(teacher).train()")),
        "students are changed": changed(_CHAIN, ("copy.deepcopy(student)", "student")),
        "the teacher's mode is changed": changed(_CHAIN, ("copy.deepcopy(teacher)", "teacher")),
        "students in eval mode": changed(_CHAIN, ("copy.deepcopy(student).train()", "copy.deepcopy(student).eval()")),
        "always temperature 2": changed(
            _CHAIN, ("temperature", "2.0"), ("    2.0: float,\n", "    temperature: float,\n")
        ),
        "always three steps": changed(_CHAIN, ("range(steps)", "range(3)")),
        "always the same learning rate": changed(_CHAIN, ("lr=learning_rate", "lr=0.2")),
        "gradients pile up": changed(_CHAIN, ("            optimizer.zero_grad()\n", "")),
        "T squared is missing": changed(_CHAIN, ("temperature**2 * ", "")),
        "only the last student": changed(
            _CHAIN, ("return finished, agreement", "return finished[-1:], agreement[-1:]")
        ),
        "agreement with the student before": changed(
            _CHAIN,
            ("        mixed =", "        before = previous\n        mixed ="),
            ("== original.argmax", "== before.argmax"),
        ),
        "left in training mode": changed(_CHAIN, ("learner.eval()", "learner")),
        "probabilities are mixed": changed(
            _CHAIN,
            (f"        mixed = {_MIXED}\n", ""),
            (
                "target = F.softmax(mixed / temperature, dim=1)",
                "target = original_weight * F.softmax(original / temperature, dim=1)\n"
                "        target = target + (1 - original_weight) * F.softmax(previous / temperature, dim=1)",
            ),
        ),
        "the student is not divided by T": changed(_CHAIN, ("learner(inputs) / temperature", "learner(inputs)")),
        "the target is not divided by T": changed(_CHAIN, ("mixed / temperature", "mixed")),
        "another optimizer": changed(_CHAIN, ("torch.optim.SGD", "torch.optim.Adam")),
    },
    advice={
        "the original is forgotten": "The original helps in every stage",
        "weights swapped": "1 - w to the stage before",
        "the teacher drops out": "dropout changed its logits",
        "students are changed": "Work on copies",
        "the teacher's mode is changed": "Work on copies",
        "students in eval mode": "learns in training mode",
        "always temperature 2": "temperature that is given",
        "always three steps": "`steps` says",
        "always the same learning rate": "learning rate that is given",
        "gradients pile up": "they add up",
        "T squared is missing": "multiplied by T²",
        "only the last student": "not only the last",
        "agreement with the student before": "not with the stage before",
        "left in training mode": "stays in it",
        "probabilities are mixed": "do not mix probabilities",
        "the student is not divided by T": "student's logits are divided by T",
        "the target is not divided by T": "target's logits are divided by T",
        "another optimizer": "Plain SGD is asked",
    },
    right={
        "updates by hand": """
def distil_in_stages(teacher, students, inputs, temperature, steps, learning_rate, original_weight):
    original = copy.deepcopy(teacher).eval()(inputs).detach()
    logits, models, shares = original, [], []
    for student in students:
        model = copy.deepcopy(student)
        model.train()
        p = (torch.lerp(logits, original, original_weight) / temperature).softmax(1)
        for _ in range(steps):
            q = (model(inputs) / temperature).log_softmax(1)
            loss = temperature ** 2 * (p * (p.log() - q)).sum() / len(inputs)
            weights = list(model.parameters())
            gradients = torch.autograd.grad(loss, weights)
            with torch.no_grad():
                for weight, gradient in zip(weights, gradients):
                    weight -= learning_rate * gradient
        model.eval()
        logits = model(inputs).detach()
        models.append(model)
        shares.append(float((logits.argmax(1) == original.argmax(1)).double().mean()))
    return models, shares
""",
        "in two functions": """
def answers(model, inputs):
    with torch.no_grad():
        return model.eval()(inputs)

def distil_in_stages(teacher, students, inputs, temperature, steps, learning_rate, original_weight):
    original = answers(copy.deepcopy(teacher), inputs)
    named, done = original.argmax(-1), []
    for student in students:
        before = answers(done[-1], inputs) if done else original
        goal = torch.softmax((original_weight * original + (1 - original_weight) * before) / temperature, -1)
        learner = copy.deepcopy(student).train()
        optimizer = torch.optim.SGD(learner.parameters(), learning_rate)
        for _ in range(steps):
            optimizer.zero_grad()
            soft = torch.log_softmax(learner(inputs) / temperature, -1)
            (F.kl_div(soft, goal, reduction="batchmean") * temperature ** 2).backward()
            optimizer.step()
        done.append(learner.eval())
    return done, [(answers(one, inputs).argmax(-1) == named).sum().item() / len(inputs) for one in done]
""",
    },
)

ANSWERS = {"10.1": LAYER_MAP, "10.2": START, "10.3": TRIPLE, "10.4": ATTENTION, "10.5": CHAIN}
