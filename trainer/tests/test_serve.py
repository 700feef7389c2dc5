"""The program: what it prints, that it answers, and how it ends."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from trainer.serve import read_arguments
from trainer.tests.tiny import tiny_folder

ROOT = Path(__file__).parents[2]
ASKED = [{"role": "user", "content": "x"}]
LONG = {"model": "train-1", "messages": ASKED, "max_tokens": 600, "seed": 1, "temperature": 0}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_folder(tmp_path_factory.mktemp("model"), template="chatml")


class Program:
    def __init__(self, model: Path) -> None:
        command = [sys.executable, "-m", "trainer.serve", "--model", str(model), "--name", "train-1", "--slots", "4"]
        pipe = subprocess.PIPE
        pipes = {"stdin": pipe, "stdout": pipe, "stderr": subprocess.DEVNULL}
        self.process = subprocess.Popen(command, cwd=ROOT, text=True, **pipes)

    def events(self) -> Iterator[dict[str, Any]]:
        for line in self.process.stdout:
            yield json.loads(line)

    def url(self) -> str:
        ready = next(event for event in self.events() if event["event"] == "ready")
        return f"http://127.0.0.1:{ready['port']}"


@pytest.fixture
def started() -> Iterator[list[Program]]:
    programs: list[Program] = []
    yield programs
    for program in programs:
        program.process.kill()
        program.process.wait()


def post(url: str, body: dict[str, Any]) -> tuple[int, Any]:
    try:
        with urllib.request.urlopen(f"{url}/v1/chat/completions", json.dumps(body).encode()) as response:
            return response.status, json.load(response)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def test_it_says_its_port_answers_and_finishes_what_runs_on_sigterm(folder: Path, started: list[Program]) -> None:
    started.append(program := Program(folder))
    url = program.url()
    with urllib.request.urlopen(f"{url}/health") as response:
        assert response.status == 200
    status, answer = post(url, {**LONG, "max_tokens": 5})
    assert status == 200 and answer["model"] == "train-1"

    with ThreadPoolExecutor() as pool:
        running = pool.submit(post, url, LONG)
        # It is in when a request of the same prompt finds its tokens; only then is there something to finish.
        while post(url, {**LONG, "max_tokens": 1})[1]["usage"]["prompt_tokens_details"]["cached_tokens"] == 0:
            pass
        program.process.send_signal(signal.SIGTERM)
        assert running.result()[0] == 200
    assert program.process.wait(60) == 0


def test_it_stops_when_whoever_started_it_is_gone(folder: Path, started: list[Program]) -> None:
    started.append(program := Program(folder))
    program.url()
    program.process.stdin.close()
    assert program.process.wait(60) == 0


def test_a_folder_that_is_no_model_is_an_error_event_and_exit_code_65(tmp_path: Path, started: list[Program]) -> None:
    started.append(program := Program(tmp_path / "nothing"))
    *_, last = program.events()
    assert (last["event"], last["type"]) == ("error", "ConfigInvalid")
    assert str(tmp_path / "nothing") in last["message"]
    assert program.process.wait(60) == 65


def test_arguments_have_defaults_and_limits(capsys: pytest.CaptureFixture[str]) -> None:
    read = read_arguments(["--model", "m", "--name", "n"])
    assert (read.host, read.port, read.threads, read.slots, read.device) == ("127.0.0.1", 0, 1, 32, "auto")
    with pytest.raises(SystemExit):
        read_arguments(["--model", "m", "--name", "n", "--slots", "0"])
    assert "--slots must be at least 1" in capsys.readouterr().err
