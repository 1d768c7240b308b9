#!/usr/bin/env python3
"""Golden model cards: names.json, sizes.json and cards.json, by gguf's Metadata.

    python make.py

Needs Python 3.11 with gguf 0.19.0 and PyYAML 6.0.3.
"""
import json
import os
import tempfile
from pathlib import Path

import gguf
from gguf.metadata import Metadata

HERE = os.path.dirname(os.path.abspath(__file__))


def write(name, obj):
    with open(os.path.join(HERE, name), "w", encoding="utf-8", newline="") as f:
        json.dump(obj, f, ensure_ascii=False, indent=1)
        f.write("\n")


# A name on the hub or of a directory, and the number of weights.
NAMES = [
    ("Phi-3-mini-4k-instruct", 3821079552), ("Phi-3-mini-4k-instruct", 0), ("microsoft/Phi-3-mini-128k-instruct", 3821079552),
    ("Phi-3-medium-4k-instruct", 13960238080), ("Phi-3-medium-128k-instruct", 13960238080), ("Phi-3.5-mini-instruct", 3821079552),
    ("phi-4", 14659507200), ("Phi-4-mini-instruct", 3836021760), ("microsoft/phi-4", 0), ("phi-2", 2779683840), ("Phi-3.5-MoE-instruct", 41873153344),
    ("smol", 134515008), ("tiny-phi3", 2660864), ("Phi-3-mini-4k-tiny", 17597696), ("phi3", 0), ("Phi3", 3821079552),
    ("./Phi-3-mini-4k-instruct", 3821079552), ("../x", 0), ("/absolute", 0), ("a/b/c", 0), ("org/", 0), ("", 0), ("-", 0), ("--", 0), ("a--b-", 0),
    ("A model with a name", 0), ("Org/With space-7b", 7000000000), ("llama-2-7b-chat-hf", 6738415616), ("Llama-2-7b-chat-hf", 0), ("Mixtral-8x7B-Instruct-v0.1", 46702792704),
    ("bloom-7b1", 7069016064), ("Bloom-7B1-petals", 0), ("x-1_5b-v2", 1500000000), ("Qwen1.5-MoE-A2.7B-Chat", 14315784192), ("model-8k-32k-7b", 7241732096),
    ("7b", 7000000000), ("7b-model", 0), ("v2", 0), ("v2-large", 0), ("model-v1.0-7B-v2.0", 0), ("model-iter3-xl", 0), ("GPT-2-XL-large", 0), ("mini", 0), ("x-mini-small", 0),
    ("x-mini-3b", 3000000000), ("x-3b-mini", 3000000000), ("x-mini-4k", 4000), ("phi-3-mini-4k-instruct-q4_k_m", 3821079552), ("phi-3-mini-Q4", 0), ("phi-3-f16", 0), ("phi-3-bf16-vision", 0),
    ("phi-3-lora-chat", 0), ("3d-model-7b", 0), ("x-7b-7b", 7000000000), ("x-7B-7b", 7000000000), ("x-13B-7b", 7000000000), ("x-99999999999999T", 10), ("x-1K", 1000), ("x-1k", 100000),
    ("phi_3_mini", 0), ("phi.3.mini-instruct", 0), ("Modèle-Éléphant-3b", 0), ("modèle-éléphant-mini", 0), ("don't-stop-mini", 0), ("ABC-def-GHI-mini", 0), ("phi-3-mini-4K-Instruct-ONNX", 3821079552),
    ("phi\u20113-mini", 0), ("日本-7b", 0), ("-7b-x", 0), ("1.5-pro", 0), ("v0.1", 0), ("model-2024.01.01-chat", 0), ("x-A3B", 30000000000), ("x-0.5b-x", 500000000), ("tiny-random-Phi3ForCausalLM", 1000000),
]
names = []
for id_, params in NAMES:
    full, org, base, fine, version, size = Metadata.get_model_id_components(id_, params)
    names.append(dict(id=id_, params=params, title=Metadata.id_to_title(full), organization=org or "", basename=base or "", finetune=fine or "", version=version or "",
                      size_label=size or ""))
write("names.json", names)

SIZES = [1, 999, 1000, 1500, 9999, 99999, 999499, 999999, 1000000, 1000001, 2660864, 9949999, 9950000, 17597696, 134515008, 191160576, 999999999, 1000000000, 1000000001, 2500000000,
         3821079552, 3836021760, 9500000000, 9950000000, 10500000000, 13960238080, 14659507200, 41873153344, 10**12, 10**12 + 1, 7 * 10**14]
write("sizes.json", {str(n): gguf.size_label(n, n, 0, 0) for n in SIZES})

# Directories: name, files, number of weights.
CONFIG = dict(model_type="phi3")
CARDS = [
    ("Phi-4-mini-instruct", {"README.md": "---\nlanguage:\n- \"multilingual\"\n- ar\n- no\nlibrary_name: transformers\nlicense: mit\nlicense_link: https://huggingface.co/microsoft/Phi-4-mini-instruct/resolve/main/LICENSE\n"
                                          "pipeline_tag: text-generation\ntags:\n- nlp\n- code\nwidget:\n- messages:\n  - role: user\n    content: What?\n---\n# Model\nlicense: other\n",
                             "generation_config.json": dict(eos_token_id=[1, 2], temperature=0.7, top_p=0.95, top_k=50, min_p=None, do_sample=True, sequence="tk;tp")}, 3836021760),
    ("finetune", {"README.md": "---\r\nbase_model: microsoft/Phi-3-mini-4k-instruct\r\ndatasets:\r\n- org/data-set-v2\r\n- https://huggingface.co/org/data-v1.5\r\n- https://example.org/data\r\n- name: Own\r\n  author: Me\r\n  url: https://x.org\r\n"
                               "license:\r\n- mit\r\n- apache-2.0\r\nmodel_creator: Somebody\r\nlanguage: en\r\ntags: one\r\n---\r\ntext\r\n", "config.json": CONFIG}, 3821079552),
    ("merge-7b", {"README.md": "---\nbase_model:\n- microsoft/phi-4\n- https://huggingface.co/microsoft/Phi-3.5-mini-instruct\n- ssh://host/repo\n- ./local/name\n- {name: Given, version: '1.0', organization: Org, repo_url: \"https://x/y\"}\n"
                               "name: My Merge\nmodel_name: Ignored\nversion: v9\nauthor: A\norganization: O\ndescription: >\n  Two\n  lines\nfinetune: ft\nbasename: bn\nsize_label: 9B\nurl: u\ndoi: d\nuuid: i\nrepo_url: r\n"
                               "license_name: ln\nlicense_link: ll\ndatasets:\ntags: []\n---\n"}, 7000000000),
    ("from-config", {"config.json": CONFIG | dict(_name_or_path="microsoft/Phi-3-medium-4k-instruct")}, 13960238080),
    ("from-path-mini", {"config.json": CONFIG | dict(_name_or_path="/home/me/models/x-7b")}, 0),
    ("tabs", {"README.md": "---\ntags:\n-\tone\n-\ttwo\nmodel_type: phi\n---\n"}, 5000000),
    ("no-front-matter", {"README.md": "# Title\n---\nlicense: mit\n---\n"}, 5000000),
    ("rules", {"README.md": "---\njust text\n---\n"}, 5000000),
    ("empty-readme", {"README.md": ""}, 5000000),
    ("empty-front", {"README.md": "---\n---\n"}, 5000000),
    ("anchors", {"README.md": "---\nauthor: &a Name\norganization: *a\ntags: &t [x, y]\nlanguages: *t\nbase_model: null\ndataset: org/set\n---\n"}, 5000000),
    ("duplicate", {"README.md": "---\nlicense: mit\nlicense: other\n---\n"}, 5000000),
    ("sampling", {"generation_config.json": dict(temperature=0, top_k=1, penalty_last_n=64, penalty_repeat=1.1, mirostat=2, mirostat_tau=5, mirostat_eta=0.1, xtc_probability=0.5, xtc_threshold=0.1, min_p=0.05)}, 0),
    ("A sentence as name", {}, 0),
]
cards = []
for name, files, params in CARDS:
    with tempfile.TemporaryDirectory() as tmp:
        d = Path(tmp, name)
        d.mkdir()
        for f, content in files.items():
            (d / f).write_bytes((content if isinstance(content, str) else json.dumps(content)).encode())
        meta = Metadata.load(None, d, None, params)
        # As convert_hf_to_gguf.py completes it.
        if meta.name is None:
            meta.name = name
        if meta.size_label is None and params > 0:
            meta.size_label = gguf.size_label(params, params, 0, 0)
        w = gguf.GGUFWriter(None, "phi3")
        w.add_type(gguf.GGUFType.MODEL)
        meta.set_gguf_meta_model(w)
        keys = {k: dict(type=v.type.name, value=v.value) for k, v in w.kv_data[0].items() if k != "general.architecture"}
    cards.append(dict(name=name, params=params, files={k: v if isinstance(v, str) else json.dumps(v) for k, v in files.items()}, keys=keys))
write("cards.json", cards)
