"""The first thing that people see: one sentence, and how far it got, stage by stage; pure."""

from __future__ import annotations

from collections import Counter

from imdswatch.finding import STAGES
from imdswatch.report.digest import Digest
from imdswatch.report.headline import Headline, plural
from imdswatch.report.html.markup import Html, join, tag

_MEANS = (
    "contacted the endpoint",
    "asked for metadata",
    "got an answer",
    "were given credentials",
    "used them in AWS",
)


def hero(said: Headline, digest: Digest, findings: Counter[int]) -> Html:
    """Return the headline and the ladder of stages."""
    sentence, looked, through = said.sentence.partition(": looked at ")
    return tag(
        "section",
        tag("p", said.word, class_="word"),
        tag("h1", f"{sentence}." if looked else sentence, id="headline"),
        tag("p", f"Looked at {through}", class_="also") if looked else None,
        [tag("p", sentence, class_="also") for sentence in said.more],
        _ladder(digest, findings),
        class_=f"hero mood-{said.mood}",
        aria_labelledby="headline",
    )


def _ladder(digest: Digest, findings: Counter[int]) -> Html:
    hosts = Counter(digest.hosts.values())
    top = max(findings, default=-1)
    steps: list[Html] = []
    for rank, name in enumerate(STAGES):
        state = "top" if rank == top else "below" if rank < top else "above"
        count, nameless = hosts[rank], digest.nameless[rank]
        number = f"{count:,}" if count or not nameless else "?"
        noun = "unnamed" if number == "?" else "host" if count == 1 else "hosts"
        more = f"{plural(findings[rank], 'finding')}" + (
            f", {nameless:,} of unnamed hosts" if nameless else ""
        )
        steps.append(
            tag(
                "li",
                tag("span", name, class_="name"),
                tag("span", tag("b", number), f" {noun}", class_="number"),
                tag("span", _MEANS[rank], class_="means"),
                tag("span", more if findings[rank] else "no finding", class_="findings"),
                class_=f"step stage-{rank} {state}",
                data_stage=rank,
            )
        )
    caption = "How far it got: hosts by the furthest stage that each reached"
    return join(
        tag("p", caption, class_="caption", id="ladder"),
        tag("ol", steps, class_="ladder", aria_labelledby="ladder"),
    )
