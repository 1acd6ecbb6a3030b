"""From image files to detections, run-length masks and pictures, with a checkpoint or an exported model."""
