"""Count the records that match the bulletin's predicate with DuckDB's NDJSON reader, on one thread.

Only the four columns that the predicate needs are declared, so that DuckDB may skip the others.
"""

import sys

import duckdb

PREDICATE = """
    "id.resp_h" IN ('169.254.169.254', 'fd00:ec2::254')
    OR host IN ('169.254.169.254', '[fd00:ec2::254]')
    OR contains(lower(uri), '/latest/meta-data')
    OR contains(lower(uri), '/latest/api/token')
    OR contains(lower(uri), '169.254.169.254')
    OR len(list_filter(client_header_names, lambda h: contains(lower(h), 'x-aws-ec2-metadata-token'))) > 0
"""
COLUMNS = "{'id.resp_h': 'VARCHAR', host: 'VARCHAR', uri: 'VARCHAR', client_header_names: 'VARCHAR[]'}"

if __name__ == "__main__":
    with duckdb.connect(config={"threads": 1}) as connection:
        query = f"SELECT count(*) FROM read_ndjson(?, columns = {COLUMNS}) WHERE {PREDICATE}"
        row = connection.execute(query, [sys.argv[1]]).fetchone()
        print(row[0] if row else 0)
