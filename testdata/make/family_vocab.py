#!/usr/bin/env python3
"""Vocabularies of tiny-phi2, tiny-phi3small and tiny-phimoe, in the files that the published models have.

    python family_vocab.py         # writes ../tiny-phi2, ../tiny-phi3small, ../tiny-phimoe: all but config and weights

Phi-2 and Phi-3-small have byte-level BPE: the merges are learned here, on the text of grammar.py. PhiMoE has Phi-3's
vocabulary, thus the pieces of tiny-phi3.
"""
import base64
import functools
import json
import os
import random
import shutil
from collections import Counter

import tiktoken
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, processors

import grammar

HERE = os.path.dirname(os.path.abspath(__file__))
SEED = 1
EOT = "<|endoftext|>"
CL100K = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"

# Phi-2: 256 bytes, the merges, <|endoftext|>, runs of white space (longest first), rows without a token. The published
# model has runs of 31 to 2 spaces and 9 to 2 tabs.
PHI2_MERGES, PHI2_VOCAB = 93, 368
RUNS = [" " * n for n in range(8, 1, -1)] + ["\t" * n for n in range(4, 1, -1)]

# Phi-3-small: R ranks, then 96 special ids; published ids are R = 100256 higher.
SMALL_RANKS = 640
SMALL_SPECIAL = {1: EOT, 2: "<|fim_prefix|>", 3: "<|fim_middle|>", 4: "<|fim_suffix|>", 5: "<|system|>", 6: "<|user|>", 7: "<|assistant|>",
                 8: "<|dummy_id_0|>", 9: "<|dummy_id_1|>", 10: "<|end|>", 0: "<|dummy_id_2|>", **{k: f"<|dummy_id_{k - 8}|>" for k in range(11, 20)},
                 20: "<|endofprompt|>", **{k: f"<|dummy_id_{k - 9}|>" for k in range(21, 96)}}
SMALL_TEMPLATE = ("{{ bos_token }}{% for message in messages %}{{'<|' + message['role'] + '|>' + '\n' + message['content'] + '<|end|>\n' }}{% endfor %}"
                  "{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% else %}{{ eos_token }}{% endif %}")
MOE_TEMPLATE = SMALL_TEMPLATE.removeprefix("{{ bos_token }}")


def folder(name):
    return os.path.join(HERE, "..", name)


def dump(value, *path):
    with open(os.path.join(*path), "w", encoding="utf-8", newline="") as f:
        json.dump(value, f, ensure_ascii=False, indent=2)
        f.write("\n")


def alphabet():
    """GPT-2's character for each byte, in the order of its vocabulary: printable bytes first."""
    printable = [b for b in range(256) if 33 <= b <= 126 or 161 <= b <= 172 or 174 <= b]
    rest = [b for b in range(256) if b not in printable]
    return {**{b: chr(b) for b in printable}, **{b: chr(256 + i) for i, b in enumerate(rest)}}


def training_lines():
    r = random.Random(SEED)
    lines = [grammar.text(SEED, 1_000_000)] + [m["content"] for _ in range(3000) for m in grammar.chat(r)]
    return [s.encode("ascii", "ignore").decode() for s in lines]  # other letters stay bytes, as in tiny-phi3


def learn(splitter, count):
    """The first merges of BPE, as pairs of bytes: the most frequent pair of neighbours in a word, the first of equals in byte order."""
    words = Counter()
    for line in training_lines():
        words.update(w for w, _ in splitter.pre_tokenize_str(line))
    byte = {c: b for b, c in alphabet().items()}
    words = {tuple(bytes([byte[c]]) for c in w): n for w, n in sorted(words.items())}
    merges = []
    while len(merges) < count:
        pairs = Counter()
        for w, n in words.items():
            for pair in zip(w, w[1:]):
                pairs[pair] += n
        best = min(pairs, key=lambda p: (-pairs[p], p))
        merges.append(best)
        joined = {}
        for w, n in words.items():
            out, i = [], 0
            while i < len(w):
                step = 2 if w[i:i + 2] == best else 1
                out.append(b"".join(w[i:i + step]))
                i += step
            joined[tuple(out)] = joined.get(tuple(out), 0) + n
        words = joined
    return merges


def vocab_phi2():
    out = folder("tiny-phi2")
    os.makedirs(out, exist_ok=True)
    merges = learn(pre_tokenizers.ByteLevel(add_prefix_space=False), PHI2_MERGES)
    char = alphabet()
    text = lambda token: "".join(char[b] for b in token)
    tokens = list(char.values()) + [text(a + b) for a, b in merges] + [EOT]
    vocab = {t: i for i, t in enumerate(tokens)}
    assert len(vocab) == 257 + PHI2_MERGES and len(vocab) + len(RUNS) < PHI2_VOCAB
    dump(vocab, out, "vocab.json")
    with open(os.path.join(out, "merges.txt"), "w", encoding="utf-8", newline="") as f:
        f.write("#version: 0.2\n" + "".join(f"{text(a)} {text(b)}\n" for a, b in merges))
    dump({run: len(vocab) + i for i, run in enumerate(RUNS)}, out, "added_tokens.json")
    roles = dict(bos_token=EOT, eos_token=EOT, unk_token=EOT)
    dump(roles, out, "special_tokens_map.json")
    flags = lambda s, special: dict(content=s, lstrip=False, normalized=not special, rstrip=False, single_word=False, special=special)
    decoder = {str(vocab[EOT] + i): flags(s, i == 0) for i, s in enumerate([EOT] + RUNS)}
    dump(dict(add_prefix_space=False, added_tokens_decoder=decoder, additional_special_tokens=[], **roles, clean_up_tokenization_spaces=True,
              model_max_length=512, tokenizer_class="CodeGenTokenizer"), out, "tokenizer_config.json")
    t = Tokenizer(models.BPE(vocab=vocab, merges=[(text(a), text(b)) for a, b in merges], continuing_subword_prefix="", end_of_word_suffix="", fuse_unk=False))
    t.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    t.decoder, t.post_processor = decoders.ByteLevel(), processors.ByteLevel(trim_offsets=True)
    t.add_special_tokens([AddedToken(EOT, normalized=False, special=True)])
    t.add_tokens([AddedToken(run, normalized=True) for run in RUNS])
    dump(json.loads(t.to_str()), out, "tokenizer.json")


def vocab_phi3small():
    out = folder("tiny-phi3small")
    os.makedirs(out, exist_ok=True)
    split = pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(CL100K), "isolated"), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    merges = learn(split, SMALL_RANKS - 256)
    tokens = [bytes([b]) for b in alphabet()] + [a + b for a, b in merges]
    assert len(set(tokens)) == SMALL_RANKS
    with open(os.path.join(out, "cl100k_base.tiktoken"), "w", newline="") as f:
        f.write("".join(f"{base64.b64encode(t).decode()} {i}\n" for i, t in enumerate(tokens)))
    dump(dict(bos_token=EOT, eos_token=EOT), out, "special_tokens_map.json")
    dump(dict(added_tokens_decoder={}, auto_map=dict(AutoTokenizer=["tokenization_phi3_small.Phi3SmallTokenizer", None]), bos_token=EOT,
              chat_template=SMALL_TEMPLATE, clean_up_tokenization_spaces=True, eos_token=EOT, model_max_length=512,
              tokenizer_class="Phi3SmallTokenizer"), out, "tokenizer_config.json")


def vocab_phimoe():
    out, source = folder("tiny-phimoe"), folder("tiny-phi3")
    os.makedirs(out, exist_ok=True)
    for name in ("tokenizer.model", "tokenizer.json", "special_tokens_map.json", "added_tokens.json"):
        shutil.copyfile(os.path.join(source, name), os.path.join(out, name))
    with open(os.path.join(source, "tokenizer_config.json"), encoding="utf-8") as f:
        config = json.load(f)
    dump(config | dict(chat_template=MOE_TEMPLATE), out, "tokenizer_config.json")


class HF:
    """A tokenizer.json, with the calls of the class below."""

    def __init__(self, name):
        self.t = Tokenizer.from_file(os.path.join(folder(name), "tokenizer.json"))

    def encode(self, text):
        return self.t.encode(text, add_special_tokens=False).ids

    def plain(self, text):
        """Special tokens are taken for text."""
        self.t.encode_special_tokens = True
        ids = self.encode(text)
        self.t.encode_special_tokens = False
        return ids

    def decode(self, ids):
        """Text without special tokens."""
        return self.t.decode(ids, skip_special_tokens=True)


class Tiktoken:
    def __init__(self, name):
        with open(os.path.join(folder(name), "cl100k_base.tiktoken")) as f:
            ranks = {base64.b64decode(token): int(rank) for token, rank in (line.split() for line in f)}
        self.first = len(ranks)
        self.t = tiktoken.Encoding(name, pat_str=CL100K, mergeable_ranks=ranks, special_tokens={s: self.first + k for k, s in SMALL_SPECIAL.items()})

    def encode(self, text):
        return self.t.encode(text, allowed_special="all")

    def plain(self, text):
        return self.t.encode(text, disallowed_special=())

    def decode(self, ids):
        return self.t.decode([i for i in ids if i < self.first])


@functools.cache
def tokenizer(name):
    return Tiktoken(name) if name == "tiny-phi3small" else HF(name)


if __name__ == "__main__":
    vocab_phi2()
    vocab_phi3small()
    vocab_phimoe()
