"""StarGAN's generator as others take it: ONNX in float32 and int8, and a table of what each is worth."""
