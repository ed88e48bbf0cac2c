"""What makes torch compute alike each time; the environment of its libraries is set by the runner, before the program starts."""

import random

import numpy as np
import torch


def fix(threads: int) -> None:
    """Fix threads, algorithms and precision."""
    torch.set_num_threads(threads)
    torch.set_num_interop_threads(1)
    # Where no deterministic algorithm exists, the self-test of the smoke run tells, rather than every tree that touches one.
    # Not by its public name, which imports the whole compiler to tell it as well: 1.7 CPU seconds a process, half of its start. The
    # compiler is told by TORCHINDUCTOR_DETERMINISTIC, should a tree ask for it.
    torch._C._set_deterministic_algorithms(True, warn_only=True)
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.deterministic = True
    torch.set_float32_matmul_precision("highest")
    _spare_the_compiler()


def _spare_the_compiler() -> None:
    """Keep an optimizer's making from importing torch's whole compiler.

    torch marks these methods as not to be compiled when they are first called; this is the mark it would set.
    """
    for name in ("add_param_group", "zero_grad", "state_dict", "load_state_dict"):
        plain = getattr(getattr(torch.optim.Optimizer, name), "__wrapped__", None)
        if plain is not None:
            setattr(plain, "__dynamo_disable", plain)


def seed(value: int) -> None:
    """Seed torch, numpy and random."""
    random.seed(value)
    np.random.seed(value % (1 << 32))
    torch.manual_seed(value)
