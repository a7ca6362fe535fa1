"""Answers to exercise 10 that must fail, and others that must pass."""

from __future__ import annotations

from tests.exercises.answers import Answers

LAYER_MAP = Answers(
    name="layer_map",
    wrong={
        "counted from 1": """
def layer_map(student_layers: int, teacher_layers: int) -> tuple[int, ...]:
    if not 1 <= student_layers <= teacher_layers:
        raise ValueError(f"student_layers must be from 1 to {teacher_layers}, got {student_layers}")
    return tuple((layer + 1) * teacher_layers // student_layers for layer in range(student_layers))
""",
        "the first layers": """
def layer_map(student_layers: int, teacher_layers: int) -> tuple[int, ...]:
    if not 1 <= student_layers <= teacher_layers:
        raise ValueError(f"student_layers must be from 1 to {teacher_layers}, got {student_layers}")
    return tuple(range(student_layers))
""",
        "the last layers": """
def layer_map(student_layers: int, teacher_layers: int) -> tuple[int, ...]:
    if not 1 <= student_layers <= teacher_layers:
        raise ValueError(f"student_layers must be from 1 to {teacher_layers}, got {student_layers}")
    return tuple(range(teacher_layers - student_layers, teacher_layers))
""",
        "divided before it is multiplied": """
def layer_map(student_layers: int, teacher_layers: int) -> tuple[int, ...]:
    if not 1 <= student_layers <= teacher_layers:
        raise ValueError(f"student_layers must be from 1 to {teacher_layers}, got {student_layers}")
    return tuple((layer + 1) * (teacher_layers // student_layers) - 1 for layer in range(student_layers))
""",
        "starts with the first layer": """
def layer_map(student_layers: int, teacher_layers: int) -> tuple[int, ...]:
    if not 1 <= student_layers <= teacher_layers:
        raise ValueError(f"student_layers must be from 1 to {teacher_layers}, got {student_layers}")
    return tuple(layer * teacher_layers // student_layers for layer in range(student_layers))
""",
        "impossible sizes pass": """
def layer_map(student_layers, teacher_layers):
    return tuple((layer + 1) * teacher_layers // max(student_layers, 1) - 1 for layer in range(student_layers))
""",
        "only the map of the example": """
def layer_map(student_layers, teacher_layers):
    return (1, 3, 5)
""",
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

START = Answers(
    name="student_state",
    wrong={
        "tensors are shared": """
def student_state(state: dict[str, Tensor], chosen: tuple[int, ...]) -> dict[str, Tensor]:
    start = "bert.encoder.layer."
    kept = {}
    for name, tensor in state.items():
        if name.startswith(start):
            number, rest = name.removeprefix(start).split(".", 1)
            if int(number) not in chosen:
                continue
            name = f"{start}{chosen.index(int(number))}.{rest}"
        kept[name] = tensor
    return kept
""",
        "not renumbered": """
def student_state(state: dict[str, Tensor], chosen: tuple[int, ...]) -> dict[str, Tensor]:
    start = "bert.encoder.layer."
    kept = {}
    for name, tensor in state.items():
        if name.startswith(start):
            number, rest = name.removeprefix(start).split(".", 1)
            if int(number) not in chosen:
                continue
            pass
        kept[name] = tensor.clone()
    return kept
""",
        "layers that are not chosen stay": """
def student_state(state: dict[str, Tensor], chosen: tuple[int, ...]) -> dict[str, Tensor]:
    start = "bert.encoder.layer."
    kept = {}
    for name, tensor in state.items():
        if name.startswith(start):
            number, rest = name.removeprefix(start).split(".", 1)
            if int(number) not in chosen:
                kept[name] = tensor.clone()
            continue
            name = f"{start}{chosen.index(int(number))}.{rest}"
        kept[name] = tensor.clone()
    return kept
""",
        "numbered from 1": """
def student_state(state: dict[str, Tensor], chosen: tuple[int, ...]) -> dict[str, Tensor]:
    start = "bert.encoder.layer."
    kept = {}
    for name, tensor in state.items():
        if name.startswith(start):
            number, rest = name.removeprefix(start).split(".", 1)
            if int(number) not in chosen:
                continue
            name = f"{start}{chosen.index(int(number)) + 1}.{rest}"
        kept[name] = tensor.clone()
    return kept
""",
        "only the layers": """
def student_state(state: dict[str, Tensor], chosen: tuple[int, ...]) -> dict[str, Tensor]:
    start = "bert.encoder.layer."
    kept = {}
    for name, tensor in state.items():
        if name.startswith(start):
            number, rest = name.removeprefix(start).split(".", 1)
            if int(number) not in chosen:
                continue
            name = f"{start}{chosen.index(int(number))}.{rest}"
            kept[name] = tensor.clone()
    return kept
""",
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

TRIPLE = Answers(
    name="triple_loss",
    wrong={
        "mean over all entries": """
def triple_loss(
    student: tuple[Tensor, Tensor],
    teacher: tuple[Tensor, Tensor],
    labels: Tensor,
    mask: Tensor,
    temperature: float,
    weights: tuple[float, float, float],
) -> Tensor:
    logits, states = student
    targets = F.softmax(teacher[0].detach() / temperature, dim=1)
    soft = F.kl_div(F.log_softmax(logits / temperature, dim=1), targets, reduction="mean")
    task = F.cross_entropy(logits, labels)
    distance = 1 - F.cosine_similarity(states, teacher[1].detach(), dim=-1)
    cosine = (distance * mask).sum() / mask.sum()
    return weights[0] * temperature**2 * soft + weights[1] * task + weights[2] * cosine
""",
        "T squared is missing": """
def triple_loss(
    student: tuple[Tensor, Tensor],
    teacher: tuple[Tensor, Tensor],
    labels: Tensor,
    mask: Tensor,
    temperature: float,
    weights: tuple[float, float, float],
) -> Tensor:
    logits, states = student
    targets = F.softmax(teacher[0].detach() / temperature, dim=1)
    soft = F.kl_div(F.log_softmax(logits / temperature, dim=1), targets, reduction="batchmean")
    task = F.cross_entropy(logits, labels)
    distance = 1 - F.cosine_similarity(states, teacher[1].detach(), dim=-1)
    cosine = (distance * mask).sum() / mask.sum()
    return weights[0] * soft + weights[1] * task + weights[2] * cosine
""",
        "divergence the wrong way round": """
def triple_loss(
    student: tuple[Tensor, Tensor],
    teacher: tuple[Tensor, Tensor],
    labels: Tensor,
    mask: Tensor,
    temperature: float,
    weights: tuple[float, float, float],
) -> Tensor:
    logits, states = student
    targets = F.softmax(teacher[0].detach() / temperature, dim=1)
    soft = F.kl_div(targets.log(), F.softmax(logits / temperature, dim=1), reduction="batchmean")
    task = F.cross_entropy(logits, labels)
    distance = 1 - F.cosine_similarity(states, teacher[1].detach(), dim=-1)
    cosine = (distance * mask).sum() / mask.sum()
    return weights[0] * temperature**2 * soft + weights[1] * task + weights[2] * cosine
""",
        "the task is softened too": """
def triple_loss(
    student: tuple[Tensor, Tensor],
    teacher: tuple[Tensor, Tensor],
    labels: Tensor,
    mask: Tensor,
    temperature: float,
    weights: tuple[float, float, float],
) -> Tensor:
    logits, states = student
    targets = F.softmax(teacher[0].detach() / temperature, dim=1)
    soft = F.kl_div(F.log_softmax(logits / temperature, dim=1), targets, reduction="batchmean")
    task = F.cross_entropy(logits / temperature, labels)
    distance = 1 - F.cosine_similarity(states, teacher[1].detach(), dim=-1)
    cosine = (distance * mask).sum() / mask.sum()
    return weights[0] * temperature**2 * soft + weights[1] * task + weights[2] * cosine
""",
        "padding counts": """
def triple_loss(
    student: tuple[Tensor, Tensor],
    teacher: tuple[Tensor, Tensor],
    labels: Tensor,
    mask: Tensor,
    temperature: float,
    weights: tuple[float, float, float],
) -> Tensor:
    logits, states = student
    targets = F.softmax(teacher[0].detach() / temperature, dim=1)
    soft = F.kl_div(F.log_softmax(logits / temperature, dim=1), targets, reduction="batchmean")
    task = F.cross_entropy(logits, labels)
    distance = 1 - F.cosine_similarity(states, teacher[1].detach(), dim=-1)
    cosine = distance.mean()
    return weights[0] * temperature**2 * soft + weights[1] * task + weights[2] * cosine
""",
        "divided by all positions": """
def triple_loss(
    student: tuple[Tensor, Tensor],
    teacher: tuple[Tensor, Tensor],
    labels: Tensor,
    mask: Tensor,
    temperature: float,
    weights: tuple[float, float, float],
) -> Tensor:
    logits, states = student
    targets = F.softmax(teacher[0].detach() / temperature, dim=1)
    soft = F.kl_div(F.log_softmax(logits / temperature, dim=1), targets, reduction="batchmean")
    task = F.cross_entropy(logits, labels)
    distance = 1 - F.cosine_similarity(states, teacher[1].detach(), dim=-1)
    cosine = (distance * mask).mean()
    return weights[0] * temperature**2 * soft + weights[1] * task + weights[2] * cosine
""",
        "the teacher learns": """
def triple_loss(
    student: tuple[Tensor, Tensor],
    teacher: tuple[Tensor, Tensor],
    labels: Tensor,
    mask: Tensor,
    temperature: float,
    weights: tuple[float, float, float],
) -> Tensor:
    logits, states = student
    targets = F.softmax(teacher[0] / temperature, dim=1)
    soft = F.kl_div(F.log_softmax(logits / temperature, dim=1), targets, reduction="batchmean")
    task = F.cross_entropy(logits, labels)
    distance = 1 - F.cosine_similarity(states, teacher[1], dim=-1)
    cosine = (distance * mask).sum() / mask.sum()
    return weights[0] * temperature**2 * soft + weights[1] * task + weights[2] * cosine
""",
        "cosine instead of its distance": """
def triple_loss(
    student: tuple[Tensor, Tensor],
    teacher: tuple[Tensor, Tensor],
    labels: Tensor,
    mask: Tensor,
    temperature: float,
    weights: tuple[float, float, float],
) -> Tensor:
    logits, states = student
    targets = F.softmax(teacher[0].detach() / temperature, dim=1)
    soft = F.kl_div(F.log_softmax(logits / temperature, dim=1), targets, reduction="batchmean")
    task = F.cross_entropy(logits, labels)
    distance = F.cosine_similarity(states, teacher[1].detach(), dim=-1)
    cosine = (distance * mask).sum() / mask.sum()
    return weights[0] * temperature**2 * soft + weights[1] * task + weights[2] * cosine
""",
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

ATTENTION = Answers(
    name="attention_loss",
    wrong={
        "padding counts": """
def attention_loss(student: Tensor | None, teacher: Tensor | None, mask: Tensor) -> Tensor:
    if student is None or teacher is None:
        raise ValueError("there are no attention maps; load both models with attn_implementation='eager'")
    difference = student.mean(dim=1) - teacher.detach().mean(dim=1)
    pairs = mask[:, :, None] * mask[:, None, :]
    return difference.square().mean()
""",
        "only rows are masked": """
def attention_loss(student: Tensor | None, teacher: Tensor | None, mask: Tensor) -> Tensor:
    if student is None or teacher is None:
        raise ValueError("there are no attention maps; load both models with attn_implementation='eager'")
    difference = student.mean(dim=1) - teacher.detach().mean(dim=1)
    pairs = mask[:, :, None].expand_as(difference)
    return (difference.square() * pairs).sum() / pairs.sum()
""",
        "divided by all pairs": """
def attention_loss(student: Tensor | None, teacher: Tensor | None, mask: Tensor) -> Tensor:
    if student is None or teacher is None:
        raise ValueError("there are no attention maps; load both models with attn_implementation='eager'")
    difference = student.mean(dim=1) - teacher.detach().mean(dim=1)
    pairs = mask[:, :, None] * mask[:, None, :]
    return (difference.square() * pairs).mean()
""",
        "the teacher learns": """
def attention_loss(student: Tensor | None, teacher: Tensor | None, mask: Tensor) -> Tensor:
    if student is None or teacher is None:
        raise ValueError("there are no attention maps; load both models with attn_implementation='eager'")
    difference = student.mean(dim=1) - teacher.mean(dim=1)
    pairs = mask[:, :, None] * mask[:, None, :]
    return (difference.square() * pairs).sum() / pairs.sum()
""",
        "zero where a map is missing": """
def attention_loss(student: Tensor | None, teacher: Tensor | None, mask: Tensor) -> Tensor:
    if student is None or teacher is None:
        return torch.zeros(())
    difference = student.mean(dim=1) - teacher.detach().mean(dim=1)
    pairs = mask[:, :, None] * mask[:, None, :]
    return (difference.square() * pairs).sum() / pairs.sum()
""",
        "absolute difference": """
def attention_loss(student: Tensor | None, teacher: Tensor | None, mask: Tensor) -> Tensor:
    if student is None or teacher is None:
        raise ValueError("there are no attention maps; load both models with attn_implementation='eager'")
    difference = student.mean(dim=1) - teacher.detach().mean(dim=1)
    pairs = mask[:, :, None] * mask[:, None, :]
    return (difference.abs() * pairs).sum() / pairs.sum()
""",
        "summed over heads": """
def attention_loss(student: Tensor | None, teacher: Tensor | None, mask: Tensor) -> Tensor:
    if student is None or teacher is None:
        raise ValueError("there are no attention maps; load both models with attn_implementation='eager'")
    difference = student.sum(dim=1) - teacher.detach().sum(dim=1)
    pairs = mask[:, :, None] * mask[:, None, :]
    return (difference.square() * pairs).sum() / pairs.sum()
""",
        "the first head only": """
def attention_loss(student: Tensor | None, teacher: Tensor | None, mask: Tensor) -> Tensor:
    if student is None or teacher is None:
        raise ValueError("there are no attention maps; load both models with attn_implementation='eager'")
    difference = student[:, 0] - teacher.detach()[:, 0]
    pairs = mask[:, :, None] * mask[:, None, :]
    return (difference.square() * pairs).sum() / pairs.sum()
""",
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

CHAIN = Answers(
    name="distil_in_stages",
    wrong={
        "the original is forgotten": """
def distil_in_stages(
    teacher: nn.Module,
    students: list[nn.Module],
    inputs: Tensor,
    temperature: float,
    steps: int,
    learning_rate: float,
    original_weight: float,
) -> tuple[list[nn.Module], list[float]]:
    with torch.no_grad():
        original = copy.deepcopy(teacher).eval()(inputs)
    previous, finished, agreement = original, [], []
    for student in students:
        learner = copy.deepcopy(student).train()
        mixed = previous
        target = F.softmax(mixed / temperature, dim=1)
        optimizer = torch.optim.SGD(learner.parameters(), lr=learning_rate)
        for _ in range(steps):
            answers = F.log_softmax(learner(inputs) / temperature, dim=1)
            loss = temperature**2 * F.kl_div(answers, target, reduction="batchmean")
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        with torch.no_grad():
            previous = learner.eval()(inputs)
        agreement.append((previous.argmax(dim=1) == original.argmax(dim=1)).float().mean().item())
        finished.append(learner)
    return finished, agreement
""",
        "weights swapped": """
def distil_in_stages(
    teacher: nn.Module,
    students: list[nn.Module],
    inputs: Tensor,
    temperature: float,
    steps: int,
    learning_rate: float,
    original_weight: float,
) -> tuple[list[nn.Module], list[float]]:
    with torch.no_grad():
        original = copy.deepcopy(teacher).eval()(inputs)
    previous, finished, agreement = original, [], []
    for student in students:
        learner = copy.deepcopy(student).train()
        mixed = original_weight * previous + (1 - original_weight) * original
        target = F.softmax(mixed / temperature, dim=1)
        optimizer = torch.optim.SGD(learner.parameters(), lr=learning_rate)
        for _ in range(steps):
            answers = F.log_softmax(learner(inputs) / temperature, dim=1)
            loss = temperature**2 * F.kl_div(answers, target, reduction="batchmean")
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        with torch.no_grad():
            previous = learner.eval()(inputs)
        agreement.append((previous.argmax(dim=1) == original.argmax(dim=1)).float().mean().item())
        finished.append(learner)
    return finished, agreement
""",
        "the teacher drops out": """
def distil_in_stages(
    teacher: nn.Module,
    students: list[nn.Module],
    inputs: Tensor,
    temperature: float,
    steps: int,
    learning_rate: float,
    original_weight: float,
) -> tuple[list[nn.Module], list[float]]:
    with torch.no_grad():
        original = copy.deepcopy(teacher).train()(inputs)
    previous, finished, agreement = original, [], []
    for student in students:
        learner = copy.deepcopy(student).train()
        mixed = original_weight * original + (1 - original_weight) * previous
        target = F.softmax(mixed / temperature, dim=1)
        optimizer = torch.optim.SGD(learner.parameters(), lr=learning_rate)
        for _ in range(steps):
            answers = F.log_softmax(learner(inputs) / temperature, dim=1)
            loss = temperature**2 * F.kl_div(answers, target, reduction="batchmean")
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        with torch.no_grad():
            previous = learner.eval()(inputs)
        agreement.append((previous.argmax(dim=1) == original.argmax(dim=1)).float().mean().item())
        finished.append(learner)
    return finished, agreement
""",
        "students are changed": """
def distil_in_stages(
    teacher: nn.Module,
    students: list[nn.Module],
    inputs: Tensor,
    temperature: float,
    steps: int,
    learning_rate: float,
    original_weight: float,
) -> tuple[list[nn.Module], list[float]]:
    with torch.no_grad():
        original = copy.deepcopy(teacher).eval()(inputs)
    previous, finished, agreement = original, [], []
    for student in students:
        learner = student.train()
        mixed = original_weight * original + (1 - original_weight) * previous
        target = F.softmax(mixed / temperature, dim=1)
        optimizer = torch.optim.SGD(learner.parameters(), lr=learning_rate)
        for _ in range(steps):
            answers = F.log_softmax(learner(inputs) / temperature, dim=1)
            loss = temperature**2 * F.kl_div(answers, target, reduction="batchmean")
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        with torch.no_grad():
            previous = learner.eval()(inputs)
        agreement.append((previous.argmax(dim=1) == original.argmax(dim=1)).float().mean().item())
        finished.append(learner)
    return finished, agreement
""",
        "the teacher's mode is changed": """
def distil_in_stages(
    teacher: nn.Module,
    students: list[nn.Module],
    inputs: Tensor,
    temperature: float,
    steps: int,
    learning_rate: float,
    original_weight: float,
) -> tuple[list[nn.Module], list[float]]:
    with torch.no_grad():
        original = teacher.eval()(inputs)
    previous, finished, agreement = original, [], []
    for student in students:
        learner = copy.deepcopy(student).train()
        mixed = original_weight * original + (1 - original_weight) * previous
        target = F.softmax(mixed / temperature, dim=1)
        optimizer = torch.optim.SGD(learner.parameters(), lr=learning_rate)
        for _ in range(steps):
            answers = F.log_softmax(learner(inputs) / temperature, dim=1)
            loss = temperature**2 * F.kl_div(answers, target, reduction="batchmean")
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        with torch.no_grad():
            previous = learner.eval()(inputs)
        agreement.append((previous.argmax(dim=1) == original.argmax(dim=1)).float().mean().item())
        finished.append(learner)
    return finished, agreement
""",
        "gradients pile up": """
def distil_in_stages(
    teacher: nn.Module,
    students: list[nn.Module],
    inputs: Tensor,
    temperature: float,
    steps: int,
    learning_rate: float,
    original_weight: float,
) -> tuple[list[nn.Module], list[float]]:
    with torch.no_grad():
        original = copy.deepcopy(teacher).eval()(inputs)
    previous, finished, agreement = original, [], []
    for student in students:
        learner = copy.deepcopy(student).train()
        mixed = original_weight * original + (1 - original_weight) * previous
        target = F.softmax(mixed / temperature, dim=1)
        optimizer = torch.optim.SGD(learner.parameters(), lr=learning_rate)
        for _ in range(steps):
            answers = F.log_softmax(learner(inputs) / temperature, dim=1)
            loss = temperature**2 * F.kl_div(answers, target, reduction="batchmean")
            loss.backward()
            optimizer.step()
        with torch.no_grad():
            previous = learner.eval()(inputs)
        agreement.append((previous.argmax(dim=1) == original.argmax(dim=1)).float().mean().item())
        finished.append(learner)
    return finished, agreement
""",
        "T squared is missing": """
def distil_in_stages(
    teacher: nn.Module,
    students: list[nn.Module],
    inputs: Tensor,
    temperature: float,
    steps: int,
    learning_rate: float,
    original_weight: float,
) -> tuple[list[nn.Module], list[float]]:
    with torch.no_grad():
        original = copy.deepcopy(teacher).eval()(inputs)
    previous, finished, agreement = original, [], []
    for student in students:
        learner = copy.deepcopy(student).train()
        mixed = original_weight * original + (1 - original_weight) * previous
        target = F.softmax(mixed / temperature, dim=1)
        optimizer = torch.optim.SGD(learner.parameters(), lr=learning_rate)
        for _ in range(steps):
            answers = F.log_softmax(learner(inputs) / temperature, dim=1)
            loss = F.kl_div(answers, target, reduction="batchmean")
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        with torch.no_grad():
            previous = learner.eval()(inputs)
        agreement.append((previous.argmax(dim=1) == original.argmax(dim=1)).float().mean().item())
        finished.append(learner)
    return finished, agreement
""",
        "only the last student": """
def distil_in_stages(
    teacher: nn.Module,
    students: list[nn.Module],
    inputs: Tensor,
    temperature: float,
    steps: int,
    learning_rate: float,
    original_weight: float,
) -> tuple[list[nn.Module], list[float]]:
    with torch.no_grad():
        original = copy.deepcopy(teacher).eval()(inputs)
    previous, finished, agreement = original, [], []
    for student in students:
        learner = copy.deepcopy(student).train()
        mixed = original_weight * original + (1 - original_weight) * previous
        target = F.softmax(mixed / temperature, dim=1)
        optimizer = torch.optim.SGD(learner.parameters(), lr=learning_rate)
        for _ in range(steps):
            answers = F.log_softmax(learner(inputs) / temperature, dim=1)
            loss = temperature**2 * F.kl_div(answers, target, reduction="batchmean")
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        with torch.no_grad():
            previous = learner.eval()(inputs)
        agreement.append((previous.argmax(dim=1) == original.argmax(dim=1)).float().mean().item())
        finished.append(learner)
    return finished[-1:], agreement[-1:]
""",
        "agreement with the student before": """
def distil_in_stages(
    teacher: nn.Module,
    students: list[nn.Module],
    inputs: Tensor,
    temperature: float,
    steps: int,
    learning_rate: float,
    original_weight: float,
) -> tuple[list[nn.Module], list[float]]:
    with torch.no_grad():
        original = copy.deepcopy(teacher).eval()(inputs)
    previous, finished, agreement = original, [], []
    for student in students:
        learner = copy.deepcopy(student).train()
        before = previous
        mixed = original_weight * original + (1 - original_weight) * previous
        target = F.softmax(mixed / temperature, dim=1)
        optimizer = torch.optim.SGD(learner.parameters(), lr=learning_rate)
        for _ in range(steps):
            answers = F.log_softmax(learner(inputs) / temperature, dim=1)
            loss = temperature**2 * F.kl_div(answers, target, reduction="batchmean")
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        with torch.no_grad():
            previous = learner.eval()(inputs)
        agreement.append((previous.argmax(dim=1) == before.argmax(dim=1)).float().mean().item())
        finished.append(learner)
    return finished, agreement
""",
        "left in training mode": """
def distil_in_stages(
    teacher: nn.Module,
    students: list[nn.Module],
    inputs: Tensor,
    temperature: float,
    steps: int,
    learning_rate: float,
    original_weight: float,
) -> tuple[list[nn.Module], list[float]]:
    with torch.no_grad():
        original = copy.deepcopy(teacher).eval()(inputs)
    previous, finished, agreement = original, [], []
    for student in students:
        learner = copy.deepcopy(student).train()
        mixed = original_weight * original + (1 - original_weight) * previous
        target = F.softmax(mixed / temperature, dim=1)
        optimizer = torch.optim.SGD(learner.parameters(), lr=learning_rate)
        for _ in range(steps):
            answers = F.log_softmax(learner(inputs) / temperature, dim=1)
            loss = temperature**2 * F.kl_div(answers, target, reduction="batchmean")
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        with torch.no_grad():
            previous = learner(inputs)
        agreement.append((previous.argmax(dim=1) == original.argmax(dim=1)).float().mean().item())
        finished.append(learner)
    return finished, agreement
""",
        "probabilities are mixed": """
def distil_in_stages(
    teacher: nn.Module,
    students: list[nn.Module],
    inputs: Tensor,
    temperature: float,
    steps: int,
    learning_rate: float,
    original_weight: float,
) -> tuple[list[nn.Module], list[float]]:
    with torch.no_grad():
        original = copy.deepcopy(teacher).eval()(inputs)
    previous, finished, agreement = original, [], []
    for student in students:
        learner = copy.deepcopy(student).train()
        target = original_weight * F.softmax(original / temperature, dim=1)
        target = target + (1 - original_weight) * F.softmax(previous / temperature, dim=1)
        optimizer = torch.optim.SGD(learner.parameters(), lr=learning_rate)
        for _ in range(steps):
            answers = F.log_softmax(learner(inputs) / temperature, dim=1)
            loss = temperature**2 * F.kl_div(answers, target, reduction="batchmean")
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        with torch.no_grad():
            previous = learner.eval()(inputs)
        agreement.append((previous.argmax(dim=1) == original.argmax(dim=1)).float().mean().item())
        finished.append(learner)
    return finished, agreement
""",
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
