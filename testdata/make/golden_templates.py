#!/usr/bin/env python3
"""Chat templates of our own, and what transformers makes of them.

    python golden_templates.py

Writes testdata/golden/templates.json: "templates", 60 of them as chat templates are written, and "constructs", short ones, one for
each feature of Jinja2 and of Python's values; each with the text, or an error, for each of some conversations.
"""
import datetime
import json
import os
import random
import re
import sys

import jinja2
import transformers
from transformers.utils import chat_template_utils

HERE = os.path.dirname(os.path.abspath(__file__))
OUT = os.path.join(os.path.dirname(HERE), "golden", "templates.json")


class Clock(datetime.datetime):
    @classmethod
    def now(cls, tz=None):
        return cls(2026, 3, 7, 9, 5, 3, 42)


chat_template_utils.datetime = Clock

WEATHER = {"type": "function", "function": {"name": "get_weather", "description": "Wetter & <Wind> für \"einen\" Ort", "parameters": {
    "type": "object", "properties": {"city": {"type": "string", "description": "city's name"}, "days": {"type": "integer", "default": 1, "enum": [1, 3, 7]},
                                     "unit": {"type": ["string", "null"]}}, "required": ["city"]}}}
CALL = {"id": "c1", "type": "function", "function": {"name": "get_weather", "arguments": {"city": "Zürich", "days": 3, "exact": True, "wind": None, "at": 1.5}}}
VARS = {
    "plain": dict(messages=[dict(role="user", content="Hello!")]),
    "long": dict(messages=[dict(role="system", content=" You are \"x\" <b> & 'y'\n"), dict(role="user", content="Hi there\n\nBye  "),
                           dict(role="assistant", content="<think>\nno\n</think>\n\n Yes."), dict(role="user", content="{{ 1 }} {% x %} 日本 🙂 ß")],
                 add_generation_prompt=True, enable_thinking=False),
    "tools": dict(messages=[dict(role="system", content="S"), dict(role="user", content=[dict(type="text", text="Wie wird "), dict(type="image"), dict(type="text", text="es?")]),
                            dict(role="assistant", content=None, tool_calls=[CALL, CALL]), dict(role="tool", content="{\"t\": 21}", tool_call_id="c1", name="get_weather"),
                            dict(role="assistant", content="21°", reasoning_content="warm?")],
                  tools=[WEATHER, WEATHER], documents=[dict(title="T1", text="a\nb"), dict(title="T2", text="")], add_generation_prompt=True, enable_thinking=True),
    "empty": dict(messages=[]),
}
TOKENS = dict(bos_token="<s>", eos_token="<|endoftext|>", unk_token="<unk>", pad_token="<pad>")


def read(path):
    """Reads templates: a line "==== name", then the text up to the next such line, less its last line's end."""
    out, name = {}, None
    with open(path, encoding="utf-8", newline="") as f:
        for line in f:
            if line.startswith("==== "):
                name = line[5:].rstrip("\n")
                assert name not in out, name
                out[name] = ""
            else:
                out[name] += line
    return {k: v[:-1] for k, v in out.items()}


def render(text, variables):
    try:
        random.seed(0)  # for this file alone: a filter that chooses has another result each time
        v = json.loads(json.dumps(variables))
        v = dict(add_generation_prompt=False, tools=None, documents=None) | v | TOKENS
        out = chat_template_utils._compile_jinja_template(text).render(**v)
        if re.search(r" at 0x[0-9a-f]{6}", out):
            return dict(error="an address in memory, which is another one each time")
        out.encode()  # the text is handed on as bytes
        return dict(text=out)
    except Exception as e:
        return dict(error=f"{type(e).__name__}: {e}"[:100])


def lines(path):
    """Reads constructs: a line each, as a literal of JSON where it begins with a quote."""
    with open(path, encoding="utf-8") as f:
        for line in f:
            line = line.rstrip("\n")
            if line and not line.startswith("//"):
                yield json.loads(line) if line.startswith('"') else line


def main():
    with open(OUT, "w", encoding="utf-8", newline="") as f:
        f.write("{" + json.dumps("about") + ": " + json.dumps("what transformers renders: text, or error and why (its words are not compared)") + ",\n")
        f.write(f'"transformers": "{transformers.__version__}", "jinja2": "{jinja2.__version__}", "now": "2026-03-07T09:05:03.000042",\n')
        f.write(f'"tokens": {json.dumps(TOKENS)},\n"variables": {{\n')
        f.write(",\n".join(f"{json.dumps(k)}: {json.dumps(v, ensure_ascii=False)}" for k, v in VARS.items()) + "},\n")
        templates = [dict(name=k, template=v, results={n: render(v, x) for n, x in VARS.items()}) for k, v in read(os.path.join(HERE, "templates.txt")).items()]
        constructs = [dict(template=t, result=render(t, VARS["tools"])) for t in lines(os.path.join(HERE, "template_constructs.txt"))]
        f.write('"templates": [\n' + ",\n".join(json.dumps(t, ensure_ascii=False) for t in templates) + "],\n")
        f.write('"constructs": [\n' + ",\n".join(json.dumps(t, ensure_ascii=False) for t in constructs) + "]}\n")
    print(len(templates), "templates,", len(constructs), "constructs")
    for t in templates:
        if all("error" in r for r in t["results"].values()):
            print("always an error:", t["name"], t["results"]["tools"])


if __name__ == "__main__":
    if os.environ.get("PYTHONHASHSEED") != "0":  # the order of sets, for this file alone
        os.execve(sys.executable, [sys.executable, "-W", "ignore", *sys.argv], os.environ | {"PYTHONHASHSEED": "0"})
    main()
