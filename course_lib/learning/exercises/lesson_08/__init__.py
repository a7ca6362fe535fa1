"""Exercise 08."""
