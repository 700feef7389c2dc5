"""What every program of the trainer shares: how it speaks, stops, fails, and loads what it is given.

A program says what it does as JSON lines on standard output; libraries' own output belongs on standard error. It is
asked to stop by SIGTERM, SIGINT, or the end of its standard input, which whoever started it holds open: when that one
is gone, however it ended, the program stops too. Exit codes: 0 done; 75 stopped on request, start me again; 65 an error
event was printed and trying again will not help; anything else is a crash.

Not covered: what a program does between (train.py, reference.py, serve.py).
"""

from __future__ import annotations

import json
import os
import random
import signal
import stat
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

EXIT_STOPPED = 75
EXIT_BAD_INPUT = 65


class BadInput(ValueError):
    """Input that no retry mends. `type` is a failure type: ConfigInvalid, DataUnusable or TrainerDiverged.

    The message names the place and the remedy.
    """

    def __init__(self, type: str, message: str) -> None:
        super().__init__(message)
        self.type = type
        self.message = message


class Stopped(Exception):
    """Raised by a program that was asked to stop and has left everything so that it can go on."""


class StopRequest:
    """Whether someone asked this program to stop. Programs look at it between units of work."""

    def __init__(self) -> None:
        self._event = threading.Event()

    def __bool__(self) -> bool:
        return self._event.is_set()

    def ask(self) -> None:
        self._event.set()

    def raise_if_asked(self) -> None:
        """Stopped, where a stop was asked for."""
        if self:
            raise Stopped

    def watch(self) -> StopRequest:
        """Asks for a stop on SIGTERM, SIGINT and at the end of standard input. Only from the main thread."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self.ask())
        if _is_held(0):
            threading.Thread(target=self._drain, args=(0,), name="standard-input", daemon=True).start()
        return self

    def _drain(self, descriptor: int) -> None:
        # The descriptor itself, not sys.stdin: a daemon thread inside its lock would abort the interpreter's end.
        try:
            while os.read(descriptor, 4096):
                pass
        except ConnectionError:
            pass  # the other end of a socket that died with something unread: an end as well
        self.ask()


def _is_held(descriptor: int) -> bool:
    """True for what a parent holds the other end of: a pipe, or the socket pair that Node gives its children."""
    try:
        mode = os.fstat(descriptor).st_mode
    except OSError:
        return False
    return stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)


_emitting = threading.Lock()


def emit(event: str, **fields: Any) -> None:
    """Writes one JSON line, in ASCII: whatever the locale and a row's id, it can be written.

    A reader that is gone is no error: the end of standard input says so too.
    """
    line = json.dumps({"event": event, **fields}, allow_nan=False)
    with _emitting:
        try:
            sys.stdout.write(line + "\n")
            sys.stdout.flush()
        except BrokenPipeError:
            sys.stdout = open(os.devnull, "w")  # noqa: SIM115 - the rest of this process has nobody to speak to


def run_program(main: Callable[[dict[str, Any], StopRequest], None], arguments: list[str] | None = None) -> NoReturn:
    """Runs `main(spec, stop)` on the spec that the command line names, and exits as the module says."""
    arguments = sys.argv[1:] if arguments is None else arguments
    code = 0
    try:
        main(read_spec(arguments), StopRequest().watch())
    except BadInput as error:
        emit("error", type=error.type, message=error.message)
        code = EXIT_BAD_INPUT
    except Stopped:
        code = EXIT_STOPPED
    leave(code)


def leave(code: int) -> NoReturn:
    """Ends this process at once: to take the libraries apart object by object costs more than a second. What is to last
    has been written and flushed by then."""
    sys.stderr.flush()
    os._exit(code)


def read_spec(arguments: list[str]) -> dict[str, Any]:
    """The JSON object in the file that the one argument names."""
    if len(arguments) != 1:
        raise BadInput("ConfigInvalid", "usage: python -m trainer.NAME SPEC.json")
    try:
        spec = json.loads(Path(arguments[0]).read_text(encoding="utf8"))
    except (OSError, ValueError) as error:
        raise BadInput("ConfigInvalid", f"cannot read the spec {arguments[0]}: {error}") from error
    if not isinstance(spec, dict):
        raise BadInput("ConfigInvalid", f"the spec {arguments[0]} is not a JSON object")
    return spec


def device_of(name: str) -> torch.device:
    """`auto`: a GPU where torch sees one, else the CPU. `gpu` without one is an error, never a silent CPU run."""
    import torch

    if name not in ("auto", "cpu", "gpu"):
        raise BadInput("ConfigInvalid", f"device: {name!r} is none of auto, cpu, gpu")
    found = name != "cpu" and torch.cuda.is_available()
    if name == "gpu" and not found:
        raise BadInput(
            "ConfigInvalid",
            f"device: gpu was asked for, but torch {torch.__version__} sees none; set `device: auto` or `cpu`, or make "
            "the driver and a torch build for it available to this worker",
        )
    return torch.device("cuda" if found else "cpu")


def set_threads(count: int) -> None:
    """Threads of one operation. 1 where others use the same cores: waiting threads spin and slow everything."""
    import torch

    torch.set_num_threads(count)


def seed_everything(seed: int) -> None:
    """Seeds Python, NumPy and torch on every device; the same seed gives the same draws."""
    import numpy
    import torch

    random.seed(seed)
    numpy.random.seed(seed % 2**32)
    torch.manual_seed(seed)


def load_tokenizer(folder: str | Path) -> PreTrainedTokenizerBase:
    """The tokenizer of a model folder; it must have a chat template."""
    from transformers import AutoTokenizer

    path = _model_folder(folder)
    try:
        tokenizer = AutoTokenizer.from_pretrained(path, local_files_only=True)
    except (OSError, ValueError, KeyError) as error:
        raise BadInput("ConfigInvalid", f"{path} has no usable tokenizer: {_first_line(error)}") from error
    if not tokenizer("x", add_special_tokens=False)["input_ids"]:  # without its files transformers makes an empty one
        raise BadInput("ConfigInvalid", f"{path} has no usable tokenizer: tokenizer.json is missing or empty")
    if not tokenizer.chat_template:
        raise BadInput(
            "ConfigInvalid",
            f"the tokenizer of {path} has no chat template; put the model's own into {path}/chat_template.jinja "
            "(base models often lack one: take the instruction-tuned sibling)",
        )
    return tokenizer


def load_model(folder: str | Path, device: torch.device) -> PreTrainedModel:
    """The causal language model of a folder, in evaluation mode; float32 on the CPU, its own dtype on a GPU."""
    import torch
    from safetensors import SafetensorError
    from transformers import AutoConfig, AutoModelForCausalLM

    path = _model_folder(folder)
    try:
        config = AutoConfig.from_pretrained(path, local_files_only=True)
    except (OSError, ValueError, KeyError) as error:
        message = f"the config.json of {path} is not one of a known model: {_first_line(error)}"
        raise BadInput("ConfigInvalid", message) from error
    named = config.architectures or []
    if type(config) not in AutoModelForCausalLM._model_mapping or (
        named and not any(name.endswith(("ForCausalLM", "LMHeadModel", "ForConditionalGeneration")) for name in named)
    ):
        kind = ", ".join(named) or config.model_type
        message = f"the model in {path} is a {kind}, not a causal language model; name one that is"
        raise BadInput("ConfigInvalid", message)
    dtype = torch.float32 if device.type == "cpu" else "auto"
    try:
        model, info = AutoModelForCausalLM.from_pretrained(
            path, local_files_only=True, dtype=dtype, output_loading_info=True, ignore_mismatched_sizes=True
        )
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise BadInput("ConfigInvalid", f"the weights in {path} cannot be loaded: {_first_line(error)}") from error
    if info["missing_keys"] or info["mismatched_keys"]:
        names = sorted([*info["missing_keys"], *(entry[0] for entry in info["mismatched_keys"])])
        raise BadInput(
            "ConfigInvalid",
            f"the weights in {path} do not fit its config.json: {len(names)} tensors are missing or of another shape, "
            f"such as {names[0]}; copy the folder again",
        )
    return model.to(device).eval()


def _model_folder(folder: str | Path) -> Path:
    path = Path(folder)
    if not path.is_dir():
        raise BadInput("ConfigInvalid", f"the model folder {path} does not exist on this worker")
    if not (path / "config.json").is_file():
        raise BadInput("ConfigInvalid", f"the folder {path} holds no config.json: it is no Hugging Face model folder")
    return path


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
