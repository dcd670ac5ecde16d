"""A cluster of real processes for the tests of the gateway: started from the build, with a small
seeded model, and ended by its owner. Nothing is awaited by time: `troupe up --json` prints one line
when everything is ready."""

import json
import os
import pathlib
import select
import shutil
import signal
import subprocess
import tempfile


class LiveCluster:
    def __init__(self, programs: str, extra: str = "", trainers: str = "count = 2",
                 model: tuple[str, ...] = ("--untied",), positions: int = 2048):
        self.programs = pathlib.Path(programs)
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="troupe-tinker-"))
        self.model = self.folder / "model"
        self.data = self.folder / "data"
        # Adapters of a model that knows nothing can only learn through a head of its own.
        self.run("model", "create", "--hidden", "32", "--layers", "2", *model, str(self.model))
        described = self.model / "config.json"
        config = json.loads(described.read_text())
        described.write_text(json.dumps({**config, "max_position_embeddings": positions}))
        self.file = self.folder / "cluster.toml"
        self.file.write_text(
            f'[cluster]\nname = "tinker-test"\ndata_folder = "{self.data}"\n'
            f'[trainers]\n{trainers}\n[models]\n"tiny" = "{self.model}"\n{extra}'
        )
        self.process = subprocess.Popen(
            [self.programs / "troupe", "up", self.file, "--json"],
            stdout=subprocess.PIPE,
            stderr=(self.folder / "up.log").open("w"),
            text=True,
        )
        line = self.process.stdout.readline()
        if not line:
            self.close()
            raise RuntimeError("the cluster did not start")
        ready = json.loads(line)
        self.url, self.key = ready["tinker_base_url"], ready["tinker_api_key"]

    def run(self, *words: str) -> str:
        done = subprocess.run(
            [self.programs / "troupe", *words], check=True, capture_output=True, text=True
        )
        return done.stdout

    def create_key(self, name: str) -> dict:
        return json.loads(
            self.run("key", "create", name, "--data-folder", str(self.data), "--json")
        )

    def revoke_key(self, name: str) -> None:
        self.run("key", "revoke", name, "--data-folder", str(self.data))

    def process_ids(self, program: str) -> list[int]:
        """Of this cluster's own children whose command line holds the words."""
        out = []
        for entry in pathlib.Path("/proc").iterdir():
            if not entry.name.isdigit():
                continue
            try:
                words = (entry / "cmdline").read_bytes().decode().replace("\0", " ")
            except OSError:
                continue
            if program in words and str(self.data) in words:
                out.append(int(entry.name))
        return out

    def kill(self, program: str) -> int:
        """SIGKILL; returns how many there were, once they are gone with all their sockets."""
        handles = []
        for process in self.process_ids(program):
            handles.append(os.pidfd_open(process))
            os.kill(process, signal.SIGKILL)
        for handle in handles:
            gone, _, _ = select.select([handle], [], [], 30)
            os.close(handle)
            if not gone:
                raise RuntimeError(f"{program} outlives SIGKILL")
        return len(handles)

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            try:
                self.process.wait(timeout=30)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        if self.process.stdout:
            self.process.stdout.close()
        if os.environ.get("TROUPE_KEEP"):
            print("kept", self.folder)
        else:
            shutil.rmtree(self.folder, ignore_errors=True)
