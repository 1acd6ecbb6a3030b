"""COCO 2017 from its own servers, or from a mirror."""
