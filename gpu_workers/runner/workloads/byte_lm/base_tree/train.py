"""Train a small byte-level GPT. This file is the whole candidate: change anything, keep the names `build` and `logits`.

The harness calls `build(seed, budget)` once and `step(tokens, step)` once for each batch; it chooses the batches and counts them. All
that training remembers must live in the model, the optimizers, the random generators and the step number: a replay may stop after any
step and go on in another process, and must end with the same weights, bit for bit. Scored are the weights after the last step,
through `logits`, on text that this program never sees; lower bits per byte are better.
"""

# mypy: disable-error-code="no-any-return, no-untyped-call"
import math

import torch
from torch import Tensor, nn
from torch.nn import functional

LAYERS = 2
WIDTH = 64
HEADS = 4
LEARNING_RATE = 1e-3
WARM_UP_STEPS = 10
WEIGHT_DECAY = 0.1
BETAS = (0.9, 0.95)
CLIP = 1.0


class Attention(nn.Module):
    """Look back over the row, never ahead."""

    def __init__(self) -> None:
        super().__init__()
        self.inward = nn.Linear(WIDTH, 3 * WIDTH, bias=False)
        self.outward = nn.Linear(WIDTH, WIDTH, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map rows x length x width to the same shape."""
        rows, length, _ = x.shape
        query, key, value = self.inward(x).view(rows, length, 3, HEADS, WIDTH // HEADS).permute(2, 0, 3, 1, 4)
        mixed = functional.scaled_dot_product_attention(query, key, value, is_causal=True)
        return self.outward(mixed.transpose(1, 2).reshape(rows, length, WIDTH))


class Block(nn.Module):
    """One layer: attention, then a small network on each position."""

    def __init__(self) -> None:
        super().__init__()
        self.before_attention = nn.LayerNorm(WIDTH)
        self.attention = Attention()
        self.before_network = nn.LayerNorm(WIDTH)
        self.network = nn.Sequential(
            nn.Linear(WIDTH, 4 * WIDTH, bias=False),
            nn.GELU(),
            nn.Linear(4 * WIDTH, WIDTH, bias=False),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map rows x length x width to the same shape."""
        x = x + self.attention(self.before_attention(x))
        return x + self.network(self.before_network(x))


class Model(nn.Module):
    """Bytes in, a score for each possible next byte out."""

    def __init__(self, vocabulary: int, sequence: int) -> None:
        super().__init__()
        self.token = nn.Embedding(vocabulary, WIDTH)
        self.position = nn.Embedding(sequence, WIDTH)
        self.blocks = nn.ModuleList(Block() for _ in range(LAYERS))
        self.last = nn.LayerNorm(WIDTH)
        self.head = nn.Linear(WIDTH, vocabulary, bias=False)
        for parameter in self.parameters():
            if parameter.dim() == 2:
                nn.init.normal_(parameter, std=0.02)

    def forward(self, tokens: Tensor) -> Tensor:
        """Map rows x length of tokens to rows x length x vocabulary of scores."""
        x = self.token(tokens) + self.position.weight[: tokens.shape[1]]
        for block in self.blocks:
            x = block(x)
        return self.head(self.last(x))


class Trainer:
    """A model, its optimizer and one step of training."""

    def __init__(self, budget: dict[str, int]) -> None:
        self.steps = budget["steps"]
        self.model = Model(budget["vocabulary"], budget["sequence"])
        self.optimizers = [torch.optim.AdamW(self.model.parameters(), lr=LEARNING_RATE, betas=BETAS, weight_decay=WEIGHT_DECAY)]

    def learning_rate(self, step: int) -> float:
        """Warm up in a line, then fall along a cosine to a tenth."""
        if step < WARM_UP_STEPS:
            return LEARNING_RATE * (step + 1) / WARM_UP_STEPS
        done = (step - WARM_UP_STEPS) / max(1, self.steps - WARM_UP_STEPS)
        return LEARNING_RATE * (0.1 + 0.9 * (1 + math.cos(math.pi * done)) / 2)

    def step(self, tokens: Tensor, step: int) -> float:
        """Learn from one batch of rows x (sequence + 1) tokens; return the loss in nats per token, for the curve only."""
        optimizer = self.optimizers[0]
        for group in optimizer.param_groups:
            group["lr"] = self.learning_rate(step)
        scores = self.model(tokens[:, :-1])
        loss = functional.cross_entropy(scores.flatten(0, 1), tokens[:, 1:].flatten())
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), CLIP)
        optimizer.step()
        return loss.item()


def build(seed: int, budget: dict[str, int]) -> Trainer:  # noqa: ARG001  the interface gives it
    """Make the trainer. `seed` already seeded torch, numpy and random; `budget` has steps, rows, sequence, vocabulary."""
    return Trainer(budget)


def logits(model: nn.Module, tokens: Tensor) -> Tensor:
    """Score each next byte: rows x length of tokens in, rows x length x vocabulary out. Position i may look at tokens 0..i only."""
    return model(tokens)
