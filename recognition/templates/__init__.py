"""People as templates of several pictures and frames: IJB-B and IJB-C, 1:1 and 1:N."""
