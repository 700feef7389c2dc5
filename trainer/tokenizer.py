"""The tiny model's tokenizer: byte-level BPE in which the boilerplate of tool calls and observations is single tokens.

A rendered turn is `<|im_start|>ROLE\\nCONTENT<|im_end|>\\n`. The header is one token, `<|im_end|>` is one, and no token
crosses from one turn into the next, so encoded turns put together equal the encoded conversation, and what a policy
writes is exactly CONTENT and `<|im_end|>`. Digits stand alone. Not covered: other models' tokenizers, which come with
their folders.
"""

from collections.abc import Iterable

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

PAD, END, START = SPECIAL = ["<|pad|>", "<|im_end|>", "<|im_start|>"]
ROLES = ("system", "user", "assistant")
HEADERS = [f"{START}{role}\n" for role in ROLES]

BASH = "Execution output of [execute_bash]:\n"
# Added tokens are taken out of the text before the BPE sees it, longest match first.
BOILERPLATE = [
    "You mend the repository in /testbed. Each answer is one short thought and one function call.",
    "<github_issue>\n",
    "\n</github_issue>",
    "\nSteps Remaining: ",
    "/testbed/",
    "\n<function=file_editor>\n<parameter=command>",
    "\n<function=execute_bash>\n<parameter=cmd>",
    "\n<function=finish>\n<parameter=command>",
    "\n<function=search>\n<parameter=search_term>",
    "</parameter>\n<parameter=path>",
    "</parameter>\n</function>",
    *(f"<function={name}>" for name in ("file_editor", "execute_bash", "search", "finish")),
    *(f"<parameter={name}>" for name in ("command", "cmd", "path", "old_str", "new_str", "view_range", "search_term")),
    "</parameter>",
    "</function>",
    "<function=",
    "<parameter=",
    "Execution output of [file_editor]:\n",
    "Execution output of [search]:\n",
    BASH,
    "Here's the result of running `cat -n` on the file: ",
    "Exit code: 0\n" + BASH + "[STDOUT]\n\n",
    "Exit code: Error: Exit code 1\n" + BASH + "Error executing command:\n\n[STDOUT]\n\n",
    " \n\n[STDERR]\n\n\n",
    "=== short test summary info ===\n",
    "PASSED tests/test_visible.py::test_",
    "FAILED tests/test_visible.py::test_",
    " passed ===",
    " failed, ",
    " - assert ",
    "sed -i '",
    "/' /testbed/",
    "bash run_tests.sh",
    "cd /testbed && git checkout -q .",
    "\n\n>>> ",
    "\ngot: ",
    "\nexpected: ",
    "str_replace",
    "submit",
    ".py",
    '    """',
    '."""',
]

# Runs of spaces, a word or digit or operator with at most one space before it, anything else by itself.
PIECES = r" {2,}| ?[A-Za-z_]+| ?[0-9]| ?(?:<=|>=|==|!=|\+=|-=|//)|\n| ?[^\sA-Za-z_0-9]|\s"

TEMPLATE = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)


def train_tokenizer(texts: Iterable[str], entries: int) -> PreTrainedTokenizerFast:
    """Learns the merges from `texts` (contents of messages); `entries` is the size of the whole vocabulary."""
    added = [AddedToken(text, normalized=False) for text in [*HEADERS, *BOILERPLATE]]
    tokenizer = Tokenizer(models.BPE())
    split = pre_tokenizers.Split(Regex(PIECES), "isolated")
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [split, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    # The trainer does not take added tokens out by itself: what lies between them is what the BPE will see.
    marks = sorted([*HEADERS, *BOILERPLATE], key=len, reverse=True)
    trainer = trainers.BpeTrainer(
        vocab_size=entries - len(added),
        special_tokens=SPECIAL,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator((piece for text in texts for piece in without(text, marks)), trainer)
    tokenizer.add_tokens(added)
    wrapped = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token=PAD, eos_token=END, clean_up_tokenization_spaces=False
    )
    wrapped.chat_template = TEMPLATE
    return wrapped


def without(text: str, marks: list[str]) -> list[str]:
    """The pieces of `text` between the marks."""
    pieces = [text]
    for mark in marks:
        pieces = [part for piece in pieces for part in piece.split(mark)]
    return [piece for piece in pieces if piece]
