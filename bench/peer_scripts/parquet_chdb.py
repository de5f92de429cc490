"""Count the rows that match the bulletin's predicate with chDB, on one thread."""

import sys

import chdb

PREDICATE = """
    `id.resp_h` IN ('169.254.169.254', 'fd00:ec2::254')
    OR host IN ('169.254.169.254', '[fd00:ec2::254]')
    OR multiSearchAnyCaseInsensitive(uri, ['/latest/meta-data', '/latest/api/token', '169.254.169.254'])
    OR arrayExists(h -> positionCaseInsensitive(h, 'x-aws-ec2-metadata-token') > 0, client_header_names)
"""
print(
    chdb.query(
        f"SELECT count() FROM file('{sys.argv[1]}', Parquet) WHERE {PREDICATE} SETTINGS max_threads = 1"
    )
)
