"""Geo data files: which addresses are a country's or a network's, which names are on a list."""
