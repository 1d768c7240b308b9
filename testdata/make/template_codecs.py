#!/usr/bin/env python3
"""Writes what chat templates can know of characters, as Python has it: encodings of one byte, and other names of characters.

    python template_codecs.py NameAliases.txt

NameAliases.txt is Unicode's (https://www.unicode.org/Public/14.0.0/ucd/NameAliases.txt). Writes codepages.txt, tables.txt and
aliases.txt in internal/jinja/codecs, and aliases.txt in internal/jinja/names; and testdata/golden/codecs.json, hashes of what all characters and codes become.
"""
import codecs
import encodings
import encodings.aliases
import hashlib
import importlib
import json
import os
import pkgutil
import re
import subprocess
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


# Of each table, as internal/jinja/codecs/tables.go has it: what it is made of, how codes are converted, and how Python decodes a code.
EUC = lambda row, at, high=b"": high + bytes([row + 0xA1, at + 0xA1])


def shift_jis(code):
    """A code of EUC as one of Shift JIS, or none."""
    if len(code) == 1:
        return code
    if code[0] == 0x8E:
        return code[1:]
    row, at = code[-2] - 0xA1, code[-1] - 0xA1
    if len(code) == 3:
        if row in (0, 2, 3, 4):
            row += 0x5E
        elif row == 7 or 0x0B <= row <= 0x0E:
            row += 0x58
        elif row >= 0x4D:
            row += 0x1A
        else:
            return None
    at += row % 2 * 0x5E
    return bytes([row // 2 + (0x81 if row < 0x3E else 0xC1), at + (0x40 if at < 0x3F else 0x41)])


def johab(code):
    if len(code) == 1:
        return code
    row, at = code[0] - 0xA1, code[1] - 0xA1
    if not (row < 0x0C or 0x29 <= row < 0x5D):
        return None
    row += 0x1B2 if row < 0x0C else 0x197
    at += row % 2 * 0x5E
    return bytes([row // 2, at + (0x31 if at < 0x4E else 0x43)])


SAME = lambda code: code
DOUBLES = lambda code: code if len(code) == 1 or code[0] >= 0xA1 and code[1] >= 0xA1 else None
SEVEN = lambda code: bytes(b & 0x7F for b in code) if len(code) == 2 and code[0] >= 0xA1 else None
SECOND = lambda code: bytes(b & 0x7F for b in code[1:]) if len(code) == 3 else None
TABLES = {
    "cp932": ("ShiftJIS", SAME), "euc_jp": ("EUCJP", SAME), "cp949": ("EUCKR", SAME), "gbk": ("GBK", SAME), "gb18030": ("GB18030", SAME),
    "big5": ("Big5", SAME), "big5hkscs": ("Big5", SAME), "cp950": ("big5", SAME), "gb2312": ("gbk", DOUBLES), "euc_kr": ("cp949", DOUBLES),
    "johab": ("euc_kr", johab), "euc_jis_2004": ("euc_jp", SAME), "euc_jisx0213": ("euc_jis_2004", SAME), "shift_jis": ("euc_jp", shift_jis),
    "shift_jis_2004": ("euc_jis_2004", shift_jis), "shift_jisx0213": ("euc_jisx0213", shift_jis), "jisx0208": ("euc_jp", SEVEN),
    "jisx0212": ("euc_jp", SECOND), "jisx0213_2000_1": ("euc_jisx0213", SEVEN), "jisx0213_2000_2": ("euc_jisx0213", SECOND),
    "jisx0213_2004_1": ("euc_jis_2004", SEVEN), "jisx0213_2004_2": ("euc_jis_2004", SECOND), "ksx1001": ("euc_kr", SEVEN),
    "gb2312_7bit": ("gb2312", SEVEN),
}
SETS = {"jisx0208": ("iso2022_jp", b"\x1b$B"), "jisx0212": ("iso2022_jp_1", b"\x1b$(D"), "jisx0213_2000_1": ("iso2022_jp_3", b"\x1b$(O"),
        "jisx0213_2000_2": ("iso2022_jp_3", b"\x1b$(P"), "jisx0213_2004_1": ("iso2022_jp_2004", b"\x1b$(Q"),
        "jisx0213_2004_2": ("iso2022_jp_2004", b"\x1b$(P"), "ksx1001": ("iso2022_jp_2", b"\x1b$(C"), "gb2312_7bit": ("iso2022_jp_2", b"\x1b$A")}


def decoded(name, code):
    name, before = SETS.get(name, (name, b""))
    try:
        return (before + code).decode(name)
    except UnicodeDecodeError:
        return None


def codes(name):
    """Python's codes of a table, with what they stand for."""
    t = {}
    if name not in SETS:
        t = {bytes([a]): decoded(name, bytes([a])) for a in range(256)}
    t = {k: v for k, v in t.items() if v is not None}
    leads = range(0x21, 0x7F) if name in SETS else [a for a in range(0x80, 256) if bytes([a]) not in t]
    for code in [bytes([a, b]) for a in leads for b in range(256)] + [EUC(a, b, b"\x8f") for a in range(94) for b in range(94)]:
        text = decoded(name, code) if len(code) == 2 or name.startswith("euc_j") else None
        if text is not None:
            t[code] = text
    return t


def runs(keys, value):
    """Joins codes that follow each other, with the texts for them."""
    run = []
    for k in sorted(keys, key=lambda k: (len(k), k)):
        n = int.from_bytes(k, "big")
        if run and n != run[0] + len(run[1]):
            yield run
            run = []
        run = run or [n, []]
        run[1].append(value(k))
    if run:
        yield run


def changes(name, base, have, written):
    """The lines for what differs between a table and what it is made of, whose characters are written as codes; these become the table's."""
    if name == "johab":
        base = base | {k: v for k, v in have.items() if 0xAC00 <= ord(v) <= 0xD7A3}
    gone, last = sorted(k for k in base if k not in have), None
    for k in gone:  # codes of nothing between them are left out with them
        n = int.from_bytes(k, "big")
        if last and not any(last[1] < int.from_bytes(h, "big") < n and len(h) == len(k) for h in have):
            last[1] = n
        else:
            if last:
                yield f"{last[0]:x} -{last[1]:x}"
            last = [n, n]
    if last:
        yield f"{last[0]:x} -{last[1]:x}"
    new = {k: v for k, v in have.items() if base.get(k) != v}
    for n, texts in runs((k for k in new if len(new[k]) == 1), new.get):
        text = "".join(texts)
        assert text[0] not in "-+=" and ".." not in text, text
        if len(text) > 4 and all(ord(b) == ord(a) + 1 for a, b in zip(text, text[1:])):
            text = f"{text[0]}..{text[-1]}"
        yield f"{n:x} {text}"
    for k in sorted(k for k in new if len(new[k]) == 2):
        yield f"{k.hex()} +{new[k]}"
    order = lambda k: (len(k), k)
    ours = {}  # the codes that characters have without further lines, see invert in tables.go
    for k in sorted(have, key=order):
        c = have[k]
        if c in written and have.get(written[c]) == c:
            ours[c] = written[c]
        ours.setdefault(c, k)
    for k in sorted(new, key=order):
        if len(k) <= len(ours[new[k]]):
            ours[new[k]] = k
    for c in map(chr, range(0x30000)):
        codec, before = SETS.get(name, (name, b""))
        try:
            code = c.encode(codec)
            if name in SETS:
                code = code[len(before):-3] if code.startswith(before) else ours.get(c, b"")
        except UnicodeEncodeError:
            code = b""
        if ours.get(c, b"") != code and len(code) < 4:
            ours.pop(c, None)
            if code:
                ours[c] = code
            yield f"{code.hex() or 0} ={c}"
    written.clear()
    written.update(ours)


def tables():
    """The lines of tables.txt."""
    made, written = {}, {}
    for line in subprocess.run(["go", "run", "."], cwd=os.path.join(os.path.dirname(os.path.abspath(__file__)), "xtext"),
                               capture_output=True, check=True, text=True).stdout.splitlines():
        name, code, char = line.split()
        code = bytes.fromhex(code)
        made.setdefault(name, {})[code] = chr(int(char, 16))
    for name, (parent, convert) in TABLES.items():
        base = {convert(k): v for k, v in made[parent].items()}
        base.pop(None, None)
        made[name] = codes(name)
        written[name] = {c: convert(k) for c, k in written.get(parent, {}).items() if convert(k)}
        for line in changes(name, base, made[name], written[name]):
            yield f"{name} {line}\n"


def hashes(name):
    """Hashes of all characters of three planes as codes, and of all codes of two bytes as characters; nothing where there is none."""
    written, read = hashlib.sha256(), hashlib.sha256()
    for c in [*range(0x10000), *range(0x1F000, 0x20000), *range(0x20000, 0x2A700)]:
        try:
            written.update(chr(c).encode(name).hex().encode())
        except UnicodeError:
            pass
        written.update(b"\n")
    for n in range(0x10000):
        for handler in ("strict", "replace"):
            try:
                read.update(bytes([n >> 8, n & 255]).decode(name, handler).encode("utf-8", "surrogatepass"))
            except UnicodeError:
                pass
            read.update(b"\n")
    return dict(name=name, written=written.hexdigest(), read=read.hexdigest())


def main():
    with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "golden", "codecs.json"), "w", encoding="ascii") as f:
        names = sorted(n for n in TABLES if n not in SETS) + "hz idna punycode utf_7".split() + sorted(
            m.name for m in pkgutil.iter_modules(encodings.__path__) if m.name.startswith("iso2022"))
        f.write("[\n" + ",\n".join(json.dumps(hashes(n)) for n in names) + "\n]\n")
    with open(os.path.join(JINJA, "codecs", "codepages.txt"), "w", encoding="utf-8") as f:
        for name, text in code_pages():
            f.write(f"{name} {json.dumps(text, ensure_ascii=False)}\n")
    with open(os.path.join(JINJA, "codecs", "tables.txt"), "w", encoding="utf-8", newline="") as f:
        f.writelines(tables())
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
