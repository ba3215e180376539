"""Errors of the libraries behind URLs: which may pass, and what they say to a person."""

import errno

import pytest

from tensorbundle.errors import ConflictError, MissingFileError, UnreadableFileError, UnsupportedError
from tensorbundle.storage import faults
from tensorbundle.storage.faults import MissingBucketError, is_transient, patiently, translated


class ClientError(Exception):  # of botocore
    def __init__(self, code, status):
        super().__init__(f"An error occurred ({code})")
        self.response = {"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": status}}


class ClientResponseError(Exception):  # of aiohttp
    def __init__(self, status):
        super().__init__(f"status {status}")
        self.status = status


class ClientPayloadError(Exception):
    pass


class HttpResponseError(Exception):  # of Azure
    def __init__(self, status_code):
        super().__init__("ContainerNotFound")
        self.status_code = status_code


class NoCredentialsError(Exception):
    pass


def caused(error, cause):
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (TimeoutError(), True),
        (ConnectionResetError(), True),
        (ClientPayloadError(), True),
        (ClientResponseError(503), True),
        (ClientResponseError(429), True),
        (ClientResponseError(404), False),
        (HttpResponseError(404), False),
        (HttpResponseError(503), True),
        (caused(FileNotFoundError("x"), ClientResponseError(500)), True),
        (caused(OSError(5, "busy"), ClientError("SlowDown", 503)), True),
        (caused(PermissionError("x"), ClientError("AccessDenied", 403)), False),
        (OSError(errno.EBUSY, "x"), True),
        (OSError(errno.ENOSPC, "x"), False),
        (FileNotFoundError("x"), False),
        (ConflictError("x"), False),
        (ValueError("x"), False),
    ],
)
def test_transient(error, expected):
    assert is_transient(error) is expected


@pytest.mark.parametrize(
    ("error", "kind", "said"),
    [
        (FileNotFoundError("b/k"), MissingFileError, "no such file"),
        (caused(FileNotFoundError("b/k"), KeyError("k")), MissingFileError, "no such file"),
        (FileNotFoundError("The specified bucket does not exist"), MissingBucketError, "no such bucket"),
        (
            caused(PermissionError("Denied"), ClientError("AccessDenied", 403)),
            UnreadableFileError,
            "no permission",
        ),
        (caused(PermissionError("x"), ClientError("ExpiredToken", 400)), UnreadableFileError, "have expired"),
        (
            caused(PermissionError("x"), ClientError("InvalidAccessKeyId", 403)),
            UnreadableFileError,
            "not accepted",
        ),
        (NoCredentialsError("Unable to locate credentials"), UnreadableFileError, "no credentials"),
        (ClientResponseError(401), UnreadableFileError, "not accepted"),
        (caused(FileNotFoundError("x"), ClientResponseError(403)), UnreadableFileError, "no permission"),
        (caused(FileNotFoundError("x"), ClientResponseError(404)), MissingFileError, "no such file"),
        (HttpResponseError(404), MissingFileError, "no such file"),
        (TimeoutError(), UnreadableFileError, "can't be reached or is busy"),
        (OSError(errno.ENOSPC, "full"), UnreadableFileError, "full"),
        (TypeError("no argument 'x'"), UnsupportedError, "can't be opened with these options"),
        (ValueError("two\nlines"), UnreadableFileError, "two lines"),
        (ConflictError("as it is"), ConflictError, "as it is"),
    ],
)
def test_translated(error, kind, said):
    found = translated(error, "s3://b/k")
    assert isinstance(found, kind)
    assert said in found.reason
    assert "\n" not in found.reason


@pytest.fixture
def pauses(monkeypatch):
    found = []
    monkeypatch.setattr(faults.time, "sleep", found.append)
    return found


def test_pauses_grow_and_the_result_comes(pauses):
    fails = [TimeoutError(), ConnectionResetError(), ClientResponseError(429)]

    def do():
        if fails:
            raise fails.pop()
        return "done"

    assert patiently(do) == "done"
    assert len(pauses) == 3
    assert pauses == sorted(pauses)
    assert pauses[-1] > 2 * pauses[0] > 0


def test_what_does_not_pass_is_tried_once(pauses):
    with pytest.raises(PermissionError):
        patiently(lambda: (_ for _ in ()).throw(PermissionError()))
    assert pauses == []


def test_the_last_attempt_raises(pauses):
    def do():
        raise TimeoutError

    with pytest.raises(TimeoutError):
        patiently(do)
    assert len(pauses) == faults._ATTEMPTS - 1
