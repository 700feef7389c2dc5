"""Speed of the embedded server and its peers; `npm run bench -- serving` runs it with the trainer's Python.

16 rollouts at once, over HTTP, on a random Qwen3 of 1.9 M parameters unless a model is given. Each round is a task of
its own: all rollouts ask with the same first prompt of about 410 tokens (`first`), then each goes on with its own reply
and an observation of about 30 tokens, prompts of about 490 (`later`); 48 new tokens each. The peers get the very same
conversations of `later` in the same round: `generate` of transformers their token ids as a padded batch, and
`transformers serve`, where its extra packages are installed, the messages. Every process has one thread. The last line
printed is one JSON object, medians over 7 rounds after 2 of warm-up; the rounds are on standard error.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import Any

import aiohttp
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, Qwen3Config, Qwen3ForCausalLM

from trainer.tokenizer import train_tokenizer

TRAINER = Path(__file__).parents[1] / "trainer"
ROLLOUTS = 16
NEW_TOKENS = 48
WARM_UP, ROUNDS = 2, 7
WORDS = "value total index count limit name first last other item left right state order".split()


def write_model(folder: Path) -> None:
    """Random weights in the shape of the demo's model; its sampled text is noise, its arithmetic is the same."""
    sources = [path.read_text(encoding="utf8") for path in sorted(TRAINER.glob("*.py"))]
    tokenizer = train_tokenizer(sources, 1000)
    torch.manual_seed(0)
    config = Qwen3Config(
        vocab_size=len(tokenizer),
        hidden_size=192,
        intermediate_size=576,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=48,
        max_position_embeddings=4096,
        tie_word_embeddings=True,
        bos_token_id=None,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    Qwen3ForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


class Server:
    """A child process that answers chat completions."""

    def __init__(self, command: list[str], url: str | None, model: str) -> None:
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false", "HF_HUB_OFFLINE": "1"}
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
        self.process = subprocess.Popen(command, env=environment, text=True, **pipes)
        self.url, self.model = url, model

    def wait(self) -> None:
        """Until our own server says that it is ready."""
        for line in self.process.stdout:
            said = json.loads(line)
            if said["event"] == "ready":
                self.url = f"http://127.0.0.1:{said['port']}"
                return
        raise RuntimeError("the server ended before it was ready")

    def close(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()


async def ask_all(
    session: aiohttp.ClientSession, server: Server, conversations: list[list[dict[str, str]]], extra: dict[str, Any]
) -> tuple[float, list[dict[str, Any]]]:
    """Tokens a second of all conversations at once, and the answers."""

    async def ask(place: int, messages: list[dict[str, str]]) -> dict[str, Any]:
        body = {"model": server.model, "messages": messages, "max_tokens": NEW_TOKENS, "seed": place, **extra}
        async with session.post(f"{server.url}/v1/chat/completions", json={**body, "temperature": 1.0}) as response:
            if response.status != 200:
                raise RuntimeError(await response.text())
            return await response.json()

    started = time.perf_counter()
    answers = await asyncio.gather(*(ask(*entry) for entry in enumerate(conversations)))
    seconds = time.perf_counter() - started
    return sum(answer["usage"]["completion_tokens"] for answer in answers) / seconds, answers


def text_of(tokens: int, tokenizer: Any, draw: random.Random) -> str:
    """Words of about so many tokens, never the same."""
    words: list[str] = []
    while len(tokenizer.encode(" ".join(words))) < tokens:
        words += [draw.choice(WORDS), str(draw.randrange(10))]
    return " ".join(words)


@torch.inference_mode()
def generate(model: Any, prompts: list[list[int]]) -> float:
    """Tokens a second of plain `generate`: left-padded batch, dynamic cache, prefill included."""
    width = max(map(len, prompts))
    ids = torch.tensor([[0] * (width - len(prompt)) + prompt for prompt in prompts])
    mask = torch.tensor([[0] * (width - len(prompt)) + [1] * len(prompt) for prompt in prompts])
    started = time.perf_counter()
    model.generate(ids, attention_mask=mask, do_sample=True, max_new_tokens=NEW_TOKENS, min_new_tokens=NEW_TOKENS)
    return len(prompts) * NEW_TOKENS / (time.perf_counter() - started)


async def measure(ours: Server, peer: Server | None, folder: str) -> dict[str, list[float]]:
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    extra = {"logprobs": True, "return_token_ids": True}
    rows: dict[str, list[float]] = {"first": [], "later": [], "generate": [], "transformersServe": []}
    prompts, cached = [], []
    # A connection for each request: the peer's server drops idle ones, some just when they are used again.
    connector = aiohttp.TCPConnector(force_close=True)
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(600), connector=connector) as session:
        for round_ in range(WARM_UP + ROUNDS):
            draw = random.Random(round_)
            opening = [{"role": "user", "content": text_of(400, tokenizer, draw)}]
            first, answers = await ask_all(session, ours, [opening] * ROLLOUTS, extra)
            later = [
                [*opening, answer["choices"][0]["message"], {"role": "user", "content": text_of(28, tokenizer, draw)}]
                for answer in answers
            ]
            rate, answers = await ask_all(session, ours, later, extra)
            ids = [answer["prompt_token_ids"] for answer in answers]
            figures = {"first": first, "later": rate, "generate": generate(model, ids)}
            if peer is not None:
                figures["transformersServe"] = (await ask_all(session, peer, later, {}))[0]
            print(json.dumps(figures), file=sys.stderr, flush=True)
            if round_ >= WARM_UP:
                prompts += [len(row) for row in ids]
                cached += [answer["usage"]["prompt_tokens_details"]["cached_tokens"] for answer in answers]
                for name, value in figures.items():
                    rows[name].append(value)
    return {**rows, "promptTokens": prompts, "cachedTokens": cached}


def peer_server(folder: str) -> Server | None:
    """`transformers serve`, where its extra packages are installed."""
    port = random.Random(os.getpid()).randrange(20000, 60000)
    program = [sys.executable, "-m", "transformers.cli.transformers"]
    command = [*program, "serve", folder, "--port", str(port), "--device", "cpu"]
    server = Server(command, f"http://127.0.0.1:{port}", folder)
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and server.process.poll() is None:
        try:
            with urllib.request.urlopen(f"{server.url}/health", timeout=2):
                return server
        except OSError:
            time.sleep(0.5)
    server.close()
    return None


def main() -> None:
    parser = argparse.ArgumentParser(prog="bench/serving.py")
    parser.add_argument("--model", help="Hugging Face folder; default: random weights of the demo model's shape")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.model or temporary
        if arguments.model is None:
            write_model(Path(folder))
        command = [sys.executable, "-m", "trainer.serve", "--model", folder, "--name", "bench"]
        servers = [Server(command, None, "bench")]
        try:
            servers[0].wait()
            peer = peer_server(folder)
            servers += [peer] if peer else []
            rows = asyncio.run(measure(servers[0], peer, folder))
        finally:
            for server in servers:
                server.close()
    print(json.dumps({name: round(statistics.median(values), 1) for name, values in rows.items() if values}))


if __name__ == "__main__":
    main()
