"""A byte-level GPT of 135,808 parameters that trains in about 3 CPU seconds: what tests, calibrations and newcomers replay."""
