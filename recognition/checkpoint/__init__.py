"""Everything a run needs to go on, on disk: written whole or not at all, and read back by any number of ranks."""
