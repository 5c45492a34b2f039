"""Measurements of single parts: `python -m benchmarks.micro.<part>`."""
