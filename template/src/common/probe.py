"""Ask the server on this machine whether it is alive. Maintained by the template.

As `python -m common.probe`, for the health check of an image that has no curl.
"""

import os
import sys
from http.client import HTTPConnection, HTTPException


def main() -> None:
    """Exit with status 0 when /health/ answers 200 within three seconds, or say why not."""
    port = int(os.environ.get("PORT") or 8000)
    connection = HTTPConnection("127.0.0.1", port, timeout=3)
    try:
        connection.request("GET", "/health/")
        status = connection.getresponse().status
    except (OSError, HTTPException) as error:
        sys.exit(f"Nothing alive on port {port}: {error}.")
    if status != 200:
        sys.exit(f"/health/ on port {port} answers {status}.")


if __name__ == "__main__":
    main()
