"""Turn a checkpoint into one ONNX file, verified against torch before it is published."""
