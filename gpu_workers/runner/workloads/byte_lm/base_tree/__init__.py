"""The tree that candidates for the byte-level model start from; `train.py` is all of it."""
