"""What a program does with OpenAI's client for Python; says what came of it as one line of JSON."""

import json
import sys

import openai

client = openai.OpenAI(max_retries=0)  # OPENAI_BASE_URL and OPENAI_API_KEY


def error(call):
    """The error that a call must end in."""
    try:
        call()
    except openai.APIStatusError as e:
        headers = e.response.headers
        return {
            "class": type(e).__name__,
            "status": e.status_code,
            "type": e.type,
            "code": e.code,
            "param": e.param,
            "message": e.body["message"],
            "request_id": e.request_id,
            "retry_after": headers.get("retry-after"),
            "left": headers.get("x-ratelimit-remaining-requests"),
        }
    return None


def models():
    listed = [model.id for model in client.models.list()]
    return {
        "ids": listed,
        "one": client.models.retrieve(listed[0]).object,
        "none": error(lambda: client.models.retrieve("gpt-9")),
    }


def embeddings():
    texts = ["The notice period is ninety days.", "Ninety days is the notice period.", "Bread needs yeast."]
    model = sys.argv[2]
    raw = client.embeddings.with_raw_response.create(model=model, input=texts)
    base64 = raw.parse()  # what the client asks for by itself
    floats = client.embeddings.create(model=model, input=texts, encoding_format="float")
    one = client.embeddings.create(model=model, input=texts[0], dimensions=384)
    a, b, c = [one.embedding for one in base64.data]

    def near(x, y):
        return sum(p * q for p, q in zip(x, y))

    return {
        "length": len(a),
        "same": all(abs(p - q) < 1e-6 for p, q in zip(a + b + c, sum([f.embedding for f in floats.data], []))),
        "one": one.data[0].embedding == a,
        "near": near(a, b) > near(a, c),
        "tokens": [base64.usage.total_tokens, one.usage.prompt_tokens],
        "headers": {name: raw.headers.get(name) for name in ("x-request-id", "x-ratelimit-limit-requests", "x-ratelimit-reset-tokens")},
        "of_tokens": error(lambda: client.embeddings.create(model=model, input=[[1, 2, 3]])),
        "too_many": error(lambda: client.embeddings.create(model=model, input=["x"] * 2049)),
        "dimensions": error(lambda: client.embeddings.create(model=model, input="x", dimensions=7)),
        "model": error(lambda: client.embeddings.create(model="gpt-9", input="x")),
    }


def refused():
    return {"models": error(client.models.list), "embeddings": error(lambda: client.embeddings.create(model=sys.argv[2], input="x"))}


ADD = {
    "type": "function",
    "function": {"name": "add", "description": "Adds.", "parameters": {"type": "object", "properties": {"a": {"type": "number"}}}},
}
PIXEL = "data:image/png;base64,iVBORw0KGgo="


def streamed(**request):
    """Everything of a stream: text, calls, how it ended, usage, citations."""
    text, calls, finish, usage, citations = "", {}, None, None, []
    options = {"include_usage": True}
    for chunk in client.chat.completions.create(stream=True, stream_options=options, **request):
        citations += (chunk.model_extra or {}).get("citations", [])
        usage = chunk.usage or usage
        for choice in chunk.choices:
            finish = choice.finish_reason or finish
            text += choice.delta.content or ""
            for call in choice.delta.tool_calls or []:
                mine = calls.setdefault(call.index, {"id": call.id, "name": call.function.name, "arguments": ""})
                mine["arguments"] += call.function.arguments or ""
    return {"text": text, "calls": list(calls.values()), "finish": finish, "total": usage and usage.total_tokens, "citations": len(citations)}


def chat():
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "What is the answer?"}]
    whole = client.chat.completions.create(model="gpt-4o-mini", messages=messages, temperature=0.5, max_completion_tokens=50, stop=["END"])
    stream = streamed(model="gpt-4o-mini", messages=messages)
    return {
        "whole": [whole.choices[0].message.content, whole.choices[0].finish_reason, whole.usage.prompt_tokens, whole.usage.completion_tokens, whole.model],
        "stream": stream,
    }


def tools():
    messages = [{"role": "user", "content": [{"type": "text", "text": "Add."}, {"type": "image_url", "image_url": {"url": PIXEL}}]}]
    whole = client.chat.completions.create(model="gpt-4o-mini", messages=messages, tools=[ADD], tool_choice="required")
    said = whole.choices[0].message
    call = said.tool_calls[0]
    stream = streamed(model="gpt-4o-mini", messages=messages, tools=[ADD])
    messages += [said, {"role": "tool", "tool_call_id": call.id, "content": "3"}]
    last = client.chat.completions.create(model="gpt-4o-mini", messages=messages, tools=[ADD])
    return {
        "call": [call.function.name, call.function.arguments, whole.choices[0].finish_reason, said.content],
        "stream": stream,
        "last": last.choices[0].message.content,
    }


def schema():
    import pydantic

    class City(pydantic.BaseModel):
        name: str

    parsed = client.chat.completions.parse(model="gpt-4o-mini", messages=[{"role": "user", "content": "A city."}], response_format=City)
    return {"name": parsed.choices[0].message.parsed.name}


def assistant():
    messages = [{"role": "user", "content": "How long is the notice period?"}]
    whole = client.chat.completions.create(model="default", messages=messages)
    stream = streamed(model="default", messages=messages)
    stored = {"conversation_id": sys.argv[2]}
    goes_on = client.chat.completions.create(model="default", messages=messages, metadata=stored, temperature=0.25, top_p=0.5, max_completion_tokens=40, stop=["END"])
    return {"whole": len(whole.model_extra["citations"]), "stream": stream["citations"], "goes_on": goes_on.choices[0].message.content}


def wrong():
    user = [{"role": "user", "content": "Hi"}]

    def asking(**more):
        return error(lambda: client.chat.completions.create(**{"model": "gpt-4o-mini", "messages": user, **more}))

    remote = [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}]}]
    failed = None
    try:
        streamed(model="gpt-4o-mini", messages=user)
    except openai.APIError as e:
        failed = e.message
    return {"n": asking(n=2), "unknown": asking(model="gpt-9"), "remote": asking(messages=remote), "whole": asking(), "stream": failed}


def clerk():
    messages = [{"role": "user", "content": "What is six times seven?"}]
    whole = client.chat.completions.create(model="clerk", messages=messages).choices[0]
    stream = streamed(model="clerk", messages=messages)
    own = client.chat.completions.create(model="clerk", messages=messages, tools=[ADD])
    return {"whole": [whole.message.content, whole.finish_reason, whole.message.tool_calls], "stream": stream, "own": own.choices[0].message.tool_calls[0].function.name}


def helpers():
    import asyncio

    import pydantic

    class City(pydantic.BaseModel):
        name: str

    asked = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "A city."}]}
    with client.chat.completions.stream(response_format=City, **asked) as stream:
        for _ in stream:
            pass
        final = stream.get_final_completion().choices[0]
    raw = client.chat.completions.with_raw_response.create(**asked)

    async def at_once():
        async with openai.AsyncOpenAI(max_retries=0) as own:

            async def one():
                return "".join([chunk.choices[0].delta.content or "" async for chunk in await own.chat.completions.create(stream=True, **asked)])

            return await asyncio.gather(one(), one())

    return {"tool": None, "streamed": final.message.parsed.name, "turn": raw.headers["x-turn-id"], "raw": raw.parse().choices[0].message.content, "at_once": asyncio.run(at_once())}


def leaves():
    """Reads a word and hangs up."""
    stream = client.chat.completions.create(model="gpt-4o-mini", messages=[{"role": "user", "content": "Count."}], stream=True)
    word = next(chunk.choices[0].delta.content for chunk in stream if chunk.choices[0].delta.content)
    stream.close()
    return {"word": word.split()[0], "turn": stream.response.headers["x-turn-id"]}


SCENARIOS = [models, embeddings, refused, chat, tools, schema, assistant, wrong, clerk, helpers, leaves]
print(json.dumps({scenario.__name__: scenario for scenario in SCENARIOS}[sys.argv[1]]()))
