"""Photographs and annotations to training batches: COCO or TXT, MindRecord, transforms, anchor targets, loader."""
