"""A kind of input whose check goes wrong in every way that one can, for the fuzz harness's test."""

import os
import signal
import sys
import time
from random import Random

from fuzz.runner import Kind

WAYS = ("ValueError", "SystemExit", "died", "hung", None)
"""What is to be reported of the ways, in order; None is for the one in which nothing is wrong."""


def way(random: Random) -> int:
    return random.randrange(len(WAYS))


def check(way: int) -> None:
    match way:
        case 0:
            raise ValueError("no")
        case 1:
            sys.exit(3)
        case 2:
            os.kill(os.getpid(), signal.SIGSEGV)
        case 3:
            time.sleep(60)


def check_slowly(way: int) -> None:
    time.sleep(0.4)


KINDS = {"odd": Kind(way, check), "slow": Kind(way, check_slowly, granted=2.0)}
