"""Reads a .pmap file by docs/format-pmap.md alone, checks it, and writes the GGUF file that it stands for.

    python3 read_pmap.py model.pmap model.gguf
"""

import hashlib
import os
import struct
import sys

PAGE, CHUNK = 16384, 1 << 20

# ggml's number of a type: weights in a block, bytes of a block and its units (head, quads, tail), from the table.
TYPES = {}
for line in open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "format-pmap.md"), encoding="utf-8"):
    cells = line.strip("| \n").split(" | ")
    if len(cells) == 7 and cells[1].isdecimal():
        kind, weights, size, *units = map(int, cells[1:])
        TYPES[kind] = weights, size, units
BF16 = 30  # a unit holds two weights; a row may have an odd number of them

CRC_TABLE = []
for n in range(256):
    for _ in range(8):
        n = n >> 1 ^ (0x82F63B78 if n & 1 else 0)
    CRC_TABLE.append(n)


def crc32c(data):
    crc = 0xFFFFFFFF
    for b in data:
        crc = CRC_TABLE[(crc ^ b) & 255] ^ crc >> 8
    return crc ^ 0xFFFFFFFF


def need(ok, what):
    if not ok:
        sys.exit("not a sound .pmap file: " + what)


def gguf_tensors(head):
    """The alignment, and of each tensor its name, type, dimensions and offset behind the header."""
    at = 0

    def take(form):
        nonlocal at
        values = struct.unpack_from("<" + form, head, at)
        at += struct.calcsize("<" + form)
        return values[0]

    def string():
        nonlocal at
        n = take("Q")
        at += n
        return head[at - n:at].decode()

    def value(kind):
        if kind == 8:
            return string()
        if kind == 9:
            kind, n = take("I"), take("Q")
            return [value(kind) for _ in range(n)]
        return take("BbHhIif?"[kind] if kind < 8 else "Qqd"[kind - 10])

    need(head[:4] == b"GGUF", "the header of the GGUF file")
    at = 8
    tensors, keys = take("Q"), take("Q")
    metadata = {}
    for _ in range(keys):
        key = string()
        metadata[key] = value(take("I"))
    found = []
    for _ in range(tensors):
        name = string()
        dims = [take("Q") for _ in range(take("I"))]
        found.append((name, take("I"), dims, take("Q")))
    return metadata.get("general.alignment", 32), found


def rows_of(panels, kind, rows, cols):
    """The rows of a tensor that lies in panels."""
    weights, size, units = TYPES[kind]
    length = 2 * cols if kind == BF16 else cols // weights * size
    blocks = (cols + weights - 1) // weights
    out = bytearray()
    panel = 16 * blocks * size
    for first in range(0, rows, 16):
        p = panels[first // 16 * panel:][:panel]
        for r in range(min(16, rows - first)):
            row = bytearray()
            for b in range(blocks):
                o = 0
                for s in [2] * units[0] + [4] * units[1] + [2] * units[2]:
                    i = 16 * (b * size + o) + r * s
                    row += p[i:i + s]
                    o += s
            out += row[:length]
    return bytes(out)


def main(source, target):
    data = open(source, "rb").read()
    need(data[:8] == b"PMAP\r\n\x1a\n", "magic")
    version, n, length, crc, zero = struct.unpack_from("<IIQII", data, 8)
    need(version == 1, "version %d" % version)
    need(n <= 64 and length == len(data) and zero == 0, "header")
    need(crc32c(data[:24] + bytes(4) + data[28:32 + 40 * n]) == crc, "checksum of the header")
    sections = {}
    for i in range(n):
        name, flags, crc, offset, size = struct.unpack_from("<16sIIQQ", data, 32 + 40 * i)
        name = name.rstrip(b"\0").decode()
        need(offset % PAGE == 0 and offset + size <= length, name)
        need(not flags & 1 or name in ("gguf", "tensors", "weights", "sha256"), "unknown section " + name)
        content = data[offset:offset + size]
        need(flags & 2 or crc32c(content) == crc, "checksum of section " + name)
        sections[name] = offset, content
    end, tree = sections["sha256"]
    leaves = b"".join(hashlib.sha256(data[i:min(i + CHUNK, end)]).digest() for i in range(0, end, CHUNK))
    need(tree[32:] == leaves, "leaves")
    need(tree[:32] == hashlib.sha256(b"pmap tree 1\0" + struct.pack("<Q", end) + leaves).digest(), "root")

    head = sections["gguf"][1]
    alignment, tensors = gguf_tensors(head)
    table = sections["tensors"][1]
    image = bytearray(head)
    for i, (name, kind, dims, at) in enumerate(tensors):
        offset, size, layout, crc, zero = struct.unpack_from("<QQIIQ", table, 32 * i)
        content = data[offset:offset + size]
        need(offset % 64 == 0 and zero == 0 and crc32c(content) == crc, "tensor " + name)
        cols, rows = (dims or [1])[0], 1
        for d in dims[1:]:
            rows *= d
        image += bytes(len(head) + at - len(image))
        image += rows_of(content, kind, rows, cols) if layout else content
    image += bytes(-len(image) % alignment)
    with open(target, "wb") as f:
        f.write(image)


if __name__ == "__main__":
    main(*sys.argv[1:])
