#!/usr/bin/env python3
"""Write v2.seal and v2.json, what a reader finds in it, from docs/format-seal.md.

Python 3.11, standard library alone: the zstd frames hold raw blocks.
"""
import json, math, os, struct

here = os.path.dirname(os.path.abspath(__file__))
TABLE = []
for n in range(256):
    for _ in range(8):
        n = n >> 1 ^ (0x82F63B78 if n & 1 else 0)
    TABLE.append(n)


def crc32c(data):
    c = 0xFFFFFFFF
    for b in data:
        c = TABLE[(c ^ b) & 255] ^ c >> 8
    return c ^ 0xFFFFFFFF


def section(name, payload):
    s = name + struct.pack("<I", len(payload)) + payload
    return s + struct.pack("<I", crc32c(s))


def zstd_raw(data):
    # Magic; single segment with a content size of 4 bytes; one raw block, the last.
    assert len(data) < 1 << 17
    return bytes.fromhex("28b52ffd") + b"\xa0" + struct.pack("<I", len(data)) + struct.pack("<I", len(data) << 3 | 1)[:3] + data


VOCAB, TOP_K = 12, 6
texts = [[(3 * i) % VOCAB for i in range(6)], [(5 * i + 1) % VOCAB for i in range(5)]]
header = {
    "model": "golden – v2", "weights_sha256": "ab" * 32, 
    "tokenizer": {"model": "gpt2", "pre": "smollm", "tokens_sha256": "cd" * 32, "merges_sha256": "ef" * 32, "bos": -1, "eos": 2},
    "vocab_size": VOCAB, "top_k": TOP_K, "min_p": 0.06,
    "conventions": {"name": "strided", "context": 4, "stride": 2, "first": 1, "bos": -1},
    "texts": [{"name": "a", "bytes": 20, "sha256": "12" * 32, "tokens": 6}, {"name": "b", "bytes": 9, "sha256": "34" * 32, "tokens": 5}],
    "positions": 5, "full": 2,
}


def split_mix(i):
    mask = (1 << 64) - 1
    z = i * 0x9E3779B97F4A7C15 & mask
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9 & mask
    z = (z ^ z >> 27) * 0x94D049BB133111EB & mask
    return z ^ z >> 31


# text, start of the window, index, full
places = [(0, 0, 1, 0), (0, 0, 3, 1), (0, 2, 5, 0), (1, 0, 2, 1), (1, 2, 4, 0)]
positions = []
for n, (text, start, index, full) in enumerate(places):
    logits = [((7 * i + 5 * n) % 11) * (0.1 + 0.4 * n) for i in range(VOCAB)]
    norm = math.log(sum(map(math.exp, logits)))
    p = [math.exp(x - norm) for x in logits]
    order = sorted(range(VOCAB), key=lambda i: (-logits[i], i))
    top = [i for rank, i in enumerate(order[:TOP_K]) if rank < 5 or p[i] >= 0.06]
    rest = [i for i in range(VOCAB) if i not in top]
    tail = sum(p[i] for i in rest)
    left = (split_mix(2**32 + n) >> 11) / 2**53 * tail
    for drawn in rest:
        left -= p[drawn]
        if left < 0:
            break
    positions.append({
        "text": text, "index": index, "context": index - start, "token": texts[text][index],
        "nll": struct.unpack("<f", struct.pack("<f", norm - logits[texts[text][index]]))[0],
        "ids": top, "codes": [min(65535, round(p[i] * 65536)) for i in top],
        "tail": min(65535, round(-math.log(tail) * 256)), "drawn": [drawn, min(65535, round(-math.log(p[drawn]) * 256))],
        "full": [min(255, round((norm - x) * 8)) for x in logits] if full else None,
    })


def block(first, last):
    part, where = positions[first:last], places[first:last]
    out = struct.pack("<I", len(part))
    out += b"".join(struct.pack("<H", w[0]) for w in where)
    out += b"".join(struct.pack("<I", w[1]) for w in where)
    for i, w in enumerate(where):
        before = where[i - 1][2] if i and where[i - 1][0] == w[0] else 0
        out += struct.pack("<I", w[2] - before)
    out += b"".join(struct.pack("<H", len(q["ids"])) for q in part)
    out += bytes(w[3] for w in where)
    out += b"".join(struct.pack("<f", q["nll"]) for q in part)
    out += b"".join(struct.pack("<H", q["tail"]) for q in part)
    for k in range(2):
        values = [q["drawn"][k] for q in part]
        out += bytes(v & 255 for v in values) + bytes(v >> 8 for v in values)
    ids = [i for q in part for i in q["ids"]]
    codes = [a - b for q in part for a, b in zip([65535] + q["codes"], q["codes"])]
    for values in [ids, codes]:
        out += bytes(v & 255 for v in values) + bytes(v >> 8 for v in values)
    out += b"".join(bytes(q["full"]) for q in part if q["full"])
    return section(b"POSN", zstd_raw(out[:50]) + zstd_raw(out[50:]))


data = b"\x89seal\r\n\x1a" + struct.pack("<I", 2)
data += section(b"HEAD", json.dumps(header, ensure_ascii=False).encode())
data += section(b"TOKS", b"".join(struct.pack("<H", t) for text in texts for t in text))
data += block(0, 3) + block(3, 5) + section(b"DONE", b"")
with open(os.path.join(here, "v2.seal"), "wb") as f:
    f.write(data)
with open(os.path.join(here, "v2.json"), "w") as f:
    json.dump(positions, f, indent=1)
    f.write("\n")
