"""EfficientNet-Lite0 as three layers of maps and its classes; the weights are checked and loaded as plain tensors."""

import torch
from efficientnet_lite_pytorch import EfficientNet  # type: ignore[import-untyped]

from gpu_workers.vision import weights

# The last block that still sees 14 x 14 positions.
MIDDLE_BLOCK = 10


class Network:
    """The network on one device, in evaluation mode."""

    def __init__(self, device: torch.device) -> None:
        """Load the weights.

        Raises:
            weights.WeightsMissing, weights.WeightsChanged: see there.
        """
        network = EfficientNet.from_name("efficientnet-lite0")
        # weights_only: a pickle of tensors and nothing that runs.
        network.load_state_dict(torch.load(weights.CLASSIFIER.checked(), map_location="cpu", weights_only=True))
        self._network = network.eval().to(device)

    def maps(self, views: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Give the maps of a middle block (112 channels, 14 x 14), the last block (320, 7 x 7) and the head (1280, 7 x 7)."""
        network = self._network
        maps = network._swish(network._bn0(network._conv_stem(views)))
        middle = maps
        for index, block in enumerate(network._blocks):
            maps = block(maps)
            if index == MIDDLE_BLOCK:
                middle = maps
        return middle, maps, network._swish(network._bn1(network._conv_head(maps)))

    def classes(self, head: torch.Tensor) -> torch.Tensor:
        """Give the 1,000 classes' logits from the head's maps."""
        logits: torch.Tensor = self._network._fc(head.mean(dim=(2, 3)))
        return logits
