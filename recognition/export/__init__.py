"""A backbone as others take it: ONNX in several precisions, a model folder with its card, a check before it is sent."""
