"""Entropy coding: what a file costs when every weight is stored in as many bits as it needs."""
