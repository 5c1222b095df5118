"""What comes before training: sets of records are made, changed, checked and shown."""
