"""Honest, varied candidates: what searchers really try. None of them may be refused, whatever they gain."""

from tests.attacks import edits

_OPTIMIZER = "[torch.optim.AdamW(self.model.parameters(), lr=LEARNING_RATE, betas=BETAS, weight_decay=WEIGHT_DECAY)]"
_STEPPED = "        optimizer.step()\n"
_GELU = "            nn.GELU(),\n"
_MODEL = "class Model(nn.Module):"

_SQUARED = '''class SquaredRelu(nn.Module):
    """Square of what is positive."""

    def forward(self, x: Tensor) -> Tensor:
        return functional.relu(x).square()


class Block(nn.Module):'''

_GATED = '''class Gated(nn.Module):
    """SwiGLU of three matrices."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = nn.Linear(WIDTH, 170, bias=False)
        self.up = nn.Linear(WIDTH, 170, bias=False)
        self.down = nn.Linear(170, WIDTH, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.down(functional.silu(self.gate(x)) * self.up(x))


class Block(nn.Module):'''

_LION = '''class Lion(torch.optim.Optimizer):
    """Sign of an interpolated momentum."""

    def __init__(self, parameters, lr):
        super().__init__(parameters, {"lr": lr})

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                state = self.state[parameter]
                if "momentum" not in state:
                    state["momentum"] = torch.zeros_like(parameter)
                momentum = state["momentum"]
                parameter.add_((momentum * 0.9 + parameter.grad * 0.1).sign(), alpha=-group["lr"])
                momentum.mul_(0.99).add_(parameter.grad, alpha=0.01)


class Trainer:'''

_ORTHOGONAL = '''class Orthogonal(torch.optim.Optimizer):
    """Momentum whose matrices are made orthogonal by Newton-Schulz steps."""

    def __init__(self, parameters, lr):
        super().__init__(parameters, {"lr": lr})

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                state = self.state[parameter]
                if "momentum" not in state:
                    state["momentum"] = torch.zeros_like(parameter)
                momentum = state["momentum"].mul_(0.95).add_(parameter.grad)
                update = momentum / (momentum.norm() + 1e-7)
                for _ in range(5):
                    square = update @ update.T if update.shape[0] <= update.shape[1] else update.T @ update
                    polynomial = -4.7750 * square + 2.0315 * square @ square
                    update = 3.4445 * update + (polynomial @ update if update.shape[0] <= update.shape[1] else update @ polynomial)
                parameter.add_(update, alpha=-group["lr"] * max(1, parameter.shape[0] / parameter.shape[1]) ** 0.5)


class Trainer:'''

_BOTH_STEPPED = "        self.optimizers[1].step()\n        self.optimizers[1].zero_grad()\n"

_TWO_OPTIMIZERS = """[
            torch.optim.AdamW([self.model.token.weight, self.model.position.weight, self.model.head.weight], lr=LEARNING_RATE, betas=BETAS),
            Orthogonal([p for p in self.model.blocks.parameters() if p.dim() == 2], lr=LEARNING_RATE * 5),
        ]"""

_AVERAGED = (
    (
        "            if parameter.dim() == 2:\n                nn.init.normal_(parameter, std=0.02)\n",
        "            if parameter.dim() == 2:\n                nn.init.normal_(parameter, std=0.02)\n"
        '        self.register_buffer("averaged_head", self.head.weight.detach().clone())\n',
    ),
    (_STEPPED, _STEPPED + "        self.model.averaged_head.lerp_(self.model.head.weight.detach(), 0.05)\n"),
    (
        "    return model(tokens)\n",
        "    x = model.token(tokens) + model.position.weight[: tokens.shape[1]]\n    for block in model.blocks:\n        x = block(x)\n"
        "    return functional.linear(model.last(x), model.averaged_head)\n",
    ),
)

_ROTARY = (
    ("        mixed = functional", "        query, key = rotated(query), rotated(key)\n        mixed = functional"),
    ("class Attention(nn.Module):", '''def rotated(x: Tensor) -> Tensor:
    """Turn pairs of features by an angle that grows with the position."""
    half = x.shape[-1] // 2
    angles = torch.arange(x.shape[-2])[:, None] * 10_000.0 ** (-torch.arange(half) / half)
    first, second = x[..., :half], x[..., half:]
    return torch.cat([first * angles.cos() - second * angles.sin(), first * angles.sin() + second * angles.cos()], -1)


class Attention(nn.Module):'''),
)  # fmt: skip

# The text of train.py by the candidate's name.
CANDIDATES: dict[str, str] = {
    "higher learning rate": edits.edited(("LEARNING_RATE = 1e-3", "LEARNING_RATE = 2e-3")),
    "lower learning rate": edits.edited(("LEARNING_RATE = 1e-3", "LEARNING_RATE = 7e-4")),
    "longer warm-up": edits.edited(("WARM_UP_STEPS = 10", "WARM_UP_STEPS = 30")),
    "no weight decay": edits.edited(("WEIGHT_DECAY = 0.1", "WEIGHT_DECAY = 0.0")),
    "longer memory of the second moment": edits.edited(("BETAS = (0.9, 0.95)", "BETAS = (0.9, 0.99)")),
    "no clipping": edits.edited(("        nn.utils.clip_grad_norm_(self.model.parameters(), CLIP)\n", "")),
    "falls in a line": edits.edited(("(0.1 + 0.9 * (1 + math.cos(math.pi * done)) / 2)", "(1 - 0.9 * done)")),
    "squared ReLU": edits.edited((_GELU, "            SquaredRelu(),\n"), ("class Block(nn.Module):", _SQUARED)),
    "SwiGLU": edits.edited(
        ("nn.Sequential(\n            nn.Linear(WIDTH, 4 * WIDTH, bias=False),\n            nn.GELU(),\n"
         "            nn.Linear(4 * WIDTH, WIDTH, bias=False),\n        )", "Gated()"),
        ("class Block(nn.Module):", _GATED),
    ),
    "RMS norm": edits.edited(
        ("self.before_attention = nn.LayerNorm(WIDTH)", "self.before_attention = nn.RMSNorm(WIDTH)"),
        ("self.before_network = nn.LayerNorm(WIDTH)", "self.before_network = nn.RMSNorm(WIDTH)"),
        ("self.last = nn.LayerNorm(WIDTH)", "self.last = nn.RMSNorm(WIDTH)"),
    ),
    "tied embeddings": edits.edited(
        ("        self.head = nn.Linear(WIDTH, vocabulary, bias=False)\n", ""),
        ("self.head(self.last(x))", "self.last(x) @ self.token.weight.T"),
    ),
    "three narrow layers": edits.edited(("LAYERS = 2", "LAYERS = 3"), ("WIDTH = 64", "WIDTH = 48")),
    "one wide layer": edits.edited(("LAYERS = 2", "LAYERS = 1"), ("WIDTH = 64", "WIDTH = 80")),
    "eight heads": edits.edited(("HEADS = 4", "HEADS = 8")),
    "rotary positions": edits.edited(*_ROTARY),
    "small initialisation": edits.edited(("std=0.02", "std=0.01")),
    "branches begin at zero": edits.edited(
        ("                nn.init.normal_(parameter, std=0.02)\n",
         "                nn.init.normal_(parameter, std=0.02)\n"
         "        for block in self.blocks:\n            nn.init.zeros_(block.attention.outward.weight)\n"),
    ),
    "SGD with momentum": edits.edited(
        (_OPTIMIZER, "[torch.optim.SGD(self.model.parameters(), lr=LEARNING_RATE, momentum=0.9, nesterov=True)]")
    ),
    "Lion": edits.edited((_OPTIMIZER, "[Lion(self.model.parameters(), lr=LEARNING_RATE)]"), ("class Trainer:", _LION),
                         ("LEARNING_RATE = 1e-3", "LEARNING_RATE = 3e-4")),
    "two optimizers, one orthogonal": edits.edited(
        (_OPTIMIZER, _TWO_OPTIMIZERS), ("class Trainer:", _ORTHOGONAL), (_STEPPED, _STEPPED + _BOTH_STEPPED)
    ),
    "averaged head": edits.edited(*_AVERAGED),
    "dropout": edits.edited(
        ("        x = self.token(tokens) + self.position.weight[: tokens.shape[1]]\n",
         "        x = self.token(tokens) + self.position.weight[: tokens.shape[1]]\n"
         "        x = functional.dropout(x, 0.05, self.training)\n"),
        ("    return model(tokens)\n", "    model.eval()\n    return model(tokens)\n"),
    ),
    "label smoothing": edits.edited(("tokens[:, 1:].flatten())\n", "tokens[:, 1:].flatten(), label_smoothing=0.01)\n")),
    "penalty on large scores": edits.edited(
        ("        optimizer.zero_grad", "        loss = loss + 1e-4 * scores.logsumexp(-1).square().mean()\n        optimizer.zero_grad")
    ),
    "short rows first": edits.with_step("if step < self.steps // 4:\n    half = (tokens.shape[1] - 1) // 2\n"
                                        "    tokens = torch.cat([tokens[:, : half + 1], tokens[:, half:]])[:, : half + 1]"),
    "rows in another order": edits.with_step("tokens = tokens.flip(0)"),
    "gradient noise from numpy": edits.edited(
        (_STEPPED, "        for parameter in self.model.parameters():\n"
         "            parameter.grad.mul_(1 + 1e-3 * float(numpy.random.standard_normal()))\n" + _STEPPED),
        ("import math\n\nimport torch\n", "import math\n\nimport numpy\nimport torch\n"),
    ),
    "two half batches": edits.edited(
        ("        scores = self.model(tokens[:, :-1])\n"
         "        loss = functional.cross_entropy(scores.flatten(0, 1), tokens[:, 1:].flatten())\n"
         "        optimizer.zero_grad(set_to_none=True)\n        loss.backward()\n",
         "        optimizer.zero_grad(set_to_none=True)\n        loss = 0.0\n        for half in tokens.chunk(2):\n"
         "            scores = self.model(half[:, :-1])\n"
         "            part = functional.cross_entropy(scores.flatten(0, 1), half[:, 1:].flatten()) / 2\n"
         "            part.backward()\n            loss = loss + part.detach()\n"),
    ),
    "only words changed": edits.BASE.replace("Trainer", "Teacher").replace("network", "mixture").replace("Block", "Layer"),
}  # fmt: skip
