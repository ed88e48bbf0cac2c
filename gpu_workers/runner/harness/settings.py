"""What makes torch compute alike each time; the environment of its libraries is set by the runner, before the program starts."""

import random

import numpy as np
import torch


def fix(threads: int) -> None:
    """Fix threads, algorithms and precision."""
    torch.set_num_threads(threads)
    torch.set_num_interop_threads(1)
    # Where no deterministic algorithm exists, the self-test of the smoke run tells, rather than every tree that touches one.
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.deterministic = True
    torch.set_float32_matmul_precision("highest")


def seed(value: int) -> None:
    """Seed torch, numpy and random."""
    random.seed(value)
    np.random.seed(value % (1 << 32))
    torch.manual_seed(value)
