"""All endpoints of the collector."""

from fourfold.serve.collector import batches, events, lineage, plain, plans, records, runs
from fourfold.serve.routes import Endpoint

ENDPOINTS: tuple[Endpoint, ...] = tuple(
    endpoint for module in (batches, plain, plans, records, runs, events, lineage) for endpoint in module.ENDPOINTS
)
