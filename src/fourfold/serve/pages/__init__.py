"""The pages that people look at: their shell, their files, and who has signed in. All data come from ``/api/``."""

from fourfold.serve.pages import session, settings, shell, static
from fourfold.serve.routes import Endpoint

ENDPOINTS: tuple[Endpoint, ...] = (*shell.ENDPOINTS, *static.ENDPOINTS, *session.ENDPOINTS, *settings.ENDPOINTS)
