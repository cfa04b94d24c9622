"""Score, submit and demonstrate from ONNX files. Nothing in this room imports torch."""
