"""From labels of any format to a data set in COCO's layout."""
