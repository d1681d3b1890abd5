"""A language model is asked for sentences: by the habits of the servers that people run, and by bad ones."""

from __future__ import annotations

import json
import sys
import traceback
from typing import Any

import pytest
import yaml

from salip_exp._describing.asking import as_yaml, describe
from salip_exp._describing.server import Server
from salip_exp.cascade.sentences import read_sentences
from salip_exp.config import VdtConfig
from salip_exp.errors import ConfigError, EnvironmentFault

HABITS = {
    "openai": ["json_schema"],
    "vllm": ["json_schema"],
    "llama_cpp": ["json_schema", "json_object"],
    "ollama": ["json_schema"],
    "lm_studio": ["json_schema", "json_object", None],
}
"""In which forms servers are asked, until one answers."""


def forms(server: Any) -> list[str | None]:
    return [each.get("response_format", {}).get("type") for each in server.seen]


@pytest.mark.parametrize("name", HABITS)
def test_what_servers_make_of_the_schema_is_coped_with(name: str, servers: Any, asking: Any, key: str) -> None:
    with servers.serving(getattr(servers, name)) as server:
        config = asking(server.url)
        asked = Server(config.vdt.llm, config.seed)
        done = describe(config, asked)
    assert done.sentences == servers.LOOKS
    assert done.left_out == {}
    assert forms(server) == HABITS[name]
    assert set(server.keys) == {f"Bearer {key}"}
    first = server.seen[0]
    assert (first["model"], first["temperature"], first["seed"]) == ("some/model:8b", 1.0, 1234)
    assert "liver" in first["messages"][0]["content"] and "abdominal CT" in first["messages"][0]["content"]
    assert asked.model == "served-model"


def test_the_file_says_what_it_was_made_of_and_is_read_as_a_text(
    servers: Any, asking: Any, key: str, tmp_path: Any
) -> None:
    with servers.serving(servers.lm_studio) as server:
        config = asking(server.url, temperature=0.2)
        asked = Server(config.vdt.llm, config.seed)
        text = as_yaml(config, asked, describe(config, asked))
    (tmp_path / "liver.yaml").write_text(text, "utf-8")
    assert read_sentences(VdtConfig("any", file=str(tmp_path / "liver.yaml"))) == servers.LOOKS
    content = yaml.safe_load(text)
    told = content["described"]
    assert (content["name"], told["organ"], told["modality"]) == ("liver", "liver", "abdominal CT")
    assert (told["model"], told["answered_as"], told["server"]) == ("some/model:8b", "served-model", server.url)
    assert (told["temperature"], told["seed"], len(told["date"])) == (0.2, 1234, 20)
    assert [each["form"] for each in told["exchanges"]] == ["json_schema", "text"]
    assert told["exchanges"][0]["answer"].startswith("Sure!")
    assert told["exchanges"][1]["prompt"] == server.seen[-1]["messages"][0]["content"]
    assert key not in text


def test_what_cannot_be_used_is_asked_for_again_and_told(servers: Any, asking: Any) -> None:
    bad = {
        "It lies beside the right kidney, which is darker.": "kidney",
        servers.LOOKS[0].upper(): "there already",
        "a " * 100 + "liver": "more tokens than CLIP",
        "...": "no sentence",
        "bad\u0007 bell in the liver": "no sentence",
    }
    rounds = [[servers.LOOKS[0], *bad], servers.LOOKS]
    with servers.serving(lambda request, before: servers.says(servers.listed(rounds[before]))) as server:
        config = asking(server.url)
        done = describe(config, Server(config.vdt.llm, config.seed))
    assert done.sentences == servers.LOOKS
    for sentence, why in bad.items():
        assert why in done.left_out[" ".join(sentence.split())]
    again = server.seen[1]["messages"][0]["content"]
    assert "Write 3 " in again and f"- {servers.LOOKS[0]}\n" in again and "the kidney" in again


def test_too_few_after_all_rounds_end_with_what_was_wrong(servers: Any, asking: Any) -> None:
    answers = [servers.says(servers.listed(["Near the spleen, a wedge."])), servers.says("no"), servers.says(None)]
    with servers.serving(lambda request, before: answers[before]) as server:
        config = asking(server.url, rounds=3)
        with pytest.raises(EnvironmentFault, match="gave 0 of ") as caught:
            describe(config, Server(config.vdt.llm, config.seed))
    said = str(caught.value)
    assert "2 answers were no JSON" in said and "the spleen" in said and "\n" not in said


def test_who_is_put_off_comes_back_when_told(servers: Any, asking: Any) -> None:
    later = servers.refuses(429, "slow down", retry_after="0.01")
    with servers.serving(lambda request, before: later if before < 2 else servers.openai(request, before)) as server:
        config = asking(server.url, retries=2)
        assert describe(config, Server(config.vdt.llm, config.seed)).sentences == servers.LOOKS
    assert len(server.seen) == 3


def test_an_answer_that_breaks_off_is_asked_for_again(servers: Any, asking: Any) -> None:
    def habit(request: dict[str, Any], before: int) -> Any:
        answer = servers.openai(request, before)
        answer.cut = 30 if before == 0 else None
        return answer

    with servers.serving(habit) as server:
        config = asking(server.url, retries=1)
        assert describe(config, Server(config.vdt.llm, config.seed)).sentences == servers.LOOKS
    assert len(server.seen) == 2


WRONG: dict[str, tuple[Any, type[Exception], str]] = {
    "the key": (
        lambda s, key: s.refuses(401, f"Incorrect API key: {key}"),
        EnvironmentFault,
        r"the key .*\*\*\*",
    ),
    "the model": (
        lambda s, key: s.refuses(404, "model not found"),
        ConfigError,
        "no vdt.llm.model=some/model:8b",
    ),
    "a setting": (lambda s, key: s.refuses(400, "temperature must be 1"), ConfigError, "temperature must be 1.*null"),
    "put off": (lambda s, key: s.refuses(429, "quota"), EnvironmentFault, "no more requests for now"),
    "a fault": (lambda s, key: s.Answer(b"oops", 502), EnvironmentFault, "fails"),
    "a page": (lambda s, key: s.Answer(b"<html>hello</html>"), EnvironmentFault, "no OpenAI-compatible.*ends in /v1"),
    "no choices": (lambda s, key: s.Answer(b'{"choices": []}'), EnvironmentFault, "no OpenAI-compatible"),
    "a refusal": (lambda s, key: s.says(None, refusal="I cannot."), EnvironmentFault, "refuses to answer .I cannot"),
    "broken off": (lambda s, key: s.Answer(b"x" * 100, cut=3), EnvironmentFault, "breaks off"),
    "endless": (lambda s, key: s.Answer(b"x" * (2 << 20)), EnvironmentFault, "more than 1 MB"),
    "dripping": (lambda s, key: s.Answer(b"x" * 1000, wait_s=0.02), EnvironmentFault, "within vdt.llm.timeout_s=0.3"),
    "silent": (lambda s, key: s.Answer(b"x", wait_s=1.0), EnvironmentFault, "within vdt.llm.timeout_s=0.3"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_a_server_does_wrong_is_one_line_without_the_key(name: str, servers: Any, asking: Any, key: str) -> None:
    make, kind, said = WRONG[name]
    with servers.serving(lambda request, before: make(servers, key)) as server:
        config = asking(server.url, timeout_s=0.3 if name in ("dripping", "silent") else 20.0)
        with pytest.raises(kind, match=said) as caught:
            describe(config, Server(config.vdt.llm, config.seed))
    assert "\n" not in str(caught.value)
    assert key not in "".join(traceback.format_exception(caught.value))  # as the log has it


def test_nobody_there_and_no_address_are_told(servers: Any, asking: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with servers.serving(servers.openai) as server:
        gone = server.url
    config = asking(gone)
    with pytest.raises(EnvironmentFault, match=r"cannot be reached.*that it runs"):
        describe(config, Server(config.vdt.llm, config.seed))
    for address in ("localhost:8000/v1", "http://[::/v1"):
        with pytest.raises(ConfigError, match=r"is no address|cannot be used"):
            Server(asking(address).vdt.llm, 1)
    monkeypatch.setenv("OPENAI_API_KEY", "ключ")
    with pytest.raises(EnvironmentFault, match="signs that no key has"):
        Server(config.vdt.llm, 1)
    monkeypatch.delenv("OPENAI_API_KEY")
    with pytest.raises(EnvironmentFault, match="set OPENAI_API_KEY"):
        Server(asking(None).vdt.llm, 1)


def test_the_extra_is_named_where_it_is_missing(asking: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openai", None)
    with pytest.raises(EnvironmentFault, match=r"pip install 'salip_exp\[llm\]'"):
        Server(asking("http://127.0.0.1:1/v1").vdt.llm, 1)


def test_a_local_server_needs_no_key_and_the_environment_may_name_it(
    servers: Any, asking: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = asking(None)
    monkeypatch.delenv("OPENAI_API_KEY")
    with servers.serving(servers.openai) as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.url.replace("//", "//user:word1234@"))
        asked = Server(config.vdt.llm, config.seed)
        assert describe(config, asked).sentences == servers.LOOKS
    assert "word1234" not in asked.address
    assert json.dumps(server.seen)  # it answered to the password


def test_for_whom_is_waited_is_said_after_a_while(
    servers: Any, asking: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def habit(request: dict[str, Any], before: int) -> Any:
        answer = servers.openai(request, before)
        answer.wait_s = 0.01
        return answer

    with servers.serving(habit) as server:
        config = asking(server.url)
        monkeypatch.setattr("salip_exp._describing.server.SAY_AFTER_S", 600.0)
        describe(config, Server(config.vdt.llm, config.seed))
        assert capsys.readouterr().err == ""
        monkeypatch.setattr("salip_exp._describing.server.SAY_AFTER_S", 0.05)
        describe(config, Server(config.vdt.llm, config.seed))
    said = f"waiting for {server.url}, vdt.llm.timeout_s=20 an answer, vdt.llm.retries=0\n"
    assert capsys.readouterr().err == said
