"""What a store carries: costs measured on real stores, a bill worked out of them, and a year simulated with them."""
