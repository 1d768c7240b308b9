"""Runs lm-evaluation-harness against a server, and compares its scores with those of phi3conv's own commands.

usage: harness.py URL PHI3CONV TESTDATA WORKDIR
"""
import json
import math
import pathlib
import subprocess
import sys
import urllib.request

import numpy as np
from lm_eval import simple_evaluate
from lm_eval.tasks import TaskManager

url, phi3conv, data, work = sys.argv[1:]
here = pathlib.Path(__file__).parent
tasks = pathlib.Path(work) / "tasks"
tasks.mkdir()
for f in (here / "tasks").iterdir():
    (tasks / f.name).write_text(f.read_text().replace("DATA", data))
manager = TaskManager(include_path=str(tasks), include_defaults=False)
model = data + "/tiny-phi3"


def harness(kind, names, path, **more):
    args = dict(model="tiny-phi3", base_url=url + path, num_concurrent=4, max_length=512, **more.pop("args", {}))
    r = simple_evaluate(model=kind, model_args=args, tasks=names, task_manager=manager, bootstrap_iters=0, **more)
    return r["results"], r["samples"]


def ours(*args):
    out = subprocess.run([phi3conv, *args], capture_output=True, check=True).stdout
    return json.loads(out)


def near(what, got, want, tolerance=1e-6):
    print(f"{what}: {got:.9g}, phi3conv's own {want:.9g}")
    assert abs(got - want) <= tolerance * abs(want), what


scores, samples = harness(
    "local-completions", ["local_choice", "local_answer", "local_text"], "/v1/completions", batch_size=8,
    args=dict(tokenizer_backend="remote"))
exact = ["--f32", "--cache-type", "f32", "--shots", "0", "--json"]
own = ours("eval", model, "--task", data + "/eval/choice.jsonl", "--score", "text", *exact)
values = dict(zip(own["task"]["metrics"], own["models"][0]["metrics"]))
near("acc", scores["local_choice"]["acc,none"], values["acc"]["value"])
near("acc_norm", scores["local_choice"]["acc_norm,none"], values["acc_norm"]["value"])
for s, a in zip(samples["local_choice"], own["models"][0]["answers"], strict=True):
    for (got, _), want in zip(s["filtered_resps"], a["log_likelihoods"], strict=True):
        assert abs(got - want) < 1e-5, (got, want, a["line"])
print("log-likelihoods of all choices: within 1e-5")

# Perplexity: the harness scores each text after BOS. These are the log-probabilities of `logits`.
bos = json.load(urllib.request.urlopen(url + "/tokenizer_info"))["bos_token"]
total, size = 0.0, 0
for s in samples["local_text"]:
    text = s["doc"]["question"]
    first, ids = (ours("tokenize", model, "-p", t, "--json")["ids"] for t in (bos, text))
    ids = first[:1] + ids
    subprocess.run([phi3conv, "logits", model, "--tokens", ",".join(map(str, ids)), "-o", work + "/l.npy", "--force"],
                   check=True, capture_output=True)
    l = np.load(work + "/l.npy").astype(np.float64)[:-1]
    top = l.max(axis=1)
    total += (l[np.arange(len(l)), ids[1:]] - top - np.log(np.exp(l - top[:, None]).sum(axis=1))).sum()
    size += len(text.encode())
near("byte_perplexity", scores["local_text"]["byte_perplexity,none"], math.exp(-total / size))

# Generated text is that of `eval`, up to white space around it.
own = ours("eval", model, "--task", data + "/eval/answer.jsonl", *exact)["models"][0]["answers"]
for s, a in zip(samples["local_answer"], own, strict=True):
    assert s["filtered_resps"][0].strip() == a["text"].strip(), (s["filtered_resps"], a)
print("generated texts: the same")

_, samples = harness("local-chat-completions", ["local_answer"], "/v1/chat/completions", apply_chat_template=True)
assert all(s["filtered_resps"][0] for s in samples["local_answer"]), samples
print("chats: answered")
