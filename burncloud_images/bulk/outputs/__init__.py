"""What a job leaves for people and other programs: metadata, a report, a gallery, its bad_rows and shards."""
