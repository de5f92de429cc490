"""`imdswatch lab`: the attack, rehearsed (`run`), and the simulated metadata service alone (`serve`)."""

from __future__ import annotations

import json
import signal
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, TypeVar

import click

from imdswatch.cli.options import FORMATS
from imdswatch.cli.output import show, visible, write
from imdswatch.cli.shared import TEXT_OR_NDJSON
from imdswatch.errors import UsageError
from imdswatch.finding import STAGES

if TYPE_CHECKING:
    from imdswatch.lab.config import Config
    from imdswatch.lab.server import Heard

T = TypeVar("T")


@click.group(epilog="Examples: imdswatch lab run | imdswatch lab serve")
def lab() -> None:
    """Rehearse the attack safely, or serve a simulated metadata service on loopback."""


@lab.command(
    epilog="Examples: imdswatch lab run | imdswatch lab run routed-rogue proxy --client curl --keep lab.pcap"
)
@click.argument("names", nargs=-1, metavar="[SCENARIO...]")
@click.option(
    "--client", "wanted", multiple=True, metavar="NAME|all", help="Who is the victim (default: probe, ours)."
)
@click.option(
    "--clients", "folder", type=click.Path(path_type=Path, file_okay=False, exists=True), metavar="DIR",
    help="Where clients are installed: what `make clients` writes, or a virtual environment.",
)  # fmt: skip
@click.option("--list", "listing", is_flag=True, help="List scenarios and clients.")
@click.option(
    "--keep", type=click.Path(path_type=Path), metavar="FILE.pcap", help="Keep what the sensor saw."
)
@click.option("--format", "form", type=click.Choice(FORMATS), default="text", show_default=True)
@click.option("-o", "--output", type=click.Path(path_type=Path), metavar="PATH", help="Write here.")
@click.option(
    "--fail-on",
    type=click.Choice(STAGES),
    metavar="STAGE",
    help="Only alarms from this stage on may fail it.",
)
@click.option("-v", "--verbose", is_flag=True, help="Show the trace of our own bugs.")
def run(names: tuple[str, ...], wanted: tuple[str, ...], **options: Any) -> int:
    """Rehearse the attack in network namespaces without a way out, and see whether every alarm rings.

    A victim, a rogue and a sensor are made and removed; the victim is our own client, or real ones, and never leaves.
    Exits with 1 where an alarm is missing or false, with 3 where something could not be played.
    """
    from imdswatch.cli.rehearsal import rehearse
    from imdswatch.cli.transcript import catalogue
    from imdswatch.lab.clients import inventory
    from imdswatch.lab.scenario import scenarios

    if options["listing"]:
        if options["form"] not in ("text", "ndjson"):
            raise UsageError(
                f"`--list` has no format `{options['form']}`", help="text, or ndjson for programs"
            )
        write("\n".join(catalogue(scenarios(), inventory(), options["form"])), options["output"])
        return 0
    chosen = [_known(name, scenarios(), "scenario") for name in dict.fromkeys(names)] or list(
        scenarios().values()
    )
    clients = (
        list(inventory().values())
        if "all" in wanted
        else [_known(name, inventory(), "client") for name in dict.fromkeys(wanted or ("probe",))]
    )
    return rehearse(chosen, clients, options)


def _known(name: str, table: Mapping[str, T], what: str) -> T:
    if name not in table:
        raise UsageError(f"there is no {what} `{name}`", help="`imdswatch lab run --list` lists them")
    return table[name]


@lab.command(
    epilog="Example: imdswatch lab serve & AWS_EC2_METADATA_SERVICE_ENDPOINT=http://127.0.0.1:1338 aws configure list"
)
@click.option(
    "--bind",
    "addresses",
    multiple=True,
    default=("127.0.0.1",),
    metavar="ADDRESS",
    help="Loopback only; again: more.",
)
@click.option(
    "--port", type=click.IntRange(0, 65535), default=1338, show_default=True, help="0: any free one."
)
@click.option(
    "--config", type=click.Path(path_type=Path), metavar="FILE", help="What the service is like (TOML)."
)
@click.option("--no-v1", is_flag=True, help="Demand a token: IMDSv1 gets 401.")
@click.option("--no-v2", is_flag=True, help="Give no tokens: /latest/api/token gets 404.")
@click.option("--disabled", is_flag=True, help="Answer 403 to everything.")
@click.option("--keep-alive", is_flag=True, help="Keep connections open; the real service closes them.")
@click.option("--hop-limit", type=click.IntRange(1, 64), help="IP TTL of a token's answer (default 1).")
@click.option(
    "--account", type=click.Choice(("123456789012", "000000000000")), help="Whose fake credentials."
)
@click.option("--role", metavar="NAME", help='Name of the role; "" for none.')
@click.option("--lifetime", type=int, metavar="SECONDS", help="Of credentials; negative: expired already.")
@click.option(
    "--user-data", "user_data", type=click.Path(path_type=Path), metavar="FILE", help="Serve this text."
)
@click.option(
    "--json", "as_json", is_flag=True, help="Print each request as a JSON object; as --format ndjson."
)
@click.option("--format", "form", type=TEXT_OR_NDJSON, default="text", hidden=True)
def serve(**options: Any) -> int:
    """Serve a simulated Instance Metadata Service on loopback, until it is interrupted.

    Tokens, status codes, headers and documents are those of EC2's service; the credentials are fake and say so. It
    refuses every address but loopback. Each request is printed: never a token, never a header's value.
    """
    from imdswatch.lab.imds import Service
    from imdswatch.lab.server import Server, listen

    config = _config(options)
    options["as_json"] = options["as_json"] or options["form"] == "ndjson"
    requests: SimpleQueue[Heard | None] = SimpleQueue()  # printed here: a thread could not end the program
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: requests.put(None))
    sockets = [listen(address, options["port"]) for address in options["addresses"]]
    for one in sockets:
        address, port = one.getsockname()[:2]
        url = f"http://[{address}]:{port}" if ":" in address else f"http://{address}:{port}"
        show(json.dumps({"type": "listening", "url": url}) if options["as_json"] else f"listening at {url}")
    if not options["as_json"]:
        show(f"try: AWS_EC2_METADATA_SERVICE_ENDPOINT={url} aws configure list")
    server = Server(Service(config), sockets, requests.put)
    try:
        while (heard := requests.get()) is not None:
            show(_json_line(heard) if options["as_json"] else _text_line(heard))
    finally:
        server.close()
    return 0


def _config(options: dict[str, Any]) -> Config:
    from imdswatch.lab.config import Config, check, load

    config = load(options["config"]) if options["config"] is not None else Config()
    changes: dict[str, Any] = {
        name: options[name]
        for name in ("account", "role", "lifetime", "hop_limit")
        if options[name] is not None
    }
    changes |= {name: value for name, value in (("v1", False), ("v2", False)) if options[f"no_{name}"]}
    changes |= {"enabled": False} if options["disabled"] else {}
    changes |= {"keep_alive": True} if options["keep_alive"] else {}
    if options["user_data"] is not None:
        try:
            changes["user_data"] = options["user_data"].read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError("cannot read the user data", file=str(options["user_data"])) from error
    check(changes)
    return replace(config, **changes)


def _json_line(heard: Heard) -> str:
    return json.dumps({"type": "request", **asdict(heard)})


def _text_line(heard: Heard) -> str:
    agent = heard.user_agent or "no User-Agent"
    asked = f"{heard.status} {heard.method} {heard.target}"
    return visible(f"{asked}  token {heard.token}, from {heard.client[0]}, {agent}")
