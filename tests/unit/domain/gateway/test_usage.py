"""How a vendor's usage block is read."""

from caopan.domain.gateway.profile import Profile
from caopan.domain.gateway.usage import Tokens, read_usage

PLAIN = Profile("plain", "", "", "")


def test_every_figure_is_read_from_its_place():
    usage = {
        "prompt_tokens": 100,
        "completion_tokens": 20,
        "prompt_tokens_details": {"cached_tokens": 60, "cache_write_tokens": 30},
        "completion_tokens_details": {"reasoning_tokens": 15},
    }
    assert read_usage(usage, PLAIN) == Tokens(100, 20, 60, 15, cache_write=30)


def test_what_is_not_said_is_unknown_and_not_zero():
    assert read_usage({"prompt_tokens": 5}, PLAIN) == Tokens(5)
    assert read_usage({}, PLAIN) is None
    assert read_usage({"prompt_tokens": None, "completion_tokens": "7"}, PLAIN) is None


def test_a_figure_that_is_no_count_is_not_believed():
    usage = {"prompt_tokens": -1, "completion_tokens": 3, "prompt_tokens_details": [1]}
    assert read_usage(usage, PLAIN) == Tokens(None, 3)
    assert read_usage({"prompt_tokens": True, "completion_tokens": 2**41}, PLAIN) is None


def test_the_first_place_that_says_it_counts():
    theirs = Profile("x", "", "", "", cached_tokens=("prompt_cache_hit_tokens", "details.hit"))
    usage = {"prompt_tokens": 9, "details": {"hit": 4}}
    assert read_usage(usage, theirs) == Tokens(9, None, 4)
