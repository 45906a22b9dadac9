"""From a trained network to a file that any ONNX runtime can stream."""
