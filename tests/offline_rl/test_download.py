"""Downloads from a server on this machine that does everything wrong."""

import http.server
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from scoreregs_offline_rl.data import download as module
from scoreregs_offline_rl.data.d4rl_data import HUB_MIRROR, d4rl_file, load_d4rl
from scoreregs_offline_rl.data.download import download
from scoreregs_offline_rl.data.hdf5 import check_hdf5, save_hdf5
from scoreregs_offline_rl.data.loading import LoadingConfig
from scoreregs_offline_rl.errors import DataError
from scoreregs_offline_rl.tasks import PAPER_TASKS, D4RLTask

ETAG = '"one"'


class Server:
    """Answers each request by the next of some scripted answers, the last one for ever."""

    def __init__(self, content: bytes) -> None:
        self.content = content
        self.requests: list[tuple[str, str | None]] = []
        self.answers: dict[str, list] = {}
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                outer.requests.append((self.path, self.headers.get("Range")))
                answers = outer.answers.get(self.path, [whole])
                (answers.pop(0) if len(answers) > 1 else answers[0])(self, outer.content)

            def log_message(self, format, *args):  # noqa: A002
                pass

        self.http = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.http.serve_forever, args=(0.01,), daemon=True).start()

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.http.server_port}{path}"

    @property
    def ranges(self) -> list[str | None]:
        return [range_ for _, range_ in self.requests]


def respond(handler, status, body, **headers):
    handler.send_response(status)
    for name, value in {"Content-Length": len(body), **headers}.items():
        if value is not None:
            handler.send_header(name.replace("_", "-"), str(value))
    handler.end_headers()
    handler.wfile.write(body)


def start_of(handler):
    return int((handler.headers.get("Range") or "bytes=0-")[len("bytes=") : -1])


def whole(handler, content, sent=None, etag=ETAG):
    """The file, or the part asked for; cut after `sent` bytes."""
    start, size = start_of(handler), len(content)
    if start and handler.headers.get("If-Range") in (None, etag):
        ranged = {"Content-Range": f"bytes {start}-{size - 1}/{size}"}
        status, part = 206, content[start:]
    else:
        status, part, ranged = 200, content, {}
    respond(handler, status, part[:sent], ETag=etag, **{"Content-Length": len(part)}, **ranged)


def cut(sent):
    return lambda handler, content: whole(handler, content, sent)


def without_ranges(sent=None):
    def answer(handler, content):
        respond(handler, 200, content[:sent], ETag=ETAG, **{"Content-Length": len(content)})

    return answer


def error(status):
    return lambda handler, content: respond(handler, status, b"no")


def page(handler, content):
    respond(handler, 200, b"<html>sign in</html>", **{"Content-Type": "text/html; charset=utf-8"})


@pytest.fixture
def server(tmp_path, monkeypatch) -> Iterator[Server]:
    monkeypatch.setattr(module, "_PAUSE", 0.0)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    running = Server(_file(tmp_path / "served.hdf5", rows=5000))
    yield running
    running.http.shutdown()
    running.http.server_close()


def _file(path: Path, rows: int) -> bytes:
    arrays = {
        "observations": np.random.default_rng(0).normal(size=(rows, 3)).astype(np.float32),
        "actions": np.zeros((rows, 1), np.float32),
        "rewards": np.ones(rows, np.float32),
        "terminals": np.zeros(rows, bool),
        "timeouts": np.arange(rows) % 10 == 9,
    }
    save_hdf5(path, arrays, "Hopper-v5")
    return path.read_bytes()


def fetch(server, tmp_path, *paths, **options):
    target = tmp_path / "data" / "a.hdf5"
    download([server.url(path) for path in paths], target, check=check_hdf5, **options)
    return target


def beside(target):
    return sorted(p.name for p in target.parent.iterdir() if p != target and p.suffix != ".lock")


def test_a_file_arrives_whole(server, tmp_path):
    told = []
    target = fetch(server, tmp_path, "/a", progress=lambda *state: told.append(state))
    assert target.read_bytes() == server.content
    assert beside(target) == []
    assert told[0] == (0, len(server.content))
    assert told[-1] == (len(server.content), len(server.content))
    assert [received for received, _ in told] == sorted(received for received, _ in told)


def test_a_file_that_is_there_is_not_asked_for(server, tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "a.hdf5").write_bytes(b"mine")
    assert fetch(server, tmp_path, "/a").read_bytes() == b"mine"
    assert server.requests == []


def test_cut_connections_are_gone_on_with(server, tmp_path):
    cuts = 3 * module._ATTEMPTS
    server.answers["/a"] = [*[cut(1000)] * cuts, whole]
    target = fetch(server, tmp_path, "/a")
    assert target.read_bytes() == server.content
    assert server.ranges == [None, *(f"bytes={1000 * k}-" for k in range(1, cuts + 1))]


def test_an_ended_process_is_gone_on_with(server, tmp_path):
    def stop(received, total):
        if received:
            raise KeyboardInterrupt

    server.answers["/a"] = [cut(5000), whole]
    with pytest.raises(KeyboardInterrupt):
        fetch(server, tmp_path, "/a", progress=stop)
    told = []
    target = fetch(server, tmp_path, "/a", progress=lambda *state: told.append(state))
    assert target.read_bytes() == server.content
    assert server.ranges == [None, "bytes=5000-"]
    assert told[0] == (5000, len(server.content))


def test_a_whole_file_that_was_not_renamed_needs_no_request(server, tmp_path):
    def stop(path):
        raise KeyboardInterrupt

    target = tmp_path / "data" / "a.hdf5"
    with pytest.raises(KeyboardInterrupt):
        download([server.url("/a")], target, check=stop)
    assert not target.exists()
    fetch(server, tmp_path, "/a")
    assert target.read_bytes() == server.content
    assert len(server.requests) == 1


def test_a_server_without_ranges_starts_afresh(server, tmp_path):
    server.answers["/a"] = [without_ranges(2000), without_ranges()]
    assert fetch(server, tmp_path, "/a").read_bytes() == server.content
    assert server.ranges == [None, "bytes=2000-"]


def test_a_server_without_ranges_that_always_cuts_is_given_up(server, tmp_path):
    server.answers["/a"] = [without_ranges(2000)]
    target = fetch(server, tmp_path, "/a", "/b")
    assert target.read_bytes() == server.content
    assert [path for path, _ in server.requests] == ["/a"] * (module._ATTEMPTS + 1) + ["/b"]


def test_a_file_that_has_changed_since_is_started_afresh(server, tmp_path):
    old = server.content
    server.content = old[::-1]
    server.answers["/a"] = [cut(3000), lambda h, c: whole(h, old, etag='"two"')]
    assert fetch(server, tmp_path, "/a").read_bytes() == old
    assert server.ranges == [None, "bytes=3000-"]


@pytest.mark.parametrize(
    "headers",
    [
        {"ETag": '"two"'},
        {"ETag": ETAG, "Content-Range": "bytes 3000-3999/4000"},
        {"ETag": ETAG, "Content-Range": "bytes 2000-{last}/{size}"},
        {"ETag": ETAG, "Content-Range": None},
    ],
)
def test_a_part_of_something_else_is_not_appended(server, tmp_path, headers):
    def wrong(handler, content):
        size = len(content)
        given = {"Content-Range": "bytes 3000-{last}/{size}", **headers}
        filled = {k: v and v.format(last=size - 1, size=size) for k, v in given.items()}
        respond(handler, 206, bytes(size - 3000), **filled)

    server.answers["/a"] = [cut(3000), wrong, whole]
    assert fetch(server, tmp_path, "/a").read_bytes() == server.content
    assert server.ranges == [None, "bytes=3000-", None]


def test_more_than_was_promised_is_started_afresh(server, tmp_path):
    def longer(handler, content):
        part = content[3000:] + b"more"
        ranged = {"Content-Range": f"bytes 3000-{len(content) - 1}/{len(content)}"}
        respond(handler, 206, part, ETag=ETAG, **ranged)

    server.answers["/a"] = [cut(3000), longer, whole]
    assert fetch(server, tmp_path, "/a").read_bytes() == server.content
    assert server.ranges == [None, "bytes=3000-", None]


def test_a_range_that_is_refused_is_asked_for_no_more(server, tmp_path):
    server.answers["/a"] = [cut(3000), error(416), whole]
    assert fetch(server, tmp_path, "/a").read_bytes() == server.content
    assert server.ranges == [None, "bytes=3000-", None]


@pytest.mark.parametrize(
    ("answer", "requests", "reason"),
    [
        (error(403), 1, "403 Forbidden"),
        (error(404), 1, "404 Not Found"),
        (error(503), module._ATTEMPTS, "503"),
        (page, 1, "HTML"),
        (lambda h, c: respond(h, 200, b"not a data set"), 1, "h5py cannot read"),
        (lambda h, c: respond(h, 200, c[:-500]), 1, "h5py cannot read"),
        (lambda h, c: respond(h, 200, c[:-500], **{"Content-Length": None}), 1, "h5py cannot read"),
        (lambda h, c: respond(h, 200, c, **{"Content-Length": len(c) + 9}), None, "bytes"),
        (lambda h, c: h.connection.close(), module._ATTEMPTS, "no connection"),
    ],
)
def test_a_wrong_answer_leads_to_the_next_url(server, tmp_path, answer, requests, reason):
    server.answers["/a"] = [answer]
    with pytest.raises(DataError, match=reason) as caught:
        fetch(server, tmp_path, "/a")
    assert server.url("/a") in str(caught.value)
    assert not (tmp_path / "data" / "a.hdf5").exists()
    assert requests is None or len(server.requests) == requests
    target = fetch(server, tmp_path, "/a", "/b")
    assert target.read_bytes() == server.content
    # What was wrong is gone; only bytes of a file that was cut are kept to go on with.
    assert requests is None or beside(target) == []


def test_a_server_that_is_busy_for_a_while(server, tmp_path):
    server.answers["/a"] = [error(503), error(429), whole]
    assert fetch(server, tmp_path, "/a").read_bytes() == server.content


def test_a_host_that_is_not_there(server, tmp_path):
    server.http.server_close()
    with pytest.raises(DataError, match="no connection"):
        fetch(server, tmp_path, "/a")


def test_only_http_is_read(tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("secret")
    with pytest.raises(DataError, match="not an http"):
        download([secret.as_uri()], tmp_path / "a.hdf5", check=check_hdf5)


def test_callers_at_one_time_share_one_download(server, tmp_path):
    callers = [threading.Thread(target=fetch, args=(server, tmp_path, "/a")) for _ in range(4)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert (tmp_path / "data" / "a.hdf5").read_bytes() == server.content
    assert len(server.requests) == 1


@pytest.fixture
def task(server, tmp_path, monkeypatch) -> D4RLTask:
    monkeypatch.setenv("D4RL_DATASET_DIR", str(tmp_path / "sets"))
    monkeypatch.delenv("SCOREREGS_D4RL_MIRRORS", raising=False)
    return D4RLTask("hopper-medium-v2", server.url("/host/hopper_medium-v2.hdf5"))


def test_a_name_is_downloaded_once_and_loaded(server, tmp_path, monkeypatch, task):
    monkeypatch.setattr("scoreregs_offline_rl.data.d4rl_data.find_task", lambda name: task)
    data = load_d4rl("hopper-medium-v2")
    assert len(load_d4rl("hopper-medium-v2")) == len(data) == 4500
    assert server.requests == [("/host/hopper_medium-v2.hdf5", None)]
    assert (tmp_path / "sets" / "hopper_medium-v2.hdf5").read_bytes() == server.content


@pytest.mark.parametrize("name", ["hopper_medium-v2.hdf5", "hopper-medium-v2.hdf5"])
def test_a_folder_of_the_user_is_looked_at_first(server, tmp_path, monkeypatch, task, name):
    path = tmp_path / ".d4rl" / "datasets" / name
    path.parent.mkdir(parents=True)
    path.write_bytes(server.content)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    monkeypatch.delenv("D4RL_DATASET_DIR")
    assert d4rl_file(task) == path
    assert server.requests == []


def test_mirrors_follow_in_their_order(server, monkeypatch, task):
    server.answers = {
        path: [error(403)]
        for path in (
            "/host/hopper_medium-v2.hdf5",
            "/one/hopper_medium-v2.hdf5",
            "/two/hopper-medium-v2.hdf5?download=1",
            "/three/hopper_medium-v2.hdf5",
        )
    }
    named = f"{server.url('/three')} {server.url('/four/')}"
    monkeypatch.setenv("SCOREREGS_D4RL_MIRRORS", named)
    mirrors = (server.url("/one"), server.url("/two/{name}.hdf5?download=1"))
    assert d4rl_file(task, mirrors).read_bytes() == server.content
    assert [path for path, _ in server.requests] == [
        *server.answers,
        "/four/hopper_medium-v2.hdf5",
    ]


def test_a_configured_mirror_is_used(server, monkeypatch, task):
    monkeypatch.setattr("scoreregs_offline_rl.data.d4rl_data.find_task", lambda name: task)
    server.answers["/host/hopper_medium-v2.hdf5"] = [error(403)]
    config = LoadingConfig(mirrors=(server.url("/one"),))
    assert len(load_d4rl("hopper-medium-v2", config)) == 4500


def test_locomotion_comes_from_the_hub_where_its_host_is_dead(server, monkeypatch, task):
    monkeypatch.setattr("scoreregs_offline_rl.data.d4rl_data.HUB_MIRROR", server.url("/hub"))
    dead, own = "/gym_mujoco_v2/hopper_medium-v2.hdf5", "/own/hopper_medium-v2.hdf5"
    server.answers = {dead: [error(403)], own: [error(404)]}
    known = D4RLTask(task.name, server.url(dead))
    assert d4rl_file(known, (server.url("/own"),)).read_bytes() == server.content
    assert [path for path, _ in server.requests] == [dead, own, "/hub/hopper_medium-v2.hdf5"]


def test_the_hub_is_asked_by_the_names_that_it_has():
    assert HUB_MIRROR == "https://huggingface.co/datasets/imone/D4RL/resolve/main"
    for name, task in PAPER_TASKS.items():
        assert ("/gym_mujoco_v2/" in task.url) == (not name.startswith("antmaze"))


def test_a_failure_says_what_can_be_done(server, tmp_path, task):
    server.answers["/host/hopper_medium-v2.hdf5"] = [error(403)]
    with pytest.raises(DataError) as caught:
        d4rl_file(task)
    message = str(caught.value)
    assert str(tmp_path / "sets" / "hopper_medium-v2.hdf5") in message
    assert "403" in message
    assert "SCOREREGS_D4RL_MIRRORS" in message


def test_a_folder_that_cannot_be_written(tmp_path, monkeypatch, task):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("D4RL_DATASET_DIR", str(tmp_path / "file" / "sets"))
    with pytest.raises(DataError, match=r"cannot be written.*D4RL_DATASET_DIR"):
        d4rl_file(task)
