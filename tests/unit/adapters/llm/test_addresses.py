"""Where an endpoint may be: the cases people quote."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from caopan.adapters.llm.addresses import JudgedResolver, Lane, Reach, lane_of, reach_of
from caopan.kernel.errors import ConfigInvalid
from caopan.testing.name_server import ScriptedNames

ALWAYS_REFUSED = [
    "https://169.254.169.254/latest/meta-data",
    "https://100.100.100.200/v1",
    "https://[fd00:ec2::254]/v1",
    "https://0.0.0.0/v1",
    "https://255.255.255.255/v1",
    "https://224.0.0.1/v1",
    "https://[::]/v1",
    "https://[::127.0.0.1]/v1",
    "https://[64:ff9b::7f00:1]/v1",
    "https://[2002:7f00:1::]/v1",
    "https://[::ffff:169.254.169.254]/v1",
    "https://2130706433/v1",
    "https://0x7f000001/v1",
    "https://0177.0.0.1/v1",
    "https://127.1/v1",
    "https://127.0.0.1./v1",
    "https://[fe80::1%25eth0]/v1",
    "https://api.example@127.0.0.1/v1",
    "https://api.example\\@127.0.0.1/v1",
    "https://127.0.0.1#@api.example/v1",
    "https://api.example/v1?key=sk-1",
    "https://api.example:99999/v1",
    "https://api。example/v1",
    "https://１２７.0.0.1/v1",
    "https://api.example\t/v1",
    "https:///v1",
    "https://-/v1",
    "//api.example/v1",
    "api.example/v1",
    "file:///etc/passwd",
    "gopher://127.0.0.1:6379/_",
    "http://api.deepseek.com:80@10.0.0.1/v1",
    "",
]
NEEDS_A_WORD = [
    "https://127.0.0.1/v1",
    "https://10.1.2.3/v1",
    "https://192.168.1.5:8443/v1",
    "https://[::1]/v1",
    "https://[::ffff:127.0.0.1]/v1",
    "https://198.18.0.7/v1",
    "https://localhost/v1",
    "https://models.localhost/v1",
    "http://127.0.0.1:11434/v1",
    "http://localhost:11434/v1",
    "http://ollama:11434/v1",
]


@pytest.mark.parametrize("private", [False, True])
@pytest.mark.parametrize("url", ALWAYS_REFUSED)
def test_it_is_refused_whatever_an_administrator_says(url, private):
    with pytest.raises(ConfigInvalid) as caught:
        lane_of(url, private_address=private)
    assert caught.value.code == "ENDPOINT_ADDRESS"


@pytest.mark.parametrize("url", NEEDS_A_WORD)
def test_it_is_allowed_only_on_an_administrators_word(url):
    with pytest.raises(ConfigInvalid) as caught:
        lane_of(url, private_address=False)
    assert caught.value.code == "ENDPOINT_ADDRESS"
    lane_of(url, private_address=True)


def test_a_public_endpoint_needs_tls_and_nothing_else():
    assert lane_of("https://api.deepseek.com/v1", private_address=False) is Lane.PUBLIC_TLS
    assert lane_of("https://1.1.1.1/v1", private_address=False) is Lane.PUBLIC_TLS
    with pytest.raises(ConfigInvalid, match="in clear"):
        lane_of("http://api.deepseek.com/v1", private_address=False)
    with pytest.raises(ConfigInvalid, match="in clear"):
        lane_of("http://1.1.1.1/v1", private_address=True)


def test_a_password_in_a_url_is_not_repeated():
    with pytest.raises(ConfigInvalid) as caught:
        lane_of("https://user:sk-hidden@api.example/v1?key=sk-hidden", private_address=False)
    assert "sk-hidden" not in str(caught.value)


@pytest.mark.parametrize(
    ("lane", "answer", "passes"),
    [
        (Lane.PUBLIC_TLS, "1.1.1.1", True),
        (Lane.PUBLIC_TLS, "127.0.0.1", False),
        (Lane.PUBLIC_TLS, "198.18.3.4", False),
        (Lane.PUBLIC_TLS, "::ffff:10.0.0.1", False),
        (Lane.ANY_TLS, "1.1.1.1", True),
        (Lane.ANY_TLS, "10.0.0.1", True),
        (Lane.ANY_TLS, "198.18.3.4", True),
        (Lane.ANY_TLS, "169.254.169.254", False),
        (Lane.LOCAL_CLEAR, "10.0.0.1", True),
        (Lane.LOCAL_CLEAR, "100.101.1.1", True),
        (Lane.LOCAL_CLEAR, "1.1.1.1", False),
        (Lane.LOCAL_CLEAR, "198.18.3.4", False),
    ],
)
async def test_a_name_is_judged_by_its_answers(lane, answer, passes):
    resolver = JudgedResolver(lane, ScriptedNames({"models.example": [[answer]]}))
    if passes:
        assert [one["host"] for one in await resolver.resolve("models.example", 443)] == [answer]
    else:
        with pytest.raises(ConfigInvalid) as caught:
            await resolver.resolve("models.example", 443)
        assert caught.value.code == "ENDPOINT_ADDRESS"


def test_what_nobody_has_allotted_is_not_public():
    assert reach_of(ip_address("4000::1")) is Reach.NEVER
    assert reach_of(ip_address("64:ff9b::101:101")) is Reach.PUBLIC
