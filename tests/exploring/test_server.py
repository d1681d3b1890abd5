"""The server answers this machine's own page, within bounds, and nobody else."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from salip_exp.config import AreaConfig, Config, VdtConfig
from salip_exp.data.case import CaseRef, Dataset, failing
from salip_exp.errors import CaseError, ConfigError

pytest.importorskip("starlette")
pytest.importorskip("uvicorn")

from starlette.testclient import TestClient

from salip_exp._exploring import server
from salip_exp._exploring.explorer import Explorer
from salip_exp._serving import MOST_BYTES

PORT, TOKEN = 8766, "a-token"
HERE = f"http://127.0.0.1:{PORT}"
HOSTILE = "</script><script>alert(1)</script>"


class Answering(SimpleNamespace):
    """In the place of an explorer: it knows one case."""

    scores = candidate = prompted = None

    def image(self, case_id: str) -> dict[str, Any]:
        if case_id != HOSTILE:
            raise ConfigError(f"there is no case {case_id!r} in d")
        return {"width": 1}

    listed, like = Explorer.listed, Explorer.like

    @property
    def _places(self) -> dict[str, int]:
        return {ref.case_id: place for place, ref in enumerate(self.dataset.refs)}


@pytest.fixture
def app(tmp_path: Path) -> Any:
    return over(tmp_path, HOSTILE)


def over(tmp_path: Path, *ids: str) -> Any:
    """The application over cases of these names."""
    refs = [CaseRef(each, "g", "s", failing(CaseError("E_READ", "not read"))) for each in ids]
    config = Config(vdt=VdtConfig("lungs", ["a lung"]), area=AreaConfig())
    config.dataset.roi = "lungs"
    loaded = SimpleNamespace(labels={"sam": "tiny"})
    explorer: Any = Answering(config=config, dataset=Dataset("d", refs), loaded=loaded, folder=tmp_path, first=ids[0])
    return server.application(explorer, [], PORT, TOKEN)


@pytest.fixture
def client(app: Any) -> TestClient:
    return TestClient(app, base_url=HERE, headers={"X-Token": TOKEN})


def test_the_page_runs_its_own_scripts_alone_and_a_case_cannot_add_one(app: Any) -> None:
    answer = TestClient(app, base_url=HERE).get(f"/?visit={TOKEN}")
    assert answer.status_code == 200
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy and "unsafe" not in policy and "connect-src 'self'" in policy
    assert answer.headers["referrer-policy"] == "no-referrer" and HOSTILE not in answer.text


def test_a_page_over_54_000_cases_is_no_larger_and_they_are_found(app: Any, tmp_path: Path) -> None:
    many = over(tmp_path, *(f"case_{i}" for i in range(54_000)))
    one, other = (TestClient(each, base_url=HERE).get(f"/?visit={TOKEN}").text for each in (app, many))
    assert abs(len(one) - len(other)) < 200
    client = TestClient(many, base_url=HERE, headers={"X-Token": TOKEN})
    assert client.post("/api/like", json={"text": "case_53999"}).json() == [[53_999, "case_53999", "g"]]
    assert len(client.post("/api/like", json={"text": "9"}).json()) == 50
    assert len(client.post("/api/cases", json={"start": 53_999, "count": 54_000}).json()) == server.MOST_CASES


def test_a_question_is_answered_and_a_wrong_one_told_by_a_sentence(client: TestClient) -> None:
    assert client.post("/api/image", json={"case": HOSTILE}).json() == {"width": 1}
    wrong = client.post("/api/image", json={"case": "../../etc/passwd"})
    assert wrong.status_code == 422 and wrong.json() == {"error": "there is no case '../../etc/passwd' in d"}


@pytest.mark.fault("R10")
@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "evil.example"},
        {"Host": f"evil.example:{PORT}"},
        {"Host": "127.0.0.1:1"},
        {"Host": ""},
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:1"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"X-Token": ""},
        {"X-Token": "another"},
        {"X-Token": "ä".encode("latin-1")},
    ],
)
def test_other_names_origins_and_tokens_are_refused(client: TestClient, headers: dict[str, Any]) -> None:
    assert client.post("/api/image", json={"case": HOSTILE}, headers=headers).status_code == 403
    assert client.get("/", headers=headers).status_code == 403


@pytest.mark.fault("R10")
def test_the_token_of_an_address_opens_the_page_and_nothing_else(app: Any) -> None:
    bare = TestClient(app, base_url=HERE)
    assert bare.get("/").status_code == 403
    assert bare.post(f"/api/image?visit={TOKEN}", json={"case": HOSTILE}).status_code == 403


@pytest.mark.fault("R10")
@pytest.mark.parametrize("path", ["/../etc/passwd", "/%2e%2e/etc/passwd", "//etc/passwd", "/api/../../x", "/api/none"])
def test_no_path_leads_to_a_file(client: TestClient, path: str) -> None:
    assert client.get(path).status_code == 404 and client.post(path, json={}).status_code == 404


@pytest.mark.fault("B4")
@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", 400),
        (b"[]", 400),
        (b"{", 400),
        (b"\xff", 400),
        (b"[" * 100_000, 400),
        (b" " * (MOST_BYTES + 1), 413),
        (b'{"case": 1}', 422),
        (b"{}", 422),
    ],
)
def test_odd_and_large_bodies_are_answered_by_a_number(client: TestClient, body: bytes, code: int) -> None:
    assert client.post("/api/image", content=body).status_code == code


@pytest.mark.parametrize(
    ("question", "told"),
    [
        ("scores", {"cases": ["a"] * (server.MOST_CASES + 1)}),
        ("scores", {"cases": [1]}),
        ("candidate", {"case": "a", "number": "1"}),
        ("prompt", {"case": "a", "boxes": [[1]] * 17, "points": []}),
        ("save", {"some": True, "start": 0}),
        ("save", {"some": True, "start": 0, "count": 0}),
        ("cases", {"start": -1, "count": 1}),
        ("cases", {"start": 0, "count": "all"}),
        ("like", {"text": 1}),
    ],
)
def test_questions_are_bounded(client: TestClient, question: str, told: dict[str, Any]) -> None:
    assert client.post(f"/api/{question}", json=told).status_code == 422
