"""Data at rest: MindRecord files, made once."""
