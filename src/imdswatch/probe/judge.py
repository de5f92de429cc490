"""What stands at an endpoint, judged by recorded answers: one verdict, and every reason for and against it.

Pure: the same answers give the same verdict. Reasons are data (`data/imds/reasons.yml`). Three questions in this order:
did anything answer HTTP; is it a metadata service of another cloud or of this very host; and if it is like EC2's, is
this host the instance that AWS signed the document for. A signature alone proves nothing here, since a document can be
relayed; a host whose firmware is known and not Amazon's never gets `genuine`.

Longer than most: the whole order of judging stands in one place.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files

import yaml

from imdswatch import documents
from imdswatch.documents import Document
from imdswatch.probe import identity
from imdswatch.probe.ask import Answers, Reply
from imdswatch.probe.certificates import FORMS, Bundle
from imdswatch.probe.link import Link
from imdswatch.probe.machine import Machine
from imdswatch.probe.questions import ROLE, TOKEN, Cloud, questionnaire
from imdswatch.probe.transport import NEVER_CONNECTED
from imdswatch.proxies import made_by_proxy
from imdswatch.redact import redact
from imdswatch.verdict import Reason

_INSTANCE = re.compile(rb"i-[0-9a-f]{8,17}\s*\Z")
_LONGEST_TEXT = 300
_FORGED = frozenset(
    {
        "signature-flaw",
        "no-signature",
        "no-document",
        "instance-is-another",
        "instance-id-differs",
        "accounts-disagree",
        "long-lived-key",
        "token-without-ttl",
    }
)
"""Each of these alone says impostor: the real service on this very instance cannot cause it."""
_TRUSTED_FIRST = ("access-key-id", "account-id", "profile-arn", "identity-document")
"""Credentials that work cannot carry another account than their key id; then what an impostor writes freely."""
_NEEDED = ("document", "rsa2048", "roles", "instance-id")


@dataclass(frozen=True, slots=True)
class Judgement:
    """The verdict, its reasons in the order of judging, and whose account it is (see `imdswatch.verdict`)."""

    verdict: str
    reasons: tuple[Reason, ...]
    cloud: str = ""
    account: Mapping[str, object] = field(default_factory=dict)

    def has(self, slug: str) -> bool:
        """Say whether a reason is among them."""
        return any(reason.slug == slug for reason in self.reasons)


def judge(
    answers: Answers, link: Link, machine: Machine, expected: tuple[str, ...], bundle: Bundle
) -> Judgement:
    """Return the verdict on what one target answered. `expected` are the site's accounts; empty: nothing is known."""
    return _Judge(answers, link, machine, expected, bundle).judgement()


@cache
def _sentences() -> Mapping[str, tuple[str, str]]:
    text = files("imdswatch").joinpath("data/imds/reasons.yml").read_text(encoding="utf-8")
    return {slug: (entry["speaks_for"], entry["text"]) for slug, entry in yaml.safe_load(text).items()}


def reason(slug: str, **words: object) -> Reason:
    """Return a reason with its words filled in; secrets are cut from them, whoever said them."""
    speaks_for, text = _sentences()[slug]
    shown = {name: redact(str(word))[:_LONGEST_TEXT] for name, word in words.items()}
    return Reason(slug, speaks_for, text.format(**shown))


class _Judge:
    """Collects reasons while it goes through the answers once."""

    def __init__(
        self, answers: Answers, link: Link, machine: Machine, expected: tuple[str, ...], bundle: Bundle
    ) -> None:
        self.answers, self.link, self.machine = answers, link, machine
        self.expected, self.bundle = expected, bundle
        self.replies = answers.replies
        self.reasons: list[Reason] = []
        self.found = [reply.document for reply in self.replies.values() if reply.document is not None]
        self.account: dict[str, object] = {}

    def say(self, slug: str, **words: object) -> None:
        self.reasons.append(reason(slug, **words))

    def said(self, *slugs: str) -> bool:
        return any(one.slug in slugs for one in self.reasons)

    def reply(self, name: str) -> Reply:
        return self.replies.get(name, Reply("silent"))

    def document(self, *kinds: str) -> Document | None:
        return next((one for one in self.found if one.kind in kinds), None)

    def judgement(self) -> Judgement:
        cloud = ""
        verdict = self.nothing() or self.no_http()
        if verdict is None:
            if self.link.is_local:
                self.say("listener-is-local", peer=self.answers.peer or self.answers.target.host)
            self.credentials()
            self.missing()
            self.accounts()
            told = self.cloud()
            if self.link.is_local:
                verdict = "impostor" if self.said("account-unexpected") else "local-helper"
            elif told is not None and not self.is_strong():
                verdict, cloud = "other-cloud", told.name
            else:
                verdict = self.like_ec2() if self.is_like_ec2() else self.no_imds()
        return Judgement(verdict, tuple(self.reasons), cloud, self.account)

    # Did anything answer

    def nothing(self) -> str | None:
        first = self.reply(TOKEN)
        if first.failure not in NEVER_CONNECTED:
            return None
        if first.failure in ("not-permitted", "no-name"):
            self.say("no-name" if first.failure == "no-name" else "could-not-ask", failure=first.failure)
            return "undecided"
        self.say("no-connection", failure=first.failure)
        link = self.link
        if link.mac and not link.gateway and not link.is_local and not self.answers.target.is_custom:
            self.say("neighbour-claims", mac=link.mac, interface=link.interface)
            return "undecided"
        return "absent"

    def no_http(self) -> str | None:
        answered = [reply for reply in self.replies.values() if reply.status is not None]
        if not answered:
            kinds = {reply.failure for reply in self.replies.values()}
            if kinds <= {"silent"} or (kinds <= {"silent", "cut"} and "silent" in kinds):
                self.say("silent")
            else:
                self.say("not-http", failure=", ".join(sorted(str(kind) for kind in kinds)))
            return "undecided"
        if all(
            made_by_proxy(reply.status, tuple(reply.headers.items()), proxied=self.answers.via_proxy)
            for reply in answered
        ):
            self.say("proxy-said-no", status=answered[0].status)
            return "absent"
        return None

    def no_imds(self) -> str:
        for reply in self.replies.values():
            if reply.status is not None and 300 <= reply.status < 400:
                self.say("redirects", location=reply.headers.get("location", "nowhere"))
                break
        statuses = sorted({reply.status for reply in self.replies.values() if reply.status is not None})
        self.say("no-imds", statuses=", ".join(map(str, statuses)))
        return "undecided"

    def missing(self) -> None:
        """Say which answers would have counted and did not come whole."""
        listed = self.document("roles") is not None and self.answers.asked_credentials
        names = [*_NEEDED, ROLE] if listed else _NEEDED
        lost = [name for name in names if self.reply(name).failure is not None or not self.reply(name).whole]
        if lost:
            self.say("incomplete", questions=", ".join(lost))

    # What is it like

    def is_strong(self) -> bool:
        """Say whether AWS clients would take credentials or an identity here, whatever else it looks like."""
        return self.document("credentials", "roles", "identity") is not None

    def is_like_ec2(self) -> bool:
        instance = self.reply("instance-id")
        named = instance.good and _INSTANCE.match(instance.body) is not None
        return self.is_strong() or named or self.document("token", "profile", "refusal") is not None

    def cloud(self) -> Cloud | None:
        """Return the other cloud that a telling path names, else the one that the firmware names."""
        clouds = questionnaire().clouds
        by_path = next((cloud for cloud in clouds if self.tells(cloud)), None)
        by_dmi = next((cloud for cloud in clouds if self.is_host_of(cloud)), None)
        if by_path is not None and by_path.question is not None:
            self.say("cloud-path", cloud=by_path.name, path=by_path.question.path.partition("?")[0])
        if by_dmi is not None:
            self.say("cloud-dmi", cloud=by_dmi.name, dmi=self.machine.shown)
        elif by_path is not None and self.machine.is_amazon is not None:
            self.say("cloud-not-dmi", cloud=by_path.name, dmi=self.machine.shown)
        if (by_path or by_dmi) and self.reply("instance-id").good and not self.is_strong():
            self.say("ec2-compatible")
        return by_path or by_dmi

    def tells(self, cloud: Cloud) -> bool:
        reply = self.replies.get(cloud.question.name) if cloud.question is not None else None
        if reply is None or not reply.good:
            return False
        if cloud.echo is not None and cloud.echo in reply.headers:
            return True
        return cloud.body is not None and cloud.body.match(reply.body) is not None

    def is_host_of(self, cloud: Cloud) -> bool:
        said = " ".join(self.machine.dmi.values())
        return any(mark in said for mark in cloud.dmi)

    # What would AWS clients take, and whose is it

    def credentials(self) -> None:
        first = self.reply(TOKEN)
        token = self.document("token")
        if token is not None:
            self.say("gives-token")
            if token.token_ttl is None:
                self.say("token-without-ttl")
            self.refusals()
        else:
            self.say("no-token", status=first.status or first.failure)
        if self.reply("no-token").good and self.is_like_ec2():
            self.say("v1-allowed")
        served, listed = self.document("credentials"), self.document("roles")
        if served is not None:
            self.say("serves-credentials", role=served.role or (listed.role if listed else None) or "unknown")
            if (served.access_key_id or "").startswith("AKIA"):
                self.say("long-lived-key", key=served.access_key_id)
        elif listed is not None:
            self.say("lists-role", role=listed.role)

    def refusals(self) -> None:
        """Say how the questions that a real service refuses were answered; unanswered ones say nothing."""
        differences = []
        heard = False
        for question in questionnaire().aws:
            status = self.reply(question.name).status
            if not question.status or status is None:
                continue
            heard = True
            if status not in question.status:
                differences.append(f"{question.name} {status}, not {question.status[0]}")
        if differences:
            self.say("refuses-otherwise", differences=", ".join(differences))
        elif heard:
            self.say("refuses-as-imds")

    def accounts(self) -> None:
        claims = documents.claims(self.found)
        told = {claim.part: claim.account for claim in claims if claim.account is not None}
        known = {part: told[part] for part in _TRUSTED_FIRST if part in told}
        numbers = sorted(set(known.values()))
        if len(numbers) > 1:
            self.say(
                "accounts-disagree", claims=", ".join(f"{part} {number}" for part, number in known.items())
            )
        elif len(known) > 1:
            self.say("accounts-agree", account=numbers[0])
        if self.expected:
            for one in numbers:
                self.say("account-expected" if one in self.expected else "account-unexpected", account=one)
        served, listed = self.document("credentials"), self.document("roles", "profile")
        key = served.access_key_id if served is not None else None
        part, number = next(iter(known.items()), (None, None))
        role = (served.role if served else None) or (listed.role if listed else None)
        self.account = {
            name: value
            for name, value in (
                ("id", number),
                ("expected", number in self.expected if self.expected and number else None),
                ("from", part),
                ("access_key_id", key),
                ("role", redact(role) if role else None),
                ("claims", known if len(known) > 1 else None),
                ("forged", True if len(numbers) > 1 else None),
            )
            if value is not None
        }

    # Is this host the instance that it speaks of

    def like_ec2(self) -> str:
        amazon = self.machine.is_amazon
        if amazon:
            self.say("dmi-amazon")
        elif amazon is None:
            self.say("dmi-unknown")
        else:
            self.say("dmi-not-amazon", dmi=self.machine.shown)
        self.identity()
        if amazon is False or self.said(*_FORGED):
            return "impostor"
        proven = self.said("instance-is-ours")
        here = proven or self.said("private-ip-is-ours")
        if not proven and self.said("account-unexpected"):
            return "impostor"
        if not here and self.said("private-ip-is-not-ours") and amazon is None:
            # Every EC2 instance has DMI or Xen's marks; without them, the address has to speak for it.
            return "impostor"
        if amazon and here and self.said("signed") and not self.said("incomplete"):
            return "genuine"
        return "undecided"

    def identity(self) -> None:
        reply = self.reply("document")
        document = reply.document
        if document is None or document.kind != "identity":
            if reply.failure is None and reply.whole:
                self.say("no-document", status=reply.status)
            return
        if reply.whole:
            for slug, words in self.signatures(reply.body):
                self.say(slug, **words)
        self.instance(document)

    def signatures(self, document: bytes) -> Iterator[tuple[str, dict[str, object]]]:
        for form in FORMS:
            reply = self.reply(form)
            if reply.failure is not None or not reply.whole:
                continue
            if not reply.good:
                if form == "rsa2048":
                    yield "no-signature", {"status": reply.status}
                continue
            checked = identity.verify(form, document, reply.body, self.bundle)
            if checked.flaw == "unknown-region":
                yield "region-unknown", {"region": checked.region}
            elif checked.flaw is not None:
                yield (
                    "signature-flaw",
                    {"form": form, "flaw": " ".join((checked.flaw, checked.detail)).strip()},
                )
            elif checked.binds_region:
                yield "signed", {"region": checked.region, "form": form}
            else:
                yield "region-not-bound", {"form": form}

    def instance(self, document: Document) -> None:
        named, said = document.instance_id, self.reply("instance-id").body.strip().decode("ascii", "replace")
        if named and self.reply("instance-id").good and said != named:
            self.say("instance-id-differs", instance=named, said=said)
        ours = self.machine.instance_id
        if ours is not None:
            self.say(
                "instance-is-ours" if ours == named else "instance-is-another", instance=named, ours=ours
            )
        else:
            self.say("instance-unknown")
        address = document.private_ip
        if address and self.machine.addresses:
            slug = "private-ip-is-ours" if address in self.machine.addresses else "private-ip-is-not-ours"
            self.say(slug, address=address)
