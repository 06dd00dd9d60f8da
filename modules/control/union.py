"""ControlNet Union and ProMax: one network for several kinds of control, which is told the kind."""

from typing import Any

from torch import Tensor

from modules.control.networks import ControlNet, Residuals
from modules.core.errors import InputError
from modules.families.unet import Call

PLACES = {
    "OpenPose": 0,
    "Depth": 1,
    "Soft Edge": 2,
    "Hard Edge": 3,
    "Normal Map": 4,
    "Segmentation": 5,
    "Tile": 6,
    "Inpaint": 7,
}
"""The kinds by their places among those that the networks were trained on; six first, ProMax the last two too."""

BY_TYPE = {
    "OpenPose": "OpenPose",
    "Depth": "Depth",
    "SoftEdge": "Soft Edge",
    "Scribble": "Soft Edge",
    "Canny": "Hard Edge",
    "Lineart": "Hard Edge",
    "MLSD": "Hard Edge",
    "NormalMap": "Normal Map",
    "Segmentation": "Segmentation",
    "Tile": "Tile",
    "Inpaint": "Inpaint",
}
"""What a preprocessor's control type comes to, where the user does not say."""

UNKNOWN = "Unknown"


class Union(ControlNet):
    """It is told no more than one kind at a time here: each unit runs it by itself. `place`: which."""

    by_type = BY_TYPE

    def __init__(self, module: Any, place: int | None = None) -> None:
        super().__init__(module)
        self._place = place

    def told(self, kind: str, field: str) -> "Union":
        """The same network for that kind; raises InputError for one that it was not trained on."""
        place = PLACES.get(kind)
        count = self.module.config.num_control_type
        if kind != UNKNOWN and (place is None or place >= count):
            known = ", ".join(name for name, at in PLACES.items() if at < count)
            raise InputError(field, f"{field} is {kind}, which this network does not know. Choose one of {known}.")
        return Union(self.module, place)

    def residuals(self, call: Call, hint: Tensor) -> Residuals:
        """See ControlNetwork."""
        config = self.module.config
        types = call.x.new_zeros(len(call.x), config.num_control_type)
        if self._place is not None:
            types[:, self._place] = 1
        down, middle = self.module(
            call.x[:, : config.in_channels],
            call.t,
            encoder_hidden_states=call.context,
            controlnet_cond=[hint],
            control_type=types,
            control_type_idx=[self._place or 0],
            class_labels=call.labels,
            return_dict=False,
        )
        return Residuals(down=tuple(down), middle=middle)
