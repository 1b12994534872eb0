"""What the server tells of itself."""

import re

import httpx2


def test_the_page_shows_every_path_and_needs_nothing_from_elsewhere(server: httpx2.Client) -> None:
    response = server.get("/docs")
    assert "<script" not in response.text
    assert re.findall(r"(?:src|href)=\"(?![#/])", response.text) == []
    assert response.headers["Content-Security-Policy"].startswith("default-src 'none'")
    paths = server.get("/openapi.json").json()["paths"]
    assert {"/v1/tag", "/v1/tags", "/v1/systemone", "/v1/decisions", "/metrics"} <= paths.keys()
    assert all(path in response.text for path in paths)


def test_requests_are_counted_by_path_and_status(server: httpx2.Client) -> None:
    for path in ("/v1/tags", "/healthz", *(f"/nothing/{number}" for number in range(50))):
        server.get(path)
    text = server.get("/metrics").text
    assert re.search(r'^tagger_requests_total\{path="/v1/tags",status="200"\} [1-9]', text, re.M)
    assert 'path="other",status="404"' in text
    assert "/nothing" not in text
    assert "process_resident_memory_bytes" in text


def test_probes_may_ask_for_the_head_alone(server: httpx2.Client) -> None:
    for path in ("/healthz", "/readyz"):
        assert server.head(path).status_code == 200


def test_a_path_with_a_slash_too_many_is_unknown(server: httpx2.Client) -> None:
    assert server.get("/v1/tags/").status_code == 404
