"""The simulated dome controller: Modbus/TCP, unit 1, and `python -m simulators.plc`.

Input registers (FC04): 0 life counter (+1 each second) · 1 status word · 2 latch reasons · 3 rain 0/1 · 4 wind 0.1 m/s
5 gust 0.1 m/s · 6 humidity 0.1 % · 7 temperature 0.1 degC (int16) · 8 pressure 0.1 hPa · 9 sky minus ambient 0.1 degC
(int16; -250 clear, -30 overcast) · 10 dew point 0.1 degC (int16) · 11 validity bits (0 rain, 1 wind, 2 humidity,
3 temperature, 4 pressure, 5 sky) · 12 age of the sensors' values in s · 13 UPS percent · 14 dome position 0..1000.
A value that is not valid reads 0x8000.

Discrete inputs (FC02) 0..12: the bits of the status word: closed, open, opening, closing, latch, local key, emergency
stop, mains ok, rain contact, dead-man expired, motion fault, remote enabled, parked (the park switch, which only a
roll-off roof has: see `SimulatedPlc.needs_park`; else 0). Latch reasons: 0 dead-man, 1 rain,
2 emergency stop, 3 motion fault, 4 boot. Coils (FC05/15, pulses, always read 0): 0 open, 1 close, 2 stop, 3 reset.
Holding registers (FC03/06/16): 0 heartbeat, 1 dead-man time in s (5..120). The logic is in `simulators.physics_dome`.
"""

from __future__ import annotations

import asyncio
import math
import socket
import sys
import threading
from typing import Any

from pymodbus.constants import ExcCodes
from pymodbus.server import ModbusTcpServer
from pymodbus.server.requesthandler import ServerRequestHandler
from pymodbus.simulator import DataType, SimData, SimDevice

from simulators.physics_dome import DEADMAN_S, DomeLogic, Drive
from simulators.physics_sensors import Reading
from simulators.physics_weather import dew_point_c
from simulators.world import DEFAULT_STATION, World

UNIT = 1
INPUT_REGISTERS = 15
STATUS_BITS = 13
COILS = ("open", "close", "stop", "reset")
NOT_VALID = 0x8000
_READ_INPUTS, _READ_DISCRETE = 4, 2
_COIL_FUNCTIONS = frozenset({1, 5, 15})
START_LIMIT_S = 5.0


def int16(value: float) -> int:
    """Round to a signed 16-bit number, as the unsigned register that carries it."""
    return max(-32767, min(32767, round(value))) & 0xFFFF


def sensor_registers(reading: Reading) -> list[int]:
    """Return registers 3 to 12 of a reading."""
    dew_valid = not math.isnan(reading.values["temperature_c"] + reading.values["humidity_percent"])

    dew = dew_point_c(reading.values["temperature_c"], reading.values["humidity_percent"]) if dew_valid else math.nan
    names = ("wind_m_s", "gust_m_s", "humidity_percent", "temperature_c", "pressure_hpa", "sky_minus_ambient_c")
    values = [*(reading.values[name] for name in names), dew]
    tenths = [NOT_VALID if math.isnan(value) else int16(10.0 * value) for value in values]
    validity = int(reading.rain is not None)
    judged = ("wind_m_s", "humidity_percent", "temperature_c", "pressure_hpa", "sky_minus_ambient_c")
    for bit, name in enumerate(judged, start=1):
        validity |= int(not math.isnan(reading.values[name])) << bit
    rain = NOT_VALID if reading.rain is None else int(reading.rain)
    return [rain, *tenths, validity, min(65535, int(reading.age_s))]


class SimulatedPlc:
    """Dome, interlocks and weather registers of a world; it registers itself as `world.dome`."""

    def __init__(self, world: World, name: str = "plc", station: str = DEFAULT_STATION) -> None:
        self.world = world
        self.name = name
        self.station = world.station(station)
        self.logic = DomeLogic(world, world.unix_s())
        self._lock = threading.RLock()
        world.dome = self
        world.faults.listen(name, self._fault_changed)
        for what in ("weather", "emergency_stop", "local_key", "mount"):
            world.listen(what, self._advance)

    @property
    def needs_park(self) -> bool:
        """Whether this is a roll-off roof, whose motor runs only while the mount's park switch is made."""
        return self.logic.interlock is not None

    @needs_park.setter
    def needs_park(self, needs_park: bool) -> None:
        if needs_park and self.world.mount is None:
            raise LookupError("a roof that needs a parked mount stands in a world without a mount")
        with self._lock:
            self._advance()
            self.logic.interlock = self.world.mount if needs_park else None

    def _advance(self) -> None:
        with self._lock:
            self.logic.advance(self.world.unix_s())

    def _fault_changed(self) -> None:
        kind = self.world.faults.active(self.name)
        with self._lock:
            self._advance()
            self.logic.set_fault(kind if kind in {"stuck", "slow", "lie"} else None)

    def open_fraction(self, unix_s: float) -> float:
        """Position of the dome, 0 closed to 1 open."""
        with self._lock:
            self._advance()
            return self.logic.position_at(unix_s)

    def status_word(self) -> int:
        """Return the status bits as of now."""
        with self._lock:
            self._advance()
            return int(self.logic.status())

    def latch_word(self) -> int:
        """Return the latch reasons as of now."""
        with self._lock:
            self._advance()
            return int(self.logic.latch)

    def last_cause(self) -> str:
        """Return why the dome last moved or stopped: command, rain, dead-man ..."""
        with self._lock:
            self._advance()
            return self.logic.drive.cause

    def moves(self) -> list[Drive]:
        """Return the dome's motions and stops up to now, from the first command on."""
        with self._lock:
            self._advance()
            return self.logic.history[1:]

    def input_registers(self) -> list[int]:
        """Return all input registers as of now."""
        with self._lock:
            self._advance()
            now_s = self.world.unix_s()
            return [
                int(now_s - self.logic.booted_s) & 0xFFFF,
                int(self.logic.status()),
                int(self.logic.latch),
                *sensor_registers(self.station.reading(now_s)),
                int(self.world.ups_percent(now_s)),
                round(1000 * self.logic.position_at(now_s)),
            ]

    def holding_registers(self) -> list[int]:
        """Return heartbeat and dead-man time."""
        return [self.logic.heartbeat, self.logic.deadman_s]

    def pulse(self, coil: int) -> None:
        """Act on a coil that was written true. With the local key set only the reset button at the PLC would work."""
        with self._lock:
            self._advance()
            {"open": self.logic.open, "close": self.logic.close, "stop": self.logic.stop, "reset": self.logic.reset}[
                COILS[coil]
            ]()

    def write_holding(self, address: int, values: list[int]) -> bool:
        """Take written holding registers; False, and nothing is changed, if a value is out of range."""
        written = dict(enumerate(values, start=address))
        deadman_s = written.get(1, self.logic.deadman_s)
        if not DEADMAN_S[0] <= deadman_s <= DEADMAN_S[2]:
            return False
        with self._lock:
            self._advance()
            self.logic.deadman_s = deadman_s
            if 0 in written:
                self.logic.beat(written[0])
        return True


class _Link(ServerRequestHandler):
    """One client's link: plays the faults that close or silence it."""

    def callback_data(self, data: bytes, addr: Any = None) -> int:
        owner: _Server = self.server
        fault = owner.plc.world.faults.active(owner.plc.name)
        if fault == "disconnect":
            self.close()
        elif fault == "mute":
            self._fall_silent()
        else:
            return super().callback_data(data, addr)
        return len(data)

    def server_send(self, pdu: Any, addr: Any) -> None:
        owner: _Server = self.server
        if owner.plc.world.faults.active(owner.plc.name) == "hang":
            self._fall_silent()
        else:
            super().server_send(pdu, addr)

    def _fall_silent(self) -> None:
        owner: _Server = self.server
        if owner.plc.world.clock.virtual:
            owner.plc.world.clock.hush(owner.channel)
            self.close()


class _Server(ModbusTcpServer):
    def __init__(self, plc: SimulatedPlc, device: SimDevice, address: tuple[str, int]) -> None:
        super().__init__(device, address=address)
        self.plc = plc
        self.channel = ""

    def callback_new_connection(self) -> _Link:
        return _Link(self, None, None, None)


class PlcServer:
    """Modbus/TCP in front of a `SimulatedPlc`, in a thread of its own."""

    def __init__(self, plc: SimulatedPlc) -> None:
        self.plc = plc
        self.channel = ""
        self._loop = asyncio.new_event_loop()
        self._started = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"simulated {plc.name}", daemon=True)
        self._server: _Server | None = None
        self._address = ("127.0.0.1", 0)

    def start(self, address: tuple[str, int] = ("127.0.0.1", 0)) -> str:
        """Listen and return "host:port".

        Raises
        ------
        OSError
            If the address cannot be bound.
        """
        socket.create_server(address).close()  # pymodbus only logs why it cannot listen; this raises it
        self._address = address
        self._thread.start()
        self._started.wait(START_LIMIT_S)
        if not self.channel:
            raise OSError(f"cannot listen on {address[0]}:{address[1]} within {START_LIMIT_S:g} s")
        return self.channel

    def stop(self) -> None:
        """Close every link and end the thread."""
        if self._loop.is_running():
            self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(timeout=START_LIMIT_S)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            if self._loop.run_until_complete(self._listen()):
                self._loop.call_soon(self._started.set)
                self._loop.run_forever()
                self._loop.run_until_complete(self._close())
        finally:
            self._started.set()
            self._loop.close()

    async def _listen(self) -> bool:
        device = SimDevice(id=UNIT, simdata=_registers(), action=self._act)
        server = _Server(self.plc, device, self._address)
        if not await server.listen():
            return False
        transport: Any = server.transport
        host, port = transport.sockets[0].getsockname()[:2]
        self._server = server
        self.channel = server.channel = f"{host}:{port}"
        return True

    async def _close(self) -> None:
        if self._server is not None:
            await self._server.shutdown()
        pending = [task for task in asyncio.all_tasks(self._loop) if task is not asyncio.current_task()]
        for task in pending:
            task.cancel()
        await asyncio.gather(*pending, return_exceptions=True)

    async def _act(
        self, function: int, start: int, address: int, count: int, registers: list[int], written: list[Any] | None
    ) -> ExcCodes | None:
        """Fill the registers that are read and carry out what is written; called by pymodbus before either."""
        del start
        fault = self.plc.world.faults.active(self.plc.name)
        if written is not None and fault == "refuse":
            return ExcCodes.DEVICE_BUSY
        if function == _READ_INPUTS:
            registers[:] = self.plc.input_registers()
        elif function == _READ_DISCRETE:
            registers[:] = [self.plc.status_word()]
        elif function in _COIL_FUNCTIONS:
            return self._coils(address, written)
        elif written is None:
            registers[:] = self.plc.holding_registers()
        elif not self.plc.write_holding(address, written):
            return ExcCodes.ILLEGAL_VALUE
        if written is None and fault == "garbage":
            noise = self.plc.world.faults.garble(bytes(2 * len(registers)), b"")
            registers[:] = [int.from_bytes(noise[at : at + 2], "big") for at in range(0, len(noise), 2)]
        del count
        return None

    def _coils(self, address: int, written: list[Any] | None) -> ExcCodes | None:
        if written is None:
            return None
        if address + len(written) > len(COILS):
            return ExcCodes.ILLEGAL_ADDRESS
        for offset, value in enumerate(written):
            if value:
                self.plc.pulse(address + offset)
            written[offset] = False  # a pulse: the coil falls back by itself
        return None


def _registers() -> tuple[list[SimData], list[SimData], list[SimData], list[SimData]]:
    """Coils, discrete inputs, holding and input registers; bits come in words of 16."""
    bits = DataType.BITS
    words = DataType.REGISTERS
    return (
        [SimData(0, count=16, values=False, datatype=bits)],
        [SimData(0, count=16, values=False, datatype=bits)],
        [SimData(0, count=2, values=0, datatype=words)],
        [SimData(0, count=INPUT_REGISTERS, values=0, datatype=words)],
    )


if __name__ == "__main__":
    from simulators.serve_alone import plc_main

    sys.exit(plc_main(sys.argv[1:]))
