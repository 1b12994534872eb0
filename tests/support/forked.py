"""A `tagger` for shells that starts in no time: it is forked from a process that has imported all.

Importing PyTorch takes seconds, and the pages of the docs call `tagger` some forty times.
"""

import os
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path

_CLIENT = """#!{python} -SE
import json, os, signal, socket, sys
with socket.socket(socket.AF_UNIX) as at:
    at.connect({address!r})
    asked = json.dumps([os.getcwd(), dict(os.environ), sys.argv[1:]]).encode()
    socket.send_fds(at, [len(asked).to_bytes(4, "big")], [0, 1, 2])
    at.sendall(asked)
    child = int(at.recv(8, socket.MSG_WAITALL))
    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, lambda number, _: os.kill(child, number))
    sys.exit(int(at.recv(3, socket.MSG_WAITALL) or b"70"))
"""


def _serve(address: str) -> None:
    import sklearn.linear_model  # noqa: F401
    import uvicorn  # noqa: F401

    import tagger.batch.batch
    import tagger.cli.app
    import tagger.evaluation.explain
    import tagger.learning.learn
    import tagger.methods.rank.rank
    import tagger.models.load
    import tagger.models.weights
    import tagger.review.review
    import tagger.serve.app  # noqa: F401
    from support import tiny  # noqa: F401 (with what Transformers needs for the model)

    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(address)
        server.listen()
        while True:
            client, _ = server.accept()
            if os.fork() == 0:
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                server.close()
                _answer(client)
            client.close()


def _answer(client: socket.socket) -> None:
    import json

    import tagger.cli

    size, streams, _, _ = socket.recv_fds(client, 4, 3)
    left = int.from_bytes(size, "big")
    asked = b""
    while len(asked) < left:
        asked += client.recv(left - len(asked))
    folder, environment, arguments = json.loads(asked)
    child = os.fork()
    if child:
        client.sendall(b"%08d" % child)
        for stream in streams:
            os.close(stream)
        _, status = os.waitpid(child, 0)
        client.sendall(b"%03d" % (os.waitstatus_to_exitcode(status) & 0xFF))
        os._exit(0)
    client.close()
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
    # Python keeps its own streams in these names, and they are closed where nothing holds them.
    sys.__stdin__, sys.__stdout__, sys.__stderr__ = open(0), open(1, "w"), open(2, "w")  # type: ignore[misc]  # noqa: SIM115
    sys.stdin, sys.stdout, sys.stderr = sys.__stdin__, sys.__stdout__, sys.__stderr__
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = ["tagger", *arguments]
    code = 0
    try:
        tagger.cli.main()
    except SystemExit as end:
        code = int(end.code or 0)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(code)


@contextmanager
def command(folder: Path) -> Iterator[Path]:
    """Put `tagger` into a folder, for as long as the block lasts; the folder is for PATH."""
    address = str(folder / "forks")
    process = get_context("spawn").Process(target=_serve, args=(address,), daemon=True)
    process.start()
    client = folder / "tagger"
    client.write_text(_CLIENT.format(python=sys.executable, address=address))
    client.chmod(0o755)
    try:
        while not Path(address).exists():
            process.join(0.05)
            assert process.is_alive()
        yield folder
    finally:
        process.kill()
        process.join()
