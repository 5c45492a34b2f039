from __future__ import annotations

import pytest

from stepwell.errors import OutboundError
from stepwell.server.outbound.redirects import Hop, next_hop

HEADERS = {"Authorization": "Bearer k", "Content-Type": "application/json", "X-Key": "k",
           "User-Agent": "Stepwell"}  # fmt: skip
FIRST = Hop(method="POST", url="https://a/x?fnId=f&stepId=step", headers=HEADERS, body=b"{}")


def follow(
    location: str, *, status: int = 307, keeps_all: bool = False, method: str = "POST"
) -> Hop:
    first = Hop(method=method, url=FIRST.url, headers=HEADERS, body=b"{}")
    return next_hop(first, status=status, location=location, keeps_all=keeps_all)


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_call_goes_on_as_it_is(status: int) -> None:
    hop = follow("https://b/y/", status=status, keeps_all=True)
    assert hop == Hop(
        method="POST", url="https://b/y/?fnId=f&stepId=step", headers=HEADERS, body=b"{}"
    )


def test_a_call_keeps_what_the_new_address_says_of_its_parameters() -> None:
    hop = follow("/y?stepId=other&z=1", keeps_all=True)
    assert hop.url == "https://a/y?stepId=other&z=1&fnId=f"


@pytest.mark.parametrize(
    ("status", "method", "then"),
    [
        (301, "POST", "GET"),
        (302, "POST", "GET"),
        (303, "POST", "GET"),
        (303, "PUT", "GET"),
        (303, "HEAD", "HEAD"),
        (301, "PUT", "PUT"),
        (307, "POST", "POST"),
        (308, "POST", "POST"),
    ],
)
def test_a_request_of_a_function_follows_browsers(status: int, method: str, then: str) -> None:
    hop = follow("/y", status=status, method=method)
    kept = then == method and method != "HEAD"
    assert (hop.method, hop.body) == (then, b"{}" if kept else None)
    assert ("Content-Type" in hop.headers) is kept
    assert hop.headers["Authorization"] == "Bearer k"
    assert hop.url == "https://a/y"


@pytest.mark.parametrize("location", ["https://b/", "https://a:444/", "//b/x"])
def test_another_host_gets_no_secret(location: str) -> None:
    assert follow(location).headers == {
        "Content-Type": "application/json",
        "User-Agent": "Stepwell",
    }


def test_the_same_origin_may_be_spelt_otherwise() -> None:
    assert follow("https://A:443/y").headers == HEADERS


@pytest.mark.parametrize("keeps_all", [True, False])
@pytest.mark.parametrize(
    "location",
    ["http://a/x", "ftp://a/", "file:///etc/passwd", "https://a:0/", "https://[::1/",
     "javascript:alert(1)", "https://a:99999/"],
)  # fmt: skip
def test_where_nothing_is_followed(location: str, keeps_all: bool) -> None:
    with pytest.raises(OutboundError) as refused:
        follow(location, keeps_all=keeps_all)
    assert refused.value.code == "outbound_redirect_refused"


def test_a_call_never_becomes_a_get() -> None:
    with pytest.raises(OutboundError, match="another method"):
        follow("/y", status=303, keeps_all=True)


def test_http_may_lead_to_https() -> None:
    first = Hop(method="POST", url="http://a/x", headers=HEADERS, body=b"{}")
    assert next_hop(first, status=308, location="https://a/x", keeps_all=True).url == "https://a/x"
