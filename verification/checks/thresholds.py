"""Thresholds that were measured, not chosen."""

# Cosine of two learned descriptors from which a person compares the photos.
COPY_COSINE = 0.95
