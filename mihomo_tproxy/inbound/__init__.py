"""How flows come in."""
