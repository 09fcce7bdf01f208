"""Files: images that are read for uploads, and images that are written."""
