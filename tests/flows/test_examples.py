"""What the documentation of the API shows is what the API does."""

import json

import pytest
from story import ANSWERS, play

pytestmark = pytest.mark.first


def form(value):
    """What an answer is made of, without its values."""
    if isinstance(value, dict):
        return {name: form(item) for name, item in value.items()}
    if isinstance(value, list):
        return [form(value[0])] if value else []
    return type(value).__name__


async def test_the_story_of_the_examples_can_be_played(stack):
    answers = await play(stack)

    recorded = json.loads(ANSWERS.read_text())
    assert answers.keys() == recorded.keys()
    forms = {name: (form(answers[name]), form(recorded[name])) for name in answers}
    differing = {name: both for name, both in forms.items() if both[0] != both[1]}
    assert differing == {}, "run `make examples`"
