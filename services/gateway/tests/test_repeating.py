import pytest

from common.errors import DomainError, NotFound, OutcomeUnknown, Unavailable
from common.idempotency import IdempotencyKeyInProgress
from gateway import repeating
from gateway.repeating import until_answered


class Service:
    """Gives these answers in turn."""

    def __init__(self, *answers: DomainError | str) -> None:
        self._answers = iter(answers)

    async def ask(self) -> str:
        answer = next(self._answers)
        if isinstance(answer, DomainError):
            raise answer
        return answer


async def test_a_lost_answer_is_asked_for_again():
    service = Service(Unavailable("sales"), OutcomeUnknown(), "done")

    assert await until_answered(service.ask) == "done"


async def test_after_a_lost_answer_the_first_attempt_may_still_be_running():
    service = Service(OutcomeUnknown(), IdempotencyKeyInProgress("k"), "done")

    assert await until_answered(service.ask) == "done"


@pytest.mark.parametrize("error", [NotFound("order", 1), IdempotencyKeyInProgress("k")])
async def test_a_service_that_answers_is_asked_once(error):
    with pytest.raises(type(error)):
        await until_answered(Service(error, "asked again").ask)


async def test_who_never_answers_is_given_up(monkeypatch):
    monkeypatch.setattr(repeating, "PATIENCE_SECONDS", 0.1)
    service = Service(*[Unavailable("sales")] * 1000)

    with pytest.raises(Unavailable):
        await until_answered(service.ask)
