"""The attention that scripts get in place of a downloaded kernel."""

import math

import pytest
import torch

from gpu_workers.runner.harness import shims


@pytest.mark.parametrize(("left", "heads"), [(-1, 4), (16, 4), (3, 2), (0, 1)])
def test_attends_to_a_window_behind_each_position(left: int, heads: int) -> None:
    torch.manual_seed(1)
    query = torch.randn(2, 9, 4, 8)
    key, value = torch.randn(2, 9, heads, 8), torch.randn(2, 9, heads, 8)
    mixed = shims.flash_attn_func(query, key, value, causal=True, window_size=(left, 0))
    expected = torch.zeros_like(mixed)
    for place in range(9):
        first = 0 if left < 0 else max(0, place - left)
        for head in range(4):
            shared = head * heads // 4
            weights = (key[:, first : place + 1, shared] @ query[:, place, head, :, None])[..., 0] / math.sqrt(8)
            expected[:, place, head] = (weights.softmax(-1)[..., None] * value[:, first : place + 1, shared]).sum(1)
    assert torch.allclose(mixed, expected, atol=1e-5)


def test_attends_to_all_without_a_window() -> None:
    query = torch.randn(1, 5, 1, 4)
    mixed = shims.flash_attn_func(query, query, query)
    weights = (query[0, :, 0] @ query[0, :, 0].T / 2).softmax(-1)
    assert torch.allclose(mixed[0, :, 0], weights @ query[0, :, 0], atol=1e-5)
