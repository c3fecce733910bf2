"""One side of a paired timing, in a process of its own.

Reads one JSON request a line from the standard input, answers each with one JSON line
on the standard output, and computes only between the two.
"""

from __future__ import annotations

import gc
import json
import os
import sys
import time
from typing import Any

import numpy as np
import torch
from cases import CASES, Answer

Side = Any


def make_side(which: str, request: dict[str, Any]) -> Side:
    """Load the model of a case and all it needs before it can be timed."""
    arguments = (CASES[request["case"]], request["setup"], request["precision"])
    # A process imports its own side only: neither environment needs the other's.
    if which == "official":
        from official_side import OfficialSide

        return OfficialSide(*arguments)
    from our_side import OurSide

    return OurSide(*arguments)


def save(answer: Answer, path: str) -> None:
    """Write the last answer where the other process can compare it."""
    if isinstance(answer, list):
        masks = np.stack([masks for masks, _ in answer])
        np.savez(path, masks=masks, scores=np.stack([scores for _, scores in answer]))
    else:
        np.savez(path, embedding=answer)


class Worker:
    """Answers the requests of `paired.py`."""

    def __init__(self, which: str) -> None:
        self.which = which
        self.side: Side = None
        self.answer: Answer = []

    def prepare(self, request: dict[str, Any]) -> dict[str, Any]:
        """Load a case; the one before is dropped first."""
        self.side, self.answer = None, []
        gc.collect()
        self.side = make_side(self.which, request)
        return {"precision": self.side.precision}

    def run(self, request: dict[str, Any]) -> dict[str, Any]:
        """Time one repeat."""
        self.answer = []
        begin, begin_cpu = time.perf_counter(), time.process_time()
        self.answer = self.side.run()
        end, end_cpu = time.perf_counter(), time.process_time()
        return {"ms": 1000 * (end - begin), "cpu_ms": 1000 * (end_cpu - begin_cpu)}

    def save(self, request: dict[str, Any]) -> dict[str, Any]:
        """Write the last answer."""
        save(self.answer, request["path"])
        return {}

    def weights(self, request: dict[str, Any]) -> dict[str, Any]:
        """Write a checkpoint of random weights (official side only)."""
        from official_side import save_random_vit_b

        save_random_vit_b(request["path"])
        return {}

    def describe(self, request: dict[str, Any]) -> dict[str, Any]:
        """Versions and threads, for the record."""
        torch.set_num_threads(request["threads"])
        return {"torch": torch.__version__, "threads": torch.get_num_threads()}


def main() -> None:
    """Serve until the standard input ends."""
    worker = Worker(sys.argv[1])
    # Only answers may reach the reader: whatever a library prints goes to stderr.
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    for line in sys.stdin:
        request = json.loads(line)
        reply = getattr(worker, request["do"])(request)
        answers.write(json.dumps(reply) + "\n")


if __name__ == "__main__":
    main()
