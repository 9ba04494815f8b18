"""The localhost server of `pdfgc app`."""

import socket
from collections.abc import Callable
from typing import Final

import uvicorn

from evaluation.app.handlers import AppSettings, build_app

HOST: Final = "127.0.0.1"


def bind(port: int) -> socket.socket:
    """Bind a socket on 127.0.0.1; port 0 picks a free port.

    Raises:
        ValueError: the port is in use, or needs privileges.
    """
    server_socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    server_socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        server_socket.bind((HOST, port))
    except OSError as error:
        server_socket.close()
        raise ValueError(f"port {port}: {error.strerror}; choose another port with --port") from error
    return server_socket


def address(server_socket: socket.socket) -> str:
    """URL of the page."""
    return f"http://{HOST}:{server_socket.getsockname()[1]}"


def make_server(settings: AppSettings) -> uvicorn.Server:
    """Build a server that logs warnings and errors only."""
    config = uvicorn.Config(
        build_app(settings), log_level="warning", access_log=False, ws="none", timeout_graceful_shutdown=3
    )
    return uvicorn.Server(config)


def serve(settings: AppSettings, port: int, on_start: Callable[[str], None]) -> None:
    """Serve until Ctrl-C; then cancel the running job and remove uploaded files.

    Args:
        settings: root, output folder and device.
        port: 0 picks a free one.
        on_start: called with the page's URL before the server starts.

    Raises:
        ValueError: the port cannot be bound, or the output folder cannot be created.
    """
    with bind(port) as server_socket:
        try:
            settings.outputs.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ValueError(
                f"{settings.outputs}: {error.strerror}; choose another folder with --output"
            ) from error
        on_start(address(server_socket))
        make_server(settings).run(sockets=[server_socket])
