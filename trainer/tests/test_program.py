"""How programs speak, stop and fail; seen from outside, as real processes."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys

import pytest
import torch

from trainer.program import BadInput, device_of, emit, load_model, load_tokenizer, read_spec, seed_everything
from trainer.tests.tiny import tiny_folder, tiny_tokenizer

SCRIPT = """
import time
from trainer.program import BadInput, emit, run_program

def main(spec, stop):
    emit("start", text="é")
    if spec["do"] == "bad":
        raise BadInput("DataUnusable", "line 3 is empty; remove it")
    if spec["do"] == "crash":
        raise RuntimeError("boom")
    while spec["do"] == "work":
        stop.raise_if_asked()
        time.sleep(0.005)
    emit("done")

run_program(main)
"""


def start(tmp_path, do, **options):
    spec = tmp_path / "spec.json"
    spec.write_text(json.dumps({"do": do}))
    options = {"stdin": subprocess.PIPE, **options}
    return subprocess.Popen([sys.executable, "-c", SCRIPT, str(spec)], stdout=subprocess.PIPE, text=True, **options)


def events(program):
    return [json.loads(line) for line in program.stdout.read().splitlines()]


def test_a_program_speaks_json_lines_and_ends_with_zero(tmp_path):
    program = start(tmp_path, "nothing")
    assert events(program) == [{"event": "start", "text": "é"}, {"event": "done"}]
    assert program.wait() == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_a_program_with_75(tmp_path, number):
    program = start(tmp_path, "work")
    assert json.loads(program.stdout.readline())["event"] == "start"
    program.send_signal(number)
    assert program.wait() == 75
    assert events(program) == []


def test_the_end_of_standard_input_stops_a_program_with_75(tmp_path):
    program = start(tmp_path, "work")
    program.stdout.readline()
    program.stdin.close()
    assert program.wait() == 75


@pytest.mark.parametrize("unread", [b"", b"never read"], ids=["all read", "something unread"])
def test_the_end_of_a_socket_that_node_gives_as_standard_input_stops_a_program_too(tmp_path, unread):
    ours, theirs = socket.socketpair()
    theirs.send(unread)
    program = start(tmp_path, "work", stdin=theirs)
    theirs.close()
    program.stdout.readline()
    ours.close()
    assert program.wait() == 75


def test_a_program_speaks_whatever_the_encoding_of_its_standard_output(tmp_path):
    program = start(tmp_path, "nothing", env={**os.environ, "PYTHONIOENCODING": "ascii"})
    assert events(program)[0] == {"event": "start", "text": "é"}
    assert program.wait() == 0


def test_a_program_without_a_parent_that_holds_its_standard_input_goes_on(tmp_path):
    program = start(tmp_path, "nothing", stdin=subprocess.DEVNULL)
    assert [event["event"] for event in events(program)] == ["start", "done"]
    assert program.wait() == 0


def test_a_program_whose_reader_is_gone_ends_by_itself(tmp_path):
    program = start(tmp_path, "nothing", stderr=subprocess.PIPE)
    program.stdout.close()
    assert program.wait() == 0
    assert program.stderr.read() == ""


def test_bad_input_is_an_error_event_and_65(tmp_path):
    program = start(tmp_path, "bad")
    last = events(program)[-1]
    assert last == {"event": "error", "type": "DataUnusable", "message": "line 3 is empty; remove it"}
    assert program.wait() == 65


def test_a_crash_is_neither(tmp_path):
    program = start(tmp_path, "crash", stderr=subprocess.PIPE)
    assert [event["event"] for event in events(program)] == ["start"]
    assert program.wait() == 1
    assert "boom" in program.stderr.read()


def test_numbers_that_json_does_not_know_are_not_written(capsys):
    with pytest.raises(ValueError, match="JSON"):
        emit("progress", loss=float("nan"))
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    "arguments,message", [([], "usage"), (["no.json"], "cannot read"), (["list.json"], "JSON object")]
)
def test_a_spec_that_cannot_be_read_is_bad_input(tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "list.json").write_text("[]")
    with pytest.raises(BadInput, match=message):
        read_spec(arguments)


def test_a_gpu_that_is_asked_for_and_absent_is_bad_input(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert device_of("auto").type == device_of("cpu").type == "cpu"
    with pytest.raises(BadInput, match="set `device: auto` or `cpu`"):
        device_of("gpu")
    with pytest.raises(BadInput, match="none of auto, cpu, gpu"):
        device_of("tpu")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert device_of("auto").type == device_of("gpu").type == "cuda"


def test_equal_seeds_give_equal_draws():
    draws = []
    for seed in (2**40, 2**40, 7):
        seed_everything(seed)
        draws.append(torch.rand(3).tolist())
    assert draws[0] == draws[1] != draws[2]


def test_a_model_folder_loads(tmp_path):
    folder = tiny_folder(tmp_path / "model")
    model, tokenizer = load_model(folder, torch.device("cpu")), load_tokenizer(folder)
    assert model.dtype == torch.float32
    assert not model.training
    assert tokenizer.chat_template == tiny_tokenizer().chat_template


def change(path, **fields):
    path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))


def bert(folder):
    change(folder / "config.json", architectures=["BertModel"], model_type="bert")


def classifier(folder):
    change(folder / "config.json", architectures=["Qwen3ForSequenceClassification"])


def unknown(folder):
    change(folder / "config.json", model_type="nobody-knows")


def wider(folder):
    change(folder / "config.json", intermediate_size=64)


def deeper(folder):
    change(folder / "config.json", num_hidden_layers=3, layer_types=None)


def weightless(folder):
    (folder / "model.safetensors").unlink()


def torn(folder):
    whole = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(whole[: len(whole) // 2])


@pytest.mark.parametrize(
    "damage,message",
    [
        (shutil.rmtree, "does not exist"),
        (lambda folder: (folder / "config.json").unlink(), "no Hugging Face model folder"),
        (bert, "not a causal language model"),
        (classifier, "Qwen3ForSequenceClassification, not a causal"),
        (unknown, "not one of a known model"),
        (wider, "do not fit its config.json"),
        (deeper, "do not fit its config.json"),
        (weightless, "cannot be loaded"),
        (torn, "cannot be loaded"),
    ],
)
def test_a_folder_that_is_no_causal_language_model_is_refused(tmp_path, damage, message):
    folder = tiny_folder(tmp_path / "model")
    damage(folder)
    with pytest.raises(BadInput, match=message) as caught:
        load_model(folder, torch.device("cpu"))
    assert caught.value.type == "ConfigInvalid"
    assert str(folder) in caught.value.message


def test_a_tokenizer_without_chat_template_is_refused(tmp_path):
    folder = tiny_folder(tmp_path / "model")
    (folder / "chat_template.jinja").unlink()
    with pytest.raises(BadInput, match="has no chat template; put the model's own"):
        load_tokenizer(folder)
    for name in os.listdir(folder):
        if "token" in name:
            (folder / name).unlink()
    with pytest.raises(BadInput, match="no usable tokenizer"):
        load_tokenizer(folder)
