"""Recipes: one YAML a reproducible experiment, found by name.

The comment block at the top of a recipe says what it is, the command, the time on which machine and the number to expect.
"""

from pathlib import Path
from typing import Any

from snellen.config import ConfigError, nearest

__all__ = ["find_recipe", "list_recipes", "read_recipe"]

_FOLDER = Path(__file__).parent


def list_recipes() -> dict[str, str]:
    """Name and first comment line of every built-in recipe."""
    return {
        file.stem: file.read_text(encoding="utf-8").split("\n", 1)[0].removeprefix("# ")
        for file in sorted(_FOLDER.glob("*.yaml"))
    }


def find_recipe(name: str) -> Path:
    """The file of a built-in recipe, or of a path to a YAML file.

    Raises:
        ConfigError: naming the nearest recipes where there is none.
    """
    if name.endswith((".yaml", ".yml")):
        if Path(name).is_file():
            return Path(name)
        raise ConfigError(
            f"the recipe file {name} does not exist; check the path, or list recipes with: snellen recipes"
        )
    built_in = _FOLDER / f"{name}.yaml"
    if built_in.is_file():
        return built_in
    names = [f.stem for f in _FOLDER.glob("*.yaml")]
    raise ConfigError(f"no recipe is called {name!r}{nearest(name, names)}; list all with: snellen recipes")


def read_recipe(name: str) -> dict[str, Any]:
    """The settings of a recipe as nested dicts."""
    import yaml

    file = find_recipe(name)
    try:
        values = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file} is not a YAML file ({str(error).splitlines()[0]}); correct it") from None
    if not isinstance(values, dict):
        raise ConfigError(f"{file} holds no settings; a recipe is a YAML mapping such as `data: {{format: csv}}`")
    return {"recipe": file.stem, **values}
