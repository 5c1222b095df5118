"""Face parsing: the class of each pixel of a face (recognition/heads/classes.py), and what masks are good for."""
