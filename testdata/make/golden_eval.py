#!/usr/bin/env python3
"""Golden values of the evaluation on questions: ../golden/eval.json.

    python golden_eval.py
    python golden_eval.py --model DIR --out FILE   # another model's answers to the questions of ../eval

Prompts, scores and the normalization of answers are written here after docs/eval.md, the publications that it
names, and TriviaQA's evaluation script; likelihoods and greedy answers are transformers' in float32, statistics scipy's.
"""
import argparse
import collections
import json
import math
import os
import re
import string

import scipy
import torch
import transformers
from scipy import stats
from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast

HERE = os.path.dirname(os.path.abspath(__file__))
DATA = os.path.join(HERE, "..", "eval")


def records(name):
    with open(os.path.join(DATA, name), encoding="utf-8") as f:
        return [dict(json.loads(line), line=n) for n, line in enumerate(f, 1) if line.strip()]


def normalize(s):
    """What TriviaQA's script does, in other words."""
    s = s.replace("_", " ").lower()
    s = s.translate({ord(c): " " for c in string.punctuation + "‘’´`"})
    return " ".join(re.sub(r"\b(?:the|an|a)\b", " ", s).split())


def f1(answer, right):
    a, b = normalize(answer).split(), normalize(right).split()
    common = sum((collections.Counter(a) & collections.Counter(b)).values())
    if common == 0:
        return 0.0
    precision, recall = common / len(a), common / len(b)
    return 2 * precision * recall / (precision + recall)


def right_answers(r):
    a = r["answer"]
    if isinstance(a, str):
        return [a]
    if isinstance(a, list):
        return a
    return [a["value"]] + a["aliases"] + a.get("normalized_aliases", [])


def right_index(r):
    return "ABCD".index(r["answer"]) if isinstance(r["answer"], str) else r["answer"]


def question(r, score):
    if score != "letter":
        return f"Question: {r['question']}\nAnswer:"
    return "\n".join([r["question"]] + [f"{'ABCD'[i]}. {c}" for i, c in enumerate(r["choices"])] + ["Answer:"])


def answers(r, score):
    """Possible continuations of a multiple-choice question."""
    return list("ABCD") if score == "letter" else r["choices"]


def prompts(rs, score, shots):
    """Yields records with their prompts; the first of each subject are examples."""
    subjects = list(dict.fromkeys(r.get("subject", "") for r in rs))
    for s in subjects:
        mine = [r for r in rs if r.get("subject", "") == s]
        head = ""
        if s:
            head = f"The following are {'multiple choice ' if score == 'letter' else ''}questions (with answers) about {s.replace('_', ' ')}.\n\n"
        for r in mine[:shots]:
            a = right_answers(r)[0] if score == "answer" else answers(r, score)[right_index(r)]
            head += question(r, score) + " " + a + "\n\n"
        for r in mine[shots:]:
            yield r, head + question(r, score)


class Model:
    def __init__(self, path):
        self.model = AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32, attn_implementation="eager")
        self.tok = PreTrainedTokenizerFast(tokenizer_file=os.path.join(path, "tokenizer.json"))
        with open(os.path.join(path, "tokenizer_config.json"), encoding="utf-8") as f:
            self.tok.chat_template = json.load(f).get("chat_template")
        with open(os.path.join(path, "generation_config.json"), encoding="utf-8") as f:
            stop = json.load(f).get("eos_token_id")
        self.stop = stop if isinstance(stop, list) else [stop]

    def ids(self, text, chat):
        return self.tok(text, add_special_tokens=not chat)["input_ids"]

    def chat(self, text):
        return self.tok.apply_chat_template([{"role": "user", "content": text}], tokenize=False, add_generation_prompt=True)

    @torch.no_grad()
    def logits(self, ids):
        return self.model(torch.tensor([ids]), use_cache=False).logits[0]

    def likelihood(self, prompt, rest, chat):
        before, all_ids = self.ids(prompt, chat), self.ids(prompt + rest, chat)
        first = 0
        while first < len(before) and before[first] == all_ids[first]:
            first += 1
        lp = torch.log_softmax(self.logits(all_ids).double(), -1)
        return sum(float(lp[i - 1, all_ids[i]]) for i in range(first, len(all_ids)))

    def generate(self, prompt, chat, most=32):
        before = self.ids(prompt, chat)
        new = []
        while len(new) < most:
            best = int(self.logits(before + new)[-1].argmax())
            if best in self.stop:
                break
            new.append(best)
            if "\n" in self.text(before, new):
                break
        return self.text(before, new).split("\n")[0].strip()

    def text(self, before, new):
        """What new adds to the text, which begins with the prompt's last word."""
        keep = before[-1:]
        return self.tok.decode(keep + new)[len(self.tok.decode(keep)):]


def run(m, score, shots, chat):
    out = []
    rs = records("answer.jsonl" if score == "answer" else "choice.jsonl")
    for r, prompt in prompts(rs, score, shots):
        text = m.chat(prompt) if chat else prompt
        row = {"line": r["line"], "tokens": len(m.ids(text, chat))}
        if score == "answer":
            row["text"] = m.generate(text, chat)
            row["scores"] = [float(max(normalize(row["text"]) == normalize(a) for a in right_answers(r))),
                             max(f1(row["text"], a) for a in right_answers(r))]
        else:
            possible = answers(r, score)
            ll = [m.likelihood(text, ("" if chat else " ") + a, chat) for a in possible]
            row["log_likelihoods"] = ll
            best = max(range(len(ll)), key=lambda i: ll[i])
            row["text"] = "ABCD"[best]
            row["scores"] = [float(best == right_index(r))]
            if score == "text":
                norm = [x / len(a.encode()) for x, a in zip(ll, possible)]
                row["scores"].append(float(max(range(len(ll)), key=lambda i: norm[i]) == right_index(r)))
        out.append(row)
    return {"score": score, "shots": shots, "chat": chat, "answers": out}


TEXTS = ["", "The", "a An THE the", "The Beatles", "Beatles, The", "a.m.", "Rock 'n' Roll", "it’s a ‘test’ ´x` \"y\"", "under_score_the_end", "  tabs\tand\nlines\u00a0here  ",
         "A-Team", "an-the-a", "the1 1the", "éa a é the-é", "Zoë's", "ΟΔΟΣ ὈΔΥΣΣΕΎΣ", "İstanbul", "STRASSE ẞ", "x²a a²", "fi–the–end — a", "$5.00 (five)", "naïve café", "Theatre another bath",
         "日本 the 語", "a\u0301 b", "१२३ the ३", "the\u200bend", "one\x1ctwo\x1dthe\x1e", "e\u2028f \u3000g", "#1/2+3=@[x]{y}|z~^\\"]

PAIRS = [("Grass is green.", ["green"]), ("green", ["Grass is green", "green"]), ("the the", ["a"]), ("", ["x"]), ("", ["the"]), ("a b b c", ["b b d", "c"]), ("red red", ["red"]),
         ("William Shakespeare", ["Shakespeare", "Bard of Avon"]), ("paris france", ["Paris, France"])]


def statistics():
    cases = []
    for both, rw, wr, none in [(70, 10, 3, 17), (500, 40, 35, 425), (30, 0, 0, 0), (5, 1, 0, 6), (900, 0, 12, 88), (7000, 310, 230, 6460), (0, 3, 4, 1)]:
        n = both + rw + wr + none
        base = [1] * both + [1] * rw + [0] * wr + [0] * none
        model = [1] * both + [0] * rw + [1] * wr + [0] * none
        d = [m - b for b, m in zip(base, model)]
        flips = stats.binomtest(rw + wr, n).proportion_ci(method="wilson")
        acc = stats.binomtest(sum(model), n).proportion_ci(method="wilson")
        # Agresti and Min: half an observation more in each cell.
        z = stats.norm.ppf(0.975)
        b, c, m = rw + 0.5, wr + 0.5, n + 2
        se = math.sqrt(((b + c) - (b - c) ** 2 / m)) / m
        cases.append({
            "cells": [both, rw, wr, none],
            "acc": [sum(model) / n, float(stats.sem(model)), float(acc.low), float(acc.high)],
            "difference": [sum(d) / n, float(stats.sem(d)), max(-1, (c - b) / m - z * se), min(1, (c - b) / m + z * se)],
            "flips": [(rw + wr) / n, float(stats.sem([abs(x) for x in d])), float(flips.low), float(flips.high)],
            "mcnemar": float(stats.binomtest(rw, rw + wr).pvalue) if rw + wr else 1.0,
        })
    return cases


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--model", default=os.path.join(HERE, "..", "tiny-phi3"))
    ap.add_argument("--out", default=os.path.join(HERE, "..", "golden", "eval.json"))
    a = ap.parse_args()
    m = Model(a.model)
    runs = [run(m, "letter", 2, False), run(m, "text", 2, False), run(m, "text", 0, False), run(m, "answer", 3, False)]
    if m.tok.chat_template:
        runs += [run(m, "letter", 5, True), run(m, "answer", 2, True)]
    golden = {
        "about": "Answers of a model to ../eval (line of the record, tokens of the prompt, sums of ln p); normalized answers; exact match and "
                 "F1 of answers; statistics of pairs: both right, right to wrong, wrong to right, both wrong; value, standard error, 95 % interval. "
                 f"transformers {transformers.__version__}, scipy {scipy.__version__}.",
        "runs": runs,
        "normalized": [[t, normalize(t)] for t in TEXTS],
        "matches": [{"answer": t, "right": rs, "exact": any(normalize(t) == normalize(r) for r in rs), "f1": max(f1(t, r) for r in rs)} for t, rs in PAIRS],
        "statistics": statistics(),
    }
    with open(a.out, "w", encoding="utf-8") as f:
        json.dump(golden, f, indent=1, ensure_ascii=False)
        f.write("\n")


main()
