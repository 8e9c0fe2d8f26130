"""The scripts people write for a sheet of pictures; needs nothing of this project: it runs in the peers' environment.

``python sheet_peers.py WHO OUT PICTURES...``: WHO draws all pictures, 240 pixels wide and 8 in a row, to the JPEG OUT.
Prints one JSON object: ``pictures``, and the ``cpu`` and ``wall`` seconds used after the imports. ``version WHO``
imports what WHO needs and prints what it is.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any

WIDTH, HEIGHT, COLUMNS, QUALITY = 240, 135, 8, 90


def _grid(tiles: Any) -> Any:
    """Tiles (number x height x width x 3) as one picture, by torchvision where it is there."""
    import numpy as np

    try:
        import torch
        from torchvision.utils import make_grid
    except ImportError:
        missing = -len(tiles) % COLUMNS
        tiles = np.concatenate([tiles, np.zeros((missing, *tiles.shape[1:]), np.uint8)])
        rows = tiles.reshape(-1, COLUMNS, HEIGHT, WIDTH, 3)
        return rows.transpose(0, 2, 1, 3, 4).reshape(-1, COLUMNS * WIDTH, 3)
    return make_grid(torch.from_numpy(tiles).permute(0, 3, 1, 2), nrow=COLUMNS).permute(1, 2, 0).numpy()


def skimage(out: str, pictures: list[str]) -> None:
    """As a notebook does it: read whole, shrink, append to an array."""
    import numpy as np
    from skimage import io, transform, util

    tiles = np.empty((0, HEIGHT, WIDTH, 3), np.uint8)
    for picture in pictures:
        tile = transform.resize(io.imread(picture), (HEIGHT, WIDTH), anti_aliasing=True)
        tiles = np.append(tiles, util.img_as_ubyte(tile)[None], axis=0)
    io.imsave(out, _grid(tiles), quality=QUALITY, check_contrast=False)


def opencv(out: str, pictures: list[str]) -> None:
    """Read whole, shrink, append to a list."""
    import cv2
    import numpy as np

    tiles = []
    for path in pictures:
        picture = cv2.imread(path)
        assert picture is not None
        tiles.append(cv2.resize(picture, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA))
    cv2.imwrite(out, _grid(np.stack(tiles)), [cv2.IMWRITE_JPEG_QUALITY, QUALITY])


def pillow(out: str, pictures: list[str]) -> None:
    """The quick way that few know: the decoder shrinks."""
    import numpy as np
    from PIL import Image

    tiles = []
    for path in pictures:
        with Image.open(path) as image:
            image.draft("RGB", (WIDTH, HEIGHT))
            tiles.append(np.asarray(image.convert("RGB").resize((WIDTH, HEIGHT), Image.Resampling.BOX)))
    Image.fromarray(_grid(np.stack(tiles))).save(out, quality=QUALITY)


WHO = {"skimage": skimage, "opencv": opencv, "pillow": pillow}
NEEDS = {"skimage": ["skimage.io", "skimage.transform"], "opencv": ["cv2"], "pillow": ["PIL.Image"]}


def main() -> None:
    who = sys.argv[2] if sys.argv[1] == "version" else sys.argv[1]
    versions = {}
    for name in NEEDS[who]:
        __import__(name)
        versions[name.partition(".")[0]] = sys.modules[name.partition(".")[0]].__version__
    if who == "skimage":
        try:
            import torchvision

            versions["torchvision"] = torchvision.__version__
        except ImportError:
            versions["torchvision"] = "missing: numpy's reshape draws the grid"
    if sys.argv[1] == "version":
        print(json.dumps(versions))
        return
    cpu, wall = time.process_time(), time.perf_counter()
    WHO[who](sys.argv[2], sys.argv[3:])
    used = {"cpu": time.process_time() - cpu, "wall": time.perf_counter() - wall}
    print(json.dumps({"pictures": len(sys.argv) - 3, **used}))


if __name__ == "__main__":
    main()
