#!/usr/bin/env python3
"""Writes what chat templates can know of characters, as Python has it: encodings of one byte, and other names of characters.

    python template_codecs.py NameAliases.txt

NameAliases.txt is Unicode's (https://www.unicode.org/Public/14.0.0/ucd/NameAliases.txt). Writes codepages.txt and aliases.txt in
internal/jinja/codecs, and aliases.txt in internal/jinja/names.
"""
import codecs
import encodings
import encodings.aliases
import importlib
import json
import os
import pkgutil
import re
import sys
import unicodedata

JINJA = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "internal", "jinja")
MISSING = "\ufffe"


def table(name):
    """The characters of 256 bytes."""
    return "".join(bytes([b]).decode(name, "replace").replace("\ufffd", MISSING) for b in range(256))


def code_pages():
    names = sorted(m.name for m in pkgutil.iter_modules(encodings.__path__))
    for name in names:
        if name in ("mbcs", "oem") or not hasattr(importlib.import_module("encodings." + name), "decoding_table"):
            continue
        chars = table(name)
        for c in set(chars) - {MISSING}:
            assert c.encode(name)[0] == chars.rindex(c), (name, c)  # of several codes, it is the last
        ascii_too = chars[:128] == bytes(range(128)).decode("ascii")
        yield name, chars[128:] if ascii_too else chars


def main():
    with open(os.path.join(JINJA, "codecs", "codepages.txt"), "w", encoding="utf-8") as f:
        for name, text in code_pages():
            f.write(f"{name} {json.dumps(text, ensure_ascii=False)}\n")
    with open(os.path.join(JINJA, "codecs", "aliases.txt"), "w", encoding="ascii") as f:
        for alias, name in sorted(encodings.aliases.aliases.items()):
            try:
                if not codecs.lookup(name)._is_text_encoding:
                    continue
            except LookupError:
                continue
            f.write(f"{alias} {name}\n")
    with open(sys.argv[1], encoding="utf-8") as src, open(os.path.join(JINJA, "names", "aliases.txt"), "w", encoding="ascii") as f:
        for line in src:
            m = re.match(r"([0-9A-F]{4,6});([^;]+);", line)
            if not m or re.match(r"VS\d", m[2]):
                continue
            try:
                assert unicodedata.lookup(m[2]) == chr(int(m[1], 16)), line
            except KeyError:
                continue
            f.write(f"{m[1]} {m[2]}\n")


if __name__ == "__main__":
    main()
