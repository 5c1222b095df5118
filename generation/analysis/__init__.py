"""What is to be said of the faces in a picture: where they are, how they look, whom they are like."""
