"""Images' files, chunk by chunk, by the image's id: nobody outside ever names a path."""

from __future__ import annotations

from pathlib import Path

from pyros.messages.base import Refused
from pyros.messages.store import FileChunk, GetFile
from pyros.store.database import Reader
from pyros.store.history import tuples
from pyros.store.models import Image

CHUNK_BYTES = 512 * 1024


def chunk(reader: Reader, folder: Path, query: GetFile) -> FileChunk | Refused:
    """Return up to 512 KiB of an image's file (or of its preview) from `offset` on; nothing beyond its end.

    A path that leads out of `folder`, by dots or by a link, is refused whatever the store says.
    """
    found = tuples(Image.select(Image.file, Image.preview).where(Image.id == query.image_id).bind(reader.main))
    if not found:
        return Refused(reason=f"image {query.image_id} does not exist")
    file, preview = found[0]
    name = preview if query.preview else file
    if not name:
        return Refused(reason=f"image {query.image_id} has no preview yet")
    path = (folder / name).resolve()
    if not path.is_relative_to(folder.resolve()):
        return Refused(reason=f"image {query.image_id} lies outside the image folder; its row was tampered with")
    try:
        with path.open("rb") as opened:
            size = opened.seek(0, 2)
            opened.seek(min(query.offset, size))
            return FileChunk(name=name, offset=query.offset, size=size, content=opened.read(CHUNK_BYTES))
    except OSError as error:
        return Refused(reason=f"file {name} of image {query.image_id} cannot be read: {error.strerror}")
