"""Every place in a C file where one token can be broken, or one statement dropped.

The list is the same for the same text.  What is only told to people (traces, reasons), what only frees
memory, and assertions are left alone: breaking them breaks no rule."""

import collections
import hashlib
import re
from dataclasses import dataclass

TOKEN = re.compile(r"""
    (?P<comment>/\*.*?\*/|//[^\n]*)
  | (?P<directive>^[ \t]*\#(?:[^\n\\]|\\.|\\\n)*)
  | (?P<space>\s+)
  | (?P<text>"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*')
  | (?P<name>[A-Za-z_]\w*)
  | (?P<number>\d\w*)
  | (?P<sign>->|\+\+|--|<<=|>>=|<<|>>|<=|>=|==|!=|&&|\|\||[-+*/%&|^]=|\.\.\.|.)""", re.X | re.M | re.S)

BEFORE_STATEMENT = {"if", "for", "while", "switch", "EACH_LEG", "EACH_COPYING", "SF_LIST_EACH"}
NO_CALL = re.compile(r"free|.*_destroy|.*_free_memory|sf_maps_free\w*|pthread_\w+|va_\w+|say\w*|sizeof")
KEYWORDS = BEFORE_STATEMENT | {"return", "else", "do", "case", "default", "break", "continue", "goto"}
ONLY_TOLD = {"SF_ASSERT", "snprintf", "vsnprintf", "sf_vol_trace", "say", "sf_op_reason"}
OTHER = {
    "&&": [("and-or", "||")],
    "||": [("and-or", "&&")],
    "<": [("boundary", "<="), ("negate", ">=")],
    "<=": [("boundary", "<"), ("negate", ">")],
    ">": [("boundary", ">="), ("negate", "<=")],
    ">=": [("boundary", ">"), ("negate", "<")],
    "==": [("negate", "!=")],
    "!=": [("negate", "==")],
    "++": [("step", "--")],
    "--": [("step", "++")],
    "true": [("bool", "false")],
    "false": [("bool", "true")],
}
ASSIGNS = {"=", "|=", "&=", "+=", "-=", "*=", "/="}


@dataclass(frozen=True)
class Mutant:
    file: str
    function: str
    line: int
    column: int
    kind: str
    nth: int  # of its kind in lines like this of the function
    nth_of_function: int  # of its kind in the function
    text: str  # the whole line, without the spaces around it
    start: int
    end: int
    new: str

    @property
    def id(self):
        return f"{self.file}:{self.line}:{self.column}:{self.kind}"

    @property
    def key(self):
        """What stays the same when lines above are added or taken away."""
        kind = self.kind if self.nth == 1 else f"{self.kind}#{self.nth}"
        return f"{self.file} {self.function} {kind}\n  {self.text}"

    def place(self, seed):
        """In a sample: it changes neither when names do nor with what stands in other functions."""
        function = self.function.removeprefix("sf_")
        what = f"{seed} {self.file} {function} {self.kind} {self.nth_of_function}"
        return hashlib.sha256(what.encode()).digest()

    def apply(self, source):
        return source[:self.start] + self.new + source[self.end:]


@dataclass
class Token:
    what: str
    text: str
    start: int
    pair: int = -1  # of a bracket: the index of the other one
    body: str = ""  # the function whose body this is in
    told: bool = False  # in the arguments of what is only told


def tokens_of(source):
    tokens, opened = [], []
    for match in TOKEN.finditer(source):
        if match.lastgroup in ("comment", "directive", "space"):
            continue
        token = Token(match.lastgroup, match[0], match.start())
        index = len(tokens)
        tokens.append(token)
        if token.text in ("(", "[", "{"):
            opened.append(index)
        elif token.text in (")", "]", "}") and opened:
            token.pair = opened.pop()
            tokens[token.pair].pair = index
    return tokens


def mark_bodies(tokens):
    """A brace outside all others that follows a parenthesis opens a function."""
    i = 0
    while i < len(tokens):
        if tokens[i].text == "{":
            end = tokens[i].pair
            if i > 0 and tokens[i - 1].text == ")":
                name = tokens[tokens[i - 1].pair - 1].text
                for token in tokens[i:end + 1]:
                    token.body = name
            i = end
        i += 1
    for i, token in enumerate(tokens[:-1]):
        if token.text in ONLY_TOLD and tokens[i + 1].text == "(":
            for told in tokens[i:tokens[i + 1].pair + 1]:
                told.told = True


def begins_statement(tokens, i):
    before = tokens[i - 1]
    if before.text in (";", "{", "}", "else"):
        return True
    if before.text == ":":
        return tokens[i - 2].text == "default" or tokens[i - 3].text == "case"
    return before.text == ")" and tokens[before.pair - 1].text in BEFORE_STATEMENT


def in_for(tokens, i):
    """Between the parentheses of a `for`: a semicolon there ends no statement."""
    depth = 0
    for k in range(i - 1, 0, -1):
        if tokens[k].text == ")":
            depth += 1
        elif tokens[k].text == "(":
            if depth == 0:
                return True
            depth -= 1
        elif tokens[k].text in ("{", "}") and depth == 0:
            return False
    return False


def statement(tokens, i):
    """(kind, index of its semicolon) of a call or an assignment that begins here, else None."""
    if tokens[i].text in KEYWORDS or tokens[i].what != "name" and tokens[i].text != "*":
        return None
    if in_for(tokens, i):
        return None
    k, called = i, None
    while k < len(tokens) and tokens[k].text not in (";", "{", "}"):
        if tokens[k].text == "(":
            called = tokens[k - 1].text
            k = tokens[k].pair
            if tokens[k + 1].text == ";":
                wanted = not NO_CALL.fullmatch(called) and called not in ONLY_TOLD
                return ("call", k + 1) if wanted else None
        elif tokens[k].text == "[":
            k = tokens[k].pair
        elif tokens[k].text in ASSIGNS:
            while tokens[k].text != ";":
                k = tokens[k].pair if tokens[k].text in ("(", "[", "{") else k
                k += 1
            return ("assign", k)
        elif k > i and tokens[k].what == "name" and tokens[k - 1].what == "name":
            return None  # a declaration
        elif k == i + 1 and tokens[k].text == "*":
            return None
        k += 1
    return None


def changes(tokens, i):
    """(kind, first token, last token, new text) of all that can be done here."""
    token = tokens[i]
    for kind, new in OTHER.get(token.text, []):
        if kind == "step" and in_for(tokens, i):
            continue  # it would not end
        yield kind, i, i, new
    if token.text == "!":
        yield "not", i, i, ""
    if token.what == "number" and re.fullmatch(r"\d+", token.text) and tokens[i - 1].text != "[" \
            and tokens[i - 1].text != "case":
        yield "constant", i, i, str(int(token.text) + 1)
        if tokens[i - 1].text in ("+", "-") and tokens[i - 2].what in ("name", "number"):
            yield "plus-minus", i - 1, i - 1, "-" if tokens[i - 1].text == "+" else "+"
    if begins_statement(tokens, i):
        found = statement(tokens, i)
        if found:
            yield found[0], i, found[1], ";"


def mutants_of(file, source):
    tokens = tokens_of(source)
    mark_bodies(tokens)
    seen = collections.Counter()
    for i, token in enumerate(tokens):
        if not token.body or token.told:
            continue
        for kind, first, last, new in changes(tokens, i):
            start = tokens[first].start
            end = tokens[last].start + len(tokens[last].text)
            line = source.count("\n", 0, start) + 1
            begin = source.rfind("\n", 0, start) + 1
            text = source[begin:source.find("\n", begin)].strip()
            seen[token.body, kind] += 1
            seen[token.body, kind, text] += 1
            yield Mutant(file, token.body, line, start - begin + 1, kind, seen[token.body, kind, text],
                         seen[token.body, kind], text, start, end, new)
