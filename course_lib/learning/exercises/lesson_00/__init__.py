"""The question of lesson 00."""
