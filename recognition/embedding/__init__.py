"""Pictures -> embeddings: any recogniser behind one call, over any number of ranks."""
