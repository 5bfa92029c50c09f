"""The Content Security Policy. Maintained by the template: change settings/base.py instead.

Only this service's own files, and inline scripts and styles that carry the request's nonce;
the admin works under it. https://developer.mozilla.org/docs/Web/HTTP/Guides/CSP
"""

# @if django_version == "6.1"
from django.utils.csp import CSP

__all__ = ["SECURE_CSP"]

SECURE_CSP: dict[str, list[str]] = {
    "default-src": [CSP.NONE],
    "script-src": [CSP.SELF, CSP.NONCE],
    "style-src": [CSP.SELF, CSP.NONCE],
    "img-src": [CSP.SELF, "data:"],
    "font-src": [CSP.SELF],
    "media-src": [CSP.SELF],
    "connect-src": [CSP.SELF],
    "manifest-src": [CSP.SELF],
    "form-action": [CSP.SELF],
    "frame-ancestors": [CSP.NONE],
    "base-uri": [CSP.NONE],
}
# @else
from csp.constants import NONCE, NONE, SELF, Nonce

__all__ = ["CONTENT_SECURITY_POLICY"]

CONTENT_SECURITY_POLICY: dict[str, dict[str, list[str | Nonce]]] = {
    "DIRECTIVES": {
        "default-src": [NONE],
        "script-src": [SELF, NONCE],
        "style-src": [SELF, NONCE],
        "img-src": [SELF, "data:"],
        "font-src": [SELF],
        "media-src": [SELF],
        "connect-src": [SELF],
        "manifest-src": [SELF],
        "form-action": [SELF],
        "frame-ancestors": [NONE],
        "base-uri": [NONE],
    },
}
# @endif
