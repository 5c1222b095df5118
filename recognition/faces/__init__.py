"""Faces in photos: found by a detector, chosen, and aligned to the template that recognisers are trained on."""
