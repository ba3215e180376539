"""Servers on this machine for tests of URLs: S3 (moto), HTTP with byte ranges (aiohttp); they count, and fail when asked to."""

from __future__ import annotations

import asyncio
import threading
import zlib
from dataclasses import dataclass, field


@dataclass
class Request:
    method: str
    path: str
    query: str
    range: str
    sent: int = 0

    @property
    def what(self):
        return f"{self.method} {self.path}?{self.query} {self.range}".strip()


@dataclass
class Log:
    """The requests that a server got, and what is to happen to some of them.

    Attributes:
        requests: in order.
        fault: called with the number of a request; the name of a fault (`FAULTS`), or None.
        released: set when threads that do not answer may end.
    """

    requests: list = field(default_factory=list)
    fault: object = None
    released: object = field(default_factory=threading.Event)

    @property
    def sent(self):
        return sum(each.sent for each in self.requests)

    def clear(self):
        self.requests.clear()
        self.fault = None
        self.released.set()
        self.released = threading.Event()

    def note(self, method, path, query, span):
        request = Request(method, path, query, span)
        self.requests.append(request)
        return request, None if self.fault is None else self.fault(len(self.requests) - 1, request)


# A status, for S3 also with the code of an error ("400 ExpiredToken"); a connection that is closed before the answer, or in the middle of it; a server that never answers, or falls
# silent in the middle of an answer.
FAULTS = ("500", "503", "429", "cut", "short", "hang", "stall")


class S3Server:
    """moto's server with a bucket `bucket`, whose WSGI application is wrapped."""

    def __init__(self):
        import moto.s3.models
        from moto.s3.exceptions import NoSuchUpload
        from moto.server import ThreadedMotoServer

        moto.s3.models.S3_UPLOAD_PART_MIN_SIZE = 1  # so that tests have many parts in few bytes

        def upload_part(backend, bucket_name, multipart_id, part_id, value):
            parts = backend.get_bucket(bucket_name).multiparts.get(multipart_id)
            if parts is None:
                raise NoSuchUpload(upload_id=multipart_id)  # where moto answers with status 500
            return parts.set_part(part_id, value)

        moto.s3.models.S3Backend.upload_part = upload_part

        self.log = Log()
        self._server = ThreadedMotoServer(port=0, verbose=False)
        self._server.start()
        host, port = self._server.get_host_and_port()
        self.endpoint = f"http://{host}:{port}"
        self._app = self._server._server.app
        self._server._server.app = self._wrapped
        import boto3

        self.options = {
            "s3": {
                "key": "test",
                "secret": "test",
                "endpoint_url": self.endpoint,
                "client_kwargs": {"region_name": "us-east-1"},
                "config_kwargs": {"retries": {"max_attempts": 0}},
            }
        }
        self.client = boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            region_name="us-east-1",
            aws_access_key_id="test",
            aws_secret_access_key="test",
        )
        self.client.create_bucket(Bucket="bucket")
        self.log.clear()

    def _wrapped(self, environ, start_response):
        request, fault = self.log.note(
            environ["REQUEST_METHOD"],
            environ["PATH_INFO"],
            environ.get("QUERY_STRING", ""),
            environ.get("HTTP_RANGE", ""),
        )
        if fault is not None and fault[0].isdigit():
            environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
            status, _, code = fault.partition(" ")
            code = code or {"500": "InternalError", "503": "SlowDown", "403": "AccessDenied"}.get(
                status, "Error"
            )
            body = f"<Error><Code>{code}</Code><Message>injected</Message></Error>".encode()
            start_response(f"{status} injected", [("Content-Length", str(len(body)))])
            return [] if environ["REQUEST_METHOD"] == "HEAD" else [body]  # S3 does not say why there
        if fault == "lost":  # carried out, and the answer lost
            list(self._app(environ, lambda *_: None))
            fault = "cut"
        if fault == "hang":
            self.log.released.wait(8)
            fault = "cut"
        if fault == "cut":
            environ["werkzeug.socket"].shutdown(2)
            raise ConnectionError("injected")
        body = self._app(environ, start_response)
        if fault == "short":
            data = b"".join(body)
            return [data[: len(data) // 2]]
        if fault == "stall":
            return self._stalled(b"".join(body), self.log.released)
        return self._counted(body, request)

    @staticmethod
    def _stalled(data, released):
        yield data[: len(data) // 2]
        released.wait(8)

    @staticmethod
    def _counted(body, request):
        for chunk in body:
            request.sent += len(chunk)
            yield chunk

    def objects(self):
        listed = self.client.list_objects_v2(Bucket="bucket").get("Contents", [])
        return {each["Key"]: each["Size"] for each in listed}

    def uploads(self):
        return self.client.list_multipart_uploads(Bucket="bucket").get("Uploads", [])

    def content(self, key):
        return self.client.get_object(Bucket="bucket", Key=key)["Body"].read()

    def put(self, folder, prefix=""):
        for path in sorted(folder.iterdir()):
            self.client.put_object(Bucket="bucket", Key=f"{prefix}{path.name}", Body=path.read_bytes())
        self.log.clear()

    def empty(self):
        for key in self.objects():
            self.client.delete_object(Bucket="bucket", Key=key)
        for each in self.uploads():
            self.client.abort_multipart_upload(Bucket="bucket", Key=each["Key"], UploadId=each["UploadId"])
        self.log.clear()

    def close(self):
        self._server.stop()


class HttpServer:
    """The files of a folder over HTTP, with byte ranges, by aiohttp."""

    def __init__(self, folder):
        self.log = Log()
        self.folder = folder
        self._loop = asyncio.new_event_loop()
        started = threading.Event()
        self._thread = threading.Thread(target=self._serve, args=(started,), daemon=True)
        self._thread.start()
        assert started.wait(60)

    def _serve(self, started):
        from aiohttp import web

        asyncio.set_event_loop(self._loop)

        async def answer(request):
            noted, fault = self.log.note(
                request.method, request.path, request.query_string, request.headers.get("Range", "")
            )
            if fault is not None and fault.isdigit():
                return web.Response(status=int(fault))
            if fault == "hang":
                await self._stopping.wait()
            if fault in ("cut", "hang"):
                request.transport.abort()
                return web.Response()
            path = self.folder / request.path.lstrip("/")
            if not path.is_file():
                return web.Response(status=404)
            data = path.read_bytes()
            headers = {"ETag": f'"{zlib.crc32(data)}"', "Accept-Ranges": "bytes"}
            span = request.http_range
            if request.method == "HEAD":
                return web.Response(headers={**headers, "Content-Length": str(len(data))})
            if span.start is not None:
                start, stop, _ = span.indices(len(data))
                if start >= len(data):
                    return web.Response(status=416)
                headers["Content-Range"] = f"bytes {start}-{stop - 1}/{len(data)}"
                body = data[start:stop]
                noted.sent = len(body)
                if fault in ("short", "stall"):
                    response = web.StreamResponse(
                        status=206, headers={**headers, "Content-Length": str(len(body))}
                    )
                    await response.prepare(request)
                    await response.write(body[: len(body) // 2])
                    if fault == "stall":
                        await self._stopping.wait()
                    request.transport.abort()
                    return response
                return web.Response(status=206, body=body, headers=headers)
            noted.sent = len(data)
            return web.Response(body=data, headers=headers)

        async def run():
            app = web.Application()
            app.router.add_route("*", "/{name:.*}", answer)
            runner = web.AppRunner(app)
            await runner.setup()
            site = web.TCPSite(runner, "127.0.0.1", 0)
            await site.start()
            self.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
            self._stopping = asyncio.Event()
            started.set()
            await self._stopping.wait()
            await runner.cleanup()

        self._loop.run_until_complete(run())

    def close(self):
        self._loop.call_soon_threadsafe(self._stopping.set)
        self._thread.join(10)
        self._loop.close()
