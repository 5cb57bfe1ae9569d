"""The query extension's operators."""

import pytest

from rsscale.catalog.query import as_cql2, check_query, matches
from rsscale.errors import RecipeError

ITEM = {"id": "S2A_1", "properties": {"cloud": 20.5, "platform": "sentinel-2a", "tags": ["a", "b"]}}


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({}, True),
        ({"cloud": {"eq": 20.5}}, True),
        ({"cloud": {"neq": 20.5}}, False),
        ({"cloud": {"lt": 20.5}}, False),
        ({"cloud": {"lte": 20.5}}, True),
        ({"cloud": {"gt": 20.5}}, False),
        ({"cloud": {"gte": 20.5}}, True),
        ({"cloud": {"gt": 10, "lt": 20}}, False),
        ({"properties.cloud": {"lt": 60}}, True),
        ({"cloud": {"lt": "60"}}, False),
        ({"absent": {"neq": 1}}, False),
        ({"platform": {"in": ["sentinel-2a", "x"]}}, True),
        ({"platform": {"in": ["x"]}}, False),
        ({"platform": {"startsWith": "sent"}}, True),
        ({"platform": {"endsWith": "2b"}}, False),
        ({"platform": {"contains": "nel"}}, True),
        ({"tags": {"contains": "b"}}, True),
        ({"cloud": {"contains": "2"}}, False),
        ({"id": {"startsWith": "S2A"}}, True),
        ({"cloud": {"lt": 60}, "platform": {"eq": "landsat-8"}}, False),
    ],
)
def test_matches(query, expected):
    assert matches(check_query(query), ITEM) is expected


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ({"cloud": {"lessThan": 1}}, "unknown operator 'lessThan', known are eq,"),
        ({"cloud": {"gtee": 1}}, "did you mean 'gte'"),
        ({"cloud": 60}, r"write an operator and a value, like \{'cloud': \{'eq': 60\}\}"),
        ({"cloud": {}}, "write an operator"),
        ("cloud<60", "write a mapping"),
        ({"cloud": {"in": "ab"}}, "takes a list"),
        ({"cloud": {"startsWith": 2}}, "takes a text"),
    ],
)
def test_refused(query, words):
    with pytest.raises(RecipeError, match=words):
        check_query(query)


def test_cql2():
    both = as_cql2({"cloud": {"gte": 1, "lt": 60}, "platform": {"in": ["a"]}})
    low = {"op": ">=", "args": [{"property": "cloud"}, 1]}
    high = {"op": "<", "args": [{"property": "cloud"}, 60]}
    assert both == {"op": "and", "args": [low, high]}
    assert as_cql2({"platform": {"startsWith": "a"}}) is None
