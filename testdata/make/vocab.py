#!/usr/bin/env python3
"""Train the tiny model's SentencePiece-BPE vocabulary and write the tokenizer files of a Phi-3 checkpoint.

    python vocab.py            # writes ../tiny-phi3/tokenizer.model, tokenizer.json, tokenizer_config.json, ...
"""
import io
import json
import os
import random

import sentencepiece as spm

import grammar

OUT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "tiny-phi3")
SEED = 1
PIECES = 512
VOCAB = 576  # rows of the embedding: pieces and added tokens, padded to a multiple of 64
ADDED = ["<|endoftext|>", "<|assistant|>", "<|placeholder1|>", "<|placeholder2|>", "<|placeholder3|>", "<|placeholder4|>",
         "<|system|>", "<|end|>", "<|placeholder5|>", "<|placeholder6|>", "<|user|>"]
TEMPLATE = (
    "{% for message in messages %}"
    "{% if message['role'] == 'system' %}{{'<|system|>\n' + message['content'] + '<|end|>\n'}}"
    "{% elif message['role'] == 'user' %}{{'<|user|>\n' + message['content'] + '<|end|>\n'}}"
    "{% elif message['role'] == 'assistant' %}{{'<|assistant|>\n' + message['content'] + '<|end|>\n'}}"
    "{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% else %}{{ eos_token }}{% endif %}")


def train_pieces():
    """The serialized tokenizer.model. Non-ASCII text is left out, so that the model has to spell it in byte pieces."""
    r = random.Random(SEED)
    lines = grammar.text(SEED, 1_000_000).splitlines()
    lines += [m["content"] for _ in range(3000) for m in grammar.chat(r)]
    lines = [s.encode("ascii", "ignore").decode() for s in lines if s]
    model = io.BytesIO()
    spm.SentencePieceTrainer.train(
        sentence_iterator=iter(lines), model_writer=model, model_type="bpe", vocab_size=PIECES, byte_fallback=True,
        character_coverage=1.0, split_digits=True, allow_whitespace_only_pieces=True, normalization_rule_name="identity",
        add_dummy_prefix=True, remove_extra_whitespaces=False, unk_id=0, bos_id=1, eos_id=2, pad_id=-1, unk_surface=" \u2047 ",
        max_sentence_length=100_000, num_threads=1, minloglevel=2,
        required_chars="ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789.,:;!?'\"-+=")
    return model.getvalue()


def merges_of(sp):
    """Every way to join two pieces into a third, best piece first: what a rank-based BPE needs to act like SentencePiece."""
    score = {sp.id_to_piece(i): sp.get_score(i) for i in range(3, sp.get_piece_size()) if not sp.is_byte(i)}
    rank = {p: i for i, p in enumerate(score)}
    out = []
    for piece in sorted(score, key=lambda p: -score[p]):
        pairs = [(piece[:k], piece[k:]) for k in range(1, len(piece)) if piece[:k] in score and piece[k:] in score]
        out += sorted(pairs, key=lambda p: (rank[p[0]], rank[p[1]]))
    return [f"{a} {b}" for a, b in out]


def added_token(i, content, **special):
    d = dict(id=i, content=content, single_word=False, lstrip=False, rstrip=False, normalized=False, special=True)
    d.update(special)
    return d


def added_tokens():
    out = [added_token(0, "<unk>"), added_token(1, "<s>"), added_token(2, "</s>", rstrip=True, special=False)]
    for k, t in enumerate(ADDED):
        out.append(added_token(PIECES + k, t, rstrip=t != "<|endoftext|>"))
    return out


def dump(name, value):
    with open(os.path.join(OUT, name), "w", encoding="utf-8") as f:
        json.dump(value, f, ensure_ascii=False, indent=2)
        f.write("\n")


def main():
    os.makedirs(OUT, exist_ok=True)
    model = train_pieces()
    with open(os.path.join(OUT, "tokenizer.model"), "wb") as f:
        f.write(model)
    sp = spm.SentencePieceProcessor(model_proto=model)
    assert sp.get_piece_size() == PIECES
    dump("tokenizer.json", {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": added_tokens(),
        "normalizer": {"type": "Sequence", "normalizers": [
            {"type": "Prepend", "prepend": "▁"},
            {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}]},
        "pre_tokenizer": None,
        "post_processor": {"type": "TemplateProcessing",
                           "single": [{"Sequence": {"id": "A", "type_id": 0}}],
                           "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
                           "special_tokens": {}},
        "decoder": {"type": "Sequence", "decoders": [
            {"type": "Replace", "pattern": {"String": "▁"}, "content": " "},
            {"type": "ByteFallback"}, {"type": "Fuse"},
            {"type": "Strip", "content": " ", "start": 1, "stop": 0}]},
        "model": {"type": "BPE", "dropout": None, "unk_token": "<unk>", "continuing_subword_prefix": None,
                  "end_of_word_suffix": None, "fuse_unk": True, "byte_fallback": True, "ignore_merges": False,
                  "vocab": {sp.id_to_piece(i): i for i in range(PIECES)}, "merges": merges_of(sp)},
    })
    roles = dict(bos_token="<s>", eos_token="<|endoftext|>", pad_token="<|endoftext|>", unk_token="<unk>")
    dump("special_tokens_map.json", roles)
    dump("added_tokens.json", {t: PIECES + k for k, t in enumerate(ADDED)})
    decoder = {str(t["id"]): {k: v for k, v in t.items() if k != "id"} for t in added_tokens()}
    dump("tokenizer_config.json", dict(
        add_bos_token=False, add_eos_token=False, added_tokens_decoder=decoder, **roles, chat_template=TEMPLATE,
        clean_up_tokenization_spaces=False, legacy=False, model_max_length=512, padding_side="left", sp_model_kwargs={},
        tokenizer_class="LlamaTokenizer", use_default_system_prompt=False))


if __name__ == "__main__":
    main()
