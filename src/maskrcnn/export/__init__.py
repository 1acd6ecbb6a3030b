"""A trained network as a file for deployment: MINDIR, ONNX or AIR, with a metadata file beside it."""
