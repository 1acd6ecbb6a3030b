"""Images to detections to COCO results, tables and pictures."""
