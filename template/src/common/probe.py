"""Ask the server on this machine whether it is alive. Maintained by the template.

As `python -m common.probe`, for the health check of an image that has no curl; with `/ready/` it
asks whether requests can be served.
"""

import os
import sys
from http.client import HTTPConnection, HTTPException


def main() -> None:
    """Exit with status 0 when the probe answers 200 within three seconds, or say why not."""
    path = (sys.argv[1:] or ["/health/"])[0]
    port = int(os.environ.get("PORT") or 8000)
    connection = HTTPConnection("127.0.0.1", port, timeout=3)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        said = response.read(300).decode(errors="replace")
    except (OSError, HTTPException) as error:
        sys.exit(f"Nothing alive on port {port}: {error}.")
    if response.status != 200:
        sys.exit(f"{path} on port {port} answers {response.status}: {said}")


if __name__ == "__main__":
    main()
