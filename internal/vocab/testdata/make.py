#!/usr/bin/env python3
"""Small tokenizers in the layouts that checkpoints have, each with want.json: the keys that llama.cpp's converter writes.

    python make.py LLAMA_CPP_CHECKOUT

Needs Python 3.11 with gguf, sentencepiece, tokenizers, torch, transformers as in testdata/make/requirements.txt of this project.
"""
import json
import os
import random
import shutil
import sys

ROOT = sys.argv[1]
sys.path[0:0] = [ROOT, os.path.join(ROOT, "gguf-py")]

import gguf
import sentencepiece as spm
from conversion import get_model_class
from pathlib import Path
from sentencepiece import sentencepiece_model_pb2 as pb
from transformers import LlamaTokenizer
from transformers.tokenization_utils_base import generate_merges

HERE = os.path.dirname(os.path.abspath(__file__))


def write(case, name, obj):
    path = os.path.join(HERE, case, name)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="utf-8", newline="") as f:
        if isinstance(obj, str):
            f.write(obj)
        else:
            json.dump(obj, f, ensure_ascii=False, separators=(",", ":"))
            f.write("\n")


def added(i, content, lstrip=False, rstrip=False, normalized=False, special=True):
    return dict(id=i, content=content, single_word=False, lstrip=lstrip, rstrip=rstrip, normalized=normalized, special=special)


def decoder(tokens):
    return {str(t["id"]): {k: v for k, v in t.items() if k != "id"} for t in tokens}


def config(case, vocab_size, **kw):
    write(case, "config.json", dict(architectures=["Phi3ForCausalLM"], model_type="phi3", vocab_size=vocab_size, num_hidden_layers=1,
                                    hidden_size=256, intermediate_size=512, num_attention_heads=4, num_key_value_heads=2,
                                    max_position_embeddings=512, original_max_position_embeddings=512, rope_theta=10000.0,
                                    rms_norm_eps=1e-5, tie_word_embeddings=True) | kw)


class Converter(get_model_class("Phi3ForCausalLM")):
    """The converter without tensors, and without recognizing a vocabulary of 260 tokens by hash."""
    model_arch = gguf.MODEL_ARCH.PHI3

    def index_tensors(self, remote_hf_model_id=None):
        return {}

    def get_vocab_base_pre(self, tokenizer):
        return "gpt-2"


def want(case):
    m = Converter(Path(HERE, case), gguf.LlamaFileType.ALL_F32, Path("unused.gguf"))
    m.set_vocab()
    out = {}
    for key, v in m.gguf_writer.kv_data[0].items():
        if not key.startswith("tokenizer."):
            continue
        value, kind = v.value, v.type.name
        if v.type == gguf.GGUFValueType.ARRAY:
            kind += " " + gguf.GGUFValueType.get_type(value[0]).name
            value = [x.decode() if isinstance(x, bytes) else x for x in value]
            value = sorted(value) if key.endswith("chat_templates") else value  # a set in the converter
        out[key] = dict(type=kind, value=value)
    write(case, "want.json", out)


# Byte-level BPE: GPT-2's 256 letters and four merges.
letters, n = [], 256
for b in range(256):
    own = 33 <= b <= 126 or 161 <= b <= 172 or 174 <= b <= 255
    letters.append(chr(b if own else n))
    n += not own
MERGES = [["t", "h"], ["th", "e"], ["Ġ", "the"], ["a", "n"]]
VOCAB = {c: i for i, c in enumerate(letters + [a + b for a, b in MERGES])}


def byte_level(case, tokens, tokenizer_config, post_processor=None, merges=MERGES, **config_keys):
    shutil.rmtree(os.path.join(HERE, case), ignore_errors=True)
    write(case, "tokenizer.json", dict(
        version="1.0", truncation=None, padding=None, added_tokens=tokens, normalizer=None,
        pre_tokenizer=dict(type="ByteLevel", add_prefix_space=False, trim_offsets=True, use_regex=True),
        post_processor=post_processor, decoder=dict(type="ByteLevel", add_prefix_space=True, trim_offsets=True, use_regex=True),
        model=dict(type="BPE", dropout=None, unk_token=None, continuing_subword_prefix=None, end_of_word_suffix=None, fuse_unk=False,
                   byte_fallback=False, vocab=VOCAB, merges=merges)))
    write(case, "tokenizer_config.json", dict(tokenizer_class="GPT2Tokenizer") | tokenizer_config)
    config(case, 272, **config_keys)


def piece(kind, name, type_id=0):
    return {kind: {"id": name, "type_id": type_id}}


def template(first, last=None):
    def around(*inner):
        return [piece("SpecialToken", first), *inner] + ([piece("SpecialToken", last)] if last else [])
    a, b = piece("Sequence", "A"), piece("Sequence", "B", 1)
    ids = {"<|bos|>": 260, "<|end2|>": 262}
    names = [x for x in (first, last) if x]
    return dict(type="TemplateProcessing", single=around(a), pair=around(a, piece("SpecialToken", last or first), b),
                special_tokens={x: dict(id=x, ids=[ids[x]], tokens=[x]) for x in names})


# Flags of added tokens in both files, tokens that no file numbers, named templates.
byte_level("byte-flags",
           [added(260, "<|eos|>"), added(261, "Ġfoo", special=False), added(262, "日本", special=False),
            added(263, "▁▁", special=False, normalized=True), added(264, "<pad>", special=False), added(265, "a b", special=False)],
           dict(bos_token="<|bos|>", eos_token="<|eos|>", pad_token="<pad>", mask_token="the", additional_special_tokens=["<x>", "<|eos|>"],
                added_tokens_decoder=decoder([added(264, "<pad>", rstrip=True, special=False), added(265, "a b", lstrip=True)]),
                chat_template=[dict(name="default", template="D"), dict(name="tool_use", template="T"), dict(name="ra g", template="R")]),
           merges=[" ".join(m) for m in MERGES])
want("byte-flags")

# A post-processor that appends another token than EOS; ids of config.json, lists among them; templates in files of their own.
byte_level("byte-template", [added(260, "<|bos|>"), added(261, "<|eos|>"), added(262, "<|end2|>"), added(263, "<|im_end|>")],
           dict(bos_token="<|bos|>", eos_token="<|eos|>"), template("<|bos|>", "<|end2|>"),
           bos_token_id=3, sep_token_id=5, eos_token_id=[1, 2])
write("byte-template", "generation_config.json", dict(eos_token_id=[261, 263, 262, 70]))
write("byte-template", "chat_template.jinja", "line 1\r\nline 2")
write("byte-template", "additional_chat_templates/tool.jinja", "tool")
want("byte-template")

# No added_tokens_decoder: added_tokens.json and special_tokens_map.json count. A sequence of post-processors.
byte_level("byte-legacy", [added(260, "<|bos|>"), added(261, "<|eos|>")], dict(eos_token="<|eos|>", add_eos_token=True),
           dict(type="Sequence", processors=[dict(type="ByteLevel", add_prefix_space=True, trim_offsets=False, use_regex=True), template("<|bos|>")]))
write("byte-legacy", "added_tokens.json", {"<|m|>": 263, "<k>": 262})
write("byte-legacy", "special_tokens_map.json", dict(bos_token=dict(content="<|q|>", lstrip=False, rstrip=True, normalized=False, single_word=False),
                                                     eos_token="<|eos|>"))
write("byte-legacy", "chat_template.json", dict(chat_template="from json"))
want("byte-legacy")

# A token written as an object.
byte_level("byte-object", [added(260, "<|bos|>")],
           dict(bos_token=dict(__type="AddedToken", content="<|bos|>", lstrip=False, normalized=True, rstrip=False, single_word=False)),
           template("<|bos|>"))
want("byte-object")

# SentencePiece: a trained model in which, as in Llama's, pieces of spaces only have the score -1e9.
case = "spm"
shutil.rmtree(os.path.join(HERE, case), ignore_errors=True)
os.makedirs(os.path.join(HERE, case))
rng = random.Random(1)
words = ["alpha", "beta", "gamma", "the", "cat", "sat", "on", "mat", "and", "ran", "far"]
text = [(" " * rng.choice([1, 1, 2, 4])).join(rng.choice(words) for _ in range(8)) for _ in range(300)]
path = os.path.join(HERE, case, "tokenizer.model")
with open(path, "wb") as f:
    spm.SentencePieceTrainer.train(sentence_iterator=iter(text), model_writer=f, vocab_size=310, model_type="bpe", byte_fallback=True,
                                   normalization_rule_name="identity", remove_extra_whitespaces=False, allow_whitespace_only_pieces=True,
                                   num_threads=1, minloglevel=2)
m = pb.ModelProto.FromString(open(path, "rb").read())
for p in m.pieces:
    if not p.piece.strip("▁"):
        p.score = -1e9
open(path, "wb").write(m.SerializeToString())
tokens = [added(0, "<unk>"), added(1, "<s>"), added(2, "</s>", rstrip=True, special=False), added(310, "<|endoftext|>"), added(311, "<|end|>", rstrip=True)]
llama = LlamaTokenizer.from_pretrained(os.path.join(HERE, case))
tj = json.loads(llama._tokenizer.to_str())
tj["added_tokens"] = tokens
tj["normalizer"] = dict(type="Sequence", normalizers=[dict(type="Prepend", prepend="▁"), dict(type="Replace", pattern=dict(String=" "), content="▁")])
tj["pre_tokenizer"] = None
tj["model"]["unk_token"] = "<unk>"
# By score, as in the checkpoints of the family; transformers 5 would order by id.
tj["model"]["merges"] = generate_merges(tj["model"]["vocab"], {p.piece: p.score for p in m.pieces})
write(case, "tokenizer.json", tj)
write(case, "tokenizer_config.json", dict(tokenizer_class="LlamaTokenizer", add_bos_token=True, bos_token="<s>", eos_token="<|endoftext|>", unk_token="<unk>",
                                          chat_template="{{ messages }}", added_tokens_decoder=decoder(tokens)))
write(case, "added_tokens.json", {"<|endoftext|>": 310, "<|beyond|>": 400})
write(case, "generation_config.json", dict(eos_token_id=[310, 311]))
config(case, 320, bos_token_id=1, eos_token_id=310, pad_token_id=310)
want(case)
