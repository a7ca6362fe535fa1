"""Shared basics: argument checks, atomic writes, process memory, number formats, colours."""
