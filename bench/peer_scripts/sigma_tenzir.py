"""Count the records that the bulletin's Sigma rule finds with Tenzir's own operator, one process.

Tenzir takes a text in brackets, quoted or not, for a list and ignores the whole rule ("nested lists are not allowed in
Sigma selections"), so the brackets of an IPv6 host are wildcards here. It warns of that and goes on: a rule that was
ignored is an error here.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

RULE = """
title: bulletin
id: 0d2b2a3c-6a55-4f35-9a3e-1c6d2f0f5a11
status: test
logsource: {category: network}
detection:
    ip_dst: {id.resp_h: ['169.254.169.254', 'fd00:ec2::254']}
    http_host: {host: ['169.254.169.254', '?fd00:ec2::254?']}
    http_uri: {uri|contains: ['/latest/meta-data', '/latest/api/token', '169.254.169.254']}
    http_headers: {client_header_names|contains: 'x-aws-ec2-metadata-token'}
    condition: 1 of ip_* or 1 of http_*
level: low
"""
tenzir = Path(__file__).parents[2] / ".cache" / "references" / "bin" / "tenzir"
with tempfile.TemporaryDirectory() as folder:
    rule = Path(folder) / "rule.yml"
    rule.write_text(RULE)
    pipeline = f'from_file "{sys.argv[1]}" {{ read_ndjson }} | sigma path="{rule}" | summarize n=count() | write_ndjson'
    command = [str(tenzir), "--bare-mode", "--console-verbosity=warning", pipeline]
    done = subprocess.run(
        command, capture_output=True, text=True, env={"PATH": os.environ["PATH"], "HOME": folder}
    )
    if done.returncode or "ignores rule" in done.stdout + done.stderr:
        sys.exit(done.stderr[-500:] or done.stdout[-500:])
    print(done.stdout.strip().rstrip("}").rpartition(":")[2])
