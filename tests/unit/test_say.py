"""Sentences at a narrow terminal, and in a pipe."""

import io

from pgrescue import plan_view
from pgrescue.say import say
from rich.console import Console

SAID = "Run 20261124T012050Z-shop-failover has [ended] and holds nothing. Nothing was changed."


def printed(draw, **more):
    console = Console(file=io.StringIO(), width=40, color_system=None, **more)
    draw(console)
    return console.file.getvalue()


def test_a_sentence_wraps_at_words_at_a_terminal_and_not_at_all_in_a_pipe():
    shown = printed(lambda console: say(console, SAID), force_terminal=True)
    assert max(map(len, shown.splitlines())) <= 40
    assert shown.split() == SAID.split(), "no word is broken"
    assert printed(lambda console: say(console, SAID)) == SAID + "\n"


def test_a_plan_that_is_piped_is_not_wrapped():
    plan = {"target_host": "x1", "changes": [SAID]}
    view = plan_view.View("failover", "shop", plan, (), {}, "pgrescue recover failover")
    assert f"  changes    {SAID}\n" in printed(lambda console: plan_view.show(view, False, console))
    assert SAID not in printed(lambda console: plan_view.show(view, False, console), force_terminal=True)
