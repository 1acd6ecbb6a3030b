"""Data sets as users have them: COCO's JSON, the TXT format."""
