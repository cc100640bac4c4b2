"""The proxy that the tests of object storage rest on: it changes nothing unless told to, and then what it was told."""

from __future__ import annotations

import dataclasses
import random
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urlsplit

import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake
from pyarrow import fs

from tests.faultproxy import FAULTS, NOTHING, Plan
from tests.objects import Proxy

pytestmark = pytest.mark.services

LARGE = random.Random(0).randbytes(5 << 20)


_AUTHORIZATION = "Authorization: AWS4-HMAC-SHA256 Credential=tests/20260101/us-east-1/s3/aws4_request"


@pytest.fixture
def files(proxy: Proxy) -> fs.S3FileSystem:
    """A client that fails at once where a request fails."""
    return client(proxy, 1)


def client(proxy: Proxy, tries: int) -> fs.S3FileSystem:
    return fs.S3FileSystem(
        endpoint_override=proxy.address, region="us-east-1", retry_strategy=fs.AwsDefaultS3RetryStrategy(tries),
        allow_delayed_open=True, check_directory_existence_before_creation=False,
    )  # fmt: skip


def write(files: fs.S3FileSystem, key: str, content: bytes) -> None:
    with files.open_output_stream(key, metadata={"Content-Type": "application/octet-stream"}) as file:
        file.write(content)


def read(files: fs.S3FileSystem, key: str) -> bytes:
    with files.open_input_stream(key) as file:
        content: bytes = file.read()
    return content


def names(files: fs.S3FileSystem, folder: str) -> list[str]:
    return [info.base_name for info in files.get_file_info(fs.FileSelector(folder, allow_not_found=True))]


@pytest.fixture
def folder(bucket: str) -> str:
    return bucket.removeprefix("s3://")


class Connection:
    """A connection without a client's help: no retries, and nothing hidden."""

    def __init__(self, proxy: Proxy, folder: str) -> None:
        self.folder, where = folder, urlsplit(proxy.address)
        assert where.hostname is not None
        self.socket = socket.create_connection((where.hostname, where.port or 80))
        self.file = self.socket.makefile("rb")

    def ask(self, verb: str, path: str, body: bytes = b"", **headers: str) -> tuple[int, bytes]:
        """The status and the body of the answer; a failure to answer is a ConnectionError."""
        lines = [_AUTHORIZATION, *(f"{name.replace('_', '-')}: {value}" for name, value in headers.items())]
        if "Transfer_Encoding" not in headers:
            lines.append(f"Content-Length: {len(body)}")
        head = "\r\n".join([f"{verb} /{self.folder}{path} HTTP/1.1", "Host: 127.0.0.1", *lines, "", ""])
        self.socket.sendall(head.encode() + body)
        status = self.file.readline()
        if not status:
            raise ConnectionError("no answer")
        length = 0
        while (line := self.file.readline()) not in (b"\r\n", b""):
            name, _, value = line.partition(b":")
            if name.lower() == b"content-length":
                length = int(value)
        content = b"" if verb == "HEAD" else self.file.read(length)
        if len(content) < length and verb != "HEAD":
            raise ConnectionError("half an answer")
        return int(status.split()[1]), content

    def close(self) -> None:
        self.file.close()
        self.socket.close()


@pytest.fixture
def connection(proxy: Proxy, folder: str) -> Iterator[Connection]:
    opened = Connection(proxy, folder)
    yield opened
    opened.close()


# nothing wrong ------------------------------------------------------------------------------------------------------


def test_what_is_written_is_read_whole_and_in_part(files: fs.S3FileSystem, folder: str) -> None:
    for content in (b"", b"x", LARGE):
        write(files, f"{folder}/a b=ü", content)
        assert read(files, f"{folder}/a b=ü") == content
        assert files.get_file_info(f"{folder}/a b=ü").size == len(content)
    with files.open_input_file(f"{folder}/a b=ü") as file:
        assert file.read_at(1_000, 4_000_000) == LARGE[4_000_000:4_001_000]
    files.delete_file(f"{folder}/a b=ü")
    with pytest.raises(FileNotFoundError):
        read(files, f"{folder}/a b=ü")


def test_many_objects_are_listed_over_several_pages(files: fs.S3FileSystem, proxy: Proxy, folder: str) -> None:
    wanted = [f"{i:04d}" for i in range(1_010)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda name: write(files, f"{folder}/{name}", b"x"), wanted))
    with proxy.counting() as passed:
        assert sorted(names(files, folder)) == wanted
    assert passed().requests["LIST"] == 2
    assert passed().downloaded > 1_010 * 100


def test_of_simultaneous_writes_that_must_be_the_first_one_is(proxy: Proxy, folder: str) -> None:
    def attempt(number: int) -> int:
        opened = Connection(proxy, folder)
        try:
            return opened.ask("PUT", "/key", b"%d" % number, If_None_Match="*")[0]
        finally:
            opened.close()

    with ThreadPoolExecutor(16) as pool:
        found = list(pool.map(attempt, range(16)))
    assert sorted(found) == [200, *[412] * 15]
    opened = Connection(proxy, folder)
    assert opened.ask("GET", "/key") == (200, b"%d" % found.index(200))
    opened.close()


def test_a_connection_is_kept_for_further_requests_with_bodies_in_chunks(connection: Connection) -> None:
    signed = b"5;chunk-signature=0\r\nhello\r\n0;chunk-signature=0\r\n\r\n"
    said = {"x_amz_content_sha256": "STREAMING-AWS4-HMAC-SHA256-PAYLOAD", "x_amz_decoded_content_length": "5"}
    assert connection.ask("PUT", "/a", signed, Content_Encoding="aws-chunked", **said)[0] == 200
    chunked = b"3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n"
    assert connection.ask("PUT", "/b", chunked, Transfer_Encoding="chunked")[0] == 200
    for key in ("/a", "/b"):
        assert connection.ask("GET", key) == (200, b"hello")
        assert connection.ask("GET", key, Range="bytes=1-2") == (206, b"el")
        assert connection.ask("HEAD", key) == (200, b"")
    assert connection.ask("DELETE", "/a")[0] == 204
    assert connection.ask("GET", "/a")[0] == 404


@pytest.mark.parametrize("sent", [b"", b"4\r\nhalf\r\n", b"4\r\nhalf\r\n0\r\n"])
def test_a_client_that_dies_between_two_chunks_of_a_body_keeps_no_other_waiting(
    proxy: Proxy, folder: str, connection: Connection, sent: bytes
) -> None:
    dying = Connection(proxy, folder)
    dying.socket.sendall(
        f"PUT /{folder}/half HTTP/1.1\r\nHost: 127.0.0.1\r\n{_AUTHORIZATION}\r\n"
        "Transfer-Encoding: chunked\r\n\r\n".encode()
        + sent
    )
    dying.socket.shutdown(socket.SHUT_WR)
    for opened in (dying, connection):
        opened.socket.settimeout(60)  # so that the test ends, where nobody answers
    assert dying.file.read() == b"", "it is not answered"
    dying.close()
    assert connection.ask("GET", "/half")[0] == 404


def test_a_table_is_appended_to_and_read_and_two_that_write_at_once_both_do(proxy: Proxy, bucket: str) -> None:
    table = f"{bucket}/table"
    write_deltalake(table, pa.table({"x": [0]}))
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda x: write_deltalake(table, pa.table({"x": [x]}), mode="append"), range(1, 9)))
    with proxy.counting() as passed:
        found = DeltaTable(table)
        assert sorted(found.to_pyarrow_table()["x"].to_pylist()) == list(range(9))
    assert found.version() == 8
    assert passed().requests["GET"] >= 18
    assert not passed().faults


def test_requests_are_counted_by_kind_and_bodies_by_bytes(proxy: Proxy, connection: Connection) -> None:
    with proxy.counting() as passed:
        connection.ask("PUT", "/a", b"hello")
        connection.ask("PUT", "/b", x_amz_copy_source=f"{connection.folder}/a")
        connection.ask("HEAD", "/b")
        _, found = connection.ask("GET", "/b")
        connection.ask("DELETE", "/b")
        connection.ask("POST", "/c?uploads")
    counted = passed()
    assert found == b"hello"
    assert counted.requests == {"PUT": 1, "COPY": 1, "HEAD": 1, "GET": 1, "DELETE": 1, "POST": 1}
    assert counted.uploaded == 5
    assert counted.downloaded > 5


# one fault each ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", ["drop_before", "refuse", "cut_request"])
def test_of_a_write_that_did_not_arrive_nothing_is_there(proxy: Proxy, folder: str, fault: str) -> None:
    failed(proxy, folder, fault)
    connection = Connection(proxy, folder)
    assert connection.ask("GET", "/key")[0] == 404
    connection.close()


@pytest.mark.parametrize("fault", ["drop_after", "refuse_after"])
def test_what_a_client_takes_for_a_failed_write_may_have_been_done(proxy: Proxy, folder: str, fault: str) -> None:
    failed(proxy, folder, fault)
    connection = Connection(proxy, folder)
    assert connection.ask("GET", "/key") == (200, b"hello")
    assert connection.ask("PUT", "/key", b"again", If_None_Match="*")[0] == 412
    connection.close()


def failed(proxy: Proxy, folder: str, fault: str) -> None:
    connection = Connection(proxy, folder)
    certain: dict[str, Any] = {fault: 1.0}
    with proxy.counting() as passed, proxy.faults(Plan(**certain)):
        if fault.startswith("refuse"):
            status, said = connection.ask("PUT", "/key", b"hello")
            assert (status, b"<Code>SlowDown</Code>" in said) == (503, True)
        else:
            with pytest.raises(ConnectionError):
                connection.ask("PUT", "/key", b"hello")
    assert passed().faults == {fault: 1}
    connection.close()


def test_an_answer_that_is_cut_ends_in_its_middle(proxy: Proxy, connection: Connection) -> None:
    connection.ask("PUT", "/key", LARGE)
    with proxy.counting() as passed, proxy.faults(Plan(cut_answer=1.0)), pytest.raises(ConnectionError):
        connection.ask("GET", "/key")
    assert passed().faults == {"cut_answer": 1}


def test_a_write_arrives_again_though_its_object_was_removed(proxy: Proxy, connection: Connection) -> None:
    with proxy.counting() as passed, proxy.faults(Plan(replay=1.0, later=3_600)):
        assert connection.ask("PUT", "/key", b"hello")[0] == 200
        assert connection.ask("DELETE", "/key")[0] == 204
        assert connection.ask("GET", "/key")[0] == 404
    assert connection.ask("GET", "/key") == (200, b"hello")
    assert passed().faults == {"replay": 1}


def test_a_second_write_that_must_be_the_first_changes_nothing(proxy: Proxy, connection: Connection) -> None:
    with proxy.faults(Plan(replay=1.0, later=3_600)):
        assert connection.ask("PUT", "/key", b"hello", If_None_Match="*")[0] == 200
        assert connection.ask("PUT", "/key", b"later")[0] == 200
        assert connection.ask("PUT", "/other", b"", If_None_Match="*")[0] == 200
    assert connection.ask("GET", "/key") == (200, b"later")


def test_a_listing_is_that_of_before(proxy: Proxy, files: fs.S3FileSystem, folder: str) -> None:
    write(files, f"{folder}/a", b"x")
    with proxy.counting() as passed, proxy.faults(Plan(stale_listing=1.0)):
        assert names(files, folder) == ["a"]
        write(files, f"{folder}/b", b"x")
        files.delete_file(f"{folder}/a")
        assert names(files, folder) == ["a"]
    assert passed().faults == {"stale_listing": 1}, "there was nothing before the first"
    assert names(files, folder) == ["b"]


def test_a_listing_lacks_what_was_written_last(proxy: Proxy, files: fs.S3FileSystem, folder: str) -> None:
    for name in ("d", "a", "c", "b", "e ü"):
        write(files, f"{folder}/{name}", b"x")
    write(files, f"{folder}/d", b"again")
    with proxy.counting() as passed, proxy.faults(Plan(short_listing=1.0)):
        listed = [names(files, folder) for _ in range(20)]
    assert {tuple(found) for found in listed} == {("a", "b", "c", "e ü"), ("a", "b", "c"), ("a", "c")}
    assert passed().faults == {"short_listing": 20}


def test_a_listing_is_in_any_order(proxy: Proxy, connection: Connection, files: fs.S3FileSystem, folder: str) -> None:
    wanted = [f"{i:02d}" for i in range(30)]
    for name in wanted:
        write(files, f"{folder}/{name}", b"x")
    bucket, _, prefix = folder.partition("/")
    connection.folder = bucket
    with proxy.counting() as passed, proxy.faults(Plan(shuffled_listing=1.0)):
        _, one = connection.ask("GET", f"?list-type=2&prefix={prefix}/")
        _, other = connection.ask("GET", f"?list-type=2&prefix={prefix}/")
    assert passed().faults == {"shuffled_listing": 2}
    places = [one.index(b"/%s</Key>" % name.encode()) for name in wanted]
    assert places != sorted(places)
    assert one != other
    assert len(one) == len(other)


def test_a_late_answer_is_the_right_one(proxy: Proxy, connection: Connection) -> None:
    with proxy.counting() as passed, proxy.faults(Plan(delay=1.0, seconds=0.01)):
        connection.ask("PUT", "/key", b"hello")
        assert connection.ask("GET", "/key") == (200, b"hello")
    assert passed().faults == {"delay": 2}


def test_only_what_a_plan_concerns_meets_faults(proxy: Proxy, connection: Connection) -> None:
    with proxy.faults(Plan(refuse=1.0, paths="/inbox/")):
        assert connection.ask("PUT", "/inbox/a", b"x")[0] == 503
        assert connection.ask("PUT", "/log/a", b"x")[0] == 200


# plans --------------------------------------------------------------------------------------------------------------

_EACH: dict[str, Any] = dict.fromkeys(FAULTS, 0.08)
SOME = Plan(**_EACH, seconds=0.0, later=0.0)


def test_each_request_meets_the_first_plan_that_is_about_it_and_so_often_as_it_says(
    proxy: Proxy, connection: Connection, files: fs.S3FileSystem, folder: str
) -> None:
    for name in "abcd":
        connection.ask("PUT", f"/{name}")
    refused, short = Plan(refuse=1.0, kinds=("PUT",), paths="/b$", most=2), Plan(short_listing=1.0, lacking=(2, 2))
    with proxy.faults(refused, short):
        assert [connection.ask("PUT", "/b")[0] for _ in range(3)] == [503, 503, 200]
        assert connection.ask("HEAD", "/b")[0] == connection.ask("PUT", "/e")[0] == 200
        assert sorted(names(files, folder)) == ["a", "c", "d"]
    assert sorted(names(files, folder)) == ["a", "b", "c", "d", "e"]


def test_the_same_requests_meet_the_same_faults(proxy: Proxy, folder: str) -> None:
    def fates(plan: Plan) -> list[int]:
        found = []
        with proxy.faults(plan):
            for i in range(60):
                connection = Connection(proxy, folder)
                try:
                    found.append(
                        connection.ask(("PUT", "GET", "HEAD")[i % 3], "/key", b"hello" if i % 3 == 0 else b"")[0]
                    )
                except ConnectionError:
                    found.append(0)
                finally:
                    connection.close()
        return found

    first = fates(SOME)
    assert fates(SOME) == first
    assert fates(dataclasses.replace(SOME, seed=1)) != first
    assert {0, 200, 503} <= set(first)


def test_faults_come_as_often_as_planned(proxy: Proxy) -> None:
    drawn = [SOME.fault("LIST", number, has_body=True)[0] for number in range(20_000)]
    for fault in FAULTS:
        share = drawn.count(fault) / len(drawn)
        assert share == (0.0 if fault == "replay" else pytest.approx(0.08, abs=0.01)), fault
    assert {NOTHING.fault("PUT", number, has_body=True)[0] for number in range(100)} == {""}


def test_a_client_that_tries_again_gets_through(proxy: Proxy, folder: str) -> None:
    files = client(proxy, 10)
    contents = {f"{i:02d}": b"%d" % i * 1_000 for i in range(30)}  # the client cannot read less than an error's text
    with proxy.counting() as passed, proxy.faults(SOME):
        for name, content in contents.items():
            write(files, f"{folder}/{name}", content)
        assert {name: read(files, f"{folder}/{name}") for name in contents} == contents
    assert len(names(files, folder)) == 30
    assert len(passed().faults) >= 5
