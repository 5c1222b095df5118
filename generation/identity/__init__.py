"""Face identity as a training signal: flow matching, latents, and the losses that compare faces in pictures."""
