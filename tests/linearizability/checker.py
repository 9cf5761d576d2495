"""Decides whether a history of concurrent operations is linearizable: the search of Wing and Gong, with Lowe's cache of
the states that were tried.

An operation takes effect at one moment between its call and its return. The search looks for an order of these moments
in which each operation could have had its answer. An operation that never returned may take effect at any time after
its call, or never.
"""


class UndecidedError(Exception):
    """The search was given up, as it took too long."""


class _Entry:
    """The call or the return of an operation, in a linked list of all of them in the order of time."""

    __slots__ = ("before", "behind", "bit", "is_call", "operation", "other")

    def __init__(self, operation, bit, *, is_call):
        self.operation = operation
        self.bit = bit
        self.is_call = is_call
        self.other = None  # the return of a call, unless it never came
        self.before = self.behind = None

    def unlink(self):
        self.before.behind = self.behind
        if self.behind is not None:
            self.behind.before = self.before

    def link(self):
        self.before.behind = self
        if self.behind is not None:
            self.behind.before = self


def linearize(model, operations, most_steps=2_000_000, *, forgotten=frozenset()):
    """An order in which `operations` could have taken effect one by one, or None: then they are not linearizable.

    Each operation has `called` and `returned`, moments on one clock, all different; `returned` is None if no answer
    came. `model` has `initial`, a state, and `step(state, operation)`: the state after it, or None if the operation
    cannot have had its answer in that state. States are compared and hashed. Raises UndecidedError after `most_steps`
    steps. The cache leaves out which of the operations in `forgotten` have taken effect. That is faster, and an order
    that is found is right, but then None does not prove that there is none.
    """
    head, open_count = _in_order_of_time(operations)
    remembered = sum(1 << number for number, operation in enumerate(operations) if operation not in forgotten)
    state, taken = model.initial, 0
    tried = {(taken, state)}
    path = []
    entry = head.behind
    while open_count:
        if entry.is_call:
            most_steps -= 1
            if most_steps < 0:
                raise UndecidedError(f"no answer yet, with {open_count} operations left")
            after = model.step(state, entry.operation)
            if after is not None and (key := ((taken | entry.bit) & remembered, after)) not in tried:
                tried.add(key)
                path.append((entry, state))
                entry.unlink()
                if entry.other is not None:
                    entry.other.unlink()
                    open_count -= 1
                state, taken = after, taken | entry.bit
                entry = head.behind
            else:
                entry = entry.behind
        else:
            # The operation that returns here must have taken effect before: go back, and choose otherwise.
            if not path:
                return None
            entry, state = path.pop()
            if entry.other is not None:
                entry.other.link()
                open_count += 1
            entry.link()
            taken &= ~entry.bit
            entry = entry.behind
    return [entry.operation for entry, _ in path]


def _in_order_of_time(operations):
    """The head of a list of all calls and returns, and how many operations have returned."""
    moments = []
    open_count = 0
    for number, operation in enumerate(operations):
        call = _Entry(operation, 1 << number, is_call=True)
        moments.append((operation.called, call))
        if operation.returned is not None:
            call.other = _Entry(operation, 0, is_call=False)
            moments.append((operation.returned, call.other))
            open_count += 1
    head = last = _Entry(None, 0, is_call=True)
    for _, entry in sorted(moments, key=lambda moment: moment[0]):
        last.behind, entry.before = entry, last
        last = entry
    return head, open_count
