"""Flower behind a password. Maintained by the template: change secrets/flower_user instead.

https://flower.readthedocs.io/en/latest/config.html
"""

import os
import sys
from pathlib import Path

_user = Path(os.environ["FLOWER_USER_FILE"]).read_text(encoding="utf-8").strip()
_name, _, _password = _user.partition(":")
if not _name or not _password:
    sys.exit("secrets/flower_user must hold a name, a colon and a password, such as ada:s3cret.")

basic_auth = [_user]
# Its own pages are shown to who has the password; /metrics and /healthcheck to the network alone.
address = "0.0.0.0"  # noqa: S104 (only the network `back` reaches it)
port = 5555
# Without what tasks were called with, which may be personal.
tasks_columns = "name,uuid,state,received,started,runtime,worker,retries"
# As many tasks as fit into the container's memory.
max_tasks = 5000
