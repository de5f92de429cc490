"""Compares, for every target, all queries of the tree (the site in the SIEM's own place) with the self-contained ones.

`python tests/conformance/check_places.py [LANGUAGE …]`; `make conformance` runs it. Exit code 1 if any answer differs.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "src")]

from conformance import places  # noqa: E402
from conformance.cells import exported, languages  # noqa: E402
from conformance.corpus import cases, sites  # noqa: E402
from conformance.judges import JUDGES  # noqa: E402
from imdswatch.siem import TARGETS  # noqa: E402


def main(wanted: Sequence[str]) -> int:
    """Compare, tell what differs, and how many queries were compared."""
    wrong = compared = 0
    for language in wanted or languages():
        target = JUDGES[language].target
        for name in ("suppressions", "all of it"):
            content = exported(target, language, sites()[name])
            there = getattr(places, target)(import_module(TARGETS[target]).tree(content), content)
            with JUDGES[language]() as asked:
                for one in content.queries:
                    if one.rule.correlation is not None:
                        continue
                    here, found = asked.ask(one), there[one.schema, one.part, one.rule.slug]
                    compared += 1
                    if here != found:
                        wrong += 1
                        names = [cases()[number].name for number in sorted(set(here) ^ set(found))]
                        print(
                            f"{language} {one.schema} {one.part} {one.rule.slug}, {name}: {names}", flush=True
                        )
    print(f"{compared} queries with the site in its own place, {wrong} with other answers")
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
