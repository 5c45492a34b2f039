"""What a query may be, as far as that can be told before it runs.

Names and nesting are bounded here; what it costs to answer is counted while it is answered (see
`reading`). A question about the schema itself is answered by the library without counting, so its
cost is estimated here.
"""

from __future__ import annotations

from collections import Counter
from operator import itemgetter
from typing import TYPE_CHECKING, Final

from graphql import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    InlineFragmentNode,
    OperationDefinitionNode,
    SelectionNode,
    SelectionSetNode,
)

from stepwell.errors import LimitExceeded

if TYPE_CHECKING:
    from collections.abc import Callable

QUERY_CHARS_MAX: Final = 64 * 2**10
TOKENS_MAX: Final = 4_000
DEPTH_MAX: Final = 20
"""A trace of four levels is nine deep, the usual question about the schema fifteen."""

SAME_NAMES_MAX: Final = 30
"""Validation compares fields of one name in a selection pairwise."""

SELECTIONS_MAX: Final = 1_000
INTROSPECTION_COST_MAX: Final = 50_000
_USUAL_ITEMS: Final = {
    "types": 70,
    "fields": 5,
    "directives": 6,
}
"""How long the lists of the schema are, on average; all others are one or two."""


def check_text(document: DocumentNode) -> None:
    """Bound what validation will take: it is more than linear.

    Raises:
        LimitExceeded: The query is too large.
    """
    selections = 0
    pending = [
        (definition.selection_set, 1)
        for definition in document.definitions
        if isinstance(definition, OperationDefinitionNode | FragmentDefinitionNode)
    ]
    while pending:
        chosen, depth = pending.pop()
        if depth > DEPTH_MAX:
            raise _too_deep()
        names: Counter[str] = Counter()
        for selection in chosen.selections:
            selections += 1
            names[_response_name(selection)] += 1
            if isinstance(selection, FieldNode | InlineFragmentNode) and selection.selection_set:
                pending.append((selection.selection_set, depth + 1))
        name, times = max(names.items(), key=itemgetter(1), default=("", 0))
        if times > SAME_NAMES_MAX:
            raise _too_large(f"one selection has {name} more than {SAME_NAMES_MAX} times")
    if selections > SELECTIONS_MAX:
        raise _too_large(f"it has {selections} selections, the most is {SELECTIONS_MAX}")


def check_shape(document: DocumentNode) -> None:
    """Bound its depth and what it asks about the schema. The document is valid: no cycles.

    Raises:
        LimitExceeded: It is too deep, or asks too much.
    """
    fragments = {
        definition.name.value: definition
        for definition in document.definitions
        if isinstance(definition, FragmentDefinitionNode)
    }
    shape = _Shape(fragments)
    for definition in document.definitions:
        if isinstance(definition, OperationDefinitionNode):
            if shape.depth(definition.selection_set) > DEPTH_MAX:
                raise _too_deep()
            cost = shape.introspection(definition.selection_set)
            if cost > INTROSPECTION_COST_MAX:
                raise _too_large("it asks too much about the schema")


class _Shape:
    """Measures selections; each fragment once."""

    def __init__(self, fragments: dict[str, FragmentDefinitionNode]) -> None:
        self._fragments = fragments
        self._depths: dict[str, int] = {}
        self._costs: dict[str, int] = {}

    def depth(self, selections: SelectionSetNode | None) -> int:
        deepest = 0
        for selection in () if selections is None else selections.selections:
            if isinstance(selection, FieldNode):
                depth = 1 + self.depth(selection.selection_set)
            elif isinstance(selection, InlineFragmentNode):
                depth = self.depth(selection.selection_set)
            else:
                depth = self._of_fragment(selection, self._depths, self.depth)
            deepest = max(deepest, depth)
        return deepest

    def introspection(self, selections: SelectionSetNode | None) -> int:
        """The cost of what is asked about the schema, at the top of an operation."""
        cost = 0
        for selection in () if selections is None else selections.selections:
            if isinstance(selection, FieldNode):
                if selection.name.value in ("__schema", "__type"):
                    cost += self._cost(selection.selection_set)
            elif isinstance(selection, InlineFragmentNode):
                cost += self.introspection(selection.selection_set)
            elif isinstance(selection, FragmentSpreadNode):
                fragment = self._fragments[selection.name.value]
                cost += self.introspection(fragment.selection_set)
        return cost

    def _cost(self, selections: SelectionSetNode | None) -> int:
        cost = 0
        for selection in () if selections is None else selections.selections:
            if isinstance(selection, FieldNode):
                items = _USUAL_ITEMS.get(selection.name.value, 1)
                cost += 1 + items * self._cost(selection.selection_set)
            elif isinstance(selection, InlineFragmentNode):
                cost += self._cost(selection.selection_set)
            else:
                cost += self._of_fragment(selection, self._costs, self._cost)
        return cost

    def _of_fragment(
        self,
        spread: SelectionNode,
        known: dict[str, int],
        measure: Callable[[SelectionSetNode | None], int],
    ) -> int:
        assert isinstance(spread, FragmentSpreadNode), "the other kinds are looked at before"
        name = spread.name.value
        if name not in known:
            known[name] = measure(self._fragments[name].selection_set)
        return known[name]


def _response_name(selection: SelectionNode) -> str:
    match selection:
        case FieldNode(alias=None, name=name):
            return name.value
        case FieldNode(alias=alias) if alias is not None:
            return alias.value
        case FragmentSpreadNode(name=name):
            return f"...{name.value}"
    return "..."


def _too_deep() -> LimitExceeded:
    return _too_large(f"it is more than {DEPTH_MAX} levels deep")


def _too_large(reason: str) -> LimitExceeded:
    return LimitExceeded(f"the query is too large: {reason}")
