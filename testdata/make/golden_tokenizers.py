#!/usr/bin/env python3
"""Small tokenizers of each kind, and what the Hugging Face libraries, and tiktoken, make of texts with them.

    python golden_tokenizers.py

Writes runtime/tokenizer/testdata: a checkpoint directory without weights for each kind, and golden.json. The vocabularies are
trained here on the texts of this project and on the lines below, so they are nobody else's.
"""
import base64
import json
import os
import random

import tiktoken
import tokenizers
import transformers
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers.utils.chat_template_utils import render_jinja_template

HERE = os.path.dirname(os.path.abspath(__file__))
TESTDATA = os.path.dirname(HERE)
OUT = os.path.join(os.path.dirname(TESTDATA), "runtime", "tokenizer", "testdata")

CL100K = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
O200K = (r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|"
         r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|"
         r"\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+")

WORDS = ("the quick brown fox I've you're we'll he's it'd I'm don't IT'S WE'RE 'tis a'ſ rock'n'roll can’t naïve café Ärger Straße "
         "camelCase HTTPServer iPhone XMLHttp snake_case f(x)==1; C++ http://a.b/c?d=%20 --flag=1e-10 κόσμε Мир 你好世界 こんにちは 안녕 "
         "مرحبا שלום नमस्ते ภาษาไทย Ǆǅǆ ʰª º ﬁ ŉ e\u0301 a\u0308\u0323 \u0301A \u0301Ab ªABC €½² Ⅷ ٣٤١ १२३४ 𝟙𝟚 ① 1234567 3.14 0x1F "
         "!!! ... //// \\n ?/\n/ 🙂 👩\u200d👩\u200d👧 🇩🇪 ❤️ \u200b ▁ ▁▁x <0x0A> <s> </s> Ġ Â x\ufffdy \U00010d50\U00010d70 \U00011de1").split(" ")
SPACES = [" ", "  ", "   ", "\n", "\n\n", "\r", "\r\n", "\t", "\t\t", " \n", "\n ", "\n  \n x", "\u00a0", "\u3000", "\u2028", "\u0085", "\x0b", "\u1680", " " * 17]


def texts(added):
    r = random.Random(4)
    out = [""] + WORDS + SPACES + [s + "a" for s in SPACES] + ["a" + s for s in SPACES] + [" ".join(WORDS), "".join(WORDS)]
    for s in added:
        out += [s, s + s, "a" + s + "b", "a " + s + " b", "a \n" + s + "\n\n b", s[:-1], s[1:], s + s[1:]]
    for _ in range(100):
        out.append("".join(r.choice(r.choice((WORDS, SPACES, added or WORDS, ["a", "B", "9", "'", "-"]))) for _ in range(r.randint(2, 9))))
    return out


def token(content, special=True, **kw):
    return AddedToken(content, special=special, **dict(dict(lstrip=False, rstrip=False, normalized=False, single_word=False), **kw))


def lines():
    with open(os.path.join(TESTDATA, "tiny-phi3-calib.txt"), encoding="utf-8") as f:
        yield from list(f)[:200]
    for _ in range(20):
        yield from WORDS


def byte_level(steps, added):
    t = Tokenizer(models.BPE())
    t.pre_tokenizer = pre_tokenizers.Sequence(steps) if len(steps) > 1 else steps[0]
    t.decoder = decoders.ByteLevel()
    t.train_from_iterator(lines(), trainers.BpeTrainer(vocab_size=420, initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()), show_progress=False))
    t.add_tokens(added)
    return t


def sentencepiece(change, added):
    with open(os.path.join(TESTDATA, "tiny-phi3", "tokenizer.json"), encoding="utf-8") as f:
        t = json.load(f)
    change(t)
    t = Tokenizer.from_str(json.dumps(t))
    t.add_tokens(added)
    return t


def metaspace(scheme):
    def change(t):
        t["normalizer"] = None
        t["pre_tokenizer"] = dict(type="Metaspace", replacement="▁", prepend_scheme=scheme, split=False)
    return change


def no_prefix(t):
    t["normalizer"] = dict(type="Replace", pattern=dict(String=" "), content="▁")
    t["decoder"]["decoders"].pop()


PLAIN = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
WORDWISE = pre_tokenizers.ByteLevel(add_prefix_space=False)
EXTRA = [token("<x y>", False), token("the end", False, normalized=True, rstrip=True), token("<|new|>", lstrip=True, rstrip=True),
         token("Zebra", False, normalized=True, lstrip=True)]
KINDS = {
    "phi-2": ("CodeGenTokenizer", byte_level([WORDWISE], [token("<|endoftext|>")] + [token(" " * n, False, normalized=True) for n in (4, 3, 2)])),
    "smollm": ("GPT2Tokenizer", byte_level([pre_tokenizers.Digits(individual_digits=True), WORDWISE], [token("<|im_start|>"), token("<|im_end|>")])),
    "cl100k": ("GPT2Tokenizer", byte_level([pre_tokenizers.Split(Regex(CL100K), "isolated"), PLAIN],
                                           [token(s, lstrip=True, rstrip=True) for s in ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|im_sep|>")])),
    "o200k": ("GPT2Tokenizer", byte_level([pre_tokenizers.Split(Regex(O200K), "isolated"), PLAIN],
                                          [token("<|endoftext|>"), token("<|user|>", rstrip=True), token("<|tool|>", False), token("<tool_call>", False, normalized=True)])),
    "sentencepiece": ("LlamaTokenizer", sentencepiece(lambda t: None, EXTRA)),
    "sentencepiece-first": ("LlamaTokenizer", sentencepiece(metaspace("first"), EXTRA)),
    "sentencepiece-always": ("LlamaTokenizer", sentencepiece(metaspace("always"), EXTRA)),
    "sentencepiece-none": ("LlamaTokenizer", sentencepiece(no_prefix, EXTRA)),
}

# Phi-2 without tokenizer.json, and Phi-3-small, which never had one.
RUNS = [" " * n for n in range(31, 1, -1)] + ["\t" * n for n in range(9, 1, -1)]
CODEGEN = byte_level([WORDWISE], [token("<|endoftext|>")] + [token(s, False, normalized=True) for s in RUNS])
SMALL_SPECIAL = (["<|dummy_id_2|>", "<|endoftext|>", "<|fim_prefix|>", "<|fim_middle|>", "<|fim_suffix|>", "<|system|>", "<|user|>", "<|assistant|>",
                  "<|dummy_id_0|>", "<|dummy_id_1|>", "<|end|>"] + [f"<|dummy_id_{k}|>" for k in range(3, 12)] + ["<|endofprompt|>"] +
                 [f"<|dummy_id_{k}|>" for k in range(12, 87)])
SMALL_TEMPLATE = ("{{ bos_token }}{% for message in messages %}{{'<|' + message['role'] + '|>' + '\n' + message['content'] + '<|end|>\n' }}{% endfor %}"
                  "{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% else %}{{ eos_token }}{% endif %}")

PHI3 = ("{% for message in messages %}{% if message['role'] == 'system' %}{{'<|system|>\n' + message['content'] + '<|end|>\n'}}"
        "{% elif message['role'] == 'user' %}{{'<|user|>\n' + message['content'] + '<|end|>\n'}}{% elif message['role'] == 'assistant' %}"
        "{{'<|assistant|>\n' + message['content'] + '<|end|>\n'}}{% endif %}{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% else %}{{ eos_token }}{% endif %}")
TEMPLATES = [
    PHI3,
    SMALL_TEMPLATE.removeprefix("{{ bos_token }}"),  # PhiMoE
    PHI3.replace("== 'system' %}", "== 'system' and message['content'] %}"),
    SMALL_TEMPLATE,
    "{% for message in messages %}{% if (message['role'] == 'user') %}{{'<|user|>' + '\n' + message['content'] + '<|end|>' + '\n' + '<|assistant|>' + '\n'}}"
    "{% elif (message['role'] == 'assistant') %}{{message['content'] + '<|end|>' + '\n'}}{% endif %}{% endfor %}",
    "{% for message in messages %}{% if message['role'] == 'system' and 'tools' in message and message['tools'] is not none %}"
    "{{ '<|' + message['role'] + '|>' + message['content'] + '<|tool|>' + message['tools'] + '<|/tool|>' + '<|end|>' }}"
    "{% else %}{{ '<|' + message['role'] + '|>' + message['content'] + '<|end|>' }}{% endif %}{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>' }}{% else %}{{ eos_token }}{% endif %}",
    "{% for message in messages %}\n  {% if loop.first %}\n {{- message.role }}\n  {% endif %}\n\t{%- if loop.last -%}\n Z \n{%- endif %}\n x{# no #}\n{% endfor %}\nend\n",
    "{% for m in messages %}{% if m.role not in ['user', 'assistant'] %}{{ raise_exception('role ' ~ m.role) }}{% endif %}{{ m.content | trim + eos_token }}{% endfor %}",
    "{% set ns = namespace(n=0, s='') %}{% for m in messages[1:] %}{% if m.role == 'system' %}{% continue %}{% endif %}{% set ns.n = ns.n + 1 %}{% set ns.s = ns.s ~ m['content'][:3] ~ ns.n %}"
    "{% if ns.n == 2 %}{% break %}{% endif %}{% endfor %}{{ ns.s }}{{ messages[-1]['content'] }}{{ messages | length }}{{ messages | tojson }}",
    "{% macro turn(m, end='.') -%}\n [{{ m.role }}{{ end }}]\n{%- endmacro %}{% for m in messages %}{{ turn(m) }}{{ turn(m, end='!') }}{% endfor %}{{ strftime_now('%Y') | length }}",
    "{% for m in messages %}{% generation %}{{ m.content.split('</think>')[-1].strip() }}{% endgeneration %}{% endfor %}{% if tools is not none %}t{% endif %}",
    "{% include 'config.json' %}",
    "{% if %}",
    "{{ messages",
]
CONVERSATIONS = [
    [("user", "Hello!")],
    [("system", ' You are "x" <b> é\n'), ("user", "Hi there"), ("assistant", "<think>no</think> Yes.\n"), ("user", "{{ 1 }} {% x %} 日本")],
    [("user", ""), ("assistant", "ok"), ("user", "<|end|>")],
]


def chats():
    for template in TEMPLATES:
        for turns in CONVERSATIONS:
            for prompt in (True, False):
                messages = [dict(role=r, content=c) for r, c in turns]
                case = dict(template=template, messages=messages, prompt=prompt)
                try:
                    rendered = render_jinja_template([messages], chat_template=template, add_generation_prompt=prompt, bos_token="<s>",
                                                     eos_token="<|endoftext|>", unk_token="<unk>", pad_token="<|endoftext|>")
                    yield case | dict(text=rendered[0][0])
                except Exception:
                    yield case | dict(error=True)


def write(dir, file, text):
    with open(os.path.join(dir, file), "w", encoding="utf-8", newline="") as f:
        f.write(text + "\n")


def write_codegen(dir):
    """Phi-2's files without tokenizer.json: the library makes the same of them."""
    t = json.loads(CODEGEN.to_str())
    write(dir, "vocab.json", json.dumps(t["model"]["vocab"] | {"<|endoftext|>": len(t["model"]["vocab"])}, ensure_ascii=False))
    write(dir, "merges.txt", "#version: 0.2\n" + "\n".join(" ".join(m) for m in t["model"]["merges"]))
    write(dir, "added_tokens.json", json.dumps({a["content"]: a["id"] for a in t["added_tokens"][1:]}))
    write(dir, "tokenizer_config.json", json.dumps(dict(tokenizer_class="CodeGenTokenizer", bos_token="<|endoftext|>", eos_token="<|endoftext|>", unk_token="<|endoftext|>")))
    write(dir, "config.json", json.dumps(dict(architectures=["PhiForCausalLM"], vocab_size=600, bos_token_id=None, eos_token_id=None)))
    library = transformers.CodeGenTokenizer.from_pretrained(dir)
    return CODEGEN, lambda text, ids: library(text)["input_ids"] == ids


def write_small(dir):
    """The files of Phi-3-small. The vocabulary is that of a trained BPE: in its order every token is made of two before it."""
    t = byte_level([pre_tokenizers.Split(Regex(CL100K), "isolated"), PLAIN], [])
    byte = {c: b for b, c in transformers.convert_slow_tokenizer.bytes_to_unicode().items()}
    ranks = {bytes(byte[c] for c in text): rank for text, rank in sorted(t.get_vocab().items(), key=lambda x: x[1])}
    special = {text: len(ranks) + k for k, text in enumerate(SMALL_SPECIAL)}
    write(dir, "cl100k_base.tiktoken", "\n".join(f"{base64.b64encode(token).decode()} {rank}" for token, rank in ranks.items()))
    roles = dict(bos_token="<|endoftext|>", eos_token="<|endoftext|>")
    write(dir, "tokenizer_config.json", json.dumps(dict(added_tokens_decoder={}, tokenizer_class="Phi3SmallTokenizer", chat_template=SMALL_TEMPLATE, **roles)))
    write(dir, "config.json", json.dumps(dict(architectures=["Phi3SmallForCausalLM"], vocab_size=len(ranks) + 96, bos_token_id=special["<|endoftext|>"], eos_token_id=special["<|endoftext|>"])))
    return tiktoken.Encoding("phi3small", pat_str=CL100K, mergeable_ranks=ranks, special_tokens=special)


def small_cases(enc):
    special = set(enc._special_tokens.values())
    for text in texts(["<|endoftext|>", "<|user|>", "<|end|>", "<|dummy_id_1|>", "<|dummy_id_12|>", "<|endofprompt|>"]):
        ids = enc.encode(text, allowed_special="all", disallowed_special=())
        yield case(text, ids, enc.encode_ordinary(text), enc.decode([i for i in ids if i not in special]), enc.decode(ids))


def case(text, ids, plain, decoded, special, words=None):
    return (dict(text=text, ids=ids) | ({} if words is None else dict(words=words)) | ({} if plain == ids else dict(plain=plain)) |
            ({} if decoded == text else dict(decoded=decoded)) | ({} if special == decoded else dict(special=special)))


def library_cases(t, added, same=lambda text, ids: True):
    for text in texts(added):
        t.encode_special_tokens = True
        plain = t.encode(text, add_special_tokens=False).ids
        t.encode_special_tokens = False
        ids = t.encode(text, add_special_tokens=False).ids
        assert same(text, ids), (text, ids)
        words = None
        if t.normalizer is None and isinstance(t.decoder, decoders.ByteLevel):
            words = [len(text[a:b].encode()) for _, (a, b) in t.pre_tokenizer.pre_tokenize_str(text)]
        yield case(text, ids, plain, t.decode(ids, skip_special_tokens=True), t.decode(ids, skip_special_tokens=False), words)


def main():
    golden = dict(about="words: lengths in bytes of the words of the text as a whole; ids: special tokens parsed; plain: special tokens taken for text; decoded, special: ids back to text without and with special tokens; "
                        "plain is left out where it is ids, decoded where it is text, special where it is decoded",
                  tokenizers=tokenizers.__version__, transformers=transformers.__version__, tiktoken=tiktoken.__version__, kinds={}, chats=list(chats()))
    for name in list(KINDS) + ["phi-2-files", "phi3small"]:
        os.makedirs(os.path.join(OUT, name), exist_ok=True)
    for name, (cls, t) in KINDS.items():
        dir = os.path.join(OUT, name)
        content = json.loads(t.to_str())
        write(dir, "tokenizer.json", json.dumps(content, ensure_ascii=False, separators=(",", ":")))
        write(dir, "config.json", json.dumps(dict(vocab_size=600)))
        write(dir, "tokenizer_config.json", json.dumps(dict(tokenizer_class=cls, add_bos_token=False)))
        golden["kinds"][name] = list(library_cases(t, [a["content"] for a in content["added_tokens"]]))
    t, same = write_codegen(os.path.join(OUT, "phi-2-files"))
    golden["kinds"]["phi-2-files"] = list(library_cases(t, ["<|endoftext|>"] + RUNS[25:34], same))
    golden["kinds"]["phi3small"] = list(small_cases(write_small(os.path.join(OUT, "phi3small"))))
    with open(os.path.join(OUT, "golden.json"), "w", encoding="utf-8", newline="") as f:
        f.write("{" + ",\n".join(f"{json.dumps(k)}: {json.dumps(v)}" for k, v in golden.items() if k not in ("kinds", "chats")))
        f.write(',\n"kinds": {\n' + ",\n".join(f"{json.dumps(k)}: [\n" + ",\n".join(json.dumps(c, ensure_ascii=False, separators=(',', ':')) for c in v) + "]" for k, v in golden["kinds"].items()) + "},\n")
        f.write('"chats": [\n' + ",\n".join(json.dumps(c, ensure_ascii=False, separators=(',', ':')) for c in golden["chats"]) + "]}\n")


if __name__ == "__main__":
    main()
