"""The version of this package, and of what it tells the market about itself."""

__version__ = "0.1.0"
