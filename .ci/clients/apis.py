"""Asks the server at argv[1] through the clients of OpenAI, Ollama and LangChain, and prints its metrics then."""
import asyncio
import sys
import urllib.request
from typing import Literal

import ollama
from langchain_openai import ChatOpenAI, OpenAI as LangChainOpenAI, OpenAIEmbeddings
from openai import AsyncOpenAI, BadRequestError, OpenAI
from pydantic import BaseModel

base = sys.argv[1]


class Answer(BaseModel):
    city: Literal["Paris", "Rome"]
    big: bool


hi = [{"role": "user", "content": "Hi"}]
common = dict(base_url=base + "/v1", api_key="secret", max_retries=0)

# openai
c = OpenAI(**common)
model = c.models.list().data[0].id
assert model == "tiny-phi3", model
one = dict(model=model, messages=hi, max_completion_tokens=12, temperature=0)
chat = c.chat.completions.create(**one, logprobs=True, top_logprobs=3)
text = chat.choices[0].message.content
assert text and chat.usage.completion_tokens == 12, chat
for t in chat.choices[0].logprobs.content:
    assert len(t.top_logprobs) == 3 and t.logprob == t.top_logprobs[0].logprob, t

chunks = list(c.chat.completions.create(**one, stream=True, stream_options={"include_usage": True}))
assert chunks[-1].choices == [] and chunks[-1].usage.total_tokens == chat.usage.total_tokens, chunks[-1]
assert "".join(x.choices[0].delta.content or "" for x in chunks[:-1]) == text, chunks

done = c.completions.create(model=model, prompt=["The sky is", "A dog"], max_tokens=1, logprobs=2, echo=True)
for choice in done.choices:
    l = choice.logprobs
    assert l.token_logprobs[0] is None and len(l.tokens) == len(l.token_logprobs) == len(l.text_offset), l
    assert "".join(l.tokens) == choice.text, choice
for o in (c, OpenAI(**common, default_headers={"x-a": "b"})):
    v = o.embeddings.create(model=model, input=["a", "b"]).data
    assert len(v) == 2 and abs(sum(x * x for x in v[0].embedding) - 1) < 1e-5, v
parsed = c.chat.completions.parse(model=model, messages=hi, response_format=Answer, temperature=0)
assert isinstance(parsed.choices[0].message.parsed, Answer), parsed
try:
    c.completions.create(model=model, prompt="a", suffix="b")
    raise SystemExit("suffix was not refused")
except BadRequestError as e:
    assert e.param == "suffix", e


async def many():
    a = AsyncOpenAI(**common)
    all = await asyncio.gather(*(a.chat.completions.create(**one) for _ in range(12)))
    assert all[0].choices[0].message.content == text and all[11].choices[0].message.content == text, all
    stream = await a.chat.completions.create(**one, stream=True)
    assert "".join([x.choices[0].delta.content or "" async for x in stream]) == text


asyncio.run(many())
print("openai: ok", file=sys.stderr)

# langchain-openai
settings = dict(base_url=base + "/v1", api_key="secret", model=model, max_retries=0, temperature=0)
l = ChatOpenAI(**settings, max_tokens=12)
assert l.invoke("Hi").content == text
assert "".join(x.content for x in l.stream("Hi")) == text
assert isinstance(ChatOpenAI(**settings).with_structured_output(Answer).invoke("Hi"), Answer)
assert LangChainOpenAI(**settings, max_tokens=5).invoke("The dog")
e = OpenAIEmbeddings(base_url=base + "/v1", api_key="secret", model=model, check_embedding_ctx_length=False)
assert len(e.embed_query("a")) == len(v[0].embedding)
print("langchain-openai: ok", file=sys.stderr)

# ollama
o = ollama.Client(host=base, headers={"Authorization": "Bearer secret"})
assert o.list().models[0].model == model and o.ps().models[0].model == model
assert o.show(model).modelinfo["general.architecture"] == "phi3"
options = dict(num_predict=12, temperature=0, repeat_penalty=1)
a = o.chat(model=model, messages=hi, options=options, keep_alive="5m")
assert a.message.content == text and a.done and a.eval_count == 12, a
assert "".join(x.message.content for x in o.chat(model=model, messages=hi, options=options, stream=True)) == text
assert o.generate(model=model, prompt="Hi", options=options).response == text
assert "".join(x.response for x in o.generate(model=model, prompt="Hi", options=options, stream=True)) == text
a = o.chat(model=model, messages=hi, format=Answer.model_json_schema(), options=dict(temperature=0))
Answer.model_validate_json(a.message.content)
e = o.embed(model=model, input=["a"]).embeddings[0]
assert len(e) == len(v[0].embedding) and max(abs(x - y) for x, y in zip(e, v[0].embedding)) < 1e-6, e
try:
    o.generate(model=model, prompt="a", suffix="b")
    raise SystemExit("suffix was not refused")
except ollama.ResponseError as e:
    assert e.status_code == 400 and "suffix" in e.error, e
print("ollama: ok", file=sys.stderr)

r = urllib.request.Request(base + "/metrics", headers={"Authorization": "Bearer secret"})
print(urllib.request.urlopen(r).read().decode(), end="")
