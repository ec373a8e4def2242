"""What can go wrong with a device. Each error is one line: the device, the command, what was expected and what came."""

from __future__ import annotations


class DeviceError(Exception):
    """Something about a device failed.

    Parameters
    ----------
    device : str
        The device's name and address, e.g. ``"telescope 127.0.0.1:4030"``.
    command : str
        What was asked of it, as it goes over the wire or as a verb; empty if nothing was asked.
    detail : str
        What was expected, and what came instead.
    """

    def __init__(self, device: str, command: str, detail: str) -> None:
        self.device = device
        self.command = command
        self.detail = detail
        super().__init__(f"{device}: {command}: {detail}" if command else f"{device}: {detail}")

    def __reduce__(self) -> tuple[type[DeviceError], tuple[str, str, str]]:
        return type(self), (self.device, self.command, self.detail)


class RefusedByDevice(DeviceError):  # noqa: N818 - named after what happened, as everywhere in the taxonomy
    """The device understood and said no; it is well, and the link is in step."""


class Braked(DeviceError):  # noqa: N818 - as above
    """`brake()` came between the start of a command and its last word to the device, which was therefore not sent."""


class NotConnected(DeviceError):  # noqa: N818 - as above
    """There is no link: `connect()` was not called, or `disconnect()` was."""


class LinkTimeout(DeviceError):  # noqa: N818 - as above
    """No complete reply within the time allowed."""


class LinkClosed(DeviceError):  # noqa: N818 - as above
    """The far end hung up, or nobody listens there. The next command opens the link again."""


class DeviceFault(DeviceError):  # noqa: N818 - as above
    """The device reports a fault of its own, or does what it should not."""


class GarbledReply(DeviceError):  # noqa: N818 - as above
    """A reply that does not have the form the protocol gives it."""


class LeaseRevoked(DeviceError):  # noqa: N818 - as above
    """The actor's incarnation that owns this driver has been replaced; its writes must not reach the device."""
