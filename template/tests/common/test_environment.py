"""The reader of the environment. Maintained by the template."""

from pathlib import Path

import pytest

from common.environment import ConfigurationError, Environment


@pytest.fixture
def env(monkeypatch: pytest.MonkeyPatch) -> Environment:
    # What this project's own settings have read is left out.
    monkeypatch.setattr(Environment, "_required", [])
    monkeypatch.setattr(Environment, "_is_production", False)
    return Environment()


def test_a_missing_variable_has_its_default(env: Environment) -> None:
    assert env.text("TEST_VARIABLE", "", default="x") == "x"
    assert env.flag("TEST_VARIABLE", "", default=True) is True
    assert env.integer("TEST_VARIABLE", "", default=3) == 3
    assert env.number("TEST_VARIABLE", "", default=0.5) == 0.5
    assert env.words("TEST_VARIABLE", "") == []
    assert env.database_url("TEST_VARIABLE", "", schemes=("postgres",)) == {}


@pytest.mark.parametrize(("value", "flag"), [("1", True), ("Yes", True), ("off", False)])
def test_flags(env: Environment, monkeypatch: pytest.MonkeyPatch, value: str, flag: bool) -> None:
    monkeypatch.setenv("TEST_VARIABLE", value)

    assert env.flag("TEST_VARIABLE", "") is flag


def test_words_are_split_at_commas(env: Environment, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEST_VARIABLE", "a, b,,")

    assert env.words("TEST_VARIABLE", "") == ["a", "b"]


@pytest.mark.parametrize(
    ("read", "value"),
    [
        (lambda env: env.flag("TEST_VARIABLE", ""), "maybe"),
        (lambda env: env.integer("TEST_VARIABLE", "", default=1), "many"),
        (lambda env: env.integer("TEST_VARIABLE", "", default=1, minimum=1), "0"),
        (lambda env: env.integer("TEST_VARIABLE", "", default=1, maximum=65535), "65536"),
        (lambda env: env.number("TEST_VARIABLE", "", default=1, maximum=1), "2"),
        (lambda env: env.text("TEST_VARIABLE", "", choices=("a", "b")), "c"),
        (lambda env: env.words("TEST_VARIABLE", "", pattern="[ab]", expected="a or b"), "a,c"),
        (lambda env: env.time_zone("TEST_VARIABLE", "", default="UTC"), "Mars/Phobos"),
        (lambda env: env.time_zone("TEST_VARIABLE", "", default="UTC"), "/etc/passwd"),
        (lambda env: env.language("TEST_VARIABLE", "", default="en-us"), "klingon"),
        (lambda env: env.url("TEST_VARIABLE", "", schemes=("https",)), "ftp://x"),
        (lambda env: env.url("TEST_VARIABLE", "", schemes=("redis",)), "redis://host:x/0"),
        (lambda env: env.database_url("TEST_VARIABLE", "", schemes=("postgres",)), "postgres://x"),
        (lambda env: env.database_url("TEST_VARIABLE", "", schemes=("postgres",)), "postgres://:x"),
        (lambda env: env.email_url("TEST_VARIABLE", "", schemes=("smtp",)), "smtp://host:x"),
    ],
)
def test_a_malformed_value_is_refused_by_name(
    env: Environment, monkeypatch: pytest.MonkeyPatch, read: object, value: str
) -> None:
    monkeypatch.setenv("TEST_VARIABLE", value)
    assert callable(read)

    with pytest.raises(ConfigurationError, match=r"^TEST_VARIABLE .*\.$"):
        read(env)


@pytest.mark.parametrize(
    "url",
    [
        "redis://:pa,ss@host:6379/0",
        "redis://first:6379,second:6380/0",
        "redis://first:6379;redis://second:6380",
        "redis://[::1]:6379/0",
    ],
)
def test_a_url_may_name_several_hosts(
    env: Environment, monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    monkeypatch.setenv("TEST_VARIABLE", url)

    assert env.url("TEST_VARIABLE", "", schemes=("redis",)) == url


def test_a_choice_may_be_written_in_any_case(
    env: Environment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEST_VARIABLE", "info")

    assert env.text("TEST_VARIABLE", "", choices=("DEBUG", "INFO")) == "INFO"


def test_a_dialect_of_a_language_is_known(
    env: Environment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEST_VARIABLE", "de-at")

    assert env.language("TEST_VARIABLE", "", default="en-us") == "de-at"


def test_a_secret_comes_from_a_file(
    env: Environment, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    secret = tmp_path / "secret"
    secret.write_text("from a file\n")
    monkeypatch.setenv("TEST_VARIABLE_FILE", str(secret))

    assert env.text("TEST_VARIABLE", "") == "from a file"


@pytest.mark.parametrize(("value", "found"), [("plain", "plain"), ("", "fallback")])
def test_an_empty_file_says_nothing(
    env: Environment, monkeypatch: pytest.MonkeyPatch, value: str, found: str
) -> None:
    monkeypatch.setenv("TEST_VARIABLE", value)
    monkeypatch.setenv("TEST_VARIABLE_FILE", "/dev/null")

    assert env.text("TEST_VARIABLE", "", default="fallback") == found


def test_a_missing_file_is_refused_by_name(
    env: Environment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEST_VARIABLE_FILE", "/nowhere/secret")

    with pytest.raises(ConfigurationError, match="TEST_VARIABLE_FILE names /nowhere/secret"):
        env.text("TEST_VARIABLE", "")


def test_a_file_that_is_no_text_is_refused_by_name(
    env: Environment, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(b"\xff\xfe")
    monkeypatch.setenv("TEST_VARIABLE_FILE", str(secret))

    with pytest.raises(ConfigurationError, match="TEST_VARIABLE_FILE names a file"):
        env.text("TEST_VARIABLE", "")


def test_what_production_needs_is_named(env: Environment) -> None:
    env.text("TEST_VARIABLE", "", required=True)
    env.text("TEST_OTHER", "", required=True)

    with pytest.raises(ConfigurationError, match="without TEST_VARIABLE, TEST_OTHER:"):
        env.require()


def test_what_production_needs_is_named_whoever_reads_it(env: Environment) -> None:
    Environment().text("TEST_VARIABLE", "", required=True)

    with pytest.raises(ConfigurationError, match="without TEST_VARIABLE:"):
        env.require()


def test_what_production_needs_is_named_when_it_is_read_later(env: Environment) -> None:
    env.require()

    with pytest.raises(ConfigurationError, match="without TEST_VARIABLE:"):
        Environment().text("TEST_VARIABLE", "", required=True)


def test_mail_urls(env: Environment, monkeypatch: pytest.MonkeyPatch) -> None:
    url = "smtps://user:p%40ss@mail.example.com"  # pragma: allowlist secret
    monkeypatch.setenv("TEST_VARIABLE", url)

    options = env.email_url("TEST_VARIABLE", "", schemes=("smtp", "smtps"))

    assert (options["host"], options["port"]) == ("mail.example.com", 465)
    assert options["password"] == "p@ss"
    assert (options["use_ssl"], options["use_tls"]) == (True, False)
