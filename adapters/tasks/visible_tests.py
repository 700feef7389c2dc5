"""Runs a pocket task's visible tests as its `run_tests.sh` does, many in one process. JSON lines in, JSON lines out.

In:  {"module": "seq.py", "source", "tests"}: the module and the text of tests/test_visible.py.
Out: {"exitCode", "stdout"}, byte for byte those of `bash run_tests.sh` in such a repository.

Code that does not come back is stopped sooner than by the runner, and reported in the runner's words. Only for code of
the generator.
"""

import contextlib
import importlib
import io
import json
import os
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import run_functions  # noqa: E402

del sys.path[0]
WORDS = f"no result after {run_functions.SECONDS} s of computing"
# A call of generated code takes far less than a millisecond.
SECONDS = 0.03


def stop(*_):
    raise run_functions.Timeout(WORDS)


def write(path, text):
    with open(path, "w") as file:
        file.write(text)


def run(module, source, tests):
    write(module, source)
    write("tests/test_visible.py", tests)
    importlib.invalidate_caches()
    output = io.StringIO()
    with contextlib.redirect_stdout(output):
        code = run_functions.main(["tests"])
    del sys.path[0]
    sys.modules.pop(module.removesuffix(".py"), None)
    return {"exitCode": code, "stdout": output.getvalue()}


def serve():
    run_functions.SECONDS, run_functions.stop = SECONDS, stop
    with tempfile.TemporaryDirectory() as root:
        run_functions.ROOT = root
        os.chdir(root)
        os.mkdir("tests")
        for line in sys.stdin:
            print(json.dumps(run(**json.loads(line))), flush=True)
        os.chdir("/")


serve()
