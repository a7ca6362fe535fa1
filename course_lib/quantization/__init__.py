"""Quantization: fewer bits per number, and what that costs."""
