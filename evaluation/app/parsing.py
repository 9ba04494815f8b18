"""What the page's requests say, checked; whatever cannot be understood is a `RequestError`."""

import json
import re
from collections.abc import Mapping
from typing import Any, Final

from starlette.requests import ClientDisconnect, Request

ROLES: Final = ("appearance", "lip", "pose", "eye", "expression")
PAGE_HEADER: Final = "page-id"
PAGE_ID: Final = re.compile(r"[0-9a-f-]{32,36}")
UPLOAD_ID: Final = re.compile(r"[0-9a-f]{32}")
LARGEST_REQUEST_BYTES: Final = 1 << 16  # of a render request


class RequestError(ValueError):
    """A request that cannot be understood: status 400, or another one."""

    def __init__(self, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.status = status


async def json_object(request: Request) -> dict[str, Any]:
    """The body of a request. Raises RequestError."""
    body = b""
    try:
        async for part in request.stream():
            body += part
            if len(body) > LARGEST_REQUEST_BYTES:
                raise RequestError(f"request must have <= {LARGEST_REQUEST_BYTES} bytes", 413)
    except ClientDisconnect as error:
        raise RequestError("the request was interrupted") from error
    try:
        value = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise RequestError(f"invalid request: {error}") from error
    if not isinstance(value, dict):
        raise RequestError(f"invalid request: must be an object, got {type(value).__name__}")
    return value


def upload_ids_by_role(body: Mapping[str, Any]) -> dict[str, str]:
    """Upload ids by role. Raises RequestError."""
    files = body.get("files")
    if not isinstance(files, dict):
        raise RequestError(f"invalid request: files must be an object, got {type(files).__name__}")
    uploads = {role: str(upload_id) for role, upload_id in files.items() if role in ROLES}
    if invalid := [name for name in dict.fromkeys(uploads.values()) if UPLOAD_ID.fullmatch(name) is None]:
        raise RequestError(f"invalid request: upload ids must be 32 hex digits, got {invalid}")
    return uploads


def page_id(request: Request) -> str:
    """The id of the page. Raises RequestError."""
    page = request.headers.get(PAGE_HEADER, "")
    if PAGE_ID.fullmatch(page) is None:
        raise RequestError(f"header {PAGE_HEADER} must be a UUID, got {page!r}")
    return page
