"""Exercise 06."""
