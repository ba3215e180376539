"""What the libraries behind URLs raise: which of it is worth another try, and what it means for a person.

They raise OSError for most, and their own exceptions for the rest: `botocore` with a `response`, `aiohttp` with a `status`,
`azure` with a `status_code`.
They are told apart by these attributes and by names of classes, so that none of the libraries is imported here.
"""

from __future__ import annotations

import errno
import random
import threading
import time
from typing import TYPE_CHECKING, Any, Final, TypeVar

from tensorbundle.errors import BundleError, MissingFileError, UnreadableFileError, UnsupportedError

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = [
    "NO_BUCKET",
    "REFUSED",
    "MissingBucketError",
    "ShortBodyError",
    "code_of",
    "is_transient",
    "patiently",
    "status_of",
    "translated",
]

Result = TypeVar("Result")
_ATTEMPTS: Final = 6
_FIRST_PAUSE: Final = 0.2  # seconds; each pause is three times the one before, less a random part
_TRANSIENT_STATUS: Final = frozenset({408, 425, 429, 500, 502, 503, 504, 509})
_TRANSIENT_ERRNO: Final = frozenset(
    {errno.EBUSY, errno.ECONNRESET, errno.ECONNABORTED, errno.ETIMEDOUT, errno.EPIPE}
    | {getattr(errno, "EREMOTEIO", errno.EIO)}  # s3fs: InternalError
)
# Of botocore, aiohttp and fsspec: the connection could not be made, broke, or gave less than was announced.
_TRANSIENT_CLASSES: Final = frozenset(
    {"HTTPClientError", "ClientConnectionError", "ClientPayloadError", "IncompleteRead", "FSTimeoutError"}
    | {"ResponseParserError", "IncompleteReadError", "ServerTimeoutError", "HttpResponseError"}
    | {"ConnectTimeoutError"}
)
# Nobody answers at the address. That passes if a server was there before; else the address is wrong.
_UNREACHABLE_CLASSES: Final = frozenset({"EndpointConnectionError", "ClientConnectorError"})
NO_BUCKET: Final = "no such bucket; its name is the first part of the URL"
_EXPIRED: Final = frozenset(
    {"ExpiredToken", "TokenRefreshRequired", "ExpiredTokenException", "RequestExpired"}
)
_REJECTED: Final = frozenset({"InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidToken"})
REFUSED: Final = _EXPIRED | _REJECTED
_NO_CREDENTIALS: Final = frozenset(
    {"NoCredentialsError", "PartialCredentialsError", "DefaultCredentialsError"}
)
_answered: Final = threading.Event()  # whether any server has answered in this process
_GET_CREDENTIALS: Final = "configure them, or give --storage-option anon=true for public files"


class MissingBucketError(MissingFileError):
    """There is no such bucket, so that no question about files in it has an answer."""


class ShortBodyError(OSError):
    """A response had fewer bytes than it should have."""


def patiently(do: Callable[[], Result]) -> Result:
    """What `do` returns; transient errors make it try again, after pauses that grow to half a minute.

    A server that can't be reached is one if any server has answered before, in this process.

    Raises:
        Exception: what `do` raised at last.
    """
    for attempt in range(_ATTEMPTS):
        try:
            result = do()
            _answered.set()
        except Exception as error:
            if attempt == _ATTEMPTS - 1 or not is_transient(error):
                raise
        else:
            return result
        time.sleep(_FIRST_PAUSE * 3**attempt * random.uniform(0.5, 1))  # noqa: S311  no secret
    raise AssertionError("the last attempt returns or raises")


def is_transient(error: BaseException) -> bool:
    """Whether the same request may succeed a little later."""
    if isinstance(error, BundleError):
        return False
    error = _cause(error)
    status = status_of(error)
    if status is not None:
        return status in _TRANSIENT_STATUS
    names = {each.__name__ for each in type(error).__mro__}
    if names & _UNREACHABLE_CLASSES:
        return _answered.is_set()
    if isinstance(error, (TimeoutError, ConnectionError, EOFError, ShortBodyError)):
        return True
    if names & _TRANSIENT_CLASSES:
        return True
    return isinstance(error, OSError) and error.errno in _TRANSIENT_ERRNO


def translated(error: BaseException, path: str, *, doing: str = "read") -> BundleError:
    """The error of ours that says what happened to a file, and what to do.

    Args:
        error: what a library raised.
        path: the file's URL.
        doing: the participle of what was tried.
    """
    if isinstance(error, BundleError):
        return error
    error = _cause(error)
    names = {each.__name__ for each in type(error).__mro__}
    code, status, what = code_of(error), status_of(error), _one_line(error)
    if code in _EXPIRED or "expired" in what.lower():
        return UnreadableFileError(f"can't be {doing}: the credentials have expired; get new ones", path=path)
    if names & _NO_CREDENTIALS:
        return UnreadableFileError(f"can't be {doing}: no credentials; {_GET_CREDENTIALS}", path=path)
    if code in _REJECTED or status == 401:
        return UnreadableFileError(
            f"can't be {doing}: the credentials are not accepted ({what}); {_GET_CREDENTIALS}", path=path
        )
    if isinstance(error, PermissionError) or status == 403:
        return UnreadableFileError(
            f"can't be {doing}: no permission ({what}); ask for it, or use other credentials", path=path
        )
    if code == "NoSuchBucket" or (isinstance(error, FileNotFoundError) and "bucket does not exist" in what):
        return MissingBucketError(NO_BUCKET, path=path)
    if isinstance(error, FileNotFoundError) or status in (404, 410):
        return MissingFileError("no such file", path=path)
    if status == 400 and doing == "read":  # what S3 answers to HEAD requests, which have no text
        return UnreadableFileError(
            f"can't be read ({what}); the credentials may have expired, or be for another region", path=path
        )
    if isinstance(error, TypeError):  # libraries pass them on until something takes no such argument
        return UnsupportedError(f"can't be opened with these options: {what}", path=path)
    if names & _UNREACHABLE_CLASSES and not is_transient(error):
        return UnreadableFileError(
            f"can't be {doing}: no server answers ({what}); check the URL, or the option endpoint_url",
            path=path,
        )
    if isinstance(error, NotImplementedError):
        return UnsupportedError(f"can't be {doing}: URLs of this kind don't allow that", path=path)
    if is_transient(error):
        return UnreadableFileError(
            f"can't be {doing}, also after {_ATTEMPTS} attempts ({what}); the server can't be reached or is busy",
            path=path,
        )
    return UnreadableFileError(f"can't be {doing}: {what}", path=path)


def _cause(error: BaseException) -> BaseException:
    """The error below one that hides what the server said: fsspec calls all of them FileNotFoundError over HTTP."""
    cause = error.__cause__
    hides = isinstance(error, FileNotFoundError) and cause is not None and not code_of(error)
    return cause if hides and cause is not None and not isinstance(cause, LookupError) else error


def _response(error: BaseException) -> dict[str, Any]:
    """What botocore keeps of a response, in the error itself or in the one that s3fs made of it."""
    for each in (error, error.__cause__):
        response = getattr(each, "response", None)
        if isinstance(response, dict):
            return response
    return {}


def code_of(error: BaseException) -> str:
    """The code of the response of S3 that an error is about; empty if there was none."""
    return str(_response(error).get("Error", {}).get("Code", ""))


def status_of(error: BaseException) -> int | None:
    """The status of the response that an error is about, if there was one."""
    own = getattr(error, "status", getattr(error, "status_code", None))  # of aiohttp, of Azure
    status = _response(error).get("ResponseMetadata", {}).get("HTTPStatusCode", own)
    return status if isinstance(status, int) else None


def _one_line(error: BaseException) -> str:
    """What an error says, in one line; never a whole page that a server sent."""
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return " ".join((text or type(error).__name__).split())[:200]
