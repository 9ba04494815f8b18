"""Serves the page of `pdfgc app` to this machine alone."""

import socket
from collections.abc import Callable
from typing import Final

import uvicorn

from evaluation.app.page import PageSettings, build_app

HOST: Final = "127.0.0.1"


def bind(port: int) -> socket.socket:
    """A socket of this machine alone; port 0 takes one that is free.

    Raises:
        ValueError: the port is taken, or may not be used.
    """
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((HOST, port))
    except OSError as error:
        listening.close()
        raise ValueError(f"port {port}: {error.strerror}; take another with --port") from error
    return listening


def address(listening: socket.socket) -> str:
    """Where the page is."""
    return f"http://{HOST}:{listening.getsockname()[1]}"


def make_server(settings: PageSettings) -> uvicorn.Server:
    """A server that prints nothing but what goes wrong."""
    config = uvicorn.Config(
        build_app(settings), log_level="warning", access_log=False, ws="none", timeout_graceful_shutdown=3
    )
    return uvicorn.Server(config)


def serve(settings: PageSettings, port: int, say: Callable[[str], None]) -> None:
    """Serve until Ctrl-C; then what is being made is stopped and uploaded files are removed.

    Raises:
        ValueError: the port cannot be used, or the folder for the videos cannot be made.
    """
    with bind(port) as listening:
        try:
            settings.outputs.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ValueError(f"{settings.outputs}: {error.strerror}; take another with --output") from error
        say(address(listening))
        make_server(settings).run(sockets=[listening])
