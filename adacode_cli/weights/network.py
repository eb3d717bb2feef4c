"""The network: never in silence, never when it is forbidden, and its errors in one line."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from huggingface_hub import constants
from huggingface_hub.errors import (
    EntryNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    HTTPError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
    XetDownloadError,
)

from adacode_cli.errors import WeightsError

log = logging.getLogger(__name__)

OFF = "the network is off (--offline or HF_HUB_OFFLINE)"
SOCKS = "a SOCKS proxy is set, which takes one more package; pip install 'httpx[socks]' brings it"
SIGN_IN = "set HF_TOKEN or run 'hf auth login'"


def announce(what: str) -> None:
    """Say what is about to be asked of the network. The program shows it; a library logs it."""
    log.info(what)


def require_network(name: object) -> None:
    """Raise ``WeightsError`` where it must be used to load, and the user has forbidden it."""
    if constants.is_offline_mode():
        raise WeightsError(
            f"{name}: not in the cache, and {OFF}; with it on,"
            f" 'adacode weights pull {name}' fetches it"
        )


@contextmanager
def explained(name: object, place: str) -> Iterator[None]:
    """Turn what a request for ``name`` to ``place`` met into one ``WeightsError``."""
    try:
        yield
    except OfflineModeIsEnabled as error:
        raise WeightsError(f"{name}: the network is off (HF_HUB_OFFLINE)") from error
    except (HTTPError, EntryNotFoundError) as error:
        raise WeightsError(f"{name}: {reason(cause_of(error), place)}") from error
    except (RuntimeError, XetDownloadError) as error:  # how the library wraps what failed
        cause = error.__cause__ if isinstance(error.__cause__, HTTPError) else error
        raise WeightsError(f"{name}: {reason(cause, place)}") from error
    except ImportError as error:  # the library's client meets the proxy when it is made
        if "socks" not in str(error).lower():
            raise
        raise WeightsError(f"{name}: {SOCKS}") from error
    except WeightsError:
        raise
    except OSError as error:
        where = f" at {error.filename}" if error.filename else ""
        told = f"{error.strerror}{where}" if error.strerror else f"from {place}: {error}"
        raise WeightsError(f"{name}: can't be kept whole ({told})") from error


def cause_of(error: Exception) -> Exception:
    """The answer of the server behind the library's 'not in the cache either'."""
    if isinstance(error, HfHubHTTPError) or not isinstance(error.__cause__, HTTPError):
        return error
    return error.__cause__


def reason(error: Exception, place: str) -> str:
    """What went wrong with a request, and what to do."""
    if isinstance(error, GatedRepoError):
        return f"gated; ask for access on its page at {place}, then {SIGN_IN}"
    if isinstance(error, RevisionNotFoundError):
        return f"{place} knows no such revision"
    if isinstance(error, EntryNotFoundError):
        return f"{place} holds no such file"
    if isinstance(error, RepositoryNotFoundError):
        return f"no such repository on {place}, or a private one; if so, {SIGN_IN}"
    if isinstance(error, HfHubHTTPError):
        return answer(error.response.status_code, error.response.headers.get("Retry-After"), place)
    told = f"no whole answer from {place} ({type(error).__name__}: {error})"
    return f"{told}; {remedy(error, place)}"


def remedy(error: Exception, place: str) -> str:
    """What to do where there was no answer: what only a setting can mend isn't tried again."""
    if type(error).__name__ == "UnsupportedProtocol" and place == constants.ENDPOINT:
        return "HF_ENDPOINT must be an address such as https://huggingface.co"
    if "CERTIFICATE_VERIFY_FAILED" in str(error):
        return "its certificate isn't trusted here; SSL_CERT_FILE can name one that is"
    return "try again"


def answer(status: int, wait: str | None, place: str) -> str:
    """A refusal in words."""
    if status == 401:
        return f"{place} doesn't accept the token; {SIGN_IN}"
    if status == 403:
        return f"{place} forbids it (403); the token may lack the right, or the repository is gated"
    if status == 404:
        return f"not found (404) at {place}"
    if status == 429:
        when = f" in {wait} s" if wait else " later"
        return f"too many requests to {place} (429); try again{when}"
    if status >= 500:
        return f"{place} is in trouble ({status}); try again later"
    return f"{place} answered {status}"


def megabytes(size: int | None) -> str:
    """A size for people: '3.4 MB', or that it isn't known."""
    return "size not known" if size is None else f"{size / 1e6:.1f} MB"
