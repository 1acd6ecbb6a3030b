"""A trained model over HTTP: a page to try it on photographs, and an interface for programs."""
