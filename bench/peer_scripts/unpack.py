"""Unpack a gzip or zstd file to nowhere, as fast as the libraries that imdswatch uses can: the floor for
packed logs.
"""

import sys

path = sys.argv[1]
if path.endswith(".gz"):
    from isal import igzip

    stream = igzip.open(path, "rb")
else:
    import zstandard

    stream = zstandard.open(path, "rb")
buffer = bytearray(1 << 20)
total = 0
while count := stream.readinto(buffer):
    total += count
print(total)
