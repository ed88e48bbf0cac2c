"""Sentences as unit vectors, by all-MiniLM-L6-v2 through transformers, from local files only."""

import os
from collections.abc import Sequence

# Set before transformers is imported: it must never ask a network for a file.
os.environ["HF_HUB_OFFLINE"] = "1"

import numpy as np
import torch
import transformers

from gpu_workers.vision import weights
from gpu_workers.vision.base import Vector

LONGEST_TOKENS = 64
BATCH = 64


class SentenceModel:
    """Loaded once; `embed` is deterministic on one machine."""

    def __init__(self, device: torch.device) -> None:
        """Load the model.

        Raises:
            weights.WeightsMissing, weights.WeightsChanged: see there.
        """
        # All of them are checked: the folder is loaded as a whole.
        files = [file.checked() for file in weights.SENTENCE_FILES]
        folder = str(files[0].parent)
        # The loading bar would go to the worker's log.
        transformers.utils.logging.disable_progress_bar()  # type: ignore[no-untyped-call]
        self._device = device
        self._tokenizer = transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True)
        self._model = transformers.AutoModel.from_pretrained(folder, local_files_only=True, use_safetensors=True).eval().to(device)

    @torch.inference_mode()
    def embed(self, sentences: Sequence[str]) -> Vector:
        """Give one unit vector of 384 numbers for each sentence: the mean over its tokens, as the model was trained."""
        parts = []
        for start in range(0, len(sentences), BATCH):
            tokens = self._tokenizer(
                list(sentences[start : start + BATCH]), padding=True, truncation=True, max_length=LONGEST_TOKENS, return_tensors="pt"
            ).to(self._device)
            hidden = self._model(**tokens).last_hidden_state
            mask = tokens["attention_mask"][..., None].to(hidden.dtype)
            mean = (hidden * mask).sum(1) / mask.sum(1)
            parts.append(torch.nn.functional.normalize(mean, dim=1).cpu().numpy())
        return np.concatenate(parts) if parts else np.empty((0, 384), np.float32)
