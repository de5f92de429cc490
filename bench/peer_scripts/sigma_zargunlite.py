"""Count the records that match the bulletin's Sigma rule with zargunlite, the engine of Zircolite as a
library.

The rule is converted by pySigma's SQLite backend in Zircolite's format. zargunlite strips what is no letter
or digit from field names, so the rule names Zeek's fields that way.
"""

import json
import sys

from sigma.backends.sqlite import sqliteBackend
from sigma.collection import SigmaCollection
from zargunlite.core import ZargunCore
from zargunlite.model import ZircoliteFieldMappingConfig, ZircoliteRule
from zargunlite.preprocess import flatten_json, mapping_field

RULE = """
title: AWS IMDS traffic
status: test
logsource:
    category: network
detection:
    ip_dst:
        idresph:
            - 169.254.169.254
            - 'fd00:ec2::254'
    http_host:
        host:
            - 169.254.169.254
            - '[fd00:ec2::254]'
    http_url:
        uri|contains:
            - /latest/meta-data
            - /latest/api/token
    http_header:
        clientheadernames|contains: X-aws-ec2-metadata-token
    condition: 1 of ip_* or 1 of http_*
"""

converted = json.loads(sqliteBackend().convert(SigmaCollection.from_yaml(RULE), "zircolite"))[0]
rule = ZircoliteRule(title=converted["title"], rule=converted["rule"])
mapping = ZircoliteFieldMappingConfig()
with open(sys.argv[1], "rb") as source:
    records = [mapping_field(flatten_json(json.loads(line)), field_mapping_config=mapping) for line in source]
with ZargunCore() as core:
    core.load_data(records)
    print(core.execute_zircolite_rule(rule).count)
