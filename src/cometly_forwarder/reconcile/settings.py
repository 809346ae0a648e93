"""What the nightly comparison reads from its environment."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Self

from pydantic import BaseModel, ConfigDict

from cometly_forwarder import settings


class ReconcileSettings(BaseModel):
    """The environment of the reconcile function."""

    model_config = ConfigDict(frozen=True)

    table_name: str
    cometly_token_secret_arn: str
    cometly_url: str
    space_time_zone: str = "UTC"

    @classmethod
    def read(cls, environ: Mapping[str, str]) -> Self:
        return settings.read(cls, environ)
