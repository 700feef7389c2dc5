"""The HTTP side: what a request may hold, what an answer holds, and every refusal in OpenAI's shape."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from typing import Any

import pytest
import torch
from aiohttp.test_utils import TestClient, TestServer
from hypothesis import given
from hypothesis import strategies as st
from transformers import PreTrainedModel

from trainer.api import Api, Refused, read_request, stop_check
from trainer.chat import Chat
from trainer.engine import Completion, Engine, Request
from trainer.sampling import Sampling
from trainer.slots import open_runner
from trainer.tests.tiny import tiny_model, tiny_tokenizer

CONTEXT = 400
ASKED = [{"role": "user", "content": "def f(x):"}]
BODY: dict[str, Any] = {"model": "tiny", "messages": ASKED, "max_tokens": 8, "seed": 3}
ROUTE = "/v1/chat/completions"


def with_api(test: Callable[[TestClient, Api], Awaitable[None]], *, loaded: bool = True) -> None:
    """Runs the test against a server of its own."""

    async def run() -> None:
        api = Api("tiny")
        if loaded:
            open_model(api)
        async with TestClient(TestServer(api.app, handler_cancellation=True)) as client:
            await test(client, api)
            await api.stop(0)

    asyncio.run(run())


def open_model(api: Api, model: PreTrainedModel | None = None) -> None:
    tokenizer = tiny_tokenizer("chatml")
    ends = frozenset({tokenizer.eos_token_id})
    api.open(Engine(open_runner(model or tiny_model(), 4)[0], CONTEXT, ends), Chat(tokenizer, ends))


async def post(client: TestClient, **fields: Any) -> tuple[int, Any]:
    async with client.post(ROUTE, json={**BODY, **fields}) as response:
        return response.status, await response.json()


def test_fields_become_sampling_and_limits() -> None:
    asked = read_request(
        {
            **BODY,
            "temperature": 0.5,
            "top_p": 0.9,
            "top_k": -1,
            "min_p": 0.1,
            "seed": -5,
            "stop": "x",
            "logprobs": True,
            "top_logprobs": 2,
            "return_token_ids": True,
            "user": "someone",
            "n": 1,
            "stream": False,
        },
        "tiny",
    )
    assert asked.sampling == Sampling(temperature=0.5, top_p=0.9, top_k=0, min_p=0.1, seed=-5, top_logprobs=2)
    assert (asked.max_tokens, asked.stop, asked.logprobs, asked.token_ids) == (8, ("x",), True, True)
    bare = read_request({"model": "tiny", "messages": BODY["messages"]}, "tiny")
    assert (bare.sampling, bare.max_tokens, bare.stop, bare.logprobs) == (Sampling(), None, (), False)
    assert read_request({**BODY, "max_completion_tokens": 3}, "tiny").max_tokens == 3


def test_text_parts_of_a_message_are_joined() -> None:
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    asked = read_request({**BODY, "messages": [{"role": "user", "content": parts}]}, "tiny")
    assert asked.messages == [{"role": "user", "content": "ab"}]


@pytest.mark.parametrize(
    ("fields", "param", "words"),
    [
        ({"temprature": 1}, "temprature", "unknown field temprature; known are logprobs"),
        ({"temperature": -1}, "temperature", "from 0 to 100, not -1"),
        ({"temperature": "hot"}, "temperature", 'not "hot"'),
        ({"temperature": float("nan")}, "temperature", "not NaN"),
        ({"top_p": 0}, "top_p", "a number from"),
        ({"temperature": 10**400}, "temperature", "from 0 to 100"),
        ({"seed": 10**400}, "seed", "a whole number"),
        ({"top_k": 1.5}, "top_k", "a whole number"),
        ({"min_p": 2}, "min_p", "from 0 to 1"),
        ({"seed": True}, "seed", "not true"),
        ({"max_tokens": 0}, "max_tokens", "from 1"),
        ({"top_logprobs": 2}, "top_logprobs", "needs logprobs"),
        ({"top_logprobs": 21, "logprobs": True}, "top_logprobs", "from 0 to 20"),
        ({"logprobs": 1}, "logprobs", "true or false"),
        ({"stop": [""]}, "stop", "none of them empty"),
        ({"stop": 3}, "stop", "a text or a list"),
        ({"stop": ["\udc00"]}, "stop", "not allowed at character 0"),
        ({"n": 2}, "n", "not supported"),
        ({"stream": True}, "stream", "not supported"),
        ({"tools": [{"type": "function"}]}, "tools", "not supported"),
        ({"model": 3}, "model", "must be a text"),
        ({"messages": []}, "messages", "at least one"),
        ({"messages": ["x"]}, "messages[0]", "role must be one of system"),
        ({"messages": [*BODY["messages"], {"role": "robot", "content": ""}]}, "messages[1]", "role must be"),
        ({"messages": [{"role": "user"}]}, "messages[0]", "content must be"),
        ({"messages": [{"role": "user", "content": "ab\ud83d"}]}, "messages[0]", "not allowed at character 2"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "messages[0]", "content must be"),
    ],
)
def test_a_wrong_field_is_refused_by_name(fields: dict[str, Any], param: str, words: str) -> None:
    with pytest.raises(Refused) as refused:
        read_request({**BODY, **fields}, "tiny")
    assert (refused.value.param, refused.value.status) == (param, 400)
    assert words in refused.value.message


def test_a_completion_has_text_ids_log_probabilities_and_usage() -> None:
    async def test(client: TestClient, _: Api) -> None:
        status, answer = await post(client, logprobs=True, top_logprobs=2, return_token_ids=True)
        assert status == 200
        tokenizer = tiny_tokenizer("chatml")
        [choice] = answer["choices"]
        ids = choice["token_ids"]
        prompt = answer["prompt_token_ids"]
        assert prompt == tokenizer.apply_chat_template(BODY["messages"], add_generation_prompt=True, return_dict=False)
        assert choice["message"] == {"role": "assistant", "content": tokenizer.decode(ids, skip_special_tokens=True)}
        assert choice["finish_reason"] == ("stop" if ids[-1] == tokenizer.eos_token_id else "length")
        usage = answer["usage"]
        assert [usage["prompt_tokens"], usage["completion_tokens"]] == [len(prompt), len(ids)]

        with torch.inference_mode():
            logits = tiny_model()(input_ids=torch.tensor([prompt + ids])).logits[0, len(prompt) - 1 : -1]
        own = logits.log_softmax(-1)
        content = choice["logprobs"]["content"]
        assert [entry["logprob"] for entry in content] == pytest.approx(
            [float(own[place, token]) for place, token in enumerate(ids)], abs=1e-4
        )
        found = [entry["top_logprobs"][0]["logprob"] for entry in content]
        assert found == pytest.approx(own.max(-1).values.tolist(), abs=1e-4)
        assert bytes(content[0]["bytes"]).decode() == content[0]["token"]

    with_api(test)


def test_equal_seeds_give_equal_replies_and_nothing_is_sent_that_was_not_asked_for() -> None:
    async def test(client: TestClient, _: Api) -> None:
        answers = [(await post(client, seed=seed, max_tokens=20))[1] for seed in (1, 1, 2)]
        texts = [answer["choices"][0]["message"]["content"] for answer in answers]
        assert texts[0] == texts[1] != texts[2]
        assert answers[0]["choices"][0]["logprobs"] is None
        assert "token_ids" not in answers[0]["choices"][0] and "prompt_token_ids" not in answers[0]

    with_api(test)


def test_the_next_turn_shows_the_model_the_ids_it_sampled() -> None:
    async def test(client: TestClient, _: Api) -> None:
        _, first = await post(client, return_token_ids=True, max_tokens=30)
        reply = first["choices"][0]
        messages = [*BODY["messages"], reply["message"], {"role": "user", "content": "the tests pass"}]
        status, second = await post(client, return_token_ids=True, messages=messages)
        assert status == 200
        shown = first["prompt_token_ids"] + reply["token_ids"]
        assert second["prompt_token_ids"][: len(shown)] == shown
        assert second["usage"]["prompt_tokens_details"]["cached_tokens"] >= len(shown) - 1

    with_api(test)


def test_a_stop_text_ends_the_reply_before_it() -> None:
    async def test(client: TestClient, _: Api) -> None:
        _, whole = await post(client, max_tokens=40)
        text = whole["choices"][0]["message"]["content"]
        stop = text[5:7]
        _, cut = await post(client, max_tokens=40, stop=["never to be seen", stop])
        [choice] = cut["choices"]
        assert choice["message"]["content"] == text[: text.index(stop)]
        assert choice["finish_reason"] == "stop"
        assert cut["usage"]["completion_tokens"] < whole["usage"]["completion_tokens"]
        messages = [*ASKED, choice["message"], {"role": "user", "content": "the tests pass"}]
        _, after = await post(client, return_token_ids=True, messages=messages)
        shown = tiny_tokenizer("chatml").apply_chat_template(messages, add_generation_prompt=True, return_dict=False)
        assert after["prompt_token_ids"] == shown

    with_api(test)


@given(st.text(st.sampled_from("ab é\n☃"), min_size=1, max_size=80), st.data())
def test_a_stop_text_is_found_with_the_token_that_completes_it(text: str, data: st.DataObject) -> None:
    tokenizer = tiny_tokenizer("chatml")
    chat = Chat(tokenizer, frozenset({tokenizer.eos_token_id}))
    start = data.draw(st.integers(0, len(text) - 1))
    stop = text[start : start + data.draw(st.integers(1, 12))]
    ids = tokenizer.encode(text, add_special_tokens=False)
    ended = stop_check(chat, ("x", stop))
    counts = range(1, len(ids) + 1)
    first = next(count for count in counts if stop in chat.text(ids[:count]))
    assert next(count for count in counts if ended(ids[:count])) == first


def test_a_temperature_of_almost_zero_takes_the_likeliest_tokens() -> None:
    async def test(client: TestClient, _: Api) -> None:
        answers = [await post(client, temperature=temperature) for temperature in (0, 1e-50)]
        assert [status for status, _ in answers] == [200, 200]
        assert answers[0][1]["choices"] == answers[1][1]["choices"]

    with_api(test)


def test_a_prompt_that_does_not_fit_is_refused_as_openai_does_with_the_sizes() -> None:
    async def test(client: TestClient, _: Api) -> None:
        status, answer = await post(client, max_tokens=CONTEXT)
        assert (status, answer["error"]["code"]) == (400, "context_length_exceeded")
        assert f"maximum context length is {CONTEXT} tokens" in answer["error"]["message"]
        assert f"{CONTEXT} in the completion" in answer["error"]["message"]
        long = [{"role": "user", "content": "x" * 2 * CONTEXT}]
        async with client.post(ROUTE, json={"model": "tiny", "messages": long}) as response:
            assert (await response.json())["error"]["code"] == "context_length_exceeded"

    with_api(test)


def test_refusals_have_openais_shape() -> None:
    async def test(client: TestClient, _: Api) -> None:
        status, answer = await post(client, model="other")
        assert (status, answer["error"]["code"]) == (404, "model_not_found")
        assert "there is no model other here; this server has tiny" in answer["error"]["message"]
        for body in (b"{bad", b"[" * 100_000):
            async with client.post(ROUTE, data=body) as response:
                assert response.status == 400
                assert "the body is not JSON" in (await response.json())["error"]["message"]
        async with client.get("/v1/none") as response:
            assert response.status == 404
            assert set((await response.json())["error"]) == {"message", "type", "param", "code"}
        async with client.get(ROUTE) as response:
            assert response.status == 405 and "error" in await response.json()

    with_api(test)


def test_the_server_answers_503_until_the_model_is_there_and_once_it_stops() -> None:
    async def test(client: TestClient, api: Api) -> None:
        async with client.get("/health") as response:
            assert response.status == 503 and response.headers["Retry-After"] == "1"
        assert (await post(client))[0] == 503
        open_model(api)
        async with client.get("/health") as response:
            assert response.status == 200
        async with client.get("/v1/models") as response:
            [entry] = (await response.json())["data"]
            assert (entry["id"], entry["max_model_len"]) == ("tiny", CONTEXT)
        await api.stop(0)
        status, answer = await post(client)
        assert status == 503 and "stopping" in answer["error"]["message"]

    with_api(test, loaded=False)


def test_stopping_lets_running_requests_finish() -> None:
    async def test(client: TestClient, api: Api) -> None:
        asked = asyncio.create_task(post(client, max_tokens=40))
        while not api.running:
            await asyncio.sleep(0)
        await api.stop(60)
        assert (await asked)[0] == 200

    with_api(test)


class Deaf(Engine):
    """Takes requests and never answers."""

    def __init__(self) -> None:
        self.context = CONTEXT
        self.asked: list[Request] = []

    def submit(self, request: Request) -> Future[Completion]:
        self.asked.append(request)
        return request.done

    def close(self) -> None:
        pass


def test_a_client_that_goes_away_cancels_its_request() -> None:
    async def test(client: TestClient, api: Api) -> None:
        engine = Deaf()
        api.open(engine, Chat(tiny_tokenizer("chatml"), frozenset()))
        asking = asyncio.create_task(post(client))
        while not engine.asked:
            await asyncio.sleep(0.01)
        asking.cancel()
        while not engine.asked[0].done.cancelled():
            await asyncio.sleep(0.01)
        assert api.running == 0

    with_api(test, loaded=False)


def test_a_model_that_computes_no_finite_logits_is_refused_with_422() -> None:
    async def test(client: TestClient, api: Api) -> None:
        model = tiny_model()
        torch.nn.init.constant_(model.get_input_embeddings().weight, torch.nan)
        open_model(api, model)
        status, answer = await post(client)
        assert (status, answer["error"]["code"]) == (422, "not_finite")

    with_api(test, loaded=False)


def test_each_request_is_a_line_on_standard_error_where_that_is_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    async def test(client: TestClient, api: Api) -> None:
        await post(client)
        assert capsys.readouterr().err == ""
        api.log_requests = True
        await post(client, seed=7)
        [line] = capsys.readouterr().err.splitlines()
        said = json.loads(line)
        assert (said["event"], said["seed"], said["maxTokens"]) == ("request", 7, 8)
        assert said["promptTokens"] > 0

    with_api(test)
