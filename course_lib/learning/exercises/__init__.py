"""The questions of each exercise, one module per lesson, imported when first asked for."""
