"""The embedded server: `python -m trainer.serve --model FOLDER --name ID` answers OpenAI's chat completions.

It listens at once and answers 503 until the model is loaded; then it prints `{"event": "ready", "port": N}`. Asked to
stop it takes no new request, gives the running ones a few seconds, and exits with 0. `api.py` is the HTTP side,
`chat.py` makes token ids of messages, `engine.py` batches, `slots.py` runs the model, `sampling.py` draws.

Not covered: streaming, tool calls as structures, several models, authentication: it listens on the loopback interface
unless told otherwise, and whoever reaches it may use it.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import sys
from typing import TYPE_CHECKING

from trainer.program import (
    EXIT_BAD_INPUT,
    BadInput,
    StopRequest,
    device_of,
    emit,
    leave,
    load_model,
    load_tokenizer,
    set_threads,
)

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from trainer.chat import Chat
    from trainer.engine import Engine

GRACE_SECONDS = 5.0
"""What running requests get when the server stops."""
UNBOUNDED_CONTEXT = 32768
"""Longest conversation, in tokens, of a model whose configuration names none."""


def read_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser("python -m trainer.serve", description="OpenAI-compatible server of one model")
    parser.add_argument("--model", required=True, help="Hugging Face folder of a causal language model")
    parser.add_argument("--name", required=True, help="the model's name in requests")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0 = any free one")
    parser.add_argument("--threads", type=int, default=1, help="threads of one operation")
    parser.add_argument("--slots", type=int, default=32, help="conversations kept, and requests run, at once")
    parser.add_argument("--device", choices=("auto", "cpu", "gpu"), default="auto")
    parser.add_argument("--log-requests", action="store_true", help="a JSON line on standard error for each request")
    read = parser.parse_args(arguments)
    for name in ("slots", "threads"):
        if getattr(read, name) < 1:
            parser.error(f"--{name} must be at least 1")
    return read


def end_ids(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> frozenset[int]:
    """Tokens that end a reply: those of the generation configuration and the tokenizer's end of sequence."""
    named = [model.generation_config.eos_token_id if model.generation_config else None, tokenizer.eos_token_id]
    flat = [token for entry in named for token in (entry if isinstance(entry, list) else [entry])]
    return frozenset(token for token in flat if token is not None)


def context_of(model: PreTrainedModel) -> int:
    """Longest conversation the model was made for, in tokens."""
    return getattr(model.config.get_text_config(), "max_position_embeddings", None) or UNBOUNDED_CONTEXT


def open_engine(arguments: argparse.Namespace) -> tuple[Engine, Chat]:
    from trainer.chat import Chat
    from trainer.engine import Engine
    from trainer.slots import open_runner

    device = device_of(arguments.device)
    set_threads(arguments.threads)
    tokenizer = load_tokenizer(arguments.model)
    model = load_model(arguments.model, device)
    runner, fallback = open_runner(model, arguments.slots)
    if fallback is not None:
        print(f"one forward pass per request, the model does not fit the slots: {fallback}", file=sys.stderr)
    ends = end_ids(model, tokenizer)
    # What was loaded stays for good: the collector need not look through it again in the middle of a step.
    gc.freeze()
    return Engine(runner, context_of(model), ends), Chat(tokenizer, ends)


async def serve(arguments: argparse.Namespace, stop: StopRequest) -> None:
    from aiohttp import web

    from trainer.api import Api

    api = Api(arguments.name, arguments.log_requests)
    runner = web.AppRunner(api.app, access_log=None, handler_cancellation=True)
    await runner.setup()
    await web.TCPSite(runner, arguments.host, arguments.port).start()
    port = runner.addresses[0][1]
    try:
        emit("start", model=arguments.name, port=port)
        loading = asyncio.create_task(asyncio.to_thread(open_engine, arguments))
        while not (stop or loading.done()):
            await asyncio.sleep(0.05)
        if not loading.done():
            leave(0)  # a thread in the middle of a large file cannot be ended otherwise
        api.open(*loading.result())
        emit("ready", port=port)
        while not stop:
            await asyncio.sleep(0.05)
        await api.stop(GRACE_SECONDS)
    finally:
        await runner.cleanup()


def main() -> None:
    arguments = read_arguments()
    # Before the libraries are imported, which takes seconds: a stop in between is one as well.
    stop = StopRequest().watch()
    try:
        asyncio.run(serve(arguments, stop))
    except BadInput as error:
        emit("error", type=error.type, message=error.message)
        leave(EXIT_BAD_INPUT)
    leave(0)


if __name__ == "__main__":
    main()
