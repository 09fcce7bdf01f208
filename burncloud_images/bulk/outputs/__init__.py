"""Outputs of a job for people and other programs: metadata, report, gallery, bad rows and shards."""
