"""karpathy/autoresearch as it is, as a replay: its train.py is the one file to edit, its data and tokenizer go by manifest.

The user brings a checkout with prepared data; no code of that repository is here. `export.py` runs in the checkout's own environment
and writes the token files that the broker serves and the evaluator scores; `workload.py` makes the terms of them; the harness runs the
script with modules of ours named `prepare`, `kernels` and `time` (`gpu_workers/runner/harness/scripts.py`).

What differs from a run by hand: the budget is in steps, and the script's clock follows its batches, so that its 300 seconds end with
the last one; rows are random windows of the token files rather than packed documents; attention is torch's own in place of a
downloaded kernel; `torch.compile` does nothing; seeds in the script are mixed with the verifier's; the score is computed outside, over
windows that share no token.

What has been run: a script of ours in that file's shape (its imports, its calls, its loop), on a CPU, through replay, stop, audit and
evaluation. The checkout itself has not been run on a GPU: there was none at hand. Its `train.py` of 2026-03-25 asks, by reading, for
nothing that these modules lack. Memory, speed, the spread of scores and the band across GPUs are to be measured by whoever posts it.
"""
