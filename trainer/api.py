"""The HTTP side of the embedded server: OpenAI's chat completions, not streamed, one choice.

`POST /v1/chat/completions`, `GET /v1/models`, `GET /health`. Beyond OpenAI's fields, as in vLLM: `top_k`, `min_p` and
`return_token_ids`, which adds `token_ids` to the choice (sampled ids, end token included) and `prompt_token_ids`.
Every error is `{"error": {message, type, param, code}}`: 400 a field, 404 the model, 413 the body, 422 a model that
computes no finite logits, 503 not now.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from trainer.chat import Chat, Prompt, TemplateRefused
from trainer.engine import Completion, Engine, NotFinite, Request, Unavailable
from trainer.sampling import Sampling

MAX_BODY = 64 * 2**20
LEAST_TEMPERATURE = 1e-5
TOKENS_WITHOUT_TEXT = 16
"""Special tokens that may stand within a stop text, which is found all the same."""
ROLES = ("system", "developer", "user", "assistant", "tool")
UNSUPPORTED: dict[str, Any] = {
    "stream": False,
    "n": 1,
    "tools": [],
    "tool_choice": "none",
    "functions": [],
    "logit_bias": {},
    "frequency_penalty": 0,
    "presence_penalty": 0,
    "response_format": {"type": "text"},
}
"""Fields that are taken at the value that changes nothing."""
IGNORED = {"user", "store", "metadata", "service_tier", "safety_identifier", "prompt_cache_key", "parallel_tool_calls"}
KNOWN = {"model", "messages", "seed", "temperature", "top_p", "top_k", "min_p", "max_tokens"} | {
    "max_completion_tokens",
    "stop", "logprobs", "top_logprobs", "return_token_ids"
}  # fmt: skip


class Refused(Exception):
    """An answer that is an error, in OpenAI's shape."""

    def __init__(self, message: str, param: str | None = None, status: int = 400, code: str | None = None) -> None:
        super().__init__(message)
        self.message, self.param, self.status, self.code = message, param, status, code

    def response(self) -> web.Response:
        kind = "server_error" if self.status >= 500 else "invalid_request_error"
        error = {"message": self.message, "type": kind, "param": self.param, "code": self.code}
        headers = {"Retry-After": "1"} if self.status == 503 else None
        return web.json_response({"error": error}, status=self.status, headers=headers)


@dataclass(frozen=True)
class Asked:
    """A request after its fields were checked."""

    messages: list[dict[str, str]]
    sampling: Sampling
    max_tokens: int | None
    """None = as many as fit."""
    stop: tuple[str, ...]
    logprobs: bool
    token_ids: bool


def read_request(body: Any, model: str) -> Asked:
    """Checks every field; `Refused` names the first that is wrong."""
    if not isinstance(body, dict):
        raise Refused("the body must be a JSON object")
    unknown = sorted(set(body) - KNOWN - IGNORED - set(UNSUPPORTED))
    if unknown:
        raise Refused(f"unknown field {unknown[0]}; known are {', '.join(sorted(KNOWN))}", unknown[0])
    for name, neutral in UNSUPPORTED.items():
        if body.get(name) not in (None, neutral):
            raise Refused(f"{name} is not supported here; leave it out", name)
    if not isinstance(body.get("model"), str):
        raise Refused("model must be a text", "model")
    if body["model"] != model:
        message = f"there is no model {body['model']} here; this server has {model}"
        raise Refused(message, "model", 404, "model_not_found")
    limit = "max_completion_tokens" if body.get("max_completion_tokens") is not None else "max_tokens"
    max_tokens = _number(body, limit, None, 1, 2**31, whole=True)
    logprobs, top = _flag(body, "logprobs"), _number(body, "top_logprobs", 0, 0, 20, whole=True)
    if top and not logprobs:
        raise Refused("top_logprobs needs logprobs: true", "top_logprobs")
    sampling = Sampling(
        temperature=_temperature(body),
        top_p=_number(body, "top_p", 1.0, 1e-9, 1),
        top_k=max(0, _number(body, "top_k", 0, -1, 2**31, whole=True)),
        min_p=_number(body, "min_p", 0.0, 0, 1),
        seed=_number(body, "seed", None, -(2**63), 2**64, whole=True),
        top_logprobs=top,
    )
    return Asked(_messages(body), sampling, max_tokens, _stop(body), logprobs, _flag(body, "return_token_ids"))


def _number(body: dict[str, Any], name: str, default: Any, low: float, high: float, whole: bool = False) -> Any:
    value = body.get(name)
    if value is None:
        return default
    kinds = (int,) if whole else (int, float)
    if isinstance(value, bool) or not isinstance(value, kinds) or not low <= value <= high:
        kind = "a whole number" if whole else "a number"
        raise Refused(f"{name} must be {kind} from {low} to {high}, not {json.dumps(value)[:40]}", name)
    return value


def _temperature(body: dict[str, Any]) -> float:
    """One that is almost 0 is 0, as in vLLM: logits divided by it would overflow."""
    temperature = _number(body, "temperature", 1.0, 0, 100)
    return temperature if temperature >= LEAST_TEMPERATURE else 0.0


def _flag(body: dict[str, Any], name: str) -> bool:
    value = body.get(name)
    if value not in (None, True, False) or isinstance(value, (int, float)) and not isinstance(value, bool):
        raise Refused(f"{name} must be true or false", name)
    return bool(value)


def _stop(body: dict[str, Any]) -> tuple[str, ...]:
    stop = body.get("stop")
    texts = [stop] if isinstance(stop, str) else stop or []
    if not isinstance(texts, list) or len(texts) > 16 or not all(isinstance(text, str) and text for text in texts):
        raise Refused("stop must be a text or a list of at most 16 texts, none of them empty", "stop")
    for text in texts:
        _refuse_half_characters(text, "stop")
    return tuple(texts)


def _messages(body: dict[str, Any]) -> list[dict[str, str]]:
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages:
        raise Refused("messages must be a list of at least one message", "messages")
    return [_message(message, f"messages[{place}]") for place, message in enumerate(messages)]


def _message(message: Any, place: str) -> dict[str, str]:
    if not isinstance(message, dict) or message.get("role") not in ROLES:
        raise Refused(f"{place}.role must be one of {', '.join(ROLES)}", place)
    content = message.get("content")
    if isinstance(content, list) and all(isinstance(part, dict) and part.get("type") == "text" for part in content):
        content = "".join(str(part.get("text")) for part in content)
    if not isinstance(content, str):
        raise Refused(f"{place}.content must be a text or a list of text parts", place)
    _refuse_half_characters(content, place)
    return {"role": message["role"], "content": content}


def _refuse_half_characters(text: str, place: str) -> None:
    """JSON can hold half of a character that takes two units of UTF-16; no tokenizer can."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        message = f"{place} is not Unicode text: {error.reason} at character {error.start}"
        raise Refused(message, place) from error


class Api:
    """One model behind HTTP. Answers 503 until `open` and from `stop` on."""

    def __init__(self, model: str, log_requests: bool = False) -> None:
        self.model = model
        self.log_requests = log_requests
        self.created = int(time.time())
        self.engine: Engine | None = None
        self.chat: Chat | None = None
        self.running = 0
        self._stopping = False
        self.app = web.Application(client_max_size=MAX_BODY, middlewares=[_errors])
        self.app.router.add_get("/health", self._health)
        self.app.router.add_get("/v1/models", self._models)
        self.app.router.add_post("/v1/chat/completions", self._complete)

    def open(self, engine: Engine, chat: Chat) -> None:
        self.engine, self.chat = engine, chat

    async def stop(self, seconds: float) -> None:
        """No new requests; waits for the running ones, but no longer than this; the rest fail as 503."""
        self._stopping = True
        deadline = time.monotonic() + seconds
        while self.running and time.monotonic() < deadline:
            await asyncio.sleep(0.02)
        if self.engine is not None:
            await asyncio.to_thread(self.engine.close)

    def _ready(self) -> tuple[Engine, Chat]:
        if self._stopping:
            raise Refused(f"the server of {self.model} is stopping", status=503)
        if self.engine is None or self.chat is None:
            raise Refused(f"the model {self.model} is being loaded", status=503)
        return self.engine, self.chat

    async def _health(self, _: web.Request) -> web.Response:
        self._ready()
        return web.json_response({"status": "ok"})

    async def _models(self, _: web.Request) -> web.Response:
        engine, _chat = self._ready()
        entry = {"id": self.model, "object": "model", "created": self.created, "owned_by": "local"}
        return web.json_response({"object": "list", "data": [{**entry, "max_model_len": engine.context}]})

    async def _complete(self, request: web.Request) -> web.Response:
        engine, chat = self._ready()
        self.running += 1
        try:
            asked = read_request(await _json(request), self.model)
            prompt = _prompt(chat, asked)
            limit = _limit(engine.context, len(prompt.ids), asked.max_tokens)
            ended = stop_check(chat, asked.stop) if asked.stop else None
            if self.log_requests:
                known = {"seed": asked.sampling.seed, "promptTokens": len(prompt.ids), "maxTokens": limit}
                print(json.dumps({"event": "request", **known}), file=sys.stderr, flush=True)
            try:
                future = engine.submit(Request(prompt.ids, limit, asked.sampling, ended))
                completion = await asyncio.wrap_future(future)
            except Unavailable as error:
                raise Refused(str(error), status=503) from error
            except NotFinite as error:
                raise Refused(str(error), status=422, code="not_finite") from error
            return web.json_response(self._answer(chat, asked, prompt, completion))
        finally:
            self.running -= 1

    def _answer(self, chat: Chat, asked: Asked, prompt: Prompt, completion: Completion) -> dict[str, Any]:
        ids = [sampled.token for sampled in completion.tokens]
        text = chat.text(ids[:-1] if ids[-1] in chat.end_ids else ids)
        places = [place for stop in asked.stop if (place := text.find(stop)) >= 0]
        text = text[: min(places)] if places else text
        chat.remember(prompt, text, ids)
        choice: dict[str, Any] = {
            "index": 0,
            "message": {"role": "assistant", "content": text},
            "logprobs": {"content": _logprobs(chat, completion)} if asked.logprobs else None,
            "finish_reason": completion.finish,
        }
        if asked.token_ids:
            choice["token_ids"] = ids
        return {
            "id": f"chatcmpl-{uuid.uuid4().hex}",
            "object": "chat.completion",
            "created": int(time.time()),
            "model": self.model,
            "choices": [choice],
            "usage": {
                "prompt_tokens": len(prompt.ids),
                "completion_tokens": len(ids),
                "total_tokens": len(prompt.ids) + len(ids),
                "prompt_tokens_details": {"cached_tokens": completion.cached},
            },
            **({"prompt_token_ids": prompt.ids} if asked.token_ids else {}),
        }


@web.middleware
async def _errors(request: web.Request, handler: Any) -> web.StreamResponse:
    try:
        return await handler(request)
    except Refused as refused:
        return refused.response()
    except web.HTTPException as error:
        said = f"{request.method} {request.path}: {error.reason}"
        return Refused(said, status=error.status).response()


async def _json(request: web.Request) -> Any:
    try:
        return json.loads(await request.read())
    except (ValueError, RecursionError) as error:
        raise Refused(f"the body is not JSON: {error}") from error


def _prompt(chat: Chat, asked: Asked) -> Prompt:
    try:
        return chat.prompt(asked.messages)
    except TemplateRefused as error:
        raise Refused(f"the model's chat template refuses these messages: {error}", "messages") from error


def _limit(context: int, prompt: int, asked: int | None) -> int:
    """New tokens allowed; refuses what does not fit in the words that clients of OpenAI know."""
    if prompt + (asked or 1) <= context:
        return asked or context - prompt
    sizes = f"{prompt} in the messages, {asked or 1} in the completion"
    message = f"This model's maximum context length is {context} tokens. However, you requested {prompt + (asked or 1)}"
    raise Refused(f"{message} tokens ({sizes}).", "messages", code="context_length_exceeded")


def stop_check(chat: Chat, stops: tuple[str, ...]) -> Callable[[list[int]], bool]:
    """Tells of sampled ids, asked after each, whether they have come to a stop text.

    It then ends in the last of them, so the end of the reply is enough: a token has at least a byte of text, or none.
    """
    tail = max(len(stop.encode()) for stop in stops) + TOKENS_WITHOUT_TEXT

    def ended(ids: list[int]) -> bool:
        text = chat.text(ids[-tail:])
        return any(stop in text for stop in stops)

    return ended


def _logprobs(chat: Chat, completion: Completion) -> list[dict[str, Any]]:
    def entry(token: int, log_prob: float) -> dict[str, Any]:
        piece = chat.piece(token)
        return {"token": piece, "logprob": log_prob, "bytes": list(piece.encode())}

    return [
        {
            **entry(sampled.token, sampled.log_prob),
            "top_logprobs": [entry(token, log_prob) for token, log_prob in sampled.top],
        }
        for sampled in completion.tokens
    ]
