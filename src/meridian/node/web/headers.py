"""Headers of every answer: the page may load what this server serves, and nothing else may use the page."""

from typing import Final

CONTENT_SECURITY_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self';"
    " font-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""No inline script or style, no eval, no other origin. Source: https://www.w3.org/TR/CSP3/"""

SECURITY: Final = {
    "Server": "meridian",
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
}

REVALIDATE: Final = "no-cache"
"""Files of a site change; their ETag says cheaply whether they have."""
FOREVER: Final = "public, max-age=31536000, immutable"
"""What has its digest as its name."""
