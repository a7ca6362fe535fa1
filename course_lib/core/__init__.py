"""Small things that every room needs: argument checks, atomic writes, freed memory, number formats, colours."""
