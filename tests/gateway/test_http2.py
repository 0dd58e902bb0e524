"""HTTP/2 as a server of gRPC speaks it: driven with bytes alone, then by another's client."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

hpack = pytest.importorskip("hpack", reason="pip install 'streamproc[envoy]'")

from streamproc.gateway.authz import http2  # noqa: E402
from streamproc.gateway.authz.grpc import GrpcServer  # noqa: E402
from streamproc.gateway.authz.http2 import Begun, Connection, Data, Ended, Gone, Http2Error, literal  # noqa: E402
from tests.gateway.test_limiter import free_port  # noqa: E402

HELLO = http2.PREFACE + b"\0\0\0\x04\0\0\0\0\0"  # the preface and empty settings


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    return len(payload).to_bytes(3) + bytes((kind, flags)) + stream.to_bytes(4) + payload


def request(stream: int, body: bytes, path: str = "/a/B") -> bytes:
    block = hpack.Encoder().encode([(":method", "POST"), (":path", path)])
    return frame(http2.HEADERS, http2.END_HEADERS, stream, block) + frame(http2.DATA, http2.END_STREAM, stream, body)


def frames(out: bytes) -> list[tuple[int, int, int, bytes]]:
    found = []
    while out:
        end = 9 + int.from_bytes(out[:3])
        found.append((out[3], out[4], int.from_bytes(out[5:9]), out[9:end]))
        out = out[end:]
    return found


def greeted() -> Connection:
    connection = Connection()
    assert connection.receive(HELLO) == []
    assert [kind for kind, *_ in frames(connection.take())] == [http2.SETTINGS, http2.WINDOW_UPDATE, http2.SETTINGS]
    return connection


@given(st.lists(st.integers(1, 40), max_size=40))
def test_bytes_say_the_same_however_they_are_cut(cuts: list[int]) -> None:
    whole = HELLO + request(1, b"one") + frame(http2.PING, 0, 0, b"12345678") + request(3, b"two")
    connection, events = Connection(), []
    for cut in cuts:
        events += connection.receive(whole[:cut])
        whole = whole[cut:]
    events += connection.receive(whole)
    assert events == [
        Begun(1, "/a/B"), Data(1, b"one"), Ended(1), Begun(3, "/a/B"), Data(3, b"two"), Ended(3),
    ]  # fmt: skip
    assert (http2.PING, http2.ACK, 0, b"12345678") in frames(connection.take())


@given(st.binary(max_size=300), st.booleans())
def test_no_bytes_break_it_otherwise_than_by_its_error(data: bytes, hello: bool) -> None:  # noqa: FBT001
    connection = Connection()
    try:
        connection.receive(HELLO * hello + data)
    except Http2Error as error:
        assert frames(connection.take())[-1] == (  # noqa: PT017 - most bytes raise nothing
            http2.GOAWAY, 0, 0, connection._newest.to_bytes(4) + error.code.to_bytes(4),
        )  # fmt: skip


@given(
    st.lists(st.tuples(st.integers(0, 10), st.integers(0, 255), st.integers(0, 5), st.binary(max_size=40)), max_size=12)
)
def test_no_frames_break_it_otherwise_than_by_its_error(sent: list[tuple[int, int, int, bytes]]) -> None:
    connection = greeted()
    try:
        for one in sent:
            for event in connection.receive(frame(*one)):
                if isinstance(event, Ended):
                    connection.answer(event.stream, b"h", b"data", b"t")
    except Http2Error:
        pass


WRONG = {
    "no preface": (b"GET / HTTP/1.1\r\n\r\n", http2.PROTOCOL_ERROR),
    "a frame too long": (HELLO + b"\xff\xff\xff\0\0\0\0\0\1", http2.FRAME_SIZE_ERROR),
    "data of no stream": (HELLO + frame(http2.DATA, 0, 1, b"x"), http2.PROTOCOL_ERROR),
    "an even stream": (HELLO + request(2, b""), http2.PROTOCOL_ERROR),
    "a stream anew": (HELLO + request(3, b"") + request(1, b""), http2.PROTOCOL_ERROR),
    "headers cut by another frame": (
        HELLO + frame(http2.HEADERS, 0, 1, b"") + frame(http2.PING, 0, 0, b"12345678"), http2.PROTOCOL_ERROR,
    ),
    "headers that go on and on": (
        HELLO + frame(http2.HEADERS, 0, 1) + 5 * frame(http2.CONTINUATION, 0, 1, bytes(2**14)), http2.PROTOCOL_ERROR,
    ),
    "headers that cannot be read": (
        HELLO + frame(http2.HEADERS, http2.END_HEADERS, 1, b"\xff\xff\xff\xff\xff"), http2.COMPRESSION_ERROR,
    ),
    "a push": (HELLO + frame(http2.PUSH_PROMISE, 0, 1), http2.PROTOCOL_ERROR),
    "a window that grows too much": (
        HELLO + frame(http2.WINDOW_UPDATE, 0, 0, (2**31 - 1).to_bytes(4)), http2.FLOW_CONTROL_ERROR,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_what_breaks_the_protocol_ends_the_connection(name: str) -> None:
    data, code = WRONG[name]
    with pytest.raises(Http2Error) as caught:
        Connection().receive(data)
    assert caught.value.code == code


def test_an_answer_waits_for_the_peers_windows() -> None:
    connection = greeted()
    connection.receive(request(1, b"") + request(3, b""))
    connection.take()
    body = bytes(3 * 2**14)
    for stream in (1, 3):
        connection.answer(stream, b"head", body, b"tail")
    sent = frames(connection.take())
    assert [one[:3] for one in sent if one[0] == http2.HEADERS] == [
        (http2.HEADERS, http2.END_HEADERS, 1), (http2.HEADERS, http2.END_HEADERS | http2.END_STREAM, 1),
        (http2.HEADERS, http2.END_HEADERS, 3),
    ]  # fmt: skip
    assert (
        sum(len(data) for kind, _, _, data in sent if kind == http2.DATA) == 3 * 2**14
    )  # 65,535 have no room for more
    connection.receive(frame(http2.WINDOW_UPDATE, 0, 0, (2**16).to_bytes(4)))
    rest = frames(connection.take())
    assert b"".join(data for kind, _, stream, data in rest if kind == http2.DATA and stream == 3) == body
    assert rest[-1] == (http2.HEADERS, http2.END_HEADERS | http2.END_STREAM, 3, b"tail")


def test_who_sends_much_is_given_room_again() -> None:
    connection = greeted()
    connection.receive(request(1, b"")[:-9])  # headers alone
    for _ in range(5):
        connection.receive(frame(http2.DATA, 0, 1, bytes(2**20)))
    given_back = [int.from_bytes(data) for kind, _, _, data in frames(connection.take()) if kind == http2.WINDOW_UPDATE]
    assert given_back == [2**22, 2**22]  # the stream's, and the connection's


def test_too_many_streams_are_refused_and_one_that_is_gone_gets_no_answer() -> None:
    connection = greeted()
    connection.receive(b"".join(request(2 * n + 1, b"") for n in range(http2.MOST_STREAMS)))
    connection.take()
    last = 2 * http2.MOST_STREAMS + 1
    assert connection.receive(request(last, b"")) == []
    assert frames(connection.take()) == [(http2.RST_STREAM, 0, last, http2.REFUSED_STREAM.to_bytes(4))]
    assert connection.receive(frame(http2.RST_STREAM, 0, 1, bytes(4))) == [Gone(1)]
    connection.answer(1, b"h", b"d", b"t")
    assert connection.take() == b""
    assert connection.receive(request(last + 2, b""))[0] == Begun(last + 2, "/a/B")


def test_a_literal_reads_as_what_it_was_made_of() -> None:
    read = hpack.Decoder().decode(literal(":status", "200") + literal("grpc-status", "12"))
    assert [(str(name), str(value)) for name, value in read] == [(":status", "200"), ("grpc-status", "12")]


# -- another's client -------------------------------------------------------------------------------------

Story = Callable[[Any, list[bytes]], Coroutine[Any, Any, None]]


def play(story: Story) -> None:
    aio = pytest.importorskip("grpc.aio", reason="pip install grpcio")
    taken: list[bytes] = []

    async def doubled(message: bytes) -> bytes:
        await asyncio.sleep(0.001 * (len(message) % 3))
        if message == b"wrong":
            raise ValueError("wrong")
        return message * 2

    async def run() -> None:
        server, port = GrpcServer({"/t.T/Double": doubled}, {"/t.T/Take": taken.append}), free_port()
        await server.start(f"127.0.0.1:{port}")
        options = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
        async with aio.insecure_channel(f"127.0.0.1:{port}", options=options) as channel:
            await story(channel, taken)
        await server.stop()

    asyncio.run(run())


def test_calls_of_any_size_and_at_the_same_time_are_answered() -> None:
    async def story(channel: Any, _taken: list[bytes]) -> None:
        call = channel.unary_unary("/t.T/Double")
        messages = [bytes([n]) * size for n in range(60) for size in (0, 1, 1000, 70_000)]
        messages += [b"x" * 6_000_000, *messages]
        answers = await asyncio.gather(*(call(message) for message in messages))
        assert answers == [message * 2 for message in messages]

    play(story)


def test_a_stream_is_taken_in_as_it_comes() -> None:
    async def story(channel: Any, taken: list[bytes]) -> None:
        call = channel.stream_unary("/t.T/Take")()
        sent = [bytes([n]) * n * 1000 for n in range(100)]
        for message in sent:
            await call.write(message)
        while len(taken) < len(sent):  # noqa: ASYNC110 - a plain list is what is watched
            await asyncio.sleep(0.01)
        assert taken == sent
        await call.done_writing()
        assert await call == b""

    play(story)


@pytest.mark.parametrize(
    ("path", "message", "code"),
    [("/t.T/Double", b"wrong", "INVALID_ARGUMENT"), ("/t.T/None", b"", "UNIMPLEMENTED"),
     ("/t.T/Double", b"x" * 17_000_000, "INVALID_ARGUMENT")],
)  # fmt: skip
def test_a_wrong_call_is_told_so_and_the_next_goes_on(path: str, message: bytes, code: str) -> None:
    async def story(channel: Any, _taken: list[bytes]) -> None:
        errors = pytest.importorskip("grpc.aio").AioRpcError
        with pytest.raises(errors) as caught:
            await channel.unary_unary(path)(message)
        assert caught.value.code().name == code
        assert await channel.unary_unary("/t.T/Double")(b"on") == b"onon"

    play(story)
