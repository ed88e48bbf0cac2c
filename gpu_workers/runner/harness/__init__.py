"""Our code that runs inside the sandbox, in one process with a stranger's: nothing it says is trusted.

Bound into the sandbox as a package of its own, so that its modules name each other by relative imports only. `frames` and `packing`
need the standard library alone and are also used outside; the rest imports torch.
"""
