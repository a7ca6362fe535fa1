"""Low-rank factorization: a matrix as a product of two thin ones."""
