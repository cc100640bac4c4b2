// A button that opens a short list. Escape, a choice, and a click elsewhere close it.
import type { ComponentChildren } from "preact";
import { useEffect, useRef } from "preact/hooks";

export function Menu({ label, children, quiet, wide }: { label: ComponentChildren; children: ComponentChildren; quiet?: boolean; wide?: boolean }) {
  const box = useRef<HTMLDetailsElement>(null);
  useEffect(() => {
    const close = (event: Event): void => {
      const details = box.current;
      if (!details?.open) return;
      if (event instanceof KeyboardEvent) {
        if (event.key !== "Escape") return;
        details.open = false;
        details.querySelector("summary")?.focus();
      } else if (!details.contains(event.target as Node)) details.open = false;
    };
    addEventListener("keydown", close);
    addEventListener("pointerdown", close);
    return () => {
      removeEventListener("keydown", close);
      removeEventListener("pointerdown", close);
    };
  }, []);
  const chosen = (event: MouseEvent): void => {
    if (box.current && (event.target as Element).closest("a, [data-closes], button:not([type=submit])")) box.current.open = false;
  };
  return (
    <details ref={box} class={`menu${quiet ? " menu-quiet" : ""}`}>
      <summary>{label}</summary>
      <div class={`menu-list${wide ? " menu-wide" : ""}`} onClick={chosen}>{children}</div>
    </details>
  );
}
