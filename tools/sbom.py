"""Writes the software bill of materials: what an installation from the lock consists of, as CycloneDX 1.6 JSON.

    python tools/sbom.py PYTHON OUTPUT

PYTHON is the interpreter of an environment that holds requirements.lock and nothing else; OUTPUT the file to write.
Runs in the environment of tools/package.lock (`make sbom`). The work is cyclonedx-py's; it knows no dynamic version, so
that is added here, and the whole is validated strictly once more. Two runs over the same lock write the same file.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

ROOT = Path(__file__).parents[1]


def main(python: str, output: str) -> None:
    """Write the file; where it would be invalid, end and say why."""
    command = [
        sys.executable,
        "-m",
        "cyclonedx_py",
        "environment",
        "--pyproject",
        str(ROOT / "pyproject.toml"),
    ]
    options = [
        "--mc-type",
        "application",
        "--spec-version",
        "1.6",
        "--output-reproducible",
        "--of",
        "JSON",
        python,
    ]
    made = subprocess.run([*command, *options], check=True, capture_output=True, text=True).stdout
    bill = json.loads(made)
    source = (ROOT / "src" / "imdswatch" / "__init__.py").read_text(encoding="utf-8")
    [version] = re.findall(r'__version__ = "([^"]+)"', source)
    bill["metadata"]["component"] |= {"version": version, "purl": f"pkg:pypi/imdswatch@{version}"}
    text = json.dumps(bill, indent=2, sort_keys=True) + "\n"
    fault = JsonStrictValidator(SchemaVersion.V1_6).validate_str(text)
    if fault is not None:
        sys.exit(f"the bill of materials is invalid: {fault}")
    Path(output).parent.mkdir(parents=True, exist_ok=True)
    Path(output).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
