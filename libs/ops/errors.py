"""The one way in which the stack tells an operator that it cannot go on."""


class StackFailure(Exception):
    """A sentence for the operator, and what a process had written before it failed, if one did."""

    def __init__(self, sentence: str, log_tail: str = "") -> None:
        super().__init__(sentence)
        self.sentence = sentence
        self.log_tail = log_tail
