"""
Lists of requests, as files and from stdin: prompts, tables, JSON lines, OpenAI's batches, Parquet.

Each record comes to a row or to a bad row with its reason; none is dropped but blank ones.
"""

from burncloud_images.bulk.inputs.ingest import InputOptions, open_input
from burncloud_images.bulk.inputs.sources import STDIN, fingerprint

__all__ = ["STDIN", "InputOptions", "fingerprint", "open_input"]
