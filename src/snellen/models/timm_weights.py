"""Finding timm's models and their pretrained weights, said in one sentence where that does not work."""

import difflib
from pathlib import Path
from typing import Any

__all__ = ["find_timm", "first_line", "timm_weights"]


def find_timm(name: str) -> Any:
    """The package timm, once it is sure that it has the model `name`."""
    try:
        import timm
        from timm.models import get_pretrained_cfg
    except ImportError:
        raise ValueError(f"backbone 'timm:{name}' needs timm; install it with: pip install 'snellen[train]'") from None
    try:
        if timm.is_model(name):
            get_pretrained_cfg(name)  # refuses an unknown tag behind the dot
            return timm
    except RuntimeError:
        pass
    known = timm.list_models() + timm.list_pretrained()
    near = difflib.get_close_matches(name, known, 3, 0.0)
    raise ValueError(f"timm has no model {name!r}; nearest: {', '.join(near)}; timm.list_models() names all")


def first_line(error: BaseException) -> str:
    """What an error says, up to its first line break; its kind where it says nothing."""
    return (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")


def timm_weights(timm: Any, name: str, pretrained: bool | str) -> dict[str, Any]:
    """What `timm.create_model` needs to start from pretrained weights: always a file, found or downloaded here.

    timm's own way to download would try for the better part of a minute where there is no network.
    """
    if isinstance(pretrained, str):
        path = Path(pretrained).expanduser()
        if path.suffix != ".safetensors" or not path.is_file():
            raise ValueError(
                f"pretrained={pretrained!r} is not a file of weights; give the path of a .safetensors file that holds "
                f"timm's {name!r}, or true for the weights that timm names"
            )
        _check_names(timm, name, path)
        return {"pretrained": True, "pretrained_cfg_overlay": {"file": str(path)}}
    repository = timm.models.get_pretrained_cfg(name).hf_hub_id
    if not repository:
        raise ValueError(f"timm has no pretrained weights for {name!r}; give pretrained=false, or a file's path")
    import huggingface_hub as hub

    file = "model.safetensors"
    cached = hub.try_to_load_from_cache(repository, file)
    if not isinstance(cached, str):
        try:
            hub.get_session().head(hub.constants.ENDPOINT, timeout=10)  # one question before a patient download
            cached = hub.hf_hub_download(repository, file)
        except Exception as error:  # of several libraries below: no network, no such file, no right to read it
            raise ValueError(
                f"the pretrained weights of timm's {name!r} are not in the cache {hub.constants.HF_HUB_CACHE} and cannot "
                f"be downloaded ({first_line(error)}); on a machine with network run `hf download {repository} {file}` "
                f"and copy its cache folder, or give the file's path as pretrained=PATH.safetensors"
            ) from None
    return {"pretrained": True, "pretrained_cfg_overlay": {"file": cached}}


def _check_names(timm: Any, name: str, path: Path) -> None:
    """Refuse a file of some other network: timm itself would leave weights that it does not find as they were drawn."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(str(path), framework="pt") as file:
            held = set(file.keys())
    except SafetensorError as error:
        raise ValueError(f"{path} cannot be read as safetensors ({first_line(error)})") from None
    wanted = set(timm.create_model(name).state_dict())
    found = len(wanted & held)
    if found < 0.9 * len(wanted) - 2:  # a head of another number of classes may be missing
        raise ValueError(
            f"{path} does not hold weights of timm's {name!r}: {found} of {len(wanted)} tensors have a name in it"
        )
