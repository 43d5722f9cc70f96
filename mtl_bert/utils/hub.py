"""Asking a model hub for things without making people wait when it is out of reach."""

from huggingface_hub import constants, get_session

from mtl_bert.utils.errors import UserError

SECONDS = 5.0


class HubError(UserError):
    """Something is neither in the local cache nor can it be fetched."""


def require_hub(what: str, instead: str) -> None:
    """Raise HubError within seconds unless the hub answers, to say ``what`` was wanted."""
    found = "HF_HUB_OFFLINE is set"
    if not constants.HF_HUB_OFFLINE:
        try:
            get_session().head(constants.ENDPOINT, timeout=SECONDS)
            return
        except Exception as error:  # of a library that is the hub client's own business
            found = f"no answer from the hub ({type(error).__name__})"
    raise HubError(f"{what}: expected it in the local cache or a network, found {found}; {instead}")
