// Runs before anything is drawn, so that a chosen theme never flashes.
import { applyTheme } from "./theme";

applyTheme();
