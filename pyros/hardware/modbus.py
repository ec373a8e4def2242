"""The dome controller (PLC) over Modbus/TCP, by a register map.

pymodbus's defaults would block a poll for 12 s (3 s and three retries) and go on "connected" after a timeout. Here a
transaction has 1 s and no retry, and any failure closes the connection; the next call opens it again. Closing the dome
does not ask the lease: it makes safer, and a replaced actor may still do it.
"""

from __future__ import annotations

import contextlib
import logging
import socket
import threading
from collections.abc import Callable
from typing import Any, TypeVar, cast

from pymodbus.client import ModbusTcpClient
from pymodbus.exceptions import ConnectionException, ModbusIOException

from pyros.clock import Clock
from pyros.hardware.errors import (
    DeviceError,
    DeviceFault,
    GarbledReply,
    LinkClosed,
    LinkTimeout,
    NotConnected,
    RefusedByDevice,
)
from pyros.hardware.interfaces import Lease, PlcReading
from pyros.hardware.link import Journal, real_timeout_s
from pyros.hardware.register_map import RegisterMap

logging.getLogger("pymodbus.logging").setLevel(logging.CRITICAL)  # every failure is raised, by our own names

TIMEOUT_S = 1.0
_EXCEPTIONS = {
    1: "illegal function",
    2: "illegal data address",
    3: "illegal data value",
    4: "device failure, which many servers answer for an unknown unit",
    6: "device busy",
    10: "gateway path unavailable",
    11: "gateway target does not respond",
}
_LONGEST = 254
"""Bytes of unit and PDU in a Modbus/TCP frame."""
_LONGEST_READ = 4096
_NO_SUCH_UNIT = (4, 10, 11)
_T = TypeVar("_T")


class _TcpClient(ModbusTcpClient):
    """pymodbus waits for a reply in `select`, which takes no descriptor above 1023; this one takes any."""

    def recv(self, size: int | None) -> bytes:
        """Return what has come, at most `size` bytes; empty if nothing came in time."""
        line = self.socket
        if line is None:
            raise ConnectionException("the link is closed")
        line.settimeout(self.comm_params.timeout_connect)
        try:
            received = line.recv(size or _LONGEST_READ)
        except TimeoutError:
            return b""
        if not received:
            self.close()
            raise ConnectionException("the PLC hung up")
        return received


class ModbusPlc:
    """A PLC; see `pyros.hardware.interfaces.Plc`.

    Parameters
    ----------
    host, port, unit
        Where it listens, and its unit id (1 to 247).
    clock : Clock
        Dates readings; charges the timeouts of a simulated mute PLC.
    lease : Lease
        Checked before every transaction, except `close_dome`.
    register_map : RegisterMap
        What its registers mean.
    device : str
        Its name in errors and in the journal.
    journal : Journal, optional
        Called after every transaction with the bytes of request and reply.
    """

    def __init__(
        self,
        host: str,
        port: int,
        unit: int,
        clock: Clock,
        lease: Lease,
        *,
        register_map: RegisterMap,
        device: str = "plc",
        journal: Journal | None = None,
    ) -> None:
        self._channel = f"{host}:{port}"
        self._device = f"{device} {self._channel} unit {unit}"
        self._name = device
        self._unit = unit
        self._clock = clock
        self._lease = lease
        self._map = register_map
        self._journal = journal
        self._lock = threading.Lock()
        self._wanted = False
        self._command, self._request, self._reply = "", b"", b""
        self._life: tuple[float | None, float] = (None, clock.monotonic_s())
        timeout_s = real_timeout_s(clock, TIMEOUT_S)
        self._client = _TcpClient(host, port=port, timeout=timeout_s, retries=0, trace_packet=self._trace)
        read = "read_input_registers" if register_map.table == "input" else "read_holding_registers"
        self._read_block: Callable[..., Any] = getattr(self._client, read)
        self._what = f"{read} {register_map.first}..{register_map.first + register_map.count - 1}"

    # -- the link ----------------------------------------------------------------------------------------------------

    @property
    def connected(self) -> bool:
        """See `Device.connected`."""
        return self._client.connected

    def connect(self) -> None:
        """See `Device.connect`: reads the whole block once, so that a wrong unit or map shows at once."""
        self._lease.check()
        self._wanted = True
        self._read_registers()

    def disconnect(self) -> None:
        """See `Device.disconnect`."""
        self._wanted = False
        line = self._client.socket
        if line is not None:
            with contextlib.suppress(OSError):
                line.shutdown(socket.SHUT_RDWR)
        with self._lock:
            self._client.close()

    # -- what the interface names ------------------------------------------------------------------------------------

    def poll(self) -> PlcReading:
        """See `Plc.poll`."""
        self._lease.check()
        registers = self._read_registers()
        read_at = self._clock.now()
        status, latch_reasons, numbers, problems = self._map.decode(registers)
        rain = _as_bool(numbers.pop("rain"))
        if rain is not None and status["rain_contact"] is not None and rain != status["rain_contact"]:
            problems = (*problems, f"rain: the register says {rain}, the contact says {status['rain_contact']}")
            rain = None
        life = numbers.pop("life_counter")
        values: dict[str, Any] = {**status, **numbers}
        return PlcReading(
            read_at=read_at,
            life_counter=None if life is None else int(life),
            life_age_s=self._age_of(life),
            latch_reasons=latch_reasons,
            rain=rain,
            problems=problems,
            **values,
        )

    def heartbeat(self, value: int) -> None:
        """See `Plc.heartbeat`."""
        self._write_register("heartbeat", value)

    def set_deadman(self, seconds: int) -> None:
        """See `Plc.set_deadman`."""
        self._write_register("deadman_s", seconds)

    def open_dome(self) -> None:
        """See `Plc.open_dome`."""
        self._lease.check()
        self._pulse("open")

    def close_dome(self) -> None:
        """See `Plc.close_dome`. Opens the link if need be, also without `connect()` or after `disconnect()`."""
        self._wanted = True
        self._pulse("close")

    def stop(self) -> None:
        """See `Plc.stop`."""
        self._lease.check()
        self._pulse("stop")

    def reset_latch(self) -> None:
        """See `Plc.reset_latch`."""
        self._lease.check()
        self._pulse("reset_latch")

    # -- transactions ------------------------------------------------------------------------------------------------

    def _read_registers(self) -> list[int]:
        block = self._map
        response = self._transact(
            self._what, lambda: self._read_block(block.first, count=block.count, device_id=self._unit)
        )
        registers = cast("list[int]", response.registers)
        if len(registers) != block.count:
            raise GarbledReply(self._device, self._what, f"expected {block.count} registers, got {len(registers)}")
        return registers

    def _pulse(self, command: str) -> None:
        address = self._map.commands[command].address
        self._transact(command, lambda: self._client.write_coil(address, True, device_id=self._unit))

    def _write_register(self, command: str, value: int) -> None:
        entry = self._map.commands[command]
        low, high = entry.range
        if not low <= value <= high:
            raise ValueError(f"{self._device}: {command} is {value}; it must be from {low} to {high}")
        self._lease.check()
        self._transact(command, lambda: self._client.write_register(entry.address, value, device_id=self._unit))

    def _transact(self, command: str, exchange: Callable[[], _T]) -> _T:
        """Do one exchange; any failure closes the connection. The lock is not held while a timeout is charged."""
        try:
            with self._lock:
                response = self._exchange(command, exchange)
        except (LinkTimeout, LinkClosed):
            if self._clock.charge(self._channel, TIMEOUT_S):
                raise LinkTimeout(self._device, command, f"no reply within {TIMEOUT_S:g} s") from None
            raise
        code = getattr(response, "exception_code", 0)
        if code:
            raise self._refusal(command, code)
        return response

    def _exchange(self, command: str, exchange: Callable[[], _T]) -> _T:
        self._command, self._request, self._reply = command, b"", b""
        try:
            self._open(command)
            return exchange()
        except DeviceError:
            self._client.close()
            raise
        except Exception as error:  # noqa: BLE001 - pymodbus decodes noise with whatever exception that runs into
            self._client.close()
            raise self._failure(command, error) from None
        finally:
            if self._journal is not None:
                self._journal(self._name, self._request, self._reply)

    def _failure(self, command: str, error: Exception) -> DeviceError:
        if isinstance(error, ConnectionException | OSError):
            return LinkClosed(self._device, command, "the PLC hung up, or does not listen there")
        if isinstance(error, ModbusIOException) and "No response" in str(error):
            return LinkTimeout(self._device, command, f"no reply within {TIMEOUT_S:g} s")
        return GarbledReply(self._device, command, f"expected a Modbus reply to this request, got {error}")

    def _open(self, command: str) -> None:
        if self._client.connected:
            return
        if not self._wanted:
            raise NotConnected(self._device, command, "not connected; call connect() first")
        if not self._client.connect():
            raise ConnectionException
        line = cast("socket.socket", self._client.socket)
        line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def _refusal(self, command: str, code: int) -> DeviceError:
        meaning = f"Modbus exception {code} ({_EXCEPTIONS.get(code, 'not in the standard')})"
        if code in _NO_SUCH_UNIT:
            return DeviceFault(self._device, command, f"{meaning}; is unit {self._unit} right in the URL (?unit=)?")
        return RefusedByDevice(self._device, command, meaning)

    def _trace(self, sending: bool, packet: bytes) -> bytes:
        """Keep the bytes for the journal, and refuse at once what cannot be the reply: pymodbus would wait on."""
        if sending:
            self._request = packet
        else:
            self._reply = packet
            if not _may_answer(self._request, packet):
                raise GarbledReply(self._device, self._command, f"expected its reply, got {packet[:20].hex(' ')}")
        return packet

    def _age_of(self, life: float | None) -> float:
        now_s = self._clock.monotonic_s()
        last, since_s = self._life
        if life is None or life == last:
            return now_s - since_s
        self._life = (life, now_s)
        return 0.0


def _may_answer(request: bytes, reply: bytes) -> bool:
    """Tell whether `reply` may be (the beginning of) the reply to `request`: same transaction, unit and function."""
    if len(reply) < 8:
        return reply[:4] == request[: min(len(reply), 4)]
    return (
        reply[:4] == request[:4]
        and reply[6] == request[6]
        and reply[7] & 0x7F == request[7]
        and 2 < int.from_bytes(reply[4:6]) <= _LONGEST
        and len(reply) <= int.from_bytes(reply[4:6]) + 6
    )


def _as_bool(number: float | None) -> bool | None:
    return None if number is None else number > 0
