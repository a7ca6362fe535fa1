"""Exercise 09."""
