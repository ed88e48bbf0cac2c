"""A script of ours in the shape of autoresearch's train.py: its imports, its calls, its loop; small enough for a CPU."""
# ruff: noqa
# mypy: ignore-errors

import os

os.environ["PYTORCH_ALLOC_CONF"] = "expandable_segments:True"

import gc
import math
import time

import torch
import torch.nn as nn
import torch.nn.functional as F

from kernels import get_kernel

capability = torch.cuda.get_device_capability()
attention = get_kernel("somebody/flash-attention-3" if capability == (9, 0) else "kernels-community/flash-attn3").flash_attn_interface

from prepare import MAX_SEQ_LEN, TIME_BUDGET, Tokenizer, evaluate_bpb, make_dataloader

HEADS, WIDTH = 2, 16
DEVICE_BATCH_SIZE = 4
TOTAL_BATCH_SIZE = 8 * MAX_SEQ_LEN
MATRIX_LR = 0.02


class Layer(nn.Module):
    def __init__(self, window):
        super().__init__()
        self.window = window
        self.query = nn.Linear(WIDTH, WIDTH, bias=False)
        self.key = nn.Linear(WIDTH, WIDTH // HEADS, bias=False)
        self.value = nn.Linear(WIDTH, WIDTH // HEADS, bias=False)
        self.out = nn.Linear(WIDTH, WIDTH, bias=False)

    def forward(self, x):
        rows, length, _ = x.size()
        q = self.query(x).view(rows, length, HEADS, WIDTH // HEADS)
        k = self.key(x).view(rows, length, 1, WIDTH // HEADS)
        v = self.value(x).view(rows, length, 1, WIDTH // HEADS)
        y = attention.flash_attn_func(q, k, v, causal=True, window_size=self.window)
        return x + self.out(y.contiguous().view(rows, length, -1))


class GPT(nn.Module):
    def __init__(self, vocabulary):
        super().__init__()
        self.wte = nn.Embedding(vocabulary, WIDTH)
        self.place = nn.Embedding(MAX_SEQ_LEN, WIDTH)
        self.layers = nn.ModuleList([Layer((MAX_SEQ_LEN // 2, 0)), Layer((MAX_SEQ_LEN, 0))])
        self.lm_head = nn.Linear(WIDTH, vocabulary, bias=False)
        self.scale = nn.Parameter(torch.ones(2))

    def forward(self, idx, targets=None, reduction="mean"):
        x = self.wte(idx) + self.place.weight[: idx.size(1)]
        for index, layer in enumerate(self.layers):
            x = self.scale[index] * layer(F.rms_norm(x, (WIDTH,)))
        logits = 15 * torch.tanh(self.lm_head(x).float() / 15)
        if targets is None:
            return logits
        return F.cross_entropy(logits.view(-1, logits.size(-1)), targets.view(-1), ignore_index=-1, reduction=reduction)


@torch.compile(dynamic=False, fullgraph=True)
def fused_step(p, grad, average, lr_t):
    average.lerp_(grad, 1 - 0.9)
    p.add_(average.sign(), alpha=-float(lr_t))


class Sign(torch.optim.Optimizer):
    def __init__(self, groups):
        super().__init__(groups, defaults={})
        self._lr_t = torch.tensor(0.0, device="cpu")

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is None:
                    continue
                state = self.state[p]
                if not state:
                    state["step"] = 0
                    state["average"] = torch.zeros_like(p)
                state["step"] += 1
                self._lr_t.fill_(group["lr"])
                fused_step(p, p.grad, state["average"], self._lr_t)


t_start = time.time()
torch.manual_seed(42)
torch.cuda.manual_seed(42)
torch.set_float32_matmul_precision("high")
device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
autocast_ctx = torch.amp.autocast(device_type=device.type, dtype=torch.bfloat16, enabled=False)

tokenizer = Tokenizer.from_directory()
vocab_size = tokenizer.get_vocab_size()
print(f"Vocab size: {vocab_size:,}")
model = GPT(vocab_size).to(device)
num_params = sum(p.numel() for p in model.parameters())
assert TOTAL_BATCH_SIZE % (DEVICE_BATCH_SIZE * MAX_SEQ_LEN) == 0
grad_accum_steps = TOTAL_BATCH_SIZE // (DEVICE_BATCH_SIZE * MAX_SEQ_LEN)
optimizer = Sign(
    [
        dict(kind="muon", params=list(model.layers.parameters()), lr=MATRIX_LR),
        dict(kind="adamw", params=[model.wte.weight, model.place.weight, model.lm_head.weight, model.scale], lr=0.01),
    ]
)
for group in optimizer.param_groups:
    group["initial_lr"] = group["lr"]
model = torch.compile(model, dynamic=False)

train_loader = make_dataloader(tokenizer, DEVICE_BATCH_SIZE, MAX_SEQ_LEN, "train")
x, y, epoch = next(train_loader)  # prefetch first batch
print(f"Time budget: {TIME_BUDGET}s")

t_start_training = time.time()
smooth_train_loss = 0
total_training_time = 0
step = 0

while True:
    torch.cuda.synchronize()
    t0 = time.time()
    for micro_step in range(grad_accum_steps):
        with autocast_ctx:
            loss = model(x, y)
        train_loss = loss.detach()
        loss = loss / grad_accum_steps
        loss.backward()
        x, y, epoch = next(train_loader)

    progress = min(total_training_time / TIME_BUDGET, 1.0)
    for group in optimizer.param_groups:
        group["lr"] = group["initial_lr"] * (1.0 - progress) * min(1.0, (step + 1) / 5)
    optimizer.step()
    model.zero_grad(set_to_none=True)
    train_loss_f = train_loss.item()
    if math.isnan(train_loss_f) or train_loss_f > 100:
        print("FAIL")
        exit(1)

    torch.cuda.synchronize()
    t1 = time.time()
    dt = t1 - t0
    if step > 10:
        total_training_time += dt
    smooth_train_loss = 0.9 * smooth_train_loss + 0.1 * train_loss_f
    tok_per_sec = int(TOTAL_BATCH_SIZE / dt)
    print(f"\rstep {step:05d} | loss: {smooth_train_loss:.6f} | tok/sec: {tok_per_sec:,} | progress {progress:.3f}", end="", flush=True)
    if step == 0:
        gc.collect()
        gc.freeze()
        gc.disable()
    step += 1
    if step > 10 and total_training_time >= TIME_BUDGET:
        break

print()
model.eval()
with autocast_ctx:
    val_bpb = evaluate_bpb(model, tokenizer, DEVICE_BATCH_SIZE)
print(f"val_bpb: {val_bpb:.6f}")
print(f"peak_vram_mb: {torch.cuda.max_memory_allocated() / 1024 / 1024:.1f}")
