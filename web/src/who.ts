// Who looks, and what they may do.
import { createContext } from "preact";
import { useContext } from "preact/hooks";
import type { Who } from "./types";

export const WhoContext = createContext<Who | null>(null);

export function useWho(): Who | null {
  return useContext(WhoContext);
}
