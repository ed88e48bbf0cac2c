"""Thresholds that were measured, not chosen."""

# Likeness of two learned descriptors (`verification.copy_grids`) from which a person compares the photos. In the fitting half (161
# photographs, 12,880 pairs) one pair of distinct ones is as alike, at 0.854: two photographs of one castle from one terrace; the next
# is at 0.802. Held out (169 photographs): 0 of 14,196 distinct pairs, 0 false among 2,873 edited copies against the others. Of 15 edits
# it finds 0.716, PDQ 0.569, either 0.794 (docs/decisions/0007); borders, tilts and crops to half are its weak ones.
COPY_COSINE = 0.81
