"""The one vision model of this process, loaded when it is first needed: importing this module loads no torch."""

import functools

from gpu_workers.vision.base import VisionModel


@functools.cache
def default_model(torch_threads: int) -> VisionModel:
    """Load the default model and take one picture through it, so that the first real batch is not the slow one."""
    import numpy as np
    import torch

    from gpu_workers.vision import conse

    torch.set_num_threads(torch_threads)
    model = conse.Conse()
    model.describe([np.zeros((8, 8, 3), np.uint8)], [["nothing"]])
    return model
