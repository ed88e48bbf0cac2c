"""Files that attack whoever opens them, and files that tell where somebody lives: made by code, from a seed."""
