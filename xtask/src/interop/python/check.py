"""One line a check; what went wrong decides how the program ends."""

import sys
from contextlib import contextmanager

faults = 0


@contextmanager
def check(sentence):
    global faults
    try:
        yield
        print(f"ok      {sentence}", flush=True)
    except Exception as error:  # whatever a library throws is a finding
        faults += 1
        # The last line of the script itself: below it are a library's.
        line = error.__traceback__.tb_next or error.__traceback__
        script = line.tb_frame.f_code.co_filename
        while line.tb_next and line.tb_next.tb_frame.f_code.co_filename == script:
            line = line.tb_next
        print(f"FAILED  {sentence}: line {line.tb_lineno}: {type(error).__name__}: {error}", flush=True)


def same(got, expected):
    assert got == expected, f"{got!r} and not {expected!r}"


def end():
    """To be called last."""
    if faults:
        sys.exit(f"{faults} checks failed")
