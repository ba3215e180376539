"""Directories of checkpoints in a bucket: the state file, what is kept, and what killed writers left."""

import json

import numpy as np
import pytest

import tensorbundle as tb
from tensorbundle.errors import ConflictError
from tensorbundle.storage.remote import RemoteStore
from tensorbundle.storage.settings import current_options

RUN = "s3://bucket/run"


@pytest.fixture
def three(s3):
    for step in (1, 2, 10):
        with tb.create(f"{RUN}/ckpt-{step}") as writer:
            writer.add("step", step)
    return s3


def names(s3):
    return [key.removeprefix("run/") for key in s3.objects()]


def test_the_state_file_is_made_and_followed(three, run):
    run("manage", RUN, "repair")
    assert run("latest", RUN).out == f"{RUN}/ckpt-10\n"
    assert "ckpt-2" in run("manage", RUN).out
    with tb.open(RUN) as checkpoint:
        assert checkpoint["step"] == 10
    assert tb.compat.latest_checkpoint(RUN) == f"{RUN}/ckpt-10"


def test_the_oldest_are_deleted(three, run):
    run("manage", RUN, "repair")
    run("manage", RUN, "prune", "--max-to-keep", 2)
    assert [each for each in names(three) if each.endswith(".index")] == ["ckpt-10.index", "ckpt-2.index"]
    run("manage", RUN, "remove", "ckpt-10")
    assert run("latest", RUN).out == f"{RUN}/ckpt-2\n"


def test_what_killed_writers_left_is_listed_and_deleted(three, run):
    before = names(three)
    three.client.put_object(
        Bucket="bucket", Key="run/ckpt-2.data-00000-of-00002", Body=b"of an overwriting one"
    )
    three.client.put_object(Bucket="bucket", Key="run/dead.data-00000-of-00001", Body=b"without an index")
    three.client.put_object(Bucket="bucket", Key="run/other.txt", Body=b"")
    three.client.create_multipart_upload(Bucket="bucket", Key="run/dead.data-00001-of-00002")
    three.client.create_multipart_upload(Bucket="bucket", Key="elsewhere/dead.data-00001-of-00002")
    with pytest.raises(ConflictError, match="manage DIR clean"), tb.create(f"{RUN}/dead") as writer:
        writer.add("a", 1)
    listed = run("manage", RUN, "clean", "--dry-run").out
    assert "would delete" in listed
    assert len(three.uploads()) == 2
    records = [json.loads(line) for line in run("manage", RUN, "clean", "--json").out.splitlines()]
    assert len([each for each in records if each.get("action") == "delete"]) == 3
    assert names(three) == sorted([*before, "other.txt"])
    assert [each["Key"] for each in three.uploads()] == ["elsewhere/dead.data-00001-of-00002"]
    with tb.open(f"{RUN}/ckpt-2") as checkpoint:
        np.testing.assert_array_equal(checkpoint["step"], 2)


def test_uploads_are_deleted_where_nothing_else_is(s3, run):
    s3.client.create_multipart_upload(Bucket="bucket", Key="run/dead.data-00000-of-00001")
    assert "the parts of an upload" in run("manage", RUN, "clean").out
    assert s3.uploads() == []


def test_verify_all(three, run):
    assert run("verify", "--all", RUN).out.count("ckpt-") == 3


@pytest.mark.parametrize(
    ("command", "url", "said"),
    [
        ("manage", "s3://bucket/nothing", "no such directory"),
        ("manage", "s3://nowhere/nothing", "no such bucket"),
        ("manage", "s3://nowhere", "no such bucket"),
        ("ls", "s3://nowhere", "no such bucket"),
        ("ls", "s3://bucket", "a directory without a 'checkpoint' state file; no checkpoint is there"),
        ("ls", "s3://bucket/", "a directory without a 'checkpoint' state file; no checkpoint is there"),
    ],
)
@pytest.mark.usefixtures("s3")
def test_a_directory_that_is_not_there(run, command, url, said):
    assert said in run.error(command, url)


def test_uploads_come_in_pages(s3, monkeypatch):
    """moto's server has one page, and does not group keys; those of S3 have a thousand uploads."""
    for name in ("a", "b", "c", "sub/d", "../other"):
        s3.client.create_multipart_upload(Bucket="bucket", Key=f"run/{name}")
    store = RemoteStore()
    fs, _ = store.locate(RUN)
    real = fs.call_s3

    def paged(method, **arguments):
        whole = real(method, **{name: value for name, value in arguments.items() if "Marker" not in name})
        ids = ["", *(each["UploadId"] for each in whole["Uploads"])]
        at = ids.index(arguments.get("UploadIdMarker", ""))
        page = whole["Uploads"][at : at + 1]
        more = at + 2 < len(ids)
        next_ = {"NextKeyMarker": page[0]["Key"], "NextUploadIdMarker": page[0]["UploadId"]} if more else {}
        return {"Uploads": page, "IsTruncated": more, **next_}

    monkeypatch.setattr(fs, "call_s3", paged)
    assert [each.path for each in store.uploads(RUN)] == [f"{RUN}/{name}" for name in "abc"]
    monkeypatch.undo()
    assert [each.path for each in store.uploads(RUN)] == [f"{RUN}/{name}" for name in "abc"]


def test_options_of_stores_before_and_after_the_action(run, monkeypatch):
    found = []

    def note(*_, **__):
        found.append(current_options())
        raise ConflictError("seen")

    monkeypatch.setattr("tensorbundle.tools.cli.commands.manage.manage", note)
    run.error(
        "manage", "s3://bucket/run", "--storage-option=s3.anon=true", "clean", "--storage-option=s3.key=me"
    )
    assert found[0]["s3"]["anon"] is True
    assert found[0]["s3"]["key"] == "me"
