"""Faces turned to another pose: ImageControlNet, its data, its training and its evaluation."""
