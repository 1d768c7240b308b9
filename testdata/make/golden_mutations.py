#!/usr/bin/env python3
"""What AutoTokenizer makes of tokenizer files that were changed in one way each.

    python golden_mutations.py

Writes ../golden/tokenizer-mutations.json. A change is a list of edits of a directory of this project, in order:
    file, text         write this text
    file, copy         write what the file copy of the project has
    file, remove       remove the file
    file, at, value    set what a JSON file has at this path; a last step "+" appends to a list
    file, at, remove   remove it
"""
import copy
import json
import os
import shutil
import tempfile

import tokenizers
import transformers

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
SPM, BYTES, PHI2 = "testdata/tiny-phi3", "runtime/tokenizer/testdata/cl100k", "testdata/tiny-phi2"
JSON, CONFIG, MODEL, ADDED, ROLES = "tokenizer.json", "tokenizer_config.json", "tokenizer.model", "added_tokens.json", "special_tokens_map.json"

TEXTS = ["Where is the red ball?", "", " lead and trail ", "  two  spaces", "a<|user|> b", "a <|user|>\n b<|end|>\n<|assistant|>\n", "x<|end|>y <|end|> z",
         "<s>a</s> b", "caf\u00e9 \ufb01ne \uff11\uff12", "cafe\u0301", "a\u00a0b", "ABC Def the Red", "the<|user|>the", "<unk>x", "tab\tnew\nline\n\n",
         "Zo\u00eb \U0001f642", "1234567 3.14", "xnewword newword newwordy", "\u2581the \u2581", "<|im_start|> a <|im_end|>b", "``quoted'' -- it's", "aaaaaaa    a",
         "red<|end|> red", "<|endoftext|>  a  <|endoftext|>"]


def seq(kind, *steps):
    return {"type": "Sequence", kind: list(steps)}


def template(*pieces):
    """A post-processor: ids by token around the text, which is None."""
    return dict(type="TemplateProcessing", single=[piece(p, 0) for p in pieces], pair=[piece(p, 0) for p in pieces] + [dict(Sequence=dict(id="B", type_id=1))],
                special_tokens={p[0]: dict(id=p[0], ids=[p[1]], tokens=[p[0]]) for p in pieces if p})


def piece(p, type_id):
    return dict(SpecialToken=dict(id=p[0], type_id=type_id)) if p else dict(Sequence=dict(id="A", type_id=type_id))


def put(file, *at, value):
    return dict(file=file, at=list(at), value=value)


def drop(file, *at):
    return dict(file=file, at=list(at), remove=True) if at else dict(file=file, remove=True)


def token(id, content, **flags):
    return dict(dict(id=id, content=content, single_word=False, lstrip=False, rstrip=False, normalized=False, special=True), **flags)


def bare(content, **flags):
    t = token(0, content, **flags)
    del t["id"]
    return t


REPLACE = dict(type="Replace", pattern=dict(String=" "), content="\u2581")
PREPEND = dict(type="Prepend", prepend="\u2581")
BYTE = dict(type="ByteLevel", add_prefix_space=False, trim_offsets=True, use_regex=False)
V5 = {"backend": "tokenizers", "bos_token": "<s>", "clean_up_tokenization_spaces": False, "eos_token": "<|endoftext|>", "is_local": True, "pad_token": "<|endoftext|>",
      "tokenizer_class": "TokenizersBackend", "unk_token": "<unk>"}
USER = 13  # place of <|user|> among the added tokens of tiny-phi3
S, EOT = ("<s>", 1), ("<|endoftext|>", 512)
OLD = [drop(MODEL), drop(ADDED), drop(ROLES)]


def spm():
    """Changes of a SentencePiece tokenizer."""
    yield "as it is", []
    # post-processor
    yield "post: none", [put(JSON, "post_processor", value=None)]
    yield "post: bos", [put(JSON, "post_processor", value=template(S, None))]
    yield "post: bos and eos", [put(JSON, "post_processor", value=template(S, None, EOT))]
    yield "post: eos", [put(JSON, "post_processor", value=template(None, EOT))]
    yield "post: another token in front", [put(JSON, "post_processor", value=template(("<|user|>", 522), None))]
    yield "post: two tokens in front", [put(JSON, "post_processor", value=template(S, ("<|user|>", 522), None))]
    yield "post: bos, config says no", [put(JSON, "post_processor", value=template(S, None)), put(CONFIG, "add_bos_token", value=False)]
    yield "post: empty, config says bos", [put(CONFIG, "add_bos_token", value=True)]
    yield "post: none, config says bos", [put(JSON, "post_processor", value=None), put(CONFIG, "add_bos_token", value=True)]
    yield "post: bos and eos, config says nothing", [put(JSON, "post_processor", value=template(S, None, EOT)), drop(CONFIG, "add_bos_token"), drop(CONFIG, "add_eos_token")]
    yield "post: a sequence", [put(JSON, "post_processor", value=seq("processors", dict(type="ByteLevel", add_prefix_space=True, trim_offsets=False, use_regex=True), template(S, None)))]
    yield "post: ByteLevel", [put(JSON, "post_processor", value=dict(type="ByteLevel", add_prefix_space=True, trim_offsets=False, use_regex=True))]
    yield "post: BertProcessing", [put(JSON, "post_processor", value=dict(type="BertProcessing", sep=["</s>", 2], cls=["<s>", 1]))]
    yield "post: RobertaProcessing", [put(JSON, "post_processor", value=dict(type="RobertaProcessing", sep=["</s>", 2], cls=["<s>", 1], trim_offsets=True, add_prefix_space=True))]
    yield "post: a wrong id", [put(JSON, "post_processor", value=template(("<s>", 5), None))]
    yield "post: the text twice", [put(JSON, "post_processor", value=template(None, None))]
    yield "saved by transformers 5", OLD + [dict(file=CONFIG, text=json.dumps(V5))]
    yield "saved by transformers 5, post bos", OLD + [dict(file=CONFIG, text=json.dumps(V5)), put(JSON, "post_processor", value=template(S, None))]
    yield "class PreTrainedTokenizerFast", [put(CONFIG, "tokenizer_class", value="PreTrainedTokenizerFast"), drop(CONFIG, "add_bos_token")]
    yield "class LlamaTokenizer, no switch", [drop(CONFIG, "add_bos_token"), drop(CONFIG, "add_eos_token")]
    # normalizer
    yield "normalizer: none", [put(JSON, "normalizer", value=None)]
    yield "normalizer: replace only", [put(JSON, "normalizer", value=REPLACE)]
    yield "normalizer: replace only, no Strip", [put(JSON, "normalizer", value=REPLACE), drop(JSON, "decoder", "decoders", 3)]
    yield "normalizer: the other order", [put(JSON, "normalizer", value=seq("normalizers", REPLACE, PREPEND))]
    for t in ("NFC", "NFKC", "NFD", "NFKD", "Lowercase", "StripAccents"):
        yield "normalizer: " + t, [put(JSON, "normalizer", value=seq("normalizers", dict(type=t), PREPEND, REPLACE))]
    yield "normalizer: Strip", [put(JSON, "normalizer", value=seq("normalizers", dict(type="Strip", strip_left=True, strip_right=True), PREPEND, REPLACE))]
    yield "normalizer: a regular expression", [put(JSON, "normalizer", value=seq("normalizers", PREPEND, dict(type="Replace", pattern=dict(Regex=" "), content="\u2581")))]
    yield "normalizer: another prefix", [put(JSON, "normalizer", value=seq("normalizers", dict(type="Prepend", prepend="a"), REPLACE))]
    # pre-tokenizer
    for scheme in ("first", "always", "never"):
        for split in (False, True):
            yield f"pre-tokenizer: Metaspace {scheme}, split {split}", [put(JSON, "normalizer", value=None),
                  put(JSON, "pre_tokenizer", value=dict(type="Metaspace", replacement="\u2581", prepend_scheme=scheme, split=split))]
    yield "pre-tokenizer: Metaspace never, no Strip", [put(JSON, "normalizer", value=None), drop(JSON, "decoder", "decoders", 3),
          put(JSON, "pre_tokenizer", value=dict(type="Metaspace", replacement="\u2581", prepend_scheme="never", split=False))]
    yield "pre-tokenizer: Metaspace of old", [put(JSON, "normalizer", value=None), put(JSON, "pre_tokenizer", value=dict(type="Metaspace", replacement="\u2581", add_prefix_space=True))]
    yield "pre-tokenizer: Metaspace with another character", [put(JSON, "normalizer", value=None),
          put(JSON, "pre_tokenizer", value=dict(type="Metaspace", replacement="_", prepend_scheme="first", split=False))]
    yield "pre-tokenizer: Metaspace too", [put(JSON, "pre_tokenizer", value=dict(type="Metaspace", replacement="\u2581", prepend_scheme="first", split=False))]
    yield "pre-tokenizer: Digits too", [put(JSON, "pre_tokenizer", value=dict(type="Digits", individual_digits=True))]
    # decoder
    yield "decoder: none", [put(JSON, "decoder", value=None)]
    yield "decoder: no Strip", [drop(JSON, "decoder", "decoders", 3)]
    yield "decoder: no ByteFallback", [drop(JSON, "decoder", "decoders", 1)]
    yield "decoder: Metaspace", [put(JSON, "decoder", value=dict(type="Metaspace", replacement="\u2581", prepend_scheme="always", split=True))]
    yield "decoder: ByteLevel", [put(JSON, "decoder", value=dict(type="ByteLevel", add_prefix_space=True, trim_offsets=True, use_regex=True))]
    # flags of added tokens, in all files
    for flag, value in (("lstrip", True), ("rstrip", False), ("normalized", True), ("single_word", True), ("special", False)):
        yield f"flag: {flag} {value}", [put(JSON, "added_tokens", USER, flag, value=value), put(CONFIG, "added_tokens_decoder", "522", flag, value=value)]
        yield f"flag: {flag} {value} in tokenizer.json", [put(JSON, "added_tokens", USER, flag, value=value)]
        yield f"flag: {flag} {value} in tokenizer_config.json", [put(CONFIG, "added_tokens_decoder", "522", flag, value=value)]
    for flag in ("lstrip", "rstrip", "normalized", "single_word", "special"):
        yield f"new word: {flag}", OLD + [put(JSON, "added_tokens", "+", value=token(523, "newword", **dict(dict(special=False), **{flag: True})))]
    yield "new word: in tokenizer_config.json", [put(CONFIG, "added_tokens_decoder", "523", value=bare("newword", special=False, normalized=True))]
    yield "new word: in tokenizer_config.json, beyond the next id", [put(CONFIG, "added_tokens_decoder", "530", value=bare("newword", special=False))]
    yield "new word: in added_tokens.json", [put(ADDED, "newword", value=523)]
    yield "new word: in added_tokens.json, no decoder", [put(ADDED, "newword", value=523), drop(CONFIG, "added_tokens_decoder")]
    yield "new word: in added_tokens.json, no decoder, no tokenizer.json", [put(ADDED, "newword", value=523), drop(CONFIG, "added_tokens_decoder"), drop(JSON)]
    yield "new word: additional", [put(CONFIG, "additional_special_tokens", value=["newword"])]
    yield "new word: extra, named", [put(CONFIG, "extra_special_tokens", value={"new_token": "newword"})]
    yield "new word: a role", [put(CONFIG, "sep_token", value="newword")]
    yield "new word: in the roles", [put(ROLES, "sep_token", value="newword"), drop(CONFIG, "added_tokens_decoder")]
    yield "new word: a token of the model", [put(JSON, "added_tokens", "+", value=token(467, "?", special=False))]
    # files
    yield "files: no tokenizer.json", [drop(JSON)]
    yield "files: no tokenizer.json, no switch", [drop(JSON), drop(CONFIG, "add_bos_token"), drop(CONFIG, "add_eos_token")]
    yield "files: no tokenizer.json, bos", [drop(JSON), put(CONFIG, "add_bos_token", value=True)]
    yield "files: no tokenizer.json, legacy", [drop(JSON), put(CONFIG, "legacy", value=True)]
    yield "files: no tokenizer.json, legacy not said", [drop(JSON), drop(CONFIG, "legacy")]
    yield "files: no tokenizer.json, no decoder", [drop(JSON), drop(CONFIG, "added_tokens_decoder")]
    yield "files: no tokenizer.model", [drop(MODEL)]
    yield "files: no tokenizer_config.json", [drop(CONFIG)]
    yield "files: tokenizer.json alone", OLD + [drop(CONFIG)]
    yield "files: tokenizer.model alone", [drop(JSON), drop(CONFIG), drop(ADDED), drop(ROLES)]
    yield "files: no added_tokens.json", [drop(ADDED)]
    yield "files: no added tokens in tokenizer.json", OLD + [put(JSON, "added_tokens", value=[])]
    yield "files: none", OLD + [drop(JSON), drop(CONFIG)]
    yield "files: tokenizer.model of another", [dict(file=MODEL, copy="internal/vocab/testdata/spm/tokenizer.model")]
    yield "files: tokenizer.model with the prefix that tokenizer.json lacks", [put(JSON, "normalizer", value=REPLACE)]
    yield "files: added_tokens.json of another", [dict(file=ADDED, text='{"<|user|>": 514, "newword": 522}')]
    yield "files: tokens of the vocabulary renamed", [dict(file=JSON, rename=["\u2581Where", "newword"])]
    # model
    yield "model: merges as pairs", [dict(file=JSON, pairs=True)]
    yield "model: ignore_merges", [put(JSON, "model", "ignore_merges", value=True)]
    yield "model: dropout", [put(JSON, "model", "dropout", value=0.5)]
    yield "model: no byte_fallback", [put(JSON, "model", "byte_fallback", value=False)]
    yield "model: no fuse_unk", [put(JSON, "model", "fuse_unk", value=False)]
    yield "model: no unk_token", [put(JSON, "model", "unk_token", value=None)]
    yield "model: continuing_subword_prefix", [put(JSON, "model", "continuing_subword_prefix", value="##")]
    yield "model: end_of_word_suffix", [put(JSON, "model", "end_of_word_suffix", value="</w>")]
    yield "model: a merge less", [drop(JSON, "model", "merges", 40)]
    yield "model: two merges changed places", [dict(file=JSON, swap=[20, 21])]
    yield "model: WordLevel", [put(JSON, "model", value=dict(type="WordLevel", vocab={"a": 0, "<unk>": 1}, unk_token="<unk>"))]
    yield "truncation", [put(JSON, "truncation", value=dict(direction="Right", max_length=3, strategy="LongestFirst", stride=0))]
    yield "padding", [put(JSON, "padding", value=dict(strategy=dict(Fixed=12), direction="Left", pad_to_multiple_of=None, pad_id=512, pad_type_id=0, pad_token="<|endoftext|>"))]
    yield "split_special_tokens", [put(CONFIG, "split_special_tokens", value=True)]


PHI3 = put("config.json", "model_type", value="phi3"), put("config.json", "architectures", value=["Phi3ForCausalLM"])


def byte_level():
    """Changes of a byte-level tokenizer of a Phi-3 (Phi-4)."""
    for name, edits in byte_level_edits():
        yield name, list(PHI3) + edits


def byte_level_edits():
    yield "as it is", []
    for t in ("NFC", "NFKC", "NFD", "NFKD", "Lowercase", "StripAccents"):
        yield "normalizer: " + t, [put(JSON, "normalizer", value=dict(type=t))]
    yield "normalizer: Strip", [put(JSON, "normalizer", value=dict(type="Strip", strip_left=True, strip_right=True))]
    yield "normalizer: Replace", [put(JSON, "normalizer", value=dict(type="Replace", pattern=dict(String="\u00a0"), content=" "))]
    yield "normalizer: Prepend", [put(JSON, "normalizer", value=dict(type="Prepend", prepend=" "))]
    yield "normalizer: an empty sequence", [put(JSON, "normalizer", value=seq("normalizers"))]
    yield "normalizer: BertNormalizer", [put(JSON, "normalizer", value=dict(type="BertNormalizer", clean_text=True, handle_chinese_chars=True, strip_accents=None, lowercase=False))]
    yield "pre-tokenizer: ByteLevel alone", [put(JSON, "pre_tokenizer", value=dict(BYTE, use_regex=True))]
    yield "pre-tokenizer: a space in front", [put(JSON, "pre_tokenizer", "pretokenizers", 1, "add_prefix_space", value=True)]
    yield "pre-tokenizer: digits too", [put(JSON, "pre_tokenizer", value=seq("pretokenizers", dict(type="Digits", individual_digits=True), dict(BYTE, use_regex=True)))]
    yield "pre-tokenizer: another behaviour", [put(JSON, "pre_tokenizer", "pretokenizers", 0, "behavior", value="MergedWithNext")]
    yield "pre-tokenizer: another pattern", [put(JSON, "pre_tokenizer", "pretokenizers", 0, "pattern", value=dict(Regex="\\w+| +"))]
    yield "pre-tokenizer: none", [put(JSON, "pre_tokenizer", value=None)]
    yield "post: ByteLevel", [put(JSON, "post_processor", value=dict(type="ByteLevel", add_prefix_space=True, trim_offsets=False, use_regex=True))]
    yield "post: bos", [put(JSON, "post_processor", value=template(("<|endoftext|>", 420), None))]
    yield "post: bos, config has the role", [put(JSON, "post_processor", value=template(("<|endoftext|>", 420), None)), put(CONFIG, "bos_token", value="<|endoftext|>")]
    yield "post: none, config says bos", [put(CONFIG, "add_bos_token", value=True), put(CONFIG, "bos_token", value="<|endoftext|>")]
    yield "decoder: none", [put(JSON, "decoder", value=None)]
    yield "model: ignore_merges", [put(JSON, "model", "ignore_merges", value=True)]
    yield "model: dropout", [put(JSON, "model", "dropout", value=0.5)]
    yield "model: byte_fallback", [put(JSON, "model", "byte_fallback", value=True)]
    yield "model: a token that no merge makes, ignore_merges", [put(JSON, "model", "ignore_merges", value=True), dict(file=JSON, rename=["\u0120yellow", "newword"])]
    yield "model: end_of_word_suffix", [put(JSON, "model", "end_of_word_suffix", value="</w>")]
    yield "model: a merge less", [drop(JSON, "model", "merges", 10)]
    yield "model: two merges changed places", [dict(file=JSON, swap=[20, 21])]
    for flag in ("lstrip", "rstrip", "normalized", "single_word", "special"):
        yield f"new word: {flag}", [put(JSON, "added_tokens", "+", value=token(424, "newword", **dict(dict(special=False), **{flag: True})))]
    yield "new word: a wrong id", [put(JSON, "added_tokens", "+", value=token(430, "newword", special=False))]
    yield "new word: additional", [put(CONFIG, "additional_special_tokens", value=["newword"])]
    yield "flag: lstrip in tokenizer_config.json", [put(CONFIG, "added_tokens_decoder", value={"421": bare("<|im_start|>")})]
    yield "flag: not special in tokenizer_config.json", [put(CONFIG, "added_tokens_decoder", value={"421": bare("<|im_start|>", special=False)})]
    yield "no tokenizer_config.json", [drop(CONFIG)]


def phi2():
    """Changes of Phi-2's tokenizer, whose class builds the pipeline itself."""
    yield "as it is", []
    yield "files: no tokenizer.json", [drop(JSON)]
    yield "files: tokenizer.json alone", [drop("vocab.json"), drop("merges.txt"), drop(ADDED), drop(ROLES)]
    yield "files: no tokenizer_config.json", [drop(CONFIG)]
    yield "files: vocab.json stale", [put("vocab.json", "newword", value=360)]
    yield "normalizer: NFC", [put(JSON, "normalizer", value=dict(type="NFC"))]
    yield "pre-tokenizer: digits too", [put(JSON, "pre_tokenizer", value=seq("pretokenizers", dict(type="Digits", individual_digits=True), dict(BYTE, use_regex=True)))]
    yield "class GPT2Tokenizer", [put(CONFIG, "tokenizer_class", value="GPT2Tokenizer")]
    yield "class TokenizersBackend", [put(CONFIG, "tokenizer_class", value="TokenizersBackend")]
    yield "config says bos", [put(CONFIG, "add_bos_token", value=True)]
    yield "config says prefix space", [put(CONFIG, "add_prefix_space", value=True)]
    yield "post: bos", [put(JSON, "post_processor", value=template(("<|endoftext|>", 349), None))]
    yield "post: none", [put(JSON, "post_processor", value=None)]
    yield "new word", [put(JSON, "added_tokens", "+", value=token(360, "newword", special=False))]


def apply(dir, edits):
    for e in edits:
        path = os.path.join(dir, e["file"])
        if "text" in e:
            with open(path, "w", encoding="utf-8", newline="") as f:
                f.write(e["text"])
        elif "copy" in e:
            shutil.copy(os.path.join(ROOT, e["copy"]), path)
        elif "at" in e:
            with open(path, encoding="utf-8") as f:
                content = json.load(f)
            edit(content, e)
            with open(path, "w", encoding="utf-8") as f:
                json.dump(content, f, ensure_ascii=False)
        else:
            os.remove(path)


def edit(content, e):
    at, last = content, e["at"][-1]
    for step in e["at"][:-1]:
        at = at[step]
    if "remove" in e:
        at.pop(last, *([None] if isinstance(at, dict) else []))
    elif last == "+":
        at.append(e["value"])
    else:
        at[last] = e["value"]


def plain(base, edits):
    """Edits that name tokens or merges, as edits of paths."""
    for e in edits:
        if not {"rename", "swap", "pairs"} & e.keys():
            yield e
            continue
        with open(os.path.join(ROOT, base, e["file"]), encoding="utf-8") as f:
            model = json.load(f)["model"]
        if "swap" in e:
            i, j = e["swap"]
            yield put(e["file"], "model", "merges", i, value=model["merges"][j])
            yield put(e["file"], "model", "merges", j, value=model["merges"][i])
            continue
        if "pairs" in e:
            yield put(e["file"], "model", "merges", value=[m.split(" ") for m in model["merges"]])
            continue
        old, new = e["rename"]
        yield drop(e["file"], "model", "vocab", old)
        yield put(e["file"], "model", "vocab", new, value=model["vocab"][old])
        merges = model["merges"]
        keep = [m for m in merges if "".join(m.split(" ") if isinstance(m, str) else m) != old]
        yield put(e["file"], "model", "merges", value=keep)


def outcome(base, edits):
    if any(e.get("at") == ["model", "dropout"] for e in edits):
        return dict(error="the ids are random")
    with tempfile.TemporaryDirectory() as dir:
        for f in os.listdir(os.path.join(ROOT, base)):
            if f.endswith((".json", ".model", ".txt")):
                shutil.copy(os.path.join(ROOT, base, f), dir)
        apply(dir, edits)
        try:
            t = transformers.AutoTokenizer.from_pretrained(dir)
            ids = [t(text)["input_ids"] for text in TEXTS]
            return dict(ids=ids, decoded=[t.decode(i, skip_special_tokens=False) for i in ids], skipped=[t.decode(i, skip_special_tokens=True) for i in ids])
        except KeyboardInterrupt:
            raise
        except BaseException as e:  # a panic of the tokenizers library is no Exception
            return dict(error=f"{type(e).__name__}: {e}".splitlines()[0][:160])


def main():
    transformers.logging.set_verbosity_error()
    out, same = [], {}
    for base, changes in ((SPM, spm()), (BYTES, byte_level()), (PHI2, phi2())):
        reference = None
        for name, edits in changes:
            edits = list(plain(base, edits))
            got = outcome(base, copy.deepcopy(edits))
            if reference is None:
                reference = got
            if "ids" in got and got is not reference:  # what is as without the change is left out
                got = {key: {str(i): x for i, x in enumerate(got[key]) if x != reference[key][i]} for key in ("ids", "decoded", "skipped")}
                got = {key: x for key, x in got.items() if x}
            out.append(dict(base=base, name=name, edits=edits) | got)
            print(base, name, got.get("error", ""))
    about = "texts: what is encoded, with what the post-processor adds; edits: of the directory base; ids, decoded, skipped: by AutoTokenizer, back to text with and without special tokens, a list for the first change of a base, where others differ from it by the text's place; error: why it refuses"
    with open(os.path.join(os.path.dirname(HERE), "golden", "tokenizer-mutations.json"), "w", encoding="utf-8", newline="") as f:
        head = dict(about=about, transformers=transformers.__version__, tokenizers=tokenizers.__version__, texts=TEXTS)
        f.write("{" + ",\n".join(f"{json.dumps(k)}: {json.dumps(v)}" for k, v in head.items()))
        f.write(',\n"changes": [\n' + ",\n".join(json.dumps(c, separators=(",", ":")) for c in out) + "]}\n")


if __name__ == "__main__":
    main()
