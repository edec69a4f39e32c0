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


print(json.dumps({"models": models, "embeddings": embeddings, "refused": refused}[sys.argv[1]]()))
