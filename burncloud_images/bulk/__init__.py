"""
Many requests as one job: a directory that can be killed at any instant and gone on with.

An image that was paid for is found in the directory, none is bought twice, and no more is spent than was allowed.
"""
