"""Reading the environment of a function; what each of them reads is in its folder."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from cometly_forwarder.errors import SettingsError

Model = TypeVar("Model", bound=BaseModel)


def read(model: type[Model], environ: Mapping[str, str]) -> Model:
    """Read each field from the variable of its name in capitals; raises SettingsError.

    A blank variable is as good as none. A field's title says what a value must be.
    """
    given = {
        name: text for name in model.model_fields if (text := environ.get(name.upper(), "").strip())
    }
    try:
        return model.model_validate(given)
    except ValidationError as exc:
        # Not in pydantic's own words, which quote the value.
        name = str(exc.errors()[0]["loc"][0])
        variable = f"the environment variable {name.upper()}"
        if name not in given:
            raise SettingsError(f"{variable} is not set") from None
        raise SettingsError(f"{variable} must be {model.model_fields[name].title}") from None
