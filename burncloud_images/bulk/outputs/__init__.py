"""What a job leaves for people and other programs: metadata, a report, a gallery, its problems and shards."""
