"""What the file of `read -O` is made of when it takes its name: after a power failure it is complete, or as it was."""

import os

SPY = """
import os

def spy(name):
    real = getattr(os, name)

    def call(*arguments, **options):
        what = os.readlink(f"/proc/self/fd/{arguments[0]}") if name == "fsync" else os.path.basename(arguments[0])
        with open(os.environ["CALLS"], "a") as calls:
            calls.write(f"{name} {os.path.basename(what)}\\n")
        return real(*arguments, **options)

    setattr(os, name, call)

spy("fsync")
spy("rename")
"""


def test_a_file_is_synced_before_it_takes_its_name_and_its_directory_after(s2, basin, tmp_path):
    uri = f"s2://{basin}/numbers"
    s2("append", "--create", uri, stdin=b"0\n1\n2\n")
    (tmp_path / "spy").mkdir()
    (tmp_path / "spy" / "sitecustomize.py").write_text(SPY)
    (tmp_path / "place").mkdir()
    env = {"PYTHONPATH": str(tmp_path / "spy"), "CALLS": str(tmp_path / "calls")}
    s2("read", uri, "-O", tmp_path / "place" / "out", env=env)
    assert (tmp_path / "calls").read_text() == "fsync out.partial\nrename out.partial\nfsync place\n"
    assert os.listdir(tmp_path / "place") == ["out"]
    (tmp_path / "calls").unlink()
    s2("read", f"s2://{basin}/none", "-O", tmp_path / "place" / "out", env=env, code=3)
    assert not (tmp_path / "calls").exists()


def test_a_directory_that_cannot_be_opened_is_no_failure(s2, basin, tmp_path):
    uri = f"s2://{basin}/numbers"
    s2("append", "--create", uri, stdin=b"0\n")
    place = tmp_path / "place"
    place.mkdir()
    (tmp_path / "spy").mkdir()
    refuse = "import os\nreal = os.open\ndef refuse(path, flags, *rest, **options):\n"
    refuse += "    if flags & os.O_DIRECTORY:\n        raise PermissionError(13, 'no', path)\n"
    refuse += "    return real(path, flags, *rest, **options)\nos.open = refuse\n"
    (tmp_path / "spy" / "sitecustomize.py").write_text(refuse)
    s2("read", uri, "-O", place / "out", env={"PYTHONPATH": str(tmp_path / "spy")})
    assert (place / "out").read_bytes() == b"0\n"
