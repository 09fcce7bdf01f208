"""What a job on disk costs beside the same calls without one, and how it grows."""
