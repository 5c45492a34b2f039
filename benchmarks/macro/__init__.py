"""Measurements of whole systems, a module for each kind; `python -m benchmarks` runs them."""
