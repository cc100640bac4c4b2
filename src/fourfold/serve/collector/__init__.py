"""The collector: what services send over HTTP goes into the store's inbox, and is acknowledged when it is durable."""

from fourfold.serve.collector import batches, plain, plans
from fourfold.serve.routes import Endpoint

ENDPOINTS: tuple[Endpoint, ...] = (*batches.ENDPOINTS, *plain.ENDPOINTS, *plans.ENDPOINTS)
