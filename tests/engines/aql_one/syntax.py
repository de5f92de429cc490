"""AQL statements, read into a tree.

Ariel Query Language Guide, "Sample AQL queries": SELECT, FROM, WHERE, GROUP BY, HAVING, ORDER BY, LIMIT, then the
time frame, in this order. "Quotation marks": single for texts and for aliases after AS, double for names. "AQL
logical and comparison operators" lists the operators; AND binds before OR and NOT before both, as in SQL. Longer
than most because it is one grammar.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from .errors import AqlError
from .tree import Call, Column, Expr, Item, Literal, Star, Statement, Window

TOKEN = re.compile(
    r"\s*(?:(?P<number>\d+(?:\.\d+)?(?![\w]))|(?P<word>[A-Za-z_][\w]*(?:::[A-Za-z_]\w*)?)"
    r"|(?P<text>'(?:[^']|'')*')|(?P<name>\"[^\"]*\")|(?P<sign><=|>=|!=|<>|==|[-+*/%^(),<>=]))"
)
KEYWORDS = {
    *(
        "SELECT",
        "FROM",
        "WHERE",
        "GROUP",
        "BY",
        "HAVING",
        "ORDER",
        "LIMIT",
        "LAST",
        "START",
        "STOP",
        "AS",
        "AND",
    ),
    *(
        "OR",
        "NOT",
        "IN",
        "LIKE",
        "ILIKE",
        "MATCHES",
        "IMATCHES",
        "BETWEEN",
        "IS",
        "NULL",
        "CASE",
        "WHEN",
        "THEN",
    ),
    *("ELSE", "END", "IF", "ASC", "DESC", "PARAMETERS", "INTO", "COLLATE", "DISTINCT", "TEXT"),
}
UNITS = {"SECOND": 1, "MINUTE": 60, "HOUR": 3600, "DAY": 86400}


@dataclass(frozen=True, slots=True)
class Token:
    """A word of the query: number, word, text, name, sign or end."""

    kind: str
    value: str
    start: int
    end: int

    @property
    def keyword(self) -> str:
        upper = self.value.upper()
        return upper if self.kind == "word" and upper in KEYWORDS else ""


def tokens(query: str) -> list[Token]:
    out, here = [], 0
    while query[here:].strip():
        found = TOKEN.match(query, here)
        if not found:
            at = here + len(query[here:]) - len(query[here:].lstrip())
            raise AqlError(f"unexpected {query[at]!r}", query, at)
        kind = str(found.lastgroup)
        out.append(Token(kind, found[kind], found.start(kind), found.end()))
        here = found.end()
    return [*out, Token("end", "", len(query), len(query))]


class Parser:
    """Recursive descent over one statement."""

    def __init__(self, query: str) -> None:
        self.query, self.tokens, self.at = query, tokens(query), 0

    @property
    def now(self) -> Token:
        return self.tokens[self.at]

    def fail(self, message: str) -> AqlError:
        return AqlError(message, self.query, self.now.start)

    def keyword(self, *words: str) -> bool:
        """Take keywords that follow one another, all or none."""
        for offset, word in enumerate(words):
            token = self.tokens[min(self.at + offset, len(self.tokens) - 1)]
            if token.kind != "word" or token.value.upper() != word:
                return False
        self.at += len(words)
        return True

    def sign(self, *signs: str) -> str:
        if self.now.kind == "sign" and self.now.value in signs:
            self.at += 1
            return self.tokens[self.at - 1].value
        return ""

    def expect(self, sign: str) -> None:
        if not self.sign(sign):
            raise self.fail(f"{sign!r} is expected")

    def statement(self) -> Statement:
        if not self.keyword("SELECT"):
            raise self.fail("a statement begins with SELECT")
        if self.now.keyword == "DISTINCT":
            raise self.fail("SELECT DISTINCT is not known to this evaluator")
        items = [self.item()]
        while self.sign(","):
            items.append(self.item())
        if not self.keyword("FROM"):
            raise self.fail("FROM is expected")
        table = self.now.value.lower()
        if self.now.kind != "word" or table not in ("events", "flows"):
            raise self.fail("the tables are events and flows")
        self.at += 1
        if self.now.keyword == "INTO":
            raise self.fail("INTO is not known to this evaluator")
        where = self.either() if self.keyword("WHERE") else None
        group = self.expressions() if self.keyword("GROUP", "BY") else ()
        having = self.either() if self.keyword("HAVING") else None
        order = self.ordering() if self.keyword("ORDER", "BY") else ()
        limit = int(self.count()) if self.keyword("LIMIT") else None
        window = self.window()
        if self.now.keyword == "PARAMETERS":
            raise self.fail("PARAMETERS is not known to this evaluator")
        if self.now.kind != "end":
            order_said = "SELECT, FROM, WHERE, GROUP BY, HAVING, ORDER BY, LIMIT, time frame"
            raise self.fail(f"unexpected {self.now.value!r} (the clauses stand in the order {order_said})")
        return Statement(tuple(items), table, where, group, having, order, limit, window)

    def count(self) -> str:
        if self.now.kind != "number" or "." in self.now.value:
            raise self.fail("a whole number is expected")
        self.at += 1
        return self.tokens[self.at - 1].value

    def item(self) -> Item:
        start = self.now.start
        if self.sign("*"):
            return Item(Star(), "*", False)
        expr = self.either()
        name = self.query[start : self.tokens[self.at - 1].end]
        if isinstance(expr, Column):
            name = expr.name
        if not self.keyword("AS"):
            return Item(expr, name, False)
        if self.now.kind not in ("word", "text", "name"):
            raise self.fail("a name is expected after AS")
        self.at += 1
        alias = self.tokens[self.at - 1]
        return Item(expr, alias.value[1:-1] if alias.kind != "word" else alias.value, True)

    def expressions(self) -> tuple[Expr, ...]:
        out = [self.sum()]
        while self.sign(","):
            out.append(self.sum())
        return tuple(out)

    def ordering(self) -> tuple[tuple[Expr, bool], ...]:
        out = []
        while True:
            expr = self.sum()
            descending = self.keyword("DESC")
            if not descending:
                self.keyword("ASC")
            if self.now.keyword == "COLLATE":
                raise self.fail("COLLATE is not known to this evaluator")
            out.append((expr, descending))
            if not self.sign(","):
                return tuple(out)

    def window(self) -> Window:
        """ "Time criteria in AQL queries": LAST n MINUTES|HOURS|DAYS, or START with an optional STOP."""
        if self.keyword("LAST"):
            amount, unit = int(self.count()), self.now.value.upper()
            if self.now.kind != "word" or unit.removesuffix("S") not in UNITS:
                raise self.fail("MINUTES, HOURS or DAYS is expected after LAST n")
            self.at += 1
            return Window(last=amount * UNITS[unit.removesuffix("S")])
        if self.keyword("START"):
            start = self.primary()
            return Window(start=start, stop=self.primary() if self.keyword("STOP") else None)
        if self.now.keyword == "STOP":
            raise self.fail("STOP stands after START")
        return Window()

    def either(self) -> Expr:
        left = self.both()
        while self.now.keyword == "OR":
            position = self.now.start
            self.at += 1
            left = Call("OR", (left, self.both()), position)
        return left

    def both(self) -> Expr:
        left = self.negation()
        while self.now.keyword == "AND":
            position = self.now.start
            self.at += 1
            left = Call("AND", (left, self.negation()), position)
        return left

    def negation(self) -> Expr:
        position = self.now.start
        if self.keyword("NOT"):
            return Call("NOT", (self.negation(),), position)
        if self.keyword("TEXT", "SEARCH"):
            raise self.fail("TEXT SEARCH is not known to this evaluator")
        return self.comparison()

    def comparison(self) -> Expr:
        left, position = self.sum(), self.now.start
        if sign := self.sign("=", "==", "!=", "<>", "<", "<=", ">", ">="):
            name = {"==": "=", "<>": "!="}.get(sign, sign)
            return Call(name, (left, self.sum()), position)
        if self.keyword("IS"):
            negated = self.keyword("NOT")
            if not self.keyword("NULL"):
                raise self.fail("NULL is expected after IS")
            test = Call("IS NULL", (left,), position)
            return Call("NOT", (test,), position) if negated else test
        negated = self.keyword("NOT")
        found = self.predicate(left, position)
        if found is not None:
            return Call("NOT", (found,), position) if negated else found
        if negated:
            raise self.fail("IN, LIKE, ILIKE, MATCHES, IMATCHES or BETWEEN is expected after NOT")
        return left

    def predicate(self, left: Expr, position: int) -> Expr | None:
        for name in ("LIKE", "ILIKE", "MATCHES", "IMATCHES"):
            if self.keyword(name):
                return Call(name, (left, self.sum()), position)
        if self.keyword("IN"):
            self.expect("(")
            members = self.expressions()
            self.expect(")")
            return Call("IN", (left, *members), position)
        if self.keyword("BETWEEN"):
            low = self.sum()
            if not self.keyword("AND"):
                raise self.fail("AND is expected in BETWEEN … AND …")
            return Call("BETWEEN", (left, low, self.sum()), position)
        return None

    def sum(self) -> Expr:
        left = self.product()
        while True:
            position = self.now.start
            sign = self.sign("+", "-")
            if not sign:
                return left
            left = Call(sign, (left, self.product()), position)

    def product(self) -> Expr:
        left = self.power()
        while True:
            position = self.now.start
            sign = self.sign("*", "/", "%")
            if not sign:
                return left
            left = Call(sign, (left, self.power()), position)

    def power(self) -> Expr:
        left, position = self.unary(), self.now.start
        return Call("^", (left, self.power()), position) if self.sign("^") else left

    def unary(self) -> Expr:
        position = self.now.start
        if self.sign("-"):
            return Call("-", (Literal(0), self.unary()), position)
        return self.primary()

    def primary(self) -> Expr:
        token = self.now
        if token.kind == "number":
            self.at += 1
            return Literal(float(token.value) if "." in token.value else int(token.value))
        if token.kind == "text":
            self.at += 1
            return Literal(token.value[1:-1].replace("''", "'"))
        if token.kind == "name":
            self.at += 1
            return Column(token.value[1:-1], True, token.start)
        if self.sign("("):
            inner = self.either()
            self.expect(")")
            return inner
        if token.keyword == "NULL":
            self.at += 1
            return Literal(None)
        if self.keyword("CASE"):
            return self.case(token.start)
        if self.keyword("IF"):
            return self.choice(token.start)
        if token.kind == "word" and token.keyword in ("", "LAST"):
            self.at += 1
            if self.sign("("):
                return Call(token.value.upper(), self.arguments(), token.start)
            return Column(token.value, False, token.start)
        raise self.fail("a value is expected")

    def arguments(self) -> tuple[Expr, ...]:
        if self.sign(")"):
            return ()
        if self.sign("*"):
            self.expect(")")
            return (Star(),)
        args = [self.either()]
        while self.sign(","):
            args.append(self.either())
        self.expect(")")
        return tuple(args)

    def case(self, position: int) -> Expr:
        """ "Conditional logic in AQL queries": CASE [value] WHEN … THEN … ELSE … END."""
        subject = None if self.now.keyword == "WHEN" else self.sum()
        args: list[Expr] = []
        while self.keyword("WHEN"):
            test = self.either()
            args.append(test if subject is None else Call("=", (subject, test), position))
            if not self.keyword("THEN"):
                raise self.fail("THEN is expected")
            args.append(self.sum())
        args.append(self.sum() if self.keyword("ELSE") else Literal(None))
        if not self.keyword("END") or len(args) < 3:
            raise self.fail("CASE needs WHEN … THEN … and END")
        return Call("CASE", tuple(args), position)

    def choice(self, position: int) -> Expr:
        """IF condition THEN value ELSE value."""
        args = [self.either()]
        for word in ("THEN", "ELSE"):
            if not self.keyword(word):
                raise self.fail(f"{word} is expected in IF … THEN … ELSE …")
            args.append(self.sum())
        return Call("CASE", tuple(args), position)


def statement(query: str) -> Statement:
    """Read one statement; raises `AqlError` with the place."""
    return Parser(query).statement()
