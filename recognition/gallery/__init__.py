"""Folders of photos -> a table of embeddings, and the search for who is nearest in it."""
