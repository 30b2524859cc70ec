"""What comes with the library: recipes, models, claims."""

import fnmatch


def recipes(pattern: str = "*") -> dict[str, str]:
    """Built-in recipes whose names match a shell pattern, with a line on each."""
    from snellen.recipes import list_recipes

    return {name: line for name, line in list_recipes().items() if fnmatch.fnmatch(name, pattern)}


def models(pattern: str = "*") -> list[str]:
    """Registered models whose names match a shell pattern."""
    from snellen.models import list_models

    return list(list_models(pattern))


def claims() -> dict[str, str]:
    """Claims of the papers that can be tested here: name and sentence of each."""
    from snellen.claims import list_claims

    return list_claims()
