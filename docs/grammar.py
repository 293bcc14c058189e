#!/usr/bin/env python3
"""Writes docs/grammar.md, the summary of the grammar, from grammar/att.y. With --check: exit status 1 where it is stale."""
import os
import re
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def without_actions(text):
    """The rules alone: braces of actions are balanced, braces of the language stand in quotes."""
    out, depth, i = [], 0, 0
    while i < len(text):
        if text[i] == "'" and depth == 0:
            end = text.index("'", i + 1) + 1
            out.append(text[i:end])
            i = end
            continue
        if text[i] == "{":
            depth += 1
        elif text[i] == "}":
            depth -= 1
        elif depth == 0:
            out.append(text[i])
        i += 1
    return "".join(out)


def summary():
    text = open(os.path.join(ROOT, "grammar", "att.y"), encoding="utf-8").read()
    declared, rules = text.split("%%")[0], text.split("%%")[1]
    shown = {"NAME": "name", "NUMBER": "number", "STRING": "string", "LABEL": "name", "END": ""}
    for token, alias in re.findall(r'\b([A-Z_]+) (?:0 )?"([^"]+)"', declared):
        if token not in shown:
            shown[token] = f"`{alias}`"
    rules = re.sub(r"/\*.*?\*/", "", without_actions(rules), flags=re.S)
    lines = []
    for name, body in re.findall(r"(?m)^([a-z_]+):(.*?)(?=^[a-z_]+:|\Z)", rules, flags=re.S):
        if name == "misplaced":  # read in order to say that it is wrong
            continue
        choices, empty = [], False
        for choice in re.split(r"\|(?=(?:[^']*'[^']*')*[^']*$)", body):
            words = [shown.get(w, f"`{w[1:-1]}`" if w[0] == "'" else w) for w in choice.split()]
            if words == ["error"] or "misplaced" in words:
                continue
            if not words or words == ["%empty"]:
                empty = True
            else:
                choices.append(" ".join(words))
        lines.append(f"**{name}**" + (" (may be absent)" if empty else ""))
        lines += [f"- {c}" for c in choices] + [""]
    return lines


def main():
    head = ["# The grammar", "", "Made from `grammar/att.y` by `docs/grammar.py`; `docs/language.md` explains by example. A `name` is a letter or",
            "`_`, then letters, digits and `_`; `#` begins a comment that runs to the end of the line.", ""]
    text = "\n".join(head + summary()).rstrip() + "\n"
    path = os.path.join(ROOT, "docs", "grammar.md")
    if "--check" in sys.argv:
        stale = not os.path.exists(path) or open(path, encoding="utf-8").read() != text
        print("0 passed, 1 failed, 0 skipped: docs/grammar.md is stale; run docs/grammar.py" if stale else "1 passed, 0 failed, 0 skipped")
        return int(stale)
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
    return 0


sys.exit(main())
