"""Thresholds that were measured, not chosen."""

# Likeness of two learned descriptors (`verification.copy_grids`) from which a person compares the photos. In the fitting half (161
# photographs, 12,880 pairs) the most alike distinct ones reach 0.854: two people's photographs of one castle from one terrace, which
# is what honest workers send of one place. `python -m tests.benchmarks.copies` measures the held-out half.
COPY_COSINE = 0.865
