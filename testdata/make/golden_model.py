#!/usr/bin/env python3
"""Golden values of the tiny model: ../golden/{tokens,logits,chat,perplexity}.json, and with a llama.cpp checkout also
../golden/{vocab-tiny,convert-tiny}.json.

    python golden_model.py [--converter PATH/convert_hf_to_gguf.py]

Binary fields are base64, little-endian.
"""
import argparse
import base64
import hashlib
import json
import math
import os
import subprocess
import sys
import tempfile
from importlib.metadata import version

import numpy as np
import sentencepiece as spm
import torch
from transformers import AutoTokenizer, Phi3ForCausalLM, PreTrainedTokenizerFast

HERE = os.path.dirname(os.path.abspath(__file__))
MODEL = os.path.join(HERE, "..", "tiny-phi3")
OUT = os.path.join(HERE, "..", "golden")
STOP = [512, 513, 519]

# This class follows tokenizer.json, and AutoTokenizer picks it for model_type phi3. LlamaTokenizer of transformers 5, which
# tokenizer_config.json names, replaces the normalizer and drops the "▁" of text after an added token.
fast = PreTrainedTokenizerFast(tokenizer_file=os.path.join(MODEL, "tokenizer.json"))
pieces = spm.SentencePieceProcessor(model_file=os.path.join(MODEL, "tokenizer.model"))

TEXTS = [
    "", " ", "  ", "   ", "\n", "\n\n", "\t", " \n", "\n ", "\r\n", "▁", "▁▁", " ▁ ",
    "Hello", " Hello", "  Hello", "Hello ", "Hello  ", "Hello\n", "\nHello", "Hello world", "Hello   world", "Hello\n\n\nworld", "Hello\tworld",
    "The red ball is in the garden.", "the RED Ball", "takesgoeswalks", "kitchenkitchen", "Anna's pet is a dog.", "It is Monday, is it not?",
    "1", "12", "123456789", "3 + 4 = 7.", "12-7=5", "a1b2", "!!!!!!", "... , ;", "\"'-+=", "#$%&()*/<>@[]^_`{|}~\\",
    "Zoë", "zoë takes naïve cafés", "нещо на Български", "我想在家", "こんにちは", "العربية", "ក", "🙂", "You are welcome! 🙂", "👩‍👩‍👧‍👦 🇩🇪 e\u0301", "\u00a0\u200b\ufeff", "\U0010ffff", "\x00\x01\x7f",
    "<s>", "</s>", "<unk>", "<s>Hello", "<s> Hello", "Hello</s>", "Hello</s> Hello", "Hello</s>  \n Hello", "<unk> <unk>", "<0x41>", "<0xE2><0x96><0x81>",
    "<|endoftext|>", "<|endoftext|> Hello", "<|end|>", "<|end|>Hello", "<|end|> Hello", "<|end|>\nHello", "<|end|>\n\n\t Hello", "Hello<|end|>", "Hello <|end|> ", "Hello\n<|end|>",
    "<|user|><|assistant|>", "<|user|> <|assistant|>", "<|user|>\n<|assistant|>\n", "<|placeholder1|>\u00a0Hello<|placeholder6|>\u3000Hello", "<|user", "|>", "<|User|>", "<|end|", "<||end|>",
    "<|user|>\nWhere is the red ball?<|end|>\n<|assistant|>\n",
    "<|system|>\nYou are a helpful assistant.<|end|>\n<|user|>\nWho has the key?<|end|>\n<|assistant|>\nAnna has the key.<|end|>\n<|endoftext|>",
    "<|user|>\n  two\n\nlines  <|end|>\n<|assistant|>\n  yes<|end|>",
]

CHATS = [
    ["Hello!"], ["Who are you?"], ["Thank you!"], ["Where is the red ball?"], ["Where is the white ring?"], ["How many days are in two weeks?"],
    ["What is seven plus five?"], ["What is 9 - 4?"], ["Which day comes after Sunday?"], ["What does a cow eat?"], ["What color is the sky?"],
    ["What is the opposite of hot?"], ["Which is more, eleven or nine?"], ["How old is Zoë?"], ["Who is older, Anna or Ben?"], ["What is Max's job?"],
    ["The blue cup is in the park. Emma is in the park. Emma takes the blue cup. She goes to the school. Where is the blue cup now?"],
    ["The green key is in the tower. Tom is in the tower. Ida is in the tower. Tom takes the green key. He gives the green key to Ida. Who has the green key?"],
    ["It is Friday. Jack has six apples. He eats two. Now he has four apples. He buys five more. Now he has nine apples. How many apples does Jack have?"],
    ["system: Answer in one short sentence.", "What does a dog say?"],
    ["What is two plus two?", "assistant: Two plus two is four.", "Which day comes before Friday?"],
    ["Tell me a story about Zoë."],
]


def write(name, about, **fields):
    """One line a field, and one line each for the elements of lists of objects, so that a diff shows what changed."""
    path = os.path.join(OUT, name)
    lines = []
    for key, value in dict(about=about, **fields).items():
        text = json.dumps(value, ensure_ascii=False)
        if isinstance(value, list) and value and isinstance(value[0], dict):
            text = "[\n" + ",\n".join(json.dumps(v, ensure_ascii=False) for v in value) + "\n]"
        elif isinstance(value, dict):
            text = "{\n" + ",\n".join(json.dumps(k) + ": " + json.dumps(v, ensure_ascii=False) for k, v in value.items()) + "\n}"
        lines.append(json.dumps(key) + ": " + text)
    with open(path, "w", encoding="utf-8") as f:
        f.write("{" + ",\n".join(lines) + "}\n")
    print(name, os.path.getsize(path), "bytes")


def load(window=127):
    """The model in float32, with another sliding window if asked; None is full attention, as llama.cpp runs it."""
    model = Phi3ForCausalLM.from_pretrained(MODEL, dtype=torch.float32, attn_implementation="eager").eval()
    assert model.config.sliding_window == 127 and model.config.rope_parameters["rope_theta"] == 10000.0
    model.config.sliding_window = window
    for layer in model.model.layers:
        layer.self_attn.sliding_window = window
    return model


def run(model, toks):
    """Logits of one sequence, [len(toks), vocab_size]."""
    with torch.no_grad():
        return model(input_ids=torch.tensor([toks]), use_cache=False).logits[0].float()


def eval_ids():
    with open(os.path.join(HERE, "..", "tiny-phi3-eval.txt"), encoding="utf-8") as f:
        return fast.encode(f.read())


def tokens():
    cases = []
    for text in TEXTS:
        ids = fast.encode(text)
        cases.append(dict(text=text, ids=ids, plain=pieces.encode(text), decoded=fast.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)))
    write("tokens.json", "ids: transformers PreTrainedTokenizerFast on tokenizer.json; plain: sentencepiece on tokenizer.model, "
          "added tokens taken as text; decoded: ids back to text without special tokens",
          transformers=version("transformers"), tokenizers=version("tokenizers"), sentencepiece=version("sentencepiece"), cases=cases)
    auto = AutoTokenizer.from_pretrained(MODEL)
    assert all(auto.encode(c["text"]) == c["ids"] for c in cases)
    added = [t for t in fast.get_added_vocab()]
    assert all(c["plain"] == c["ids"] for c in cases if not any(t in c["text"] for t in added))


def logits(model):
    ids = eval_ids()
    w = model.config.sliding_window
    # In ordinary text the key at the far end of the window hardly ever counts. These two sequences were searched for: in
    # the first the answer at position w+1 does, in the second, of random tokens, all positions from w-1 to w+3 do.
    text_edge = ids[29951 : 29951 + w + 13]
    random_edge = np.random.default_rng(841).integers(3, 523, w + 4).tolist()
    for toks, other, at in ((text_edge, w + 1, [w + 1]), (random_edge, w - 1, range(w - 1, w + 4)), (random_edge, w + 1, range(w, w + 4))):
        a, b = run(model, toks), run(load(other), toks)
        for p in at:
            error = ((a[p] - b[p]).square().sum() / a[p].square().sum()).item()
            assert error > 1e-4, f"window {w} and {other} differ by only {error} at {p}: search another sequence"
    cases = [
        ("bos", [1], [0]),
        ("chat", fast.encode(TEXTS[-3]), None),
        ("bytes", fast.encode("Zoë says: 🙂"), None),
        ("window_text", text_edge, [0, 1, w - 2, w - 1, w, w + 1, w + 2, w + 12]),
        ("window_random", random_edge, list(range(w - 2, w + 4))),
        ("full_context", ids[2000:2512], [0, 126, 127, 254, 255, 383, 511]),
    ]
    out = []
    for name, toks, at in cases:
        y = run(model, toks)
        at = list(range(len(toks))) if at is None else at
        out.append(dict(name=name, tokens=toks, positions=at, logits=base64.b64encode(y[at].numpy().astype("<f4").tobytes()).decode()))
    write("logits.json", "logits: float32 [positions, vocab_size], the output at these positions (0 is the first token) of the sequence tokens; "
          "transformers Phi3ForCausalLM, float32, CPU, eager attention; position p sees the keys p-sliding_window+1 to p; "
          "the window_ cases tell a window of 127 from 126 and 128",
          transformers=version("transformers"), torch=version("torch"), vocab_size=576, sliding_window=w, cases=out)


def chats(model):
    out = []
    for case in CHATS:
        messages = []
        for m in case:
            role, _, rest = m.partition(": ")
            messages.append(dict(role=role, content=rest) if role in ("system", "assistant") else dict(role="user", content=m))
        tok = AutoTokenizer.from_pretrained(MODEL)  # for its template only
        prompt = tok.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
        ids, answer, margin = fast.encode(prompt), [], math.inf
        while len(answer) < 96 and not (answer and answer[-1] in STOP):
            top = run(model, ids + answer)[-1].topk(2)
            margin = min(margin, (top.values[0] - top.values[1]).item())
            answer.append(top.indices[0].item())
        text = fast.decode([t for t in answer if t not in STOP], clean_up_tokenization_spaces=False)
        out.append(dict(messages=messages, prompt=prompt, prompt_ids=ids, answer_ids=answer, answer=text, margin=round(margin, 4)))
        print("  %-60s %s  (margin %.2f)" % (messages[-1]["content"][-60:], text, margin))
    write("chat.json", "answers by greedy decoding, up to and including the first stop id, at most 96 tokens; prompt: messages through the chat template; "
          "margin: the smallest gap between the two largest logits of any step", stop_ids=STOP, cases=out)


def perplexities():
    ids = torch.tensor(eval_ids())
    out = []
    for window in (127, None):
        model = load(window)
        for context in (256, 512):
            rows = ids[: len(ids) // context * context].view(-1, context)
            nll = []
            with torch.no_grad():
                for x in rows.split(8):
                    logp = model(input_ids=x, use_cache=False).logits[:, :-1].double().log_softmax(-1)
                    nll.append(-logp.gather(-1, x[:, 1:, None])[..., 0])
            nll = torch.cat(nll)
            for first in (0, context // 2):
                part = nll[:, first:]
                out.append(dict(context=context, first=first, sliding_window=window or 0, chunks=len(rows), scored=part.numel(),
                                nll=part.mean().item(), perplexity=part.mean().exp().item()))
                print("  context %d from %d window %s: %.4f" % (context, first, window, out[-1]["perplexity"]))
    write("perplexity.json", "tiny-phi3-eval.txt as one sequence of tokens without BOS, cut in chunks of context tokens, each run on its own; scored: the predictions "
          "at positions first to context-2 of each chunk (first = context/2 is what llama-perplexity scores); sliding_window 0: full causal attention",
          tokens=len(ids), cases=out)


def convert(converter):
    import gguf
    files = []
    for outtype in ("f32", "f16", "bf16", "q8_0"):
        with tempfile.TemporaryDirectory() as tmp:
            path = os.path.join(tmp, "out.gguf")
            subprocess.run([sys.executable, converter, "--outtype", outtype, "--outfile", path, MODEL], check=True, stderr=subprocess.DEVNULL)
            reader = gguf.GGUFReader(path)
            tensors = [dict(name=t.name, type=t.tensor_type.name, shape=[int(d) for d in t.shape], sha256=hashlib.sha256(t.data.tobytes()).hexdigest()) for t in reader.tensors]
            meta = {}
            for key, f in reader.fields.items():
                if not key.startswith("GGUF."):
                    meta[key] = dict(type=[t.name for t in f.types], value=f.contents())
            files.append(dict(outtype=outtype, file_type=meta["general.file_type"]["value"], tensors=tensors))
            if outtype == "f32":
                lists = {k: meta.pop("tokenizer.ggml." + k)["value"] for k in ("tokens", "scores", "token_type")}
                write("vocab-tiny.json", "what llama.cpp's convert_hf_to_gguf.py --outtype f32 writes for tiny-phi3: the three vocabulary arrays, and every "
                      "other key with its type (of an array: ARRAY and the element type) and value, in file order", metadata=meta, **lists)
    write("convert-tiny.json", "tensors that llama.cpp's convert_hf_to_gguf.py writes for tiny-phi3, in file order; shape: as in the file, fastest dimension first; "
          "sha256 of the tensor's bytes", files=files)


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--converter", help="llama.cpp's convert_hf_to_gguf.py; without it the files made by it stay as they are")
    a = ap.parse_args()
    torch.set_num_threads(1)
    os.makedirs(OUT, exist_ok=True)
    tokens()
    model = load()
    logits(model)
    chats(model)
    perplexities()
    if a.converter:
        convert(a.converter)


if __name__ == "__main__":
    main()
