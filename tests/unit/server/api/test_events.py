"""`POST /e/{key}`. What is an event is told in the tests of `wire.events`."""

from __future__ import annotations

import re

import msgspec
import pytest

from stepwell.wire.ids import parse_ulid, ulid_ms
from tests.unit.server.api.bench import open_api
from tests.unit.server.loop import on_loop


@on_loop
async def test_one_event_is_answered_with_its_id() -> None:  # server 2
    async with open_api() as api:
        answer = await api.post("/e/any", b' {"name":"a/b","data":{"x":1}} ')
        assert (answer.status, answer.json["status"]) == (200, 200)
        assert answer.headers["content-type"] == "application/json"
        (event_id,) = answer.json["ids"]
        stored = (await api.get(f"/v1/events/{event_id}")).json["data"]
        assert (stored["name"], stored["data"]) == ("a/b", {"x": 1})


@on_loop
async def test_the_ids_of_an_array_are_in_its_order() -> None:  # server 3
    async with open_api() as api:
        events = [{"name": f"n{number}"} for number in range(3)]
        ids = (await api.post("/e/any", msgspec.json.encode(events))).json["ids"]
        assert [
            (await api.get(f"/v1/events/{event_id}")).json["data"]["name"] for event_id in ids
        ] == ["n0", "n1", "n2"]
        assert ids == sorted(ids)


@on_loop
async def test_a_seed_makes_the_ids_and_a_repeat_stores_nothing_twice() -> None:  # server 9, 10
    async with open_api() as api:
        seed = {"x_inngest_event_id_seed": "1766000000000,AAAAAAAAAAAAAA=="}
        first = await api.post("/e/any", b'[{"name":"a"},{"name":"b"}]', **seed)
        again = await api.post("/e/any", b'[{"name":"a"},{"name":"b"}]', **seed)
        assert first.json == again.json
        raw = [parse_ulid(event_id) for event_id in first.json["ids"]]
        assert [ulid_ms(one) for one in raw] == [1_766_000_000_000] * 2
        assert [one[-4:] for one in raw] == [b"\0\0\0\1", b"\0\0\0\2"]
        listed = await api.get("/v1/events?received_after=2020-01-01")
        assert len(listed.json["data"]) == 2


@pytest.mark.parametrize("seed", ["", "x", "1766000000000", "1766000000000,AA==", "a,b,c"])
def test_a_seed_that_cannot_be_read_is_ignored(seed: str) -> None:
    @on_loop
    async def check() -> None:
        async with open_api() as api:
            answer = await api.post("/e/any", b'{"name":"a"}', x_inngest_event_id_seed=seed)
            assert answer.status == 200

    check()


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "event object or an array"),
        (b"[]", ""),
        (b"nope", "event object or an array"),
        (b"null", ""),
        (b"7", ""),
        (b'"a"', ""),
        (b"{", ""),
        (b'{"name":"a"', ""),
        (b'{"name":"a"} x', ""),
        (b"\xff\xfe", ""),
        (b"\x1f\x8b\x08\x00", ""),
        (b"a=1&b=2", ""),
        (b"{}", "event name is empty"),
        (b'{"name":""}', "event name is empty"),
        (b'{"name":7}', ""),
        (b'{"name":["a"]}', ""),
        (b'{"name":"inngest/x"}', "event name is reserved for internal use: inngest/x"),
        (b'{"name":"INNGEST/x"}', "event name is reserved for internal use"),
        (b'{"name":"a","data":7}', ""),
        (b'{"name":"a","id":7}', ""),
        (b'{"name":"a","ts":"now"}', ""),
        (b'{"name":"a","ts":1.5}', ""),
        (b'{"name":"a","ts":1}', "before Jan 1, 1980"),
        (b'{"name":"a","ts":99999999999999}', "after Jan 1, 2100"),
        (b'[{"name":"a"},7]', ""),
        (b'[{"name":"a"},{"name":""}]', "event name is empty"),
        (b"[" * 100_000, ""),
        (b"[" + b",".join([b'{"name":"a"}'] * 5_001) + b"]", "more than 5000 events in a batch"),
    ],
)
def test_what_is_no_event_is_a_400_and_nothing_is_stored(body: bytes, words: str) -> None:
    @on_loop
    async def check() -> None:
        async with open_api() as api:
            answer = await api.post("/e/any", body)
            assert (answer.status, answer.json["status"]) == (400, 400)
            assert answer.json["ids"] == []
            assert answer.json["error"]
            assert re.fullmatch(r"invalid_json|event(s_too_many|_[a-z_]+)", answer.json["code"])
            assert words in answer.json["error"]
            assert api.store.reader().events(limit=1) == []

    check()


@on_loop
async def test_an_event_that_is_too_large_is_a_413_with_its_size() -> None:  # server 5
    async with open_api(event_bytes_max=2_000) as api:
        fits = b'{"name":"a","data":{"x":"' + b"y" * 1_000 + b'"}}'
        large = b'{"name":"a","data":{"x":"' + b"y" * 2_000 + b'"}}'
        assert (await api.post("/e/any", fits)).status == 200
        answer = await api.post("/e/any", b"[" + fits + b"," + large + b"]")
        assert answer.status == 413
        assert "Event is over the max size: Max 2000 bytes / Size 2" in answer.json["error"]


@pytest.mark.parametrize("path", ["/e", "/e/", "/e/a/b"])
def test_a_path_without_one_key_is_not_there(path: str) -> None:
    @on_loop
    async def check() -> None:
        async with open_api() as api:
            assert (await api.post(path, b'{"name":"a"}')).status == 404

    check()


@on_loop
async def test_an_encoded_slash_is_no_separator_of_keys() -> None:
    async with open_api() as api:
        assert (await api.post("/e/a%2Fb", b'{"name":"a"}')).status in (200, 404)
        assert (await api.get("/health")).status == 200
