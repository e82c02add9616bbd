"""The table of states and moves, as a whole."""

from itertools import product

import pytest

from reference_daemon.policy.errors import IllegalMoveError
from reference_daemon.policy.states import CUT, MOVES, UNANSWERED, Move, State, next_state

EVERY_PAIR = sorted(product(State, Move))


@pytest.mark.parametrize(("state", "move"), [pair for pair in EVERY_PAIR if pair in MOVES])
def test_legal_moves_lead_where_the_table_says(state: State, move: Move) -> None:
    """A move that stands in the table leads to the state beside it."""
    assert next_state(1, state, move) is MOVES[state, move]


@pytest.mark.parametrize(("state", "move"), [pair for pair in EVERY_PAIR if pair not in MOVES])
def test_other_moves_are_errors(state: State, move: Move) -> None:
    """A move that does not stand in the table raises, and says which call, state and move it was."""
    with pytest.raises(IllegalMoveError) as caught:
        next_state(7, state, move)
    assert str(caught.value) == f"call 7 is {state.value}: {move.value} is not allowed"
    assert (caught.value.call_id, caught.value.state, caught.value.event) == (7, state.value, move.value)


def test_nothing_leaves_the_end() -> None:
    """An ended call never moves again."""
    assert not [move for state, move in MOVES if state is State.ENDED]


def test_every_state_can_be_reached_and_left_for_the_end() -> None:
    """From either first state, moves lead to every state, and from every state to the end."""
    reached = {State.RUNNING, State.WAITING}
    for _ in State:
        reached |= {MOVES[state, move] for state, move in MOVES if state in reached}
    assert reached == set(State)
    ends = {State.ENDED}
    for _ in State:
        ends |= {state for (state, _), after in MOVES.items() if after in ends}
    assert ends == set(State)


def test_work_ends_in_every_state_that_has_work() -> None:
    """Work that runs, told to stop or not, may stop at any time; work that has not begun cannot."""
    assert {state for state, move in MOVES if move is Move.END} == set(State) - {State.WAITING, State.ENDED}


def test_an_answer_is_given_once() -> None:
    """Only calls without an answer expire, are cancelled or interrupted; an answered one is never unanswered again."""
    assert {state for state, move in MOVES if move in (Move.EXPIRE, Move.CANCEL, Move.INTERRUPT)} == UNANSWERED
    assert not [pair for pair, after in MOVES.items() if pair[0] not in UNANSWERED and after in UNANSWERED]


def test_cut_calls_have_their_answer() -> None:
    """A call that was late or fenced would have run longer; its client does not wait any more."""
    assert {State.EXPIRED, State.FENCED} == CUT
    assert not CUT & UNANSWERED
